"""Which views hold their value: decided before any kernel is formed, so that all readers agree.

A view is normally read through. It holds its value, in memory or in a register, if it cannot be:
because it joins axes, because the views below it do not compose with it, or because a reader needs
it in memory unchanged.
"""

from __future__ import annotations

from ...graph.ir import Graph, Node
from ...graph.op import Index, Kind, Read
from ...ops.source import IOTA
from ...ops.view import SLICE
from ..indexing.index import Leaf, is_view, own, pull, push, read, reshape, view_read
from ..indexing.reads import loops_of


def is_merge(n: Node) -> bool:
    """A reshape that readers cannot absorb, because it joins axes."""
    return (
        is_view(n)
        and view_read(n) is None
        and reshape(n.shape, n.inputs[0].shape, own(n.shape), n.shape) is None
    )


def is_leading(n: Node) -> bool:
    """A slice along the first axis: a piece of memory, if what it is taken from is one."""
    return n.op is SLICE and n.shape[1:] == n.inputs[0].shape[1:] and n.attr("step")[:1] == (1,)


def leading_root(n: Node) -> Node:
    """The value that a slice of slices along the first axis is taken from; others themselves."""
    while is_leading(n):
        n = n.inputs[0]
    return n


def held_nodes(graph: Graph) -> set[Node]:
    """Views, and index ramps, that some kernel must compute."""
    held: set[Node] = set()

    def hold(n: Node) -> None:
        if is_view(n) or n.op is IOTA:
            held.add(n)

    for n in graph.nodes:
        if is_view(n):
            (x,) = n.inputs
            if is_merge(n):
                held.add(n)
                if push(n, own(x.shape), x.shape) is None:
                    hold(x)
            elif pull(n, own(n.shape), n.shape, held) is None:
                hold(x)
            hold_ramp(pull(n, own(n.shape), n.shape, held), held)
        else:
            for number, x in enumerate(n.inputs):
                if must_hold(n, number, held):
                    hold(x)
    for n in graph.outputs:
        hold(n)
    return held


def must_hold(n: Node, number: int, held: set[Node]) -> bool:
    """True if a node that is not a view can only read an input that holds its value."""
    x = n.inputs[number]
    if n.op.kind is Kind.JOIN:
        return True
    if n.op.kind in (Kind.OPAQUE, Kind.COMPOSITE, Kind.LOOP):
        leaf = pull(x, own(x.shape), x.shape, held)
        return leaf is None or bool(leaf.guards) or leaf.root.op is IOTA
    if n.op.loops is None:
        return False
    loops = loops_of(n)
    leaf = leaf_of(n, loops.reads[number], x, (*n.shape, *loops.reduce), held)
    if leaf is None:
        return True
    if loops.reads[number].gather:
        return bool(leaf.guards) or leaf.root.op is IOTA
    hold_ramp(leaf, held)
    if n.op.kind is Kind.ANCHOR and leaf.root.op is IOTA:
        held.add(leaf.root)
    return False


def leaf_of(n: Node, how: Read, x: Node, sizes: tuple[int, ...], held: set[Node]) -> Leaf | None:
    indices = list(how.indices)
    for axis, _ in how.gather:
        indices[axis], sizes = Index(0, ((len(sizes), 1),)), (*sizes, x.shape[axis])
    return read(x, tuple(indices), sizes, how.outside, held)


def hold_ramp(leaf: Leaf | None, held: set[Node]) -> None:
    """An index ramp is arithmetic, except beyond its edges."""
    if leaf is not None and leaf.guards and leaf.root.op is IOTA:
        held.add(leaf.root)
