"""Winograd convolutions: which anchors are one, with which tile, and why.

No operator is known here by name. An anchor qualifies if one operand is read through two windows, out + tap or
out - tap, of equal size and step one, and the other operand has a tap's weight: a convolution of stride one, and
the gradient to its input, which is one with the filter turned round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from ..ir import Node
from .body import Body
from .contract import Axis, Unsuitable, join_all
from .contraction import TileOperand
from .index import Leaf
from .plan import Access, Buffer, Emitted, Place
from .tiling import Target, tile_cycles
from .toom_cook import POINTS
from .winograd_kernel import TILE_FIELDS, WEIGHT_FIELDS, WinogradTile, WinogradWeights


@dataclass(frozen=True, slots=True)
class Window:
    """An axis of the image: window position t of output o lies at o + t + origin, inside if that is in [0, size).

    ``flip``: the filter's last tap comes first.
    """

    out: int
    tap: int
    origin: int
    size: int
    stride: int
    flip: bool


@dataclass(frozen=True, slots=True)
class Convolution:
    """An anchor as a convolution of stride one: sizes, and each role's strides in image, weights and epilogue.

    Axes carry their stride in the image as ``a``, in the weights as ``b``. The windows' axes are rows first.
    """

    image: Access
    weights: Access
    source: Node  # the weights
    windows: tuple[Window, Window]
    outputs: tuple[Axis, Axis]
    taps: tuple[Axis, Axis]
    group: Axis
    batch: Axis
    column: Axis
    channel: Axis

    @property
    def r(self) -> int:
        return self.taps[0].size


# ---------------------------------------------------------------------- recognition


def recognize(
    axes: tuple[int, ...], outputs: int, leaves: Sequence[tuple[Place, Leaf]], sources: Sequence[Node],
    operands: Sequence[Access], writes: Sequence[int],
) -> Convolution:
    """The convolution that an anchor's loops are; ``leaves`` say where its two inputs are read.

    Raises:
        Unsuitable: it is none, or not laid out as one.
    """
    for number in (0, 1):
        image, base = windows_of(*leaves[number], len(axes))
        if len(image) != 2:
            continue
        weights = plain(*leaves[1 - number], len(axes))
        return arrange_roles(axes, outputs, image, base, weights, sources[1 - number], operands, writes)
    raise Unsuitable("its stride or dilation is not one, or it has no two window axes")


def windows_of(place: Place, leaf: Leaf, rank: int) -> tuple[list[Window], Access]:
    """The axes of an operand that a window slides over, and the access of the rest."""
    windows: list[Window] = []
    offset, strides = place.offset, [0] * rank
    for index, stride, extent in zip(leaf.indices, place.strides, leaf.root.shape, strict=True):
        beyond = [g for k, g in enumerate(leaf.guards) if index.terms == ((rank + k, 1),)]
        if beyond:
            offset += index.constant * stride
            index, extent = beyond[0].index, beyond[0].size
        if len(index.terms) == 2 and index.divisor == 1 and index.terms[0][1] == 1 and abs(index.terms[1][1]) == 1:
            (out, _), (tap, sign) = index.terms
            windows.append(Window(out, tap, index.constant, extent, stride, sign < 0))
            continue
        if beyond or index.divisor != 1 or any(a >= rank for a, _ in index.terms):
            return [], place_access(place, offset, strides)
        offset += index.constant * stride
        for a, c in index.terms:
            strides[a] += c * stride
    return windows, place_access(place, offset, strides)


def plain(place: Place, leaf: Leaf, rank: int) -> Access:
    """The weights: read by every axis alone, within their edges."""
    windows, access = windows_of(place, leaf, rank)
    if windows or leaf.guards:
        raise Unsuitable("both operands have windows")
    return access


def place_access(place: Place, offset: int, strides: Sequence[int]) -> Access:
    return Access(place.buffer, offset, tuple(strides), place.dtype)


def arrange_roles(
    axes: tuple[int, ...], outputs: int, windows: list[Window], image: Access, weights: Access, source: Node,
    operands: Sequence[Access], writes: Sequence[int],
) -> Convolution:
    if any(w.out >= outputs or w.tap < outputs for w in windows):
        raise Unsuitable("its windows slide over the reduction")
    windows = sorted(windows, key=lambda w: -w.stride)
    every = [
        Axis(size, image.strides[i], weights.strides[i], tuple(o.strides[i] for o in operands))
        for i, size in enumerate(axes)
    ]
    own = {i for w in windows for i in (w.out, w.tap)}
    taps = [replace(every[w.tap], a=w.stride) for w in windows]
    if taps[0].size != taps[1].size:
        raise Unsuitable("its filter is not square")
    rest = [(i, x) for i, x in enumerate(every) if i not in own and x.size > 1]
    columns = [x for i, x in rest if i < outputs and x.b and not x.a]
    one = Axis(1, 0, 0, (0,) * len(operands))
    column = single(columns, one, "output channels")
    if column.size > 1 and (any(s not in (0, 1) for s in column.ops) or any(column.ops[w] != 1 for w in writes)):
        raise Unsuitable("its output channels are not contiguous")
    channel = single([x for i, x in rest if i >= outputs], one, "input channels")
    if channel.size > 1 and channel.a != 1:
        raise Unsuitable("its input channels are not contiguous")
    return Convolution(
        image, weights, source, (windows[0], windows[1]),
        (replace(every[windows[0].out], a=windows[0].stride), replace(every[windows[1].out], a=windows[1].stride)),
        (taps[0], taps[1]),
        single([x for i, x in rest if i < outputs and x.a and x.b], one, "groups"),
        single([x for i, x in rest if i < outputs and not x.b], one, "batch axes"),
        column, channel,
    )  # fmt: skip


def single(axes: list[Axis], one: Axis, what: str) -> Axis:
    """The axes as one."""
    joined = join_all(sorted(axes, key=lambda x: (-abs(x.a), -abs(x.b)))) or [one]
    if len(joined) > 1:
        raise Unsuitable(f"its {what} do not join")
    return joined[0]


# ---------------------------------------------------------------------- the cost model


@dataclass(frozen=True, slots=True)
class Choice:
    """How a convolution is cut: output tiles of m x m, a part has ``lines`` tile rows and 1 / column_parts of the columns."""

    m: int
    rows: int
    vectors: int
    lines: int
    column_parts: int
    cycles: float


CACHE = 768 * 1024  # bytes of a part's transformed tiles and of a block of weights and products: within L2
STREAM = 8.0  # bytes a cycle from memory or the shared cache, for each core
PART = 3_000  # cycles that a part should at least take
ROWS = (4, 6, 8, 9, 14)  # of register tiles: few, so that layers share kernels

# The largest output tile that is chosen unasked. Rms errors against float64, relative to PyTorch's float32 (images
# without negative values, 16 to 160 channels): 3x3 filters 0.9 to 1.2 for tiles of 2, 2.6 to 3.2 for 4, 6 to 9 for 5,
# 10 to 13 for 6; 5x5 filters 2.3 for 2, 7.6 for 4.
LARGEST = 4


def direct_cycles(c: Convolution, target: Target) -> float:
    """Cycles of the implicit product on one core: 95 % of the multiply-adds' peak, or the weights' way from memory."""
    height, width = (x.size for x in c.outputs)
    vectors = -(-c.column.size // target.lanes)
    steps = c.group.size * c.batch.size * height * width * c.r**2 * c.channel.size * vectors
    weights = 4 * c.group.size * c.r**2 * c.channel.size * c.column.size
    return max(steps / 2 / 0.93, weights / STREAM)


def choose(c: Convolution, target: Target, wanted: int | None = None) -> Choice:
    """The cheapest way, by output tile ``wanted`` or any up to LARGEST."""
    tiles = [n - c.r + 1 for n in POINTS if n - c.r + 1 >= 2]
    if wanted is None:
        tiles = [m for m in tiles if m <= LARGEST]
    else:
        if wanted not in tiles:
            raise Unsuitable(f"there are no points for output tiles of {wanted} and filters of {c.r}")
        tiles = [wanted]
    if not tiles:
        raise Unsuitable(f"there are no points for filters of {c.r}")
    options = [option for m in tiles for option in options_of(c, m, target)]
    return min(options, key=lambda o: (o.cycles, o.m, o.lines, o.column_parts, -o.rows, -o.vectors))


def options_of(c: Convolution, m: int, target: Target) -> list[Choice]:
    tiles_y, tiles_x = (-(-x.size // m) for x in c.outputs)
    lines = c.batch.size * tiles_y
    blocks = -(-c.column.size // target.lanes)
    counts = sorted({-(-lines // part) for part in range(1, lines + 1)})
    found = []
    for count, parts in product(counts, (1, 2, 3, 4, 6, 8)):
        if count * tiles_x > 400 or parts > blocks:
            continue
        tile = product_tile(count * tiles_x, blocks, parts, c.channel.size, target)
        found.append(Choice(m, *tile, count, parts, cycles(c, m, *tile, count, parts, target)))
    return found


def product_tile(tiles: int, vectors: int, column_parts: int, k: int, target: Target) -> tuple[int, int]:
    """(rows, vectors) of the register tile for the products of ``tiles`` rows; tails of rows are computed whole."""
    widest = min(-(-vectors // column_parts), 6)
    shapes = [(r, min(widest, (target.registers - 1) // (r + 1))) for r in ROWS if r + 2 <= target.registers]

    def cost(shape: tuple[int, int]) -> float:
        rows, width = shape
        full, tail = divmod(vectors, width)
        repeats = -(-tiles // rows)
        columns = full * product_cycles(rows, width, k) + (product_cycles(rows, tail, k) if tail else 0)
        return repeats * columns

    return min(shapes, key=lambda s: (cost(s), s))


def product_cycles(rows: int, vectors: int, k: int) -> float:
    return k * tile_cycles(rows, vectors) + 20 + rows * vectors


def cycles(c: Convolution, m: int, rows: int, vectors: int, lines: int, column_parts: int, target: Target) -> float:
    """Estimated cycles of all parts on one core, and once more those of one part: what another core waits for."""
    n = m + c.r - 1
    tiles_y, tiles_x = (-(-x.size // m) for x in c.outputs)
    row_parts = -(-c.batch.size * tiles_y // lines)
    tiles, k, blocks = lines * tiles_x, c.channel.size, -(-c.column.size // (vectors * target.lanes))
    share = -(-blocks // column_parts) * vectors  # vectors of columns in the largest part
    padded = -(-tiles // rows) * rows
    into = tiles * -(-k // target.lanes) * transform_cycles(n, n)
    weights = 4 * n * n * k * target.lanes
    v, block = 4 * n * n * padded * k, vectors * (weights + 4 * n * n * padded * target.lanes)
    slow = 1.0 + 0.25 * max(0.0, (v + min(block, CACHE // 2)) / CACHE - 1.0)
    products = slow * n * n * -(-tiles // rows) * share / vectors * product_cycles(rows, vectors, k)
    streamed = share * weights / STREAM
    out = tiles * share * (transform_cycles(n, m) + 3 * m * m)
    part = PART / 10 + into + max(products, streamed) + out
    return c.group.size * part * row_parts * column_parts + part


def transform_cycles(n: int, m: int) -> float:
    """Of one vector of an n x n window to m x m: two passes of loads, multiply-adds and stores."""
    return 0.9 * (n * (n + m) + m * (n + m)) + 0.25 * (n * n * m + n * m * m)


# ---------------------------------------------------------------------- launches


def emit_work(
    c: Convolution, choice: Choice, record: WinogradTile, operands: Sequence[Access], u: Buffer, scratch: Buffer
) -> tuple[Emitted, int]:
    """The convolution with its argument block, and its parts. ``scratch`` grows to what a thread needs."""
    m, lanes, k, n = choice.m, record.lanes, c.channel.size, c.column.size
    size = m + c.r - 1
    tiles_y, tiles_x = (-(-x.size // m) for x in c.outputs)
    lines = c.batch.size * tiles_y
    row_parts = -(-lines // choice.lines)
    v_row = -(-k // lanes) * lanes + lanes  # a cache line more, so that rows do not fall on few sets
    padded = -(-(-(-lines // row_parts) * tiles_x) // choice.rows) * choice.rows
    v_point, m_point = padded * v_row + lanes, padded * record.width + lanes
    m_offset = size * size * v_point
    scratch.bytes = max(scratch.bytes, -(-4 * (m_offset + size * size * m_point) // 64) * 64 + 64)
    windows = c.windows
    origin = [w.origin - (c.r - 1 if w.flip else 0) for w in windows]
    # pixels that no output needs stay out: a NaN there would spread over the tile
    limits = [min(w.size, o + x.size + c.r - 1) for w, o, x in zip(windows, origin, c.outputs, strict=True)]
    fields = dict(
        row_parts=row_parts, column_parts=choice.column_parts, z=c.batch.size, tiles_y=tiles_y, tiles_x=tiles_x,
        height=c.outputs[0].size, width=c.outputs[1].size, n=n, k=k, image_height=limits[0],
        image_width=limits[1], top=-origin[0], left=-origin[1], v_row=v_row, v_point=v_point,
        m_offset=m_offset, m_point=m_point,
    )  # fmt: skip
    image = replace(c.image, strides=(c.group.a, c.batch.a, windows[0].stride, windows[1].stride, 1))
    panel = size * size * k * record.width
    blocks = -(-n // record.width)
    views = [replace(c.image, strides=image.strides), Access(u, 0, (panel * blocks, panel, 1), "float32")]
    boxes = [(c.group.size, c.batch.size, windows[0].size, windows[1].size, k), (c.group.size, blocks, panel)]
    for i, o in enumerate(operands):
        roles = (c.group, c.batch, *c.outputs, c.column)
        views.append(replace(o, strides=tuple(x.ops[i] for x in roles)))
        boxes.append(tuple(x.size for x in roles))
    outputs = frozenset(2 + o for o, _ in record.body.stores)
    assert tuple(fields) == TILE_FIELDS
    work = Emitted(record, tuple(fields.items()), tuple(views), tuple(boxes), outputs, scratch)
    return work, c.group.size * row_parts * choice.column_parts


def tile_record(c: Convolution, choice: Choice, body: Body, operands: Sequence[Access], lanes: int) -> WinogradTile:
    n = c.column.size
    columns = -(-n // lanes)
    vectors = choice.vectors
    tail = columns % vectors
    specs = tuple(TileOperand(c.column.ops[i] == 1 if n > 1 else True, o.dtype) for i, o in enumerate(operands))
    return WinogradTile(choice.m, c.r, choice.rows, vectors, tail, n % lanes != 0, body, specs, lanes)


def weights_work(c: Convolution, record: WinogradTile, u: Buffer) -> tuple[Emitted, int]:
    """The transform of the weights into ``u``."""
    offset, steps = c.weights.offset, []
    for window, tap in zip(c.windows, c.taps, strict=True):
        offset += tap.b * (c.r - 1) if window.flip else 0
        steps.append(-tap.b if window.flip else tap.b)
    n, k, width = c.column.size, c.channel.size, record.width
    blocks = -(-n // width)
    panel = record.points * k * width
    w = Access(c.weights.buffer, offset, (c.group.b, c.column.b, c.channel.b, *steps), "float32")
    target = Access(u, 0, (panel * blocks, panel, k * width, width, 1), "float32")
    boxes = ((c.group.size, n, k, c.r, c.r), (c.group.size, blocks, record.points, k, width))
    rows = c.group.size * blocks * k
    parts = max(1, min(16, rows * width // 4096))
    fields = tuple(zip(WEIGHT_FIELDS, (parts, c.group.size, blocks, n, k), strict=True))
    kernel = WinogradWeights(record.m, c.r, record.vectors, c.column.b == 1 or n == 1, record.lanes)
    return Emitted(kernel, fields, (w, target), boxes, frozenset({1})), parts


def weights_elements(c: Convolution, record: WinogradTile) -> int:
    return c.group.size * -(-c.column.size // record.width) * record.points * c.channel.size * record.width
