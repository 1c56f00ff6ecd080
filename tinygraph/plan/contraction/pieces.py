"""A long reduction in pieces: each piece's sums are stored, and a loop nest adds them up.

For contractions with a small result, as the gradient to the weights of a small layer: a piece
reads its share of A and B once, while parts of the result would each read all of one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..indexing.accesses import full_strides
from ..nests.arrange import arrange
from ..records.work import Access, Fold, Load, Nest, Stage
from .axis import ONE, Axis, Roles, split_axis


def outermost(roles: Roles) -> Axis:
    """The reduction axis along which pieces are cut: A's longest steps."""
    first = roles.reduce[0] if roles.reduce else ONE
    return first.parts[0] if first.parts else first


def split_reduction(
    axes: Sequence[Axis], roles: Roles, pieces: int, strides: Sequence[int]
) -> list[Axis]:
    """Axes of a contraction whose result has one axis more, the last: its pieces.

    ``strides`` are those of this result.
    """
    whole, outputs = outermost(roles), len(strides) - 1
    outer, inner = split_axis(whole, whole.size // pieces)
    kept = [replace(x, ops=(s,)) for x, s in zip(axes, strides[:-1], strict=False)]
    reduce = [replace(inner if x is whole else x, ops=(0,)) for x in axes[outputs:]]
    return [*kept, replace(outer, ops=(strides[-1],)), *reduce]


def add_up(nest: Nest, accumulator: str, pieces: int, sums: Access) -> Nest:
    """The nest of an epilogue, which adds up the pieces instead of the reduction.

    ``sums`` has strides for the output axes, then for the pieces.
    """
    rank = len(sums.strides) - 1
    before, after = nest.stages
    number = len(nest.operands)
    step = (Load("piece", number), Fold(accumulator, "sum", "piece", "float32"))
    operands = [
        replace(o, strides=(*full_strides(o, len(nest.axes))[:rank], 0)) for o in nest.operands
    ]
    return arrange(
        Nest(
            (*nest.axes[:rank], pieces),
            (rank,),
            (*operands, sums),
            (Stage(before.outer, step), after),
        )
    )
