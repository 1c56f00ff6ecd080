"""Single contractions, run on every vector width and as their Python twin, in guarded memory."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from llvmlite import ir

from tinygraph.codegen.contraction import contraction as twin
from tinygraph.plan.records.body import Body
from tinygraph.plan.records.contraction import (
    EDGE,
    FIELDS,
    SIZES,
    TILE_OPERAND,
    Contraction,
    Edge,
    TileOperand,
)
from tinygraph_cpu.gemm.contraction import emit_contraction
from tinygraph_cpu.gemm.tile import tiles
from tinygraph_cpu.machine import loading, objects
from tinygraph_cpu.machine.features import detect

LEVELS = ("native", "x86-64-v3", "x86-64-v2", "twin")
PLAIN = Body(stores=((0, "acc"),))
SLACK = 64
Function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class Arena:
    """Arrays inside of one flat memory, with slack behind each, which must stay as it was."""

    def __init__(self, **arrays: np.ndarray) -> None:
        self.arrays, at = arrays, SLACK
        self.offsets = {}
        for name, x in arrays.items():
            self.offsets[name] = at
            at += -(-x.nbytes // 64) * 64 + SLACK
        self.bytes = np.full(at, 0x7F, np.uint8)
        for name, x in arrays.items():
            self[name][...] = x

    def __getitem__(self, name: str) -> np.ndarray:
        x, at = self.arrays[name], self.offsets[name]
        return self.bytes[at : at + x.nbytes].view(x.dtype).reshape(x.shape)

    def address(self, name: str, element: int = 0) -> int:
        x = self.arrays[name]
        return self.bytes.ctypes.data + self.offsets[name] + element * x.itemsize

    def memory(self, address: int, dtype: str) -> np.ndarray:
        flat = self.bytes[address - self.bytes.ctypes.data :]
        size = np.dtype(dtype).itemsize
        return flat[: len(flat) // size * size].view(dtype)

    def unused(self) -> np.ndarray:
        used = np.zeros(len(self.bytes), bool)
        for name, x in self.arrays.items():
            used[self.offsets[name] : self.offsets[name] + x.nbytes] = True
        return self.bytes[~used]


def lanes_of(level: str) -> int:
    return 8 if level == "twin" else detect(level).lanes


def native(spec: Contraction, level: str):
    """``level`` may name another instruction for products of bytes than the processor's best."""
    level, given, dot = level.partition(":")
    features = replace(detect(level), dot=dot) if given else detect(level)
    name = "contraction_" + hashlib.sha256(f"{spec}{features}".encode()).hexdigest()[:16]
    module = ir.Module()
    emit_contraction(module, name, spec, features.dot_of(spec.factors[0]))
    return Function(loading.load_for_good({name: objects.compile_module(module, features)})[name])


def block(**fields: int) -> dict[str, int]:
    """The fields of an argument block; a size that is not given is 1, a stride 0."""
    return {name: int(name in SIZES) for name in FIELDS} | fields


def execute(
    level: str,
    arena: Arena,
    spec: Contraction,
    fields: Mapping[str, int],
    operands: list[list[int]],
) -> None:
    """Runs every part, last one first: their order must not matter."""
    args = [fields[name] for name in FIELDS] + list(itertools.chain(*operands))
    count = len(spec.operands)
    assert all(len(x) == len(TILE_OPERAND) for x in operands[:count])
    assert all(len(x) == len(EDGE) for x in operands[count:])
    before = arena.unused().copy()
    words = np.array(args, np.int64)
    call = None if level == "twin" else native(spec, level)
    for part in reversed(range(fields["row_parts"] * fields["column_parts"])):
        if call is None:
            twin(part, 0, args, spec, arena.memory)
        else:
            call(part, 0, words.ctypes.data)
    np.testing.assert_array_equal(arena.unused(), before)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def close(actual: np.ndarray, expected: np.ndarray, depth: int) -> None:
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=2e-6 * depth)


