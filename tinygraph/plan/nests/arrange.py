"""The order of a nest's loops: which axis is innermost, which are joined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from ...graph.dtype import DTYPES
from ...graph.op import Index
from ..indexing.accesses import full_strides
from ..records.body import Statement
from ..records.work import Access, Load, Nest, NestStatement, Position, Put, Stage


def arrange(nest: Nest) -> Nest:
    """Orders the axes by the strides of what is read most, joins axes that all accesses run through
    as one.
    """
    rank = len(nest.axes)
    outputs = [a for a in range(rank) if a not in nest.reduce and nest.axes[a] > 1]
    reduces = [a for a in nest.reduce if nest.axes[a] > 1]
    key = stride_order(nest)
    outputs, reduces = sorted(outputs, key=key), sorted(reduces, key=key)
    pinned = pinned_axes(nest)
    outputs, sizes = collapse(outputs, nest, pinned)
    reduces, more = collapse(reduces, nest, pinned)
    sizes |= more
    order = outputs + reduces
    return permute(nest, order, sizes, len(outputs))


def stride_order(nest: Nest) -> Callable[[int], tuple[int, int]]:
    """Sort key for axes, outermost first; follows the operand whose contiguous axis is shared by
    most others.
    """
    rank = len(nest.axes)
    strides = [full_strides(o, rank) for o in nest.operands]
    spans = [prod(n for n, s in zip(nest.axes, found, strict=True) if s) for found in strides]
    innermost = [contiguous_output(found, nest) for found in strides]

    def sharing(number: int) -> int:
        return sum(s[innermost[number]] == 1 for s in strides) if innermost[number] >= 0 else 0

    widest = max(spans, default=0)
    wide = {o for o, span in enumerate(spans) if span == widest or o in written_operands(nest)}
    ranked = sorted(range(len(strides)), key=lambda o: (o not in wide, -sharing(o), -spans[o], o))

    def key(axis: int) -> tuple[int, int]:
        main = next((abs(strides[o][axis]) for o in ranked if strides[o][axis]), 0)
        return (-main, axis)

    return key


def written_operands(nest: Nest) -> set[int]:
    return {
        s.operand
        for stage in nest.stages
        for s in (*stage.outer, *stage.inner)
        if isinstance(s, Put)
    }


def contiguous_output(strides: list[int], nest: Nest) -> int:
    """The output axis along which an operand is contiguous; -1 if there is none."""
    found = [
        a for a, s in enumerate(strides) if s == 1 and a not in nest.reduce and nest.axes[a] > 1
    ]
    return found[0] if found else -1


def pinned_axes(nest: Nest) -> set[int]:
    """Axes that appear by themselves, in guards or positions, and so are joined with no others."""
    pinned = {a for o in nest.operands for g in o.guards for a, _ in g.index.terms}
    steps = [s for stage in nest.stages for s in (*stage.outer, *stage.inner)]
    return pinned | {a for s in steps if isinstance(s, Position) for a, _ in s.index.terms}


def collapse(order: list[int], nest: Nest, pinned: set[int]) -> tuple[list[int], dict[int, int]]:
    """Joins an axis with the next inner one where every access allows it; the inner axis stands for
    both.
    """
    sizes = {a: nest.axes[a] for a in order}
    kept: list[int] = []
    for inner in order:
        while (
            kept
            and not {kept[-1], inner} & pinned
            and all(o.strides[kept[-1]] == o.strides[inner] * sizes[inner] for o in nest.operands)
        ):
            sizes[inner] *= sizes.pop(kept.pop())
        kept.append(inner)
    return kept, sizes


def permute(nest: Nest, order: list[int], sizes: dict[int, int], outputs: int) -> Nest:
    """The nest over the axes ``order`` of its own."""
    new = {a: i for i, a in enumerate(order)}

    def moved(index: Index) -> Index:
        return replace(index, terms=tuple(sorted((new[a], c) for a, c in index.terms if a in new)))

    operands = tuple(
        replace(o, strides=tuple(o.strides[a] for a in order),
                guards=tuple(replace(g, index=moved(g.index)) for g in o.guards))
        for o in nest.operands
    )  # fmt: skip

    def moved_steps(steps: tuple[NestStatement, ...]) -> tuple[NestStatement, ...]:
        return tuple(
            replace(s, index=moved(s.index)) if isinstance(s, Position) else s for s in steps
        )

    stages = tuple(Stage(moved_steps(s.outer), moved_steps(s.inner)) for s in nest.stages)
    axes = tuple(sizes[a] for a in order)
    return Nest(axes, tuple(range(outputs, len(order))), operands, stages)


def copy_nest(axes: tuple[int, ...], source: Access, target: Access) -> Nest:
    """Copies an access to another, element by element, and converts it if their dtypes differ."""
    steps: tuple[NestStatement, ...] = (Load("x", 0, source.dtype), Put(1, "x"))
    if source.dtype != target.dtype:
        dtype = target.dtype
        text = f"{DTYPES[dtype].constructor}({{0}})"
        steps = (steps[0], Statement("y", text, ("x",), dtype), Put(1, "y"))
    return arrange(Nest(axes, (), (source, target), (Stage(steps, ()),)))
