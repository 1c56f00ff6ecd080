"""How patterns are found that are one operator of ONNX.

Nodes are interned: a pattern is found by guessing what it was made of, making it again, and looking
whether that gives the same node. What a raised node replaced is written only if others read it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...graph.ir import Node
from ...graph.op import CONSTANT, ShapeError
from .writer import Value


@dataclass(frozen=True)
class Raised:
    """A node as one of ONNX's operators: what it reads, and how it is written."""

    inputs: tuple[Node, ...]
    write: Callable[..., Value | list[Value]]


def simple(op: str, *inputs: Node, **attributes: Any) -> Raised:
    return Raised(inputs, lambda w, *xs: w.add(op, *xs, **attributes))


def number(n: Node) -> float | None:
    """The number that a constant is, if it is one."""
    if n.op is not CONSTANT or n.type.size != 1:
        return None
    return float(n.attr("value").data.reshape(-1)[0])


def rebuilt(n: Node, build: Callable[[], Node]) -> bool:
    """Whether this builds the node."""
    try:
        return build() is n
    except (ShapeError, ValueError, TypeError):
        return False


def below(n: Node, *path: int) -> Node | None:
    """The node that is reached by these inputs, if there are so many."""
    for i in path:
        if i >= len(n.inputs):
            return None
        n = n.inputs[i]
    return n