def packed(b: np.ndarray, width: int) -> np.ndarray:
    """(k, n) as (blocks of columns, k, width)."""
    k, n = b.shape
    blocks = -(-n // width)
    return (
        np.pad(b, ((0, 0), (0, blocks * width - n)))
        .reshape(k, blocks, width)
        .transpose(1, 0, 2)
        .copy()
    )


def matmul(
    level, tile, m, n, k, *, parts=(1, 1), transpose_a=False, pack=True, body=PLAIN, extra=(),
    row_group=1, chunk=0, loops=(1, 1), blocked="", positive=False,
):  # fmt: skip
    """A (m, k) or (k, m) times B (k, n); returns (what the code gave, the operands).

    With ``chunk``, the reduction is s and k = 5, of which so many s are a chunk; otherwise r and s
    are ``loops``.
    """
    lanes = lanes_of(level)
    a, b = normal(m, k), normal(k, n, seed=1)
    a, b = (abs(a), abs(b)) if positive else (a, b)
    operands = (TileOperand(), *(operand for operand, _, _ in extra))
    spec = Contraction.tiled(tile, m, n, body, operands, lanes, chunk > 0, blocked=blocked)
    arrays = {f"x{i}": x for i, (_, x, _) in enumerate(extra)}
    if chunk:
        tiles = -(-m // spec.rows) * -(-n // spec.width)
        arrays["partial"] = np.full(tiles * spec.rows * spec.width, np.nan, np.float32)
    arena = Arena(
        a=a.T.copy() if transpose_a else a,
        b=packed(b, spec.width) if pack else b,
        c=np.zeros((m, n), np.float32),
        **arrays,
    )
    fields = block(
        row_parts=parts[0],
        column_parts=parts[1],
        m=m,
        n=n,
        k=k,
        a=arena.address("a"),
        b=arena.address("b"),
        a_m=1 if transpose_a else k,
        a_k=m if transpose_a else 1,
        b_j=spec.width * (k if pack else 1),
        b_k=spec.width if pack else n,
        row_group=row_group,
    )
    if chunk:
        inner, steps = 5, {f"{x}_s": 5 * fields[f"{x}_k"] for x in "ab"}
        fields |= {"s": k // inner, "k": inner, "s_chunk": chunk, **steps}
        fields["partial"] = arena.address("partial")
    else:
        r, s = loops
        fields |= {"r": r, "s": s, "k": k // (r * s)}
        fields |= {f"{x}_s": k // (r * s) * fields[f"{x}_k"] for x in "ab"}
        fields |= {f"{x}_r": k // r * fields[f"{x}_k"] for x in "ab"}
    groups = [[arena.address("c"), 0, 0, 0, n]]
    groups += [[arena.address(f"x{i}"), 0, 0, 0, stride] for i, (_, _, stride) in enumerate(extra)]
    execute(level, arena, spec, fields, groups)
    return arena, a.astype(np.float64) @ b


def small_tiles(level: str) -> tuple[tuple[int, int], ...]:
    return ((6, 2), (3, 3)) if level == "twin" else tiles(detect(level))


def sums_of_batch(level, tile, m, n, k, *, parts=(1, 1), pack=False):
    """A (m, k, n) times B (k, n), n lane by lane: sums over k of products of elements."""
    a, b, lanes = normal(m, k, n), normal(k, n, seed=1), lanes_of(level)
    spec = Contraction.tiled(tile, m, n, PLAIN, (TileOperand(),), lanes, lanes_along="batch")
    arena = Arena(a=a, b=packed(b, spec.width) if pack else b, c=np.zeros((m, n), np.float32))
    fields = block(
        row_parts=parts[0], column_parts=parts[1], row_group=1, m=m, n=n, k=k,
        a=arena.address("a"), a_m=k * n, a_k=n,
        b=arena.address("b"), b_j=spec.width * (k if pack else 1), b_k=spec.width if pack else n,
    )  # fmt: skip
    execute(level, arena, spec, fields, [[arena.address("c"), 0, 0, 0, n]])
    return arena, np.einsum("mkn,kn->mn", a.astype(np.float64), b)


def sums_of_groups(level, tile, m, n, k, group, *, parts=(1, 1)):
    """A (m, k, n) times B (k, group, n): each column by all channels of its group, at each step."""
    a, b, lanes = normal(m, k, n), normal(k * group, n, seed=1), lanes_of(level)
    spec = Contraction.tiled(
        tile, m, n, PLAIN, (TileOperand(),), lanes, lanes_along="batch", packed=True, group=group
    )
    arena = Arena(a=a, b=packed(b, spec.width), c=np.zeros((m, n), np.float32))
    fields = block(
        row_parts=parts[0], column_parts=parts[1], row_group=1, m=m, n=n, k=k,
        a=arena.address("a"), a_m=k * n, a_k=n,
        b=arena.address("b"), b_j=spec.width * k * group, b_k=spec.width * group,
    )  # fmt: skip
    execute(level, arena, spec, fields, [[arena.address("c"), 0, 0, 0, n]])
    channels = a.astype(np.float64).reshape(m, k, n // group, group)
    sums = np.einsum("mkgc,kcgj->mgj", channels, b.reshape(k, group, -1, group))
    return arena, sums.reshape(m, n)


def windows_of_picture(level, tile, n, *, image, kernel, stride, dilation, padding, parts=(1, 1)):
    """Sums over a kernel of channel after channel of a picture, beyond whose edges zeros are read.

    Sizes are (height, width), ``padding`` is that of the top and the left; bottom and right are as
    the output's size ``image // stride`` wants it.
    """
    (h, w), (kh, kw), (down, right) = image, kernel, stride
    out = (max(1, h // down), max(1, w // right))
    x, filters, lanes = normal(2, h, w, n), normal(kh, kw, n, seed=1), lanes_of(level)
    edges = (Edge("y", "s", down, dilation), Edge("m", "k", right, dilation))
    spec = Contraction.tiled(
        tile, out[1], n, PLAIN, (TileOperand(),), lanes, lanes_along="batch", edges=edges
    )
    arena = Arena(x=x, w=filters, c=np.zeros((2, *out, n), np.float32))
    fields = block(
        row_parts=parts[0], column_parts=parts[1], row_group=1,
        z=2, y=out[0], m=out[1], n=n, s=kh, k=kw,
        a=arena.address("x"), a_z=h * w * n, a_y=down * w * n, a_m=right * n,
        a_s=dilation * w * n, a_k=dilation * n,
        b=arena.address("w"), b_j=spec.width, b_s=kw * n, b_k=n,
    )  # fmt: skip
    place = [arena.address("c"), 0, out[0] * out[1] * n, out[1] * n, n]
    words = [[-padding[0], h, w * n], [-padding[1], w, n]]
    execute(level, arena, spec, fields, [place, *words])
    reach = [
        (o - 1) * s + (k - 1) * dilation + 1 for o, s, k in zip(out, stride, kernel, strict=True)
    ]
    after = [max(0, r - p - i) for r, p, i in zip(reach, padding, image, strict=True)]
    halo = np.pad(x, ((0, 0), *zip(padding, after, strict=True), (0, 0))).astype(np.float64)
    expected = np.zeros((2, *out, n))
    for i, j in np.ndindex(kh, kw):
        rows, columns = (
            slice(t * dilation, t * dilation + s * (o - 1) + 1, s)
            for t, s, o in zip((i, j), stride, out, strict=True)
        )
        expected += halo[:, rows, columns] * filters[i, j]
    return arena, expected
