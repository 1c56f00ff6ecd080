"""The Python twin of a compiled contraction: same argument block, parts and epilogue, by NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ..graph.dtype import DTYPES, astype
from ..plan.records.contraction import EDGE, FIELDS, TILE_OPERAND, Contraction
from .arrays import carried, evaluate

# (address, dtype) -> the memory from that address on, as a flat array
MemoryView = Callable[[int, str], np.ndarray]


def contraction(
    part: int, tid: int, args: Sequence[int], spec: Contraction, memory: MemoryView
) -> None:
    """Executes one part, as `void name(part, tid, args)` of the compiled code does.

    Raises:
        IndexError: an element is outside of `memory`.
    """
    del tid
    f = dict(zip(FIELDS, (int(x) for x in args), strict=False))
    column_part, row_part = part % f["column_parts"], part // f["column_parts"]
    tiles = -(-f["m"] // spec.rows)
    rows = share(f["g"] * f["z"] * f["y"] // spec.lines * tiles, row_part, f["row_parts"])
    rows = range(rows.start * spec.lines, rows.stop * spec.lines)  # several lines have one tile
    for j in share(-(-f["n"] // spec.width), column_part, f["column_parts"]):
        for indices, first, count in _lines(rows, f, tiles, spec.rows):
            at = dict(zip("gzym", (*indices, first), strict=True))
            sums = _sums(f, at, j, count, spec, memory, args)
            _epilogue(spec, args, at, j * spec.width, sums, memory)


def share(total: int, part: int, parts: int) -> range:
    return range(-(-total * part // parts), -(-total * (part + 1) // parts))


def _lines(
    share: range, f: Mapping[str, int], tiles: int, rows: int
) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """The row tiles of `share` by (g, z, y): these indices, first row along m, number of rows."""
    flat = share.start
    while flat < share.stop:
        line, tile = divmod(flat, tiles)
        end = min(tiles, tile + share.stop - flat)
        g, z, y = (int(i) for i in np.unravel_index(line, (f["g"], f["z"], f["y"])))
        yield (g, z, y), tile * rows, min(end * rows, f["m"]) - tile * rows
        flat += end - tile


def strided_view(
    memory: MemoryView, address: int, dtype: str, shape: Sequence[int], strides: Sequence[int]
) -> np.ndarray:
    """A strided view of memory; strides count elements and may be negative or zero."""
    reach = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    low, high = sum(x for x in reach if x < 0), sum(x for x in reach if x > 0)
    size = DTYPES[dtype].bytes
    flat = memory(address + low * size, dtype)
    if high - low >= len(flat):
        raise IndexError(f"{high - low + 1} elements of {dtype} where {len(flat)} are")
    return np.lib.stride_tricks.as_strided(flat[-low:], shape, [s * size for s in strides])


def _sums(
    f: Mapping[str, int],
    at: Mapping[str, int],
    j: int,
    count: int,
    spec: Contraction,
    memory: MemoryView,
    args: Sequence[int],
) -> np.ndarray:
    """The accumulators of `count` rows and of the columns of block j: (count, columns)."""
    if spec.word > 1:
        return _sums_of_words(f, at, j, count, spec, memory)
    first = j * spec.width
    columns = min(spec.width, f["n"] - first)
    loops, dtype = [f[axis] for axis in "rsk"], spec.factors[0]
    item = DTYPES[dtype].bytes
    a_at = f["a"] + item * sum(index * f[f"a_{axis}"] for axis, index in at.items())
    b_at = f["b"] + 4 * (at["g"] * f["b_g"] + j * f["b_j"])
    shape, strides = [count, *loops], [f[f"a_{x}"] for x in "mrsk"]
    across = f["b_j"] // spec.width if spec.lanes_along == "reduction" else 1
    steps = [*(f[f"b_{x}"] for x in "rsk"), across]
    b = strided_view(memory, b_at, "float32", [*loops, columns], steps)
    if spec.lanes_along == "batch":
        a_at += item * first
        if spec.edges:
            a = _within(f, at, a_at, (*shape, columns), spec, memory, args)
        else:
            a = strided_view(memory, a_at, dtype, [*shape, columns], [*strides, 1])
        if spec.group > 1:
            rows = [*loops, spec.group, columns], [*(f[f"b_{x}"] for x in "rsk"), spec.width, 1]
            b = strided_view(memory, b_at, "float32", *rows)
            a = a.reshape(*shape, -1, spec.group)
            b = b.reshape(*loops, spec.group, -1, spec.group)
            return np.einsum("mrskgc,rskcgn->mgn", a, b).reshape(count, columns)
        sums = np.einsum("mrskn,rskn->mn", a, b)
        return sums.astype(spec.accumulator)
    if spec.edges:
        a = _within(f, at, a_at, (*shape, 1), spec, memory, args)
    else:
        a = strided_view(memory, a_at, "float32", shape, strides)
    return a.reshape(count, -1) @ b.reshape(-1, columns)


def _sums_of_words(
    f: Mapping[str, int],
    at: Mapping[str, int],
    j: int,
    count: int,
    spec: Contraction,
    memory: MemoryView,
) -> np.ndarray:
    """Those of bytes, whose products are added up in int32: exact in float64; or of bfloat16."""
    loops, word = [f[axis] for axis in "rsk"], spec.word
    columns = min(spec.width, f["n"] - j * spec.width)
    sizes = [DTYPES[dtype].bytes for dtype in spec.factors]
    a_at = f["a"] + sizes[0] * sum(index * f[f"a_{axis}"] for axis, index in at.items())
    b_at = f["b"] + sizes[1] * (at["g"] * f["b_g"] + j * f["b_j"])
    a = strided_view(
        memory, a_at, spec.factors[0], [count, *loops, word], [*(f[f"a_{x}"] for x in "mrsk"), 1]
    )
    b = strided_view(
        memory, b_at, spec.factors[1], [*loops, columns, word],
        [*(f[f"b_{x}"] for x in "rsk"), word, 1],
    )  # fmt: skip
    a, b = (astype(x, "float64") for x in (a, b))
    sums = np.einsum("mrskw,rsknw->mn", a, b, optimize=True)
    if spec.accumulator == "float32":
        return sums.astype(np.float32)
    return sums.astype(np.int64).astype(np.int32)


def _within(
    f: Mapping[str, int],
    at: Mapping[str, int],
    address: int,
    shape: tuple[int, ...],
    spec: Contraction,
    memory: MemoryView,
    args: Sequence[int],
) -> np.ndarray:
    """The elements of A (rows, r, s, k, columns or 1), zero where they are beyond its edges."""
    index = dict(zip("mrskn", np.indices(shape), strict=True))
    offsets = index["n"] + sum(index[x] * f[f"a_{x}"] for x in "mrsk")
    inside = np.ones(shape, bool)
    first = len(FIELDS) + len(spec.operands) * len(TILE_OPERAND)
    for number, edge in enumerate(spec.edges):
        words = args[first + number * len(EDGE) :][: len(EDGE)]
        start, size, stride = (int(x) for x in words)
        row = at.get(edge.row, 0) + (index["m"] if edge.row == "m" else 0)
        position = start + row * edge.row_step + index[edge.tap] * edge.tap_step
        inside &= (position >= 0) & (position < size)
        offsets += start * stride
    a, dtype = np.zeros(shape, np.float32), spec.factors[0]
    if inside.any():
        low, high = offsets[inside].min(), offsets[inside].max()
        start = address + DTYPES[dtype].bytes * int(low)
        flat = strided_view(memory, start, dtype, (int(high - low) + 1,), (1,))
        a[inside] = flat[offsets[inside] - low]
    return a


def _epilogue(
    spec: Contraction,
    args: Sequence[int],
    at: Mapping[str, int],
    column: int,
    sums: np.ndarray,
    memory: MemoryView,
) -> None:
    def tensor(number: int) -> np.ndarray:
        operand = spec.operands[number]
        first = len(FIELDS) + number * len(TILE_OPERAND)
        address, *strides = (int(x) for x in args[first : first + len(TILE_OPERAND)])
        start = (
            sum(i * s for i, s in zip(at.values(), strides, strict=True)) + operand.unit * column
        )
        address += start * DTYPES[operand.dtype].bytes
        return strided_view(
            memory, address, operand.dtype, sums.shape, [strides[-1], int(operand.unit)]
        )

    names = {"acc": sums}
    for name, number in spec.body.loads:
        dtype = spec.operands[number].dtype
        names[name] = astype(tensor(number), carried(dtype))
    for s in spec.body.statements:
        names[s.name] = evaluate(s.text(), names, s.dtype)
    for number, name in spec.body.stores:
        tensor(number)[...] = astype(names[name], spec.operands[number].dtype)
