"""Graphs with some nodes replaced; names and origins stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .ir import Graph, Node, node, same
from .op import Kind
from .origins import add_origins, built_from, origins


def carry(new: Node, old: Node, places: Iterable[Any] = ()) -> Node:
    """Hands name and origins on to a node's replacement; sources have their own.

    Args:
        new: the replacement of ``old``.
        places: origins in addition to the old one's.

    Example:
        >>> x = tg.input("x", 2)
        >>> old = (x * 2).named("doubled")
        >>> extend.carry(x + x, old).name
        'doubled'
    """
    if new is not old and new.op.kind is not Kind.SOURCE:
        add_origins(new, places or origins(old))
        if old.name is not None and new.name is None:
            new.named(old.name)
    return new


def with_inputs(n: Node, inputs: tuple[Node, ...]) -> Node:
    """The same operator and attributes on other inputs of the same types.

    Args:
        n: any node; ``inputs``: as many as it has.

    Example:
        >>> x, y = tg.input("x", 2), tg.input("y", 2)
        >>> extend.with_inputs(tg.relu(x), (y,)) is tg.relu(y)
        True
    """
    if same(inputs, n.inputs):
        return n
    with built_from(origins(n)):
        return carry(node(n.op, inputs, n.attrs, n.type), n)


def with_outputs(graph: Graph, outputs: tuple[Node, ...]) -> Graph:
    """The graph with other outputs; the graph itself, with its nodes, if they are the same."""
    return graph if same(outputs, graph.outputs) else Graph(graph.name, graph.inputs, outputs)


def with_bodies(n: Node, change: Callable[[Graph], Graph]) -> Node:
    """The same loop around changed bodies; any other node as it is.

    Args:
        n: any node; ``change``: what becomes of each body.

    Example:
        >>> x = tg.input("x", 2)
        >>> extend.with_bodies(x, lambda body: body) is x
        True
    """
    attrs = tuple((k, change(v) if isinstance(v, Graph) else v) for k, v in n.attrs)
    if all(a is b or (isinstance(a, Graph) and a.digest == b.digest)
           for (_, a), (_, b) in zip(attrs, n.attrs, strict=True)):  # fmt: skip
        return n
    with built_from(origins(n)):
        return carry(node(n.op, n.inputs, attrs, n.type), n)


def rebuild(graph: Graph, build: Callable[[Node], Node | None], bodies: bool = True) -> Graph:
    """One walk: ``build`` gives the replacement of a node (whose inputs are new) or None.

    The bodies of loops are rebuilt first, in the same way, unless ``bodies`` is False.

    Example:
        >>> x = tg.input("x", 2)
        >>> twice = lambda n: x + x if n.op is tg.mul else None
        >>> print(tg.dump(extend.rebuild(tg.Graph("f", (x,), (x * 2,)), twice)))
        graph f(x: f32[2]) {
          %0 = add(x, x) : f32[2]
          return %0
        }
    """
    new: dict[Node, Node] = {}
    for n in graph.nodes:
        m = with_inputs(n, tuple(new[i] for i in n.inputs))
        if bodies and n.bodies:
            m = with_bodies(m, lambda body: rebuild(body, build))
        with built_from(origins(n)):
            replacement = build(m)
        new[n] = carry(m if replacement is None else replacement, n)
    return with_outputs(graph, tuple(new[o] for o in graph.outputs))
