"""A long reduction with few results in pieces, which run side by side: each piece's results are
stored, and a second nest folds them.

The number of pieces follows from sizes alone, so that sums are the same bits at any number of
threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from ...graph.op import Index
from ..indexing.accesses import row_major
from ..records.work import (
    Access,
    Buffer,
    Fold,
    Load,
    Nest,
    NestStatement,
    Position,
    Put,
    Stage,
)
from .arrange import arrange

FEW = 4  # pieces that keep several threads busy
LONG = 1024  # steps of a piece's reduction, next to which storing its results costs nothing

NewBuffer = Callable[[int, str], Buffer]  # of so many elements of a dtype


def in_pieces(nest: Nest, worth: int, buffer: NewBuffer) -> tuple[Nest, Nest] | None:
    """An arranged nest as one over pieces of its reduction, outermost, and one that folds them.

    Args:
        worth: how many parts its work is worth.
        buffer: makes memory for results of pieces.

    Returns:
        None if the reduction is not long, has no divisor, or is passed over more than once.
    """
    most = min(worth, prod(nest.axes[a] for a in nest.reduce) // LONG)
    if most < FEW or any(stage.inner for stage in nest.stages[1:]):
        return None
    ways = [(axis, divisor(nest.axes[axis], most)) for axis in nest.reduce]
    enough = (way for way in ways if way[1] >= FEW)
    axis, count = next(enough, max(ways, key=lambda way: way[1], default=(0, 1)))
    if count == 1:
        return None
    folds = [step for step in nest.stages[0].inner if isinstance(step, Fold)]
    shape = nest.axes[: nest.reduce[0]]
    strides = row_major((count, *shape))
    kept = [Access(buffer(count * prod(shape), f.dtype), 0, strides, f.dtype) for f in folds]
    return each_piece(nest, axis, count, folds, kept), all_pieces(nest, count, folds, kept)


def divisor(size: int, most: int) -> int:
    """The largest divisor of size that is at most ``most``."""
    return max(d for d in range(1, min(size, most) + 1) if size % d == 0)


def each_piece(
    nest: Nest, axis: int, count: int, folds: Sequence[Fold], kept: Sequence[Access]
) -> Nest:
    """The reduction, with its axis ``axis`` cut into ``count`` pieces, and nothing after it."""
    inner = nest.axes[axis] // count

    def moved(index: Index) -> Index:
        terms = {a + 1: c for a, c in index.terms}
        if axis + 1 in terms:
            terms[0] = terms[axis + 1] * inner
        return replace(index, terms=tuple(sorted(terms.items())))

    def seen(o: Access) -> Access:
        guards = tuple(replace(g, index=moved(g.index)) for g in o.guards)
        return replace(o, strides=(o.strides[axis] * inner, *o.strides), guards=guards)

    def steps(found: Sequence[NestStatement]) -> tuple[NestStatement, ...]:
        return tuple(
            replace(s, index=moved(s.index)) if isinstance(s, Position) else s for s in found
        )

    before = [s for s in nest.stages[0].outer if not isinstance(s, Put)]
    number, rest = len(nest.operands), (0,) * len(nest.reduce)
    puts = tuple(Put(number + k, fold.name) for k, fold in enumerate(folds))
    results = [replace(o, strides=o.strides + rest) for o in kept]
    axes = (count, *(inner if a == axis else n for a, n in enumerate(nest.axes)))
    made = Nest(
        axes,
        tuple(a + 1 for a in nest.reduce),
        (*map(seen, nest.operands), *results),
        (Stage(steps(before), steps(nest.stages[0].inner)), Stage(puts, ())),
    )
    return touched(made)


def all_pieces(nest: Nest, count: int, folds: Sequence[Fold], kept: Sequence[Access]) -> Nest:
    """What each piece gave folded, and all that comes after the reduction."""
    outputs, number = nest.reduce[0], len(nest.operands)
    inner: list[NestStatement] = []
    for k, fold in enumerate(folds):
        name = f"{fold.name}_piece"
        inner += [Load(name, number + k, fold.dtype), replace(fold, value=name)]
    operands = [replace(o, strides=(*o.strides[:outputs], 0)) for o in nest.operands]
    pieces = [replace(o, strides=(*o.strides[1:], o.strides[0])) for o in kept]
    first = Stage(nest.stages[0].outer, tuple(inner))
    made = Nest(
        (*nest.axes[:outputs], count),
        (outputs,),
        (*operands, *pieces),
        (first, *nest.stages[1:]),
    )
    return arrange(touched(made))


def touched(nest: Nest) -> Nest:
    """The nest with those operands alone that its steps read or write."""
    steps = [s for stage in nest.stages for s in (*stage.outer, *stage.inner)]
    used = sorted({s.operand for s in steps if isinstance(s, Load | Put)})
    new = {o: number for number, o in enumerate(used)}

    def renumbered(found: Sequence[NestStatement]) -> tuple[NestStatement, ...]:
        return tuple(
            replace(s, operand=new[s.operand]) if isinstance(s, Load | Put) else s for s in found
        )

    stages = tuple(Stage(renumbered(s.outer), renumbered(s.inner)) for s in nest.stages)
    return replace(nest, operands=tuple(nest.operands[o] for o in used), stages=stages)
