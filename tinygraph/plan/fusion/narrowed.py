"""Weights that are rounded to bfloat16 while they are packed for products, in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...graph.ir import Node, Parameter
from ...graph.op import Kind
from ...ops.linalg import NARROW
from ...ops.logic import CAST
from ..indexing.index import is_view

if TYPE_CHECKING:
    from .state import Fusion


def narrowed_nodes(fusion: Fusion) -> dict[Node, Node]:
    """Conversions of parameters that only products read, and only as what they pack: the right
    operand, which is B. Nothing stores them; whoever reads them reads the parameter.
    """
    outputs = set(fusion.graph.outputs)
    return {
        n: n.inputs[0]
        for n in fusion.graph.nodes
        if n.op is CAST
        and n.dtype in NARROW
        and isinstance(n.inputs[0], Parameter)
        and n.inputs[0].dtype == "float32"
        and not fusion.devices
        and all(is_packed(fusion, x, user) for x, user in readers(fusion, n))
        and outputs.isdisjoint(shown(fusion, n))
    }


def shown(fusion: Fusion, n: Node) -> Iterator[Node]:
    """A node and the views of it."""
    yield n
    for user in fusion.graph.users.get(n, ()):
        if is_view(user) and user not in fusion.held:
            yield from shown(fusion, user)


def readers(fusion: Fusion, n: Node) -> Iterator[tuple[Node, Node]]:
    """What reads a node or a view of it: (that, its reader)."""
    views = set(shown(fusion, n))
    return ((x, user) for x in views for user in fusion.graph.users.get(x, ()) if user not in views)


def is_packed(fusion: Fusion, x: Node, user: Node) -> bool:
    """True if a reader multiplies with x alone on the right."""
    return user.op.kind is Kind.ANCHOR and fusion.contracts(user) and user.inputs[0] is not x
