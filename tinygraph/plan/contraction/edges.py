"""An operand that is read beyond its edges, in place: beyond them it counts as zero.

A convolution's padding is a condition on positions, ``row * stride + tap * dilation - padding``,
that hold within the picture. A tile whose rows are all at one position of an axis skips the taps
that are beyond its edges; where the positions of its rows differ, it tests each row, at the few
taps that need it. A padded copy costs as much as the product itself where each element is used for
a few multiply-adds only, as in depthwise convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...graph.op import Index
from ..indexing.phases import Unsuitable
from ..records.contraction import Edge, blocked
from ..records.work import Access, Guard
from .axis import Axis, Roles, argument_axes

NAMES = ("g", "z", "y", "m", "r", "s", "k")  # of the argument axes


def axes_of(
    sizes: Sequence[int], a: Access, b: Access, operands: Sequence[Access], outputs: int
) -> tuple[list[Axis], Access, Access]:
    """The axes of a contraction, and its operands, so that taps go up along each edge of A.

    Raises:
        Unsuitable: B is read beyond edges.
    """
    if b.guards:
        raise Unsuitable("its columns are read beyond their edges")
    axes = []
    for i, size in enumerate(sizes):
        steps = tuple(dict(g.index.terms).get(i, 0) for g in a.guards)
        in_a = a.strides[i] + sum(c * g.stride for c, g in zip(steps, a.guards, strict=True))
        axes.append(
            Axis(size, in_a, b.strides[i], tuple(o.strides[i] for o in operands), (), steps)
        )
    for i in range(outputs, len(axes)):
        if min(axes[i].edges, default=0) < 0:
            axes[i], a, b = turned(axes[i], a, b)
    return axes, a, b


def turned(axis: Axis, a: Access, b: Access) -> tuple[Axis, Access, Access]:
    """A reduction axis from its other end."""
    last = axis.size - 1
    own = axis.a - sum(c * g.stride for c, g in zip(axis.edges, a.guards, strict=True))
    guards = tuple(
        replace(g, index=replace(g.index, constant=g.index.constant + last * c))
        for c, g in zip(axis.edges, a.guards, strict=True)
    )
    flipped = replace(axis, a=-axis.a, b=-axis.b, edges=tuple(-c for c in axis.edges))
    a = replace(a, offset=a.offset + last * own, guards=guards)
    return flipped, a, replace(b, offset=b.offset + last * axis.b)


def edges_of(roles: Roles, count: int) -> tuple[Edge, ...]:
    """The edges of A, which has so many guards, as a tile sees them.

    Raises:
        Unsuitable: tiles cannot read it in place.
    """
    if not count:
        return ()
    if roles.lanes_along == "columns":
        raise Unsuitable("an operand is read beyond its edges, and its elements are broadcast")
    if any(any(axis.edges) for axis in (*roles.batch, roles.column)):
        raise Unsuitable("the batch moves across an edge")
    named = dict(zip(NAMES, argument_axes(roles, 0), strict=True))
    return tuple(edge(named, number, roles.dots) for number in range(count))


def edge(named: dict[str, Axis], number: int, dots: bool) -> Edge:
    """One of them, of the axes by name; with ``dots``, lanes hold steps of k."""
    steps = {name: x.edges[number] for name, x in named.items() if x.edges and x.edges[number]}
    rows, taps = ([name for name in steps if name in names] for names in ("zym", "rsk"))
    row = rows[0] if rows else ""
    innermost = "s" if dots else "k"
    if len(taps) != 1 or len(rows) > 1 or (row == "m" and taps[0] != innermost):
        raise Unsuitable("the positions beyond its edges follow from other axes than a tile's")
    depth = (named[axis].size for axis in "rsk")
    together = row == "m" and not dots and blocked(*depth) == "k"
    if steps.get(row, 0) < 0 or together or (dots and taps[0] == "k"):
        raise Unsuitable("its rows run backwards, or its taps are too many")
    return Edge(row, taps[0], steps.get(row, 0), steps[taps[0]])


def guarded_view(a: Access, axes: Sequence[Axis]) -> Access:
    """A over the argument axes, with its guards."""
    guards = tuple(
        Guard(Index(g.index.constant, terms(axes, number)), g.size, g.stride)
        for number, g in enumerate(a.guards)
    )
    strides = tuple(
        x.a - sum(c * g.stride for c, g in zip(x.edges, a.guards, strict=False)) for x in axes
    )
    return replace(a, strides=strides, guards=guards)


def terms(axes: Sequence[Axis], number: int) -> tuple[tuple[int, int], ...]:
    """The terms of a guard's index."""
    return tuple((i, x.edges[number]) for i, x in enumerate(axes) if x.edges and x.edges[number])
