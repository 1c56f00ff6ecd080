"""Affine index arithmetic: how the axes of a value follow from the axes of a loop nest.

An Index (see op.py) is (constant + sum of coefficient * axis) / divisor over the axes of a nest,
whose sizes are known. Views compose by substitution; reshapes are exact as long as every quotient
and remainder they need is affine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from ...graph.ir import Node, same_nodes
from ...graph.op import Index, Kind, Read

Sizes = tuple[int, ...]
Indices = tuple[Index, ...]
ZERO = Index()


def affine(constant: int, terms: dict[int, int], sizes: Sizes) -> Index:
    """The normal form: no zero coefficients, no axes of size one, axes in order."""
    kept = sorted((a, c) for a, c in terms.items() if c != 0 and sizes[a] > 1)
    return Index(constant, tuple(kept))


def span(index: Index, sizes: Sizes) -> tuple[int, int]:
    """The least and greatest value (of the dividend, if there is a divisor)."""
    low = high = index.constant
    for axis, coefficient in index.terms:
        reach = coefficient * (sizes[axis] - 1)
        low, high = low + min(reach, 0), high + max(reach, 0)
    return low, high


def substitute(index: Index, values: Indices, sizes: Sizes) -> Index | None:
    """``index`` over other axes, with each of its axes replaced by its value; None where a quotient
    stands in the way.
    """
    constant, terms = index.constant, dict[int, int]()
    for axis, coefficient in index.terms:
        value = values[axis]
        if value.divisor != 1:
            if coefficient != 1 or len(index.terms) > 1 or index.constant or index.divisor != 1:
                return None
            return value
        constant += coefficient * value.constant
        for a, c in value.terms:
            terms[a] = terms.get(a, 0) + coefficient * c
    return divide(affine(constant, terms, sizes), index.divisor)


def substituted(indices: Indices, values: Indices, sizes: Sizes) -> Indices | None:
    """As ``substitute``, for each of ``indices``; None where one has none."""
    found = [substitute(i, values, sizes) for i in indices]
    return None if None in found else tuple(i for i in found if i is not None)


def divide(index: Index, divisor: int) -> Index:
    """An exact quotient where the coefficients allow it, an Index with a divisor otherwise."""
    if divisor == 1:
        return index
    if index.constant % divisor == 0 and all(c % divisor == 0 for _, c in index.terms):
        return Index(index.constant // divisor, tuple((a, c // divisor) for a, c in index.terms))
    return replace(index, divisor=divisor)


def quotient_remainder(index: Index, size: int, sizes: Sizes) -> tuple[Index, Index] | None:
    """(index // size, index % size) where both are affine: terms that are multiples of size against
    a rest below it.
    """
    high = {a: c for a, c in index.terms if c % size == 0}
    low = {a: c for a, c in index.terms if c % size != 0}
    rest = affine(index.constant % size, low, sizes)
    if span(rest, sizes)[0] < 0 or span(rest, sizes)[1] >= size:
        return None
    quotient = affine(index.constant // size, {a: c // size for a, c in high.items()}, sizes)
    return quotient, rest


def reshape(before: Sizes, after: Sizes, indices: Indices, sizes: Sizes) -> Indices | None:
    """The indices of ``after``'s axes at the element that is at ``indices`` of ``before``; None
    if not affine.
    """
    result: list[Index] = []
    i = j = 0
    while i < len(before) or j < len(after):
        first, size_in = i, before[i] if i < len(before) else 1
        start, size_out = j, after[j] if j < len(after) else 1
        i, j = i + 1, j + 1
        while size_in != size_out:
            if size_in < size_out:
                size_in, i = size_in * before[i], i + 1
            else:
                size_out, j = size_out * after[j], j + 1
        block = _reshape_block(before[first:i], after[start:j], indices[first:i], sizes)
        if block is None:
            return None
        result += block
    return tuple(result)


def _reshape_block(
    before: Sizes, after: Sizes, indices: Indices, sizes: Sizes
) -> list[Index] | None:
    """Axes of equal product; an axis that only gains or loses companions of size one stays as it
    is.
    """
    old = [i for i, n in zip(indices, before, strict=True) if n > 1]
    if [n for n in before if n > 1] == [n for n in after if n > 1]:
        rest = iter(old)
        return [next(rest) if n > 1 else ZERO for n in after]
    if any(i.divisor != 1 for i in old):
        return None
    return _split(join(before, indices, sizes), after, sizes)


def join(shape: Sizes, indices: Indices, sizes: Sizes) -> Index:
    """The row-major position of indices in shape."""
    constant, terms, stride = 0, dict[int, int](), 1
    for size, index in zip(reversed(shape), reversed(indices), strict=True):
        constant += stride * index.constant
        for a, c in index.terms:
            terms[a] = terms.get(a, 0) + stride * c
        stride *= size
    return affine(constant, terms, sizes)


def _split(position: Index, shape: Sizes, sizes: Sizes) -> list[Index] | None:
    """The inverse of ``_join``."""
    result: list[Index] = []
    for k in range(len(shape) - 1):
        inner = prod(shape[k + 1 :])
        if inner == 1:
            result.append(position)
            position = ZERO
            continue
        parts = quotient_remainder(position, inner, sizes)
        if parts is None:
            return None
        result.append(parts[0])
        position = parts[1]
    return [*result, position] if shape else []


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a read: ``index`` is without remainder and in [0, size)."""

    index: Index
    size: int


@same_nodes
@dataclass(frozen=True, slots=True)
class Leaf:
    """A value as a nest reads it, views composed away.

    A guarded position is an axis of its own in ``indices``: guard k is axis number (axes of
    the nest) + k.
    """

    root: Node
    indices: Indices
    guards: tuple[Condition, ...] = ()
    outside: float = 0.0


def is_view(n: Node) -> bool:
    """Moves indices only, by an affine map (a gather does not count)."""
    return n.op.kind is Kind.VIEW and len(n.inputs) == 1


def view_read(n: Node) -> Read | None:
    """The Read of a view; None for a reshape."""
    if n.op.row_major:
        return None
    return n.op.nest(n).reads[0]


def pull(
    n: Node, indices: Indices, sizes: Sizes, stop: frozenset[Node] | set[Node] = frozenset()
) -> Leaf | None:
    """Follows views from ``n`` at ``indices`` down to what holds the value; None if some step is
    not affine.

    Views in ``stop`` hold their value themselves.
    """
    return read(n, indices, sizes, None, stop)


def read(
    n: Node,
    indices: Indices,
    sizes: Sizes,
    outside: float | None,
    stop: frozenset[Node] | set[Node] = frozenset(),
) -> Leaf | None:
    """As ``pull``, where ``indices`` may be beyond n's edges, which yields ``outside``."""
    guards: list[Condition] = []
    rank = len(sizes)
    if outside is not None:
        indices, guards, sizes = guarded(indices, n.shape, sizes)
    value = outside if guards else None
    while is_view(n) and n not in stop:
        x = n.inputs[0]
        if (view := view_read(n)) is None:
            below = reshape(n.shape, x.shape, indices, sizes)
        else:
            below = substituted(view.indices, indices, sizes)
            if below is not None and view.outside is not None:
                below, more, sizes = guarded(below, x.shape, sizes)
                chained = any(a >= rank for g in more for a, _ in g.index.terms)
                if chained or (more and value not in (None, view.outside)):
                    return None
                guards, value = guards + more, view.outside if more else value
        if below is None:
            return None
        n, indices = x, below
    return Leaf(n, indices, tuple(guards), value or 0.0)


def guarded(indices: Indices, shape: Sizes, sizes: Sizes) -> tuple[Indices, list[Condition], Sizes]:
    """Indices with an axis of its own for each that may fall beyond the edge or between two
    elements.
    """
    result, guards = list(indices), []
    for axis, (index, size) in enumerate(zip(indices, shape, strict=True)):
        low, high = span(index, sizes)
        if index.divisor != 1 or low < 0 or high >= size * index.divisor:
            guards.append(Condition(index, size))
            result[axis] = Index(0, ((len(sizes), 1),)) if size > 1 else ZERO
            sizes = (*sizes, size)
    return tuple(result), guards, sizes


def push(n: Node, indices: Indices, sizes: Sizes) -> Indices | None:
    """The indices of view ``n``'s own axes at the element whose input indices are given; None
    unless bijective.
    """
    x = n.inputs[0]
    if (read := view_read(n)) is None:
        return reshape(x.shape, n.shape, indices, sizes)
    if n.type.size != x.type.size or read.outside is not None:  # a pad may also cut as much off
        return None
    result: dict[int, Index] = {}
    for index, value in zip(read.indices, indices, strict=True):
        if len(index.terms) > 1 or index.divisor != 1:
            return None
        for axis, coefficient in index.terms:
            if coefficient not in (1, -1) or value.divisor != 1:
                return None
            terms = {a: coefficient * c for a, c in value.terms}
            result[axis] = affine(coefficient * (value.constant - index.constant), terms, sizes)
    if any(a not in result and size > 1 for a, size in enumerate(n.shape)):
        return None
    return tuple(result.get(a, ZERO) for a in range(len(n.shape)))


def own(shape: Sizes, first: int = 0) -> Indices:
    """Each axis of a value as an axis of its own in the nest, from ``first`` on."""
    return tuple(Index(0, ((first + a, 1),)) if size > 1 else ZERO for a, size in enumerate(shape))


def aligned(n: Node, rank: int, indices: Indices) -> Indices:
    """Indices of an element-wise operand, broadcast as in NumPy to a result of ``rank`` axes."""
    skip = rank - len(n.shape)
    return tuple(ZERO if size == 1 else indices[skip + a] for a, size in enumerate(n.shape))
