"""The Python twins of the compiled Winograd kernels: same argument blocks, parts and epilogue,
by NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygraph.codegen.arrays import evaluate
from tinygraph.codegen.contraction import MemoryView, share, strided_view
from tinygraph.codegen.python import active_memory
from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.records.contraction import AHEAD
from tinygraph.plan.winograd.toom_cook import Matrix, transforms

from .records import (
    EPILOGUE_STRIDES,
    GRADIENT_FIELDS,
    GRADIENT_STRIDES,
    SCRATCH,
    TAP_STRIDES,
    TILE_FIELDS,
    TILE_STRIDES,
    WEIGHT_FIELDS,
    WEIGHT_STRIDES,
    WinogradGradient,
    WinogradTile,
    WinogradWeights,
)

__all__ = [  # of generated modules
    "WinogradGradient",
    "WinogradTile",
    "WinogradWeights",
    "winograd_gradient",
    "winograd_tile",
    "winograd_weights",
]

Words = Iterator[int]


def winograd_tile(part: int, tid: int, args: Sequence[int], spec: WinogradTile) -> None:
    """Executes one part, as `void name(part, tid, args)` of the compiled code does."""
    del tid
    memory = active_memory()
    words = iter(int(x) for x in args)
    f = _fields(TILE_FIELDS + SCRATCH + AHEAD, words)
    image, u = (_Tensor(words, axes, "float32", memory) for axes in TILE_STRIDES)
    operands = [_Tensor(words, EPILOGUE_STRIDES, o.dtype, memory) for o in spec.operands]
    rest, column_part = divmod(part, f["column_parts"])
    g, row_part = divmod(rest, f["row_parts"])
    a_t, _, b_t = (_array(x) for x in transforms(spec.m, spec.r))
    for line in share(f["z"] * f["tiles_y"], row_part, f["row_parts"]):
        z, ty = divmod(line, f["tiles_y"])
        window = _windows(image, f, spec, g, z, ty)
        v = np.einsum("ia,tabk,jb->ijtk", b_t, window, b_t).astype(np.float32)
        for j in share(-(-f["n"] // spec.width), column_part, f["column_parts"]):
            columns = min(spec.width, f["n"] - j * spec.width)
            panel = u.view(
                {"g": g, "j": j},
                (len(b_t), len(b_t), f["k"], columns),
                (len(b_t) * f["k"] * spec.width, f["k"] * spec.width, spec.width, 1),
            )
            tiles = np.einsum("ia,abtn,jb->itjn", a_t, v @ panel, a_t).astype(np.float32)
            top = ty * spec.m
            sums = tiles.reshape(spec.m, -1, columns)[: f["height"] - top, : f["width"]]
            at = {"g": g, "z": z, "y": top, "n": j * spec.width}
            _epilogue(spec, operands, at, ("y", "x", "n"), sums)


def winograd_gradient(part: int, tid: int, args: Sequence[int], spec: WinogradGradient) -> None:
    """Executes one part, as `void name(part, tid, args)` of the compiled code does."""
    del tid
    memory = active_memory()
    words = iter(int(x) for x in args)
    f = _fields(GRADIENT_FIELDS + SCRATCH, words)
    image, gradient = (_Tensor(words, axes, "float32", memory) for axes in GRADIENT_STRIDES)
    operands = [_Tensor(words, TAP_STRIDES, o.dtype, memory) for o in spec.operands]
    rest, column_part = divmod(part, f["column_parts"])
    rest, channel_part = divmod(rest, f["channel_parts"])
    g, piece = divmod(rest, f["pieces"])
    channels = _run(f["k"], spec.lanes, channel_part, f["channel_parts"])
    columns = _run(f["n"], spec.width, column_part, f["column_parts"])
    a_t, matrix, b_t = (_array(x) for x in transforms(spec.m, spec.r))
    sums: Any = 0
    for number in share(f["z"] * f["tiles_y"] * f["tiles_x"], piece, f["pieces"]):
        rest, tx = divmod(number, f["tiles_x"])
        z, ty = divmod(rest, f["tiles_y"])
        y, x, n = ty * spec.m, tx * spec.m, len(b_t)
        at, inside = {"g": g, "z": z, "k": channels.start}, (f["image_height"], f["image_width"])
        window = _pixels(image, at, (y - f["top"], x - f["left"]), (n, n, len(channels)), inside)
        at, inside = {"g": g, "z": z, "n": columns.start}, (f["height"], f["width"])
        given = _pixels(gradient, at, (y, x), (spec.m, spec.m, len(columns)), inside)
        v = np.einsum("ia,abk,jb->ijk", b_t, window, b_t).astype(np.float32)
        q = np.einsum("ai,abn,bj->ijn", a_t, given, a_t).astype(np.float32)
        sums = sums + v[..., None] * q[:, :, None]
    taps = np.einsum("ai,abkn,bj->ijkn", matrix, sums, matrix).astype(np.float32)
    for i, k in enumerate(channels):
        rest, k2 = divmod(k, f["k2"])
        k0, k1 = divmod(rest, f["k1"])
        at = {"s": piece, "g": g, "k0": k0, "k1": k1, "k2": k2, "n": columns.start}
        _epilogue(spec, operands, at, ("y", "x", "n"), taps[:, :, i])


def winograd_weights(part: int, tid: int, args: Sequence[int], spec: WinogradWeights) -> None:
    """Executes one part, as `void name(part, tid, args)` of the compiled code does."""
    del tid
    memory = active_memory()
    words = iter(int(x) for x in args)
    f = _fields(WEIGHT_FIELDS, words)
    w, u = (_Tensor(words, axes, "float32", memory) for axes in WEIGHT_STRIDES)
    width = f["vectors"] * spec.lanes
    _, matrix, _ = (_array(x) for x in transforms(spec.m, spec.r))
    for row in share(f["groups"] * f["blocks"] * f["k"], part, f["parts"]):
        g, j, k = (int(i) for i in np.unravel_index(row, (f["groups"], f["blocks"], f["k"])))
        columns = min(width, f["n"] - j * width)
        s = w.strides
        taps = w.view(
            {"g": g, "n": j * width, "k": k},
            (spec.r, spec.r, columns),
            (s["i"], s["j"], s["n"]),
        )
        points = np.zeros((len(matrix) ** 2, width))
        points[:, :columns] = np.einsum("ia,abn,jb->ijn", matrix, taps, matrix).reshape(-1, columns)
        u.view({"g": g, "j": j, "k": k}, points.shape, (u.strides["p"], u.strides["n"]))[...] = (
            points
        )


def _fields(names: Sequence[str], words: Words) -> dict[str, int]:
    return {name: next(words) for name in names}


class _Tensor:
    """An operand of an argument block: the words for its address and strides are taken from
    `words`.
    """

    def __init__(self, words: Words, axes: Sequence[str], dtype: str, memory: MemoryView):
        self.address, self.dtype, self.memory = next(words), dtype, memory
        self.strides = {axis: next(words) for axis in axes}

    def view(self, at: dict[str, int], shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
        """Elements from a position on; strides count elements."""
        first = sum(index * self.strides[axis] for axis, index in at.items())
        address = self.address + first * DTYPES[self.dtype].bytes
        return strided_view(self.memory, address, self.dtype, shape, strides)


def _array(matrix: Matrix) -> np.ndarray:
    return np.array([[float(x) for x in row] for row in matrix])


def _windows(
    image: _Tensor, f: dict[str, int], spec: WinogradTile, g: int, z: int, ty: int
) -> np.ndarray:
    """The windows of a row of tiles, zero outside of the image: (tile, n, n, channel)."""
    m, n = spec.m, spec.m + spec.r - 1
    wide = (f["tiles_x"] - 1) * m + n
    corner, inside = (ty * m - f["top"], -f["left"]), (f["image_height"], f["image_width"])
    strip = _pixels(image, {"g": g, "z": z}, corner, (n, wide, f["k"]), inside)
    return np.stack([strip[:, i * m : i * m + n] for i in range(f["tiles_x"])])


def _pixels(
    tensor: _Tensor,
    at: dict[str, int],
    corner: tuple[int, int],
    shape: tuple[int, int, int],
    inside: tuple[int, int],
) -> np.ndarray:
    """(row, column, channel) from a corner on, zero outside of the pixels that the tensor has."""
    result = np.zeros(shape, np.float32)
    (low, high), (first, last) = (
        (max(start, 0), min(start + size, end))
        for start, size, end in zip(corner, shape, inside, strict=False)
    )
    if low < high and first < last:
        pixels = tensor.view(
            at | {"y": low, "x": first},
            (high - low, last - first, shape[2]),
            [*tensor.strides.values()][2:],
        )
        top, left = corner
        result[low - top : high - top, first - left : last - left] = pixels
    return result


def _run(size: int, width: int, part: int, parts: int) -> range:
    """The indices of one share of an axis that is cut between blocks of ``width``."""
    blocks = share(-(-size // width), part, parts)
    return range(blocks.start * width, min(blocks.stop * width, size))


def _epilogue(
    spec: WinogradTile | WinogradGradient,
    operands: Sequence[_Tensor],
    at: dict[str, int],
    axes: Sequence[str],
    sums: np.ndarray,
) -> None:
    """The body over sums, whose axes are those of the operands."""

    def tensor(number: int) -> np.ndarray:
        x = operands[number]
        start = at if spec.operands[number].unit else at | {"n": 0}
        return x.view(start, sums.shape, [x.strides[axis] for axis in axes])

    names = {name: tensor(number).copy() for name, number in spec.body.loads} | {"acc": sums}
    for s in spec.body.statements:
        names[s.name] = evaluate(s.text(), names, s.dtype)
    for number, name in spec.body.stores:
        tensor(number)[...] = names[name]
