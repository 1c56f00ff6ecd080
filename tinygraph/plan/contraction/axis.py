"""The axes of a contraction: what they are in A, in B and in the epilogue, and their roles."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of the contraction: its size, and its stride in A, in B and in each operand of the
    epilogue.

    Attributes:
        parts: what was joined, outermost first.
        edges: steps of A's guarded positions along it, one for each guard.
    """

    size: int
    a: int
    b: int
    ops: tuple[int, ...]
    parts: tuple[Axis, ...] = ()
    edges: tuple[int, ...] = ()


def joined(outer: Axis, inner: Axis, packed: bool = False) -> Axis | None:
    """The two as one, if every stride allows it; a packed B takes any order."""

    def fits(x: int, y: int) -> bool:
        return x == y * inner.size

    if not fits(outer.a, inner.a) or not all(map(fits, outer.ops, inner.ops)):
        return None
    if not all(map(fits, outer.edges, inner.edges)):
        return None
    if not packed and not fits(outer.b, inner.b):
        return None
    parts = (*(outer.parts or (outer,)), *(inner.parts or (inner,)))
    return Axis(outer.size * inner.size, inner.a, inner.b, inner.ops, parts, inner.edges)


def join_all(axes: list[Axis], packed: bool = False) -> list[Axis]:
    result: list[Axis] = []
    for axis in axes:
        while result and (both := joined(result[-1], axis, packed)) is not None:
            result.pop()
            axis = both
        result.append(axis)
    return result


@dataclass(frozen=True, slots=True)
class Grouped:
    """The axes of a convolution in groups, that has as many columns in a group as channels."""

    groups: Axis
    column: Axis
    channel: Axis

    @property
    def size(self) -> int:
        return self.column.size


@dataclass(frozen=True, slots=True)
class Roles:
    """Axes sorted into their roles; every list is outermost first and fits the argument block."""

    batch: tuple[Axis, ...]  # at most one
    rows: tuple[Axis, ...]  # at most three
    column: Axis
    reduce: tuple[Axis, ...]  # at most three
    packed: bool
    dots: bool = False  # products of rows of A and of the one column, contiguous in both
    group: Grouped | None = None  # whose columns the column axis has, those of all groups

    @property
    def lanes_along(self) -> str:
        """The batch is across the lanes if A has the columns, too."""
        return "batch" if self.column.a else "reduction" if self.dots else "columns"


ONE = Axis(1, 0, 0, ())


def split_axis(axis: Axis, inner: int) -> tuple[Axis, Axis]:
    """An axis as an outer and an inner one of the given size."""
    outer = replace(axis, size=axis.size // inner, a=axis.a * inner, b=axis.b * inner, parts=())
    return outer, replace(axis, size=inner, parts=())


def argument_axes(roles: Roles, operands: int) -> tuple[Axis, ...]:
    """g; z, y, m; r, s, k: as the argument block has them, missing ones of size 1."""
    zero = replace(ONE, ops=(0,) * operands)
    pad = lambda axes, n: (*(zero,) * (n - len(axes)), *axes)  # noqa: E731
    return (*pad(roles.batch, 1), *pad(roles.rows, 3), *pad(roles.reduce, 3))
