"""Products of rows that a table gives are made of the table.

``take(t, i) @ w`` is ``take(t @ w, i)``: a character that comes up a hundred times is multiplied
once. The gradients follow suit: rows are added up by index, which leaves as many as the table has,
and then multiplied. Rows that no index names make no difference, whatever is in them. Sums before
products can turn the NaN of infinite weights into infinities.
"""

from __future__ import annotations

from math import prod

from ..graph.ir import Graph, Node
from ..graph.op import input
from ..graph.rewrite import Event, rewrite, rule, rules_in, var
from ..ops.gather import SCATTER_ADD, TAKE
from ..ops.linalg import MATMUL, OUTER_SUM, swap
from ..ops.logic import less, where
from ..ops.source import full
from ..ops.view import RESHAPE, TRANSPOSE, reshape, transpose

g, t, w, x = var("g"), var("t"), var("w"), var("x")
i, axes, size = var("i"), var("axes"), var("size")


def _pays(rows: int, indices: Node) -> bool:
    """True if each row of a table is looked up twice on average."""
    return 2 * rows <= indices.type.size


def _indices(*shape: int) -> Node:
    return input("i", *shape, dtype="int32")


def _lookup() -> Node:
    return TAKE(input("t", 4, 6), _indices(3, 5), axis=0)


# -- views of rows are views of the indices --------------------------------------------------------


@rule(RESHAPE(TAKE(t, i, axis=0)), example=lambda: reshape(_lookup(), 15, 6))
def reshape_of_lookup(out: Node, t: Node, i: Node) -> Node | None:
    """Where the rows stay whole."""
    lead = _lead(out, t.shape[1:], i)
    return None if lead is None else TAKE(t, reshape(i, lead), axis=0)


@rule(TRANSPOSE(TAKE(t, i, axis=0), axes=axes), example=lambda: transpose(_lookup(), (1, 0, 2)))
def transpose_of_lookup(out: Node, t: Node, i: Node, axes: tuple[int, ...]) -> Node | None:
    if axes[i.ndim :] != tuple(range(i.ndim, out.ndim)):
        return None
    return TAKE(t, transpose(i, axes[: i.ndim]), axis=0)


@rule(
    SCATTER_ADD(i, RESHAPE(x), axis=0, size=size),
    example=lambda: SCATTER_ADD(_indices(15), reshape(input("x", 3, 5, 6), 15, 6), axis=0, size=4),
)
def scatter_of_reshape(out: Node, i: Node, x: Node, size: int) -> Node | None:
    lead = _lead(x, out.shape[1:], i)
    return None if lead is None else SCATTER_ADD(reshape(i, lead), x, axis=0, size=size)


@rule(
    SCATTER_ADD(i, TRANSPOSE(x, axes=axes), axis=0, size=size),
    example=lambda: SCATTER_ADD(
        _indices(3, 5), transpose(input("x", 5, 3, 6), (1, 0, 2)), axis=0, size=4
    ),
)
def scatter_of_transpose(
    out: Node, i: Node, x: Node, axes: tuple[int, ...], size: int
) -> Node | None:
    if axes[i.ndim :] != tuple(range(i.ndim, x.ndim)):
        return None
    back = sorted(range(i.ndim), key=axes.__getitem__)
    return SCATTER_ADD(transpose(i, back), x, axis=0, size=size)


def _lead(x: Node, row: tuple[int, ...], i: Node) -> tuple[int, ...] | None:
    """The shape of x less that of a row, if x is one row for each index."""
    count = x.ndim - len(row)
    lead, rest = x.shape[: max(count, 0)], x.shape[max(count, 0) :]
    return lead if rest == row and prod(lead) == i.type.size else None


# -- products --------------------------------------------------------------------------------------


@rule(MATMUL(TAKE(t, i, axis=0), w), example=lambda: MATMUL(_lookup(), input("w", 6, 2)))
def product_of_lookup(out: Node, t: Node, i: Node, w: Node) -> Node | None:
    matrices = t.ndim == w.ndim == 2
    return TAKE(MATMUL(t, w), i, axis=0) if matrices and _pays(t.shape[0], i) else None


@rule(
    MATMUL(TRANSPOSE(TAKE(t, i, axis=0), axes=(1, 0)), g),
    example=lambda: MATMUL(
        swap(TAKE(input("t", 4, 6), _indices(15), axis=0)), input("g", 15, 2)
    ),
)
def product_with_lookup(out: Node, t: Node, i: Node, g: Node) -> Node | None:
    """Columns are looked-up rows: the gradient of a weight, for ``sum_of_lookup``."""
    return OUTER_SUM(TAKE(t, i, axis=0), g) if g.ndim == 2 and _pays(t.shape[0], i) else None


@rule(
    OUTER_SUM(TAKE(t, i, axis=0), g), example=lambda: OUTER_SUM(_lookup(), input("g", 3, 5, 2))
)
def sum_of_lookup(out: Node, t: Node, i: Node, g: Node) -> Node | None:
    factors = _by_row(t, i, g)
    return None if factors is None else MATMUL(swap(factors[0]), factors[1])


@rule(
    OUTER_SUM(g, TAKE(t, i, axis=0)), example=lambda: OUTER_SUM(input("g", 3, 5, 2), _lookup())
)
def sum_with_lookup(out: Node, g: Node, t: Node, i: Node) -> Node | None:
    factors = _by_row(t, i, g)
    return None if factors is None else MATMUL(swap(factors[1]), factors[0])


def _by_row(t: Node, i: Node, g: Node) -> tuple[Node, Node] | None:
    """The rows of a table, and for each the sum of g where it is looked up; None for no gain."""
    if t.ndim != 2 or not _pays(t.shape[0], i):
        return None
    rows = where(_named(i, t.shape[0]), t, 0)  # NaN times nothing would be NaN
    return rows, SCATTER_ADD(i, g, axis=0, size=t.shape[0])


@rule(
    SCATTER_ADD(i, MATMUL(g, w), axis=0, size=size),
    example=lambda: SCATTER_ADD(
        _indices(3, 5), MATMUL(input("g", 3, 5, 2), input("w", 2, 6)), axis=0, size=4
    ),
)
def scatter_of_product(out: Node, i: Node, g: Node, w: Node, size: int) -> Node | None:
    if g.ndim != i.ndim + 1 or w.ndim != 2 or not _pays(size, i):
        return None
    return where(_named(i, size), MATMUL(SCATTER_ADD(i, g, axis=0, size=size), w), 0)


def _named(i: Node, size: int) -> Node:
    """Which of the rows are named by some index, as a column."""
    counts = SCATTER_ADD(i, full(i.shape, 1, "int32"), axis=0, size=size)
    return less(0, reshape(counts, size, 1))


RULES = rules_in(globals())


def defer_lookups(graph: Graph, log: list[Event] | None = None) -> Graph:
    """Multiplies tables instead of rows looked up in them, where that is less."""
    return rewrite(graph, RULES, log)
