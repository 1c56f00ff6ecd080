"""A convolution of stride s as one of stride one over blocks of s x s pixels.

The image is copied with a block's pixels next to each other, as channels (space to depth); a filter
of k taps becomes one of ceil(k / s) blocks, its missing taps zeros. Winograd then has fewer
multiplications than the k * k of the direct form. The padding is part of the copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from ...graph.dtype import DTYPES
from ...graph.op import Index
from ..indexing.accesses import ordered_strides
from ..indexing.index import span
from ..indexing.phases import Unsuitable
from ..indexing.windows import Window
from ..nests.arrange import permute
from ..records.work import SLACK, Access, Buffer, Guard, Load, Nest, Put, Stage

AxisPosition = tuple[Index, int, int]  # index on an axis, the axis' size and its stride


@dataclass(frozen=True, slots=True)
class Copy:
    """An operand in blocks: ``source`` and ``target`` are accesses over the axes of ``shape``,
    which are looped over in ``order``.

    The target's buffer is in no plan unless the copy is made.
    """

    shape: tuple[int, ...]
    source: Access
    target: Access
    order: tuple[int, ...]

    def nest(self) -> Nest:
        order = [axis for axis in self.order if self.shape[axis] > 1]
        stage = Stage((Load("x", 0), Put(1, "x")), ())
        nest = Nest(self.shape, (), (self.source, self.target), (stage,))
        return permute(nest, order, dict(enumerate(self.shape)), len(order))


@dataclass(frozen=True, slots=True)
class Blocks:
    """A convolution over blocks, or its gradient to the weights: the original's loops, where taps
    count blocks, then a block's rows and columns.

    ``channels`` are those of the image's axes that are within a block, outermost first.
    """

    axes: tuple[int, ...]
    windows: list[Window]
    image: Copy
    channels: list[int]


def image_in_blocks(
    axes: tuple[int, ...], windows: Sequence[Window], image: Access, channels: Sequence[int]
) -> Blocks:
    """The same over blocks of its stride; ``channels`` are axes of the image.

    Raises:
        Unsuitable: it has no such form.
    """
    rank, step = len(axes), windows[0].step
    if any(w.step != step for w in windows):
        raise Unsuitable("its strides differ")
    outs, taps, phases = [w.out for w in windows], [w.tap for w in windows], (rank, rank + 1)
    sizes = [*(-(-n // step) if i in taps else n for i, n in enumerate(axes)), step, step]
    blocks = {w.out: sizes[w.out] + sizes[w.tap] - 1 for w in windows}
    # channels in the order of the image, so that copying reads it in order
    lie = [*map(abs, image.strides), *(w.stride for w in windows)]
    inner = sorted((*channels, *phases), key=lambda i: -lie[i])
    outer = [i for i in range(rank) if i not in (*inner, *outs, *taps)]
    pixels = []
    for w, phase in zip(windows, phases, strict=True):
        end = w.origin + step * (axes[w.out] - 1) + axes[w.tap]  # what no output needs stays out
        row = Index(w.origin, ((w.out, step), (phase, 1)))
        pixels.append((row, min(w.size, end), w.stride))
    copied = blocked(
        image,
        pixels,
        [blocks.get(i, n if i in inner or lie[i] else 1) for i, n in enumerate(sizes)],
        [*sorted(outer, key=lambda i: -lie[i]), *outs, *inner, *taps],
        last=outs[1] if windows[1].stride == 1 else None,
    )
    moved = [
        Window(w.out, w.tap, 0, blocks[w.out], copied.target.strides[w.out], flip=False)
        for w in windows
    ]
    return Blocks(tuple(sizes), moved, copied, inner)


def weights_in_blocks(
    axes: tuple[int, ...], windows: Sequence[Window], weights: Access, found: Blocks
) -> Copy:
    """The weights of a convolution over blocks."""
    rank, step = len(axes), windows[0].step
    outs, taps = [w.out for w in windows], [w.tap for w in windows]
    positions = [
        (Index(0, ((w.tap, step), (phase, 1))), axes[w.tap], weights.strides[w.tap])
        for w, phase in zip(windows, (rank, rank + 1), strict=True)
    ]
    rest = [i for i in range(rank) if i not in (*outs, *taps, *found.channels)]
    columns = [i for i in rest if not found.image.target.strides[i]]
    shared = [i for i in rest if i not in columns]
    return blocked(
        weights,
        positions,
        [n if i >= rank or weights.strides[i] else 1 for i, n in enumerate(found.axes)],
        [*shared, *outs, *taps, *found.channels, *columns],
    )


def blocked(
    source: Access,
    positions: Sequence[AxisPosition],
    shape: Sequence[int],
    order: Sequence[int],
    last: int | None = None,
) -> Copy:
    """A copy of ``source`` at ``positions``, with two axes more, stored in ``order``; zeros
    beyond the edges. Its innermost loop is over axis ``last``.
    """
    offset, strides, guards = source.offset, [*source.strides, 0, 0], []
    for index, size, stride in positions:
        low, high = span(index, tuple(shape))
        inside = low >= 0 and high < size
        for axis, c in index.terms:
            strides[axis] = c * stride if inside else 0
        if inside:
            offset += index.constant * stride
        else:
            guards.append(Guard(index, size, stride))
    source = replace(source, offset=offset, strides=tuple(strides), guards=tuple(guards))
    size = prod(shape) * DTYPES[source.dtype].bytes + SLACK
    buffer = Buffer(f"{source.buffer.name}_blocks", size, "arena")
    steps = zip(shape, ordered_strides(tuple(shape), order), strict=True)
    lies = tuple(step if size > 1 else 0 for size, step in steps)
    loops = sorted(order, key=lambda axis: axis == last)
    return Copy(tuple(shape), source, Access(buffer, 0, lies, source.dtype), tuple(loops))
