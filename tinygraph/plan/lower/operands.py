"""Where a contraction reads its operands: as they are stored, or padded copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...graph.ir import Node
from ...graph.op import Index
from ..contraction.axes import one_batch_axis
from ..indexing.accesses import resolve
from ..indexing.index import Indices, Leaf, own, read
from ..indexing.phases import Problem, Unsuitable, operand_indices, phases, reach
from ..nests.arrange import arrange
from ..records.body import Statement
from ..records.contraction import word_of
from ..records.work import Access, Location, Nest, Stage
from .anchored import Anchored


@dataclass(frozen=True, slots=True)
class Part:
    """One contraction of those that an anchor falls into: a phase of a strided transpose, or a part
    of a batch.

    Attributes:
        problem: its axes.
        views: the anchor's inputs over these axes; none where no tap reaches the phase.
        operands: those of the epilogue.
    """

    problem: Problem
    views: list[Access]
    operands: list[Access]


def padded(work: Anchored) -> Iterator[Part]:
    """The parts, with a copy of each operand that is read beyond its edges.

    Raises:
        Unsuitable: with the reason.
    """
    n, group = work.anchor, work.group
    reads = [operand_indices(n, number) for number in (0, 1)]
    if any(low > high for at in reads for low, high in reach(at, group.axes)):
        for problem in phases(group.axes, len(n.shape), reads):  # no tap reaches any of them
            yield from parts(work, problem, [])
        return
    locations = [readable(work, x, at) for x, at in zip(n.inputs, reads, strict=True)]
    for problem in phases(group.axes, len(n.shape), [at for _, at in locations]):
        views = [
            resolve(p, Leaf(n, tuple(map(problem.at, at))), len(problem.axes))
            for p, at in locations
            if 0 not in problem.axes
        ]
        yield from parts(work, problem, views)


def beyond_edges(work: Anchored) -> list[Part] | None:
    """The parts, with operands as they are stored; None where none is read beyond its edges, or
    their views do not compose.
    """
    n, s, found = work.anchor, work.s, list[Part]()
    reads = [operand_indices(n, number) for number in (0, 1)]
    try:
        for problem in phases(work.group.axes, len(n.shape), reads):
            views = []
            for x, at in zip(n.inputs, reads, strict=True) if 0 not in problem.axes else ():
                leaf = read(x, tuple(map(problem.at, at)), problem.axes, 0.0, s.fusion.held)
                if leaf is None or leaf.outside != 0.0 or chained(leaf, problem):
                    return None
                views.append(resolve(s.layout.of(leaf.root), leaf, len(problem.axes)))
            found += parts(work, problem, views)
    except Unsuitable:
        return None
    return found if any(view.guards for part in found for view in part.views) else None


def chained(leaf: Leaf, problem: Problem) -> bool:
    """True if a position is a quotient, or follows from another guarded one."""
    rank = len(problem.axes)
    return any(
        g.index.divisor != 1 or any(a >= rank for a, _ in g.index.terms) for g in leaf.guards
    )


def parts(work: Anchored, problem: Problem, views: list[Access]) -> Iterator[Part]:
    """A problem's parts, which have one axis of the batch each."""
    operands = [remap(o, problem) for o in work.nest.operands]
    if not views:
        yield Part(problem, [], operands)
        return
    for sizes, placed in one_batch_axis(problem, [*views, *operands]):
        yield Part(sizes, placed[:2], placed[2:])


def readable(work: Anchored, x: Node, at: Indices) -> tuple[Location, Indices]:
    """An operand's place, and the indices of its axes; a padded copy, if it is read beyond its
    edges, or if its bytes are not side by side in the order in which they are multiplied.
    """
    s, inner = work.s, word_axes(work, x, at)
    leaf = read(x, at, work.group.axes, 0.0, s.fusion.held)
    if leaf is not None and not leaf.guards:
        place = s.layout.of(leaf.root)
        if not inner or steps(place, leaf.indices, reduced(work, at[inner[-1]])) == 1:
            return place, leaf.indices
    box = reach(at, work.group.axes)
    shape = tuple(high - low + 1 for low, high in box)
    inside = tuple(Index(low, i.terms) for (low, _), i in zip(box, own(shape), strict=True))
    leaf = read(x, inside, shape, 0.0, s.fusion.held)
    if leaf is None:
        raise Unsuitable("an operand's views do not compose")
    source = resolve(s.layout.of(leaf.root), leaf, len(shape))
    buffer, strides = work.copies.pad(source, shape, x, leaf.root in s.fixed, inner)
    offset = -sum(low * stride for (low, _), stride in zip(box, strides, strict=True))
    return Location(buffer, offset, strides, x.dtype), at


def word_axes(work: Anchored, x: Node, at: Indices) -> tuple[int, ...]:
    """The axes of a left operand of words over which the product sums step by step; elements along
    the last one are multiplied several at a time.

    Those are the channels of an image, but not the taps that go over its pixels; and of the
    gradient to the weights the pixels, but not the taps. There are more pixels than taps; if there
    are as many, or words do not fill an axis, axes without taps come first whose size they fill.
    """
    if x is not work.anchor.inputs[0] or x.dtype == "float32" or not work.s.target.packs:
        return ()
    sizes, word = work.group.axes, word_of((x.dtype, x.dtype))
    summed = {a: axis for a, index in enumerate(at) if (axis := reduced(work, index)) >= 0}
    others = {a: [sizes[o] for o, _ in at[a].terms if o != axis] for a, axis in summed.items()}
    more = [a for a, axis in summed.items() if sizes[axis] > max(others[a], default=0)]
    if more and sizes[summed[more[-1]]] % word == 0:
        return tuple(more)
    alone = [a for a, axis in summed.items() if not others[a] and sizes[axis] % word == 0]
    if alone:
        return (alone[0],)
    return tuple(a for a, axis in summed.items() if sizes[axis] >= max(others[a], default=0))


def reduced(work: Anchored, index: Index) -> int:
    """The axis of the reduction along which an index takes single steps; -1 if there is none."""
    rank = len(work.anchor.shape)
    found = [a for a, c in index.terms if a >= rank and c == 1]
    return found[0] if len(found) == 1 and index.divisor == 1 else -1


def steps(place: Location, indices: Indices, axis: int) -> int:
    """By how much an element moves along an axis of the loops."""
    each = zip(place.strides, indices, strict=True)
    return sum(stride * c for stride, i in each for a, c in i.terms if a == axis)


def remap(access: Access, problem: Problem) -> Access:
    """An epilogue operand over the axes of a problem."""
    strides, offset = [0] * len(problem.axes), access.offset
    for axis, stride in enumerate(access.strides):
        index = problem.mapping[axis]
        offset += stride * index.constant
        for a, c in index.terms:
            strides[a] += stride * c
    return replace(access, offset=offset, strides=tuple(strides))


def epilogue_of_zero(nest: Nest, problem: Problem, operands: list[Access], dtype: str) -> Nest:
    """The nest of a phase that no tap reaches: the epilogue of an empty sum."""
    rank = problem.outputs
    steps = (s for stage in nest.stages for s in stage.outer)
    stage = Stage((Statement("acc", "K(0)", (), dtype), *steps), ())
    outer = tuple(replace(o, strides=o.strides[:rank]) for o in operands)
    return arrange(Nest(problem.axes[:rank], (), outer, (stage,)))
