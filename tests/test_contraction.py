"""Contractions compiled for every vector width, and their Python twin, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of
from contractions import (
    LEVELS,
    PLAIN,
    Arena,
    block,
    close,
    execute,
    lanes_of,
    matmul,
    normal,
    packed,
    small_tiles,
)
from targets import schedule
from tinygraph.plan.records.body import Body, Statement
from tinygraph.plan.records.contraction import Contraction, TileOperand
from tinygraph.plan.records.work import Tile
from tinygraph_cpu.gemm.contraction import is_tight
from tinygraph_cpu.gemm.tile import tiles
from tinygraph_cpu.machine.features import detect


@pytest.mark.parametrize("level", LEVELS)
def test_sizes_around_the_edges_of_a_tile(level: str) -> None:
    lanes = lanes_of(level)
    rows, vectors = small_tiles(level)[0]
    width = vectors * lanes
    for m in (1, rows - 1, rows, rows + 1, 3 * rows - 1):
        for n in (1, lanes - 1, width, width + 1, 3 * width - 1, 2 * width + lanes):
            if (m in (1, rows + 1)) or (n in (1, width + 1)):
                arena, expected = matmul(level, (rows, vectors), m, n, 5)
                close(arena["c"], expected, 5)


@pytest.mark.parametrize("level", LEVELS)
def test_every_tile(level: str) -> None:
    for tile in small_tiles(level):
        n = 2 * tile[1] * lanes_of(level) + 3
        arena, expected = matmul(level, tile, 2 * tile[0] + 1, n, 17)
        close(arena["c"], expected, 17)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("pack", [False, True])
def test_layouts_of_both_operands(level: str, transpose_a: bool, pack: bool) -> None:
    tile = small_tiles(level)[0]
    arena, expected = matmul(level, tile, 31, 45, 19, transpose_a=transpose_a, pack=pack)
    close(arena["c"], expected, 19)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("parts", [(1, 3), (3, 1), (2, 2), (5, 4), (40, 1)])
@pytest.mark.parametrize("row_group", [1, 2, 100])
def test_parts_cover_everything_once(level: str, parts: tuple[int, int], row_group: int) -> None:
    body = Body(
        (("old", 0),), (Statement("new", "{0} + {1}", ("old", "acc"), "float32"),), ((0, "new"),)
    )
    arena, expected = matmul(level, (6, 1), 40, 45, 7, parts=parts, body=body, row_group=row_group)
    close(arena["c"], expected, 7)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("chunk", [1, 2, 5, 9])
def test_long_reductions_in_chunks(level: str, transpose_a: bool, chunk: int) -> None:
    arena, expected = matmul(
        level, (6, 2), 20, 45, 35, parts=(2, 2), transpose_a=transpose_a, pack=False, chunk=chunk
    )
    close(arena["c"], expected, 35)


def conv_arena(
    x: np.ndarray, w: np.ndarray, groups: int, padding: int, width: int, out: np.ndarray
) -> Arena:
    """x channels-last with a halo; w (kh, kw, groups, c, o) as (group, block, kh, kw, c, width)."""
    blocks = [packed(w[:, :, g].reshape(-1, w.shape[-1]), width) for g in range(groups)]
    return Arena(
        x=np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0))), w=np.stack(blocks), out=out
    )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stride, dilation, groups", [(1, 1, 1), (2, 1, 1), (1, 2, 3), (2, 2, 2)])
def test_convolution(level: str, stride: int, dilation: int, groups: int) -> None:
    batch, size, kernel, c, o, padding = 2, 11, 3, 5, 21, 1
    out = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    x, w = normal(batch, size, size, groups * c), normal(kernel, kernel, groups, c, o)
    spec = Contraction.tiled(
        small_tiles(level)[0], out, o, PLAIN, (TileOperand(),), lanes_of(level)
    )
    arena = conv_arena(
        x, w, groups, padding, spec.width, np.zeros((batch, out, out, groups * o), np.float32)
    )
    pixel, line = groups * c, (size + 2 * padding) * groups * c
    tap = c * spec.width
    fields = block(
        row_parts=3,
        g=groups,
        z=batch,
        y=out,
        m=out,
        n=o,
        r=kernel,
        s=kernel,
        k=c,
        a=arena.address("x"),
        a_g=c,
        a_z=line * (size + 2 * padding),
        a_y=stride * line,
        a_m=stride * pixel,
        a_r=dilation * line,
        a_s=dilation * pixel,
        a_k=1,
        b=arena.address("w"),
        b_g=kernel**2 * tap * -(-o // spec.width),
        b_j=kernel**2 * tap,
        b_r=kernel * tap,
        b_s=tap,
        b_k=spec.width,
    )
    execute(
        level,
        arena,
        spec,
        fields,
        [[arena.address("out"), o, out * out * groups * o, out * groups * o, groups * o]],
    )
    halo = np.zeros((batch, size + 2 * padding, size + 2 * padding, groups, c))
    halo[:, padding:-padding, padding:-padding] = x.reshape(batch, size, size, groups, c)
    expected = np.zeros((batch, out, out, groups, o))
    for r, s in np.ndindex(kernel, kernel):
        rows, columns = (
            slice(t * dilation, t * dilation + stride * (out - 1) + 1, stride) for t in (r, s)
        )
        expected += np.einsum("zyxgc,gco->zyxgo", halo[:, rows, columns], w[r, s])
    close(arena["out"], expected.reshape(arena["out"].shape), c * kernel**2)


@pytest.mark.parametrize("level", LEVELS)
def test_weight_gradient(level: str) -> None:
    """Rows are input channels (stride 1), the reduction is over pixels, B the output's gradient."""
    batch, size, kernel, c, o = 2, 7, 3, 9, 13
    out = size - kernel + 1
    x, g = normal(batch, size, size, c), normal(batch, out, out, o)
    spec = Contraction.tiled(small_tiles(level)[0], c, o, PLAIN, (TileOperand(),), lanes_of(level))
    arena = Arena(x=x, g=g, w=np.zeros((kernel, kernel, c, o), np.float32))
    fields = block(
        z=kernel,
        y=kernel,
        m=c,
        n=o,
        r=batch,
        s=out,
        k=out,
        a=arena.address("x"),
        a_z=size * c,
        a_y=c,
        a_m=1,
        a_r=size * size * c,
        a_s=size * c,
        a_k=c,
        b=arena.address("g"),
        b_j=spec.width,
        b_r=out * out * o,
        b_s=out * o,
        b_k=o,
    )
    execute(level, arena, spec, fields, [[arena.address("w"), 0, kernel * c * o, c * o, o]])
    expected = [
        [
            np.einsum("zyxc,zyxo->co", x[:, r : r + out, s : s + out].astype("f8"), g)
            for s in range(kernel)
        ]
        for r in range(kernel)
    ]
    close(arena["w"], np.array(expected), batch * out * out)


@pytest.mark.parametrize("level", LEVELS)
def test_input_gradient_of_stride_2_writes_one_phase(level: str) -> None:
    """The kernel is read backwards (negative strides), rows of C are two pixels apart."""
    size, kernel, c, o, stride = 6, 2, 7, 5, 2
    g, w = normal(size, size, o), normal(2 * kernel, 2 * kernel, o, c)
    spec = Contraction.tiled(
        small_tiles(level)[0], size - 1, c, PLAIN, (TileOperand(),), lanes_of(level)
    )
    wide = np.pad(w, ((0, 0), (0, 0), (0, 0), (0, spec.width - c)))
    arena = Arena(g=g, w=wide, x=np.zeros((stride * size, stride * size, c), np.float32))
    tap = o * spec.width
    fields = block(
        y=size - 1,
        m=size - 1,
        n=c,
        r=kernel,
        s=kernel,
        k=o,
        a=arena.address("g"),
        a_y=size * o,
        a_m=o,
        a_r=size * o,
        a_s=o,
        a_k=1,
        b=arena.address("w", (2 * 2 * kernel + 2) * tap),
        b_r=-4 * kernel * tap,
        b_s=-2 * tap,
        b_k=spec.width,
    )
    line = stride * size * c
    execute(
        level,
        arena,
        spec,
        fields,
        [[arena.address("x", line + c), 0, 0, stride * line, stride * c]],
    )
    expected = np.zeros(arena["x"].shape)
    for r, s in np.ndindex(kernel, kernel):
        tap_value = w[2 - 2 * r, 2 - 2 * s].astype("f8")
        expected[1:-1:2, 1:-1:2] += g[r : size - 1 + r, s : size - 1 + s] @ tap_value
    close(arena["x"], expected, o * kernel**2)


RELU = "K(0) if {0} <= K(0) else {0}"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("long", [False, True])
def test_epilogues(level: str, long: bool) -> None:
    """A long body, one with a function in it, is emitted for one row only."""
    m, n, k = 29, 37, 11
    bias, scale, rest = normal(n), normal(m, seed=3), normal(m, n, seed=4)
    keep = rest > 0
    body = Body(
        loads=(("bias", 1), ("scale", 2), ("rest", 3), ("keep", 4)),
        statements=(
            Statement("t0", "fma({0}, {1}, {2})", ("acc", "scale", "bias"), "float32"),
            Statement("t1", RELU, ("t0",), "float32"),
            Statement(
                "t2",
                "{0} + {1} if {2} and not {0} > K(9) else {1}",
                ("t1", "rest", "keep"),
                "float32",
            ),
            Statement("t3", "tanh({0})" if long else "{0} * K(3)", ("t2",), "float32"),
            Statement("t4", "float32(-1) < {0} <= float32(1)", ("t2",), "bool"),
            Statement("t5", "int32({0})", ("t2",), "int32"),
        ),
        stores=((0, "t2"), (5, "t3"), (6, "t4"), (7, "t5")),
    )
    f32, i32 = np.zeros((m, n), np.float32), np.zeros((m, n), np.int32)
    extra = [
        (TileOperand(rows=False), bias, 0),
        (TileOperand(unit=False), scale, 1),
        (TileOperand(), rest, n),
        (TileOperand(dtype="bool"), keep, n),
        (TileOperand(), f32, n),
        (TileOperand(dtype="bool"), f32 > 0, n),
        (TileOperand(dtype="int32"), i32, n),
    ]
    arena, product = matmul(
        level, small_tiles(level)[0], m, n, k, body=body, extra=extra, parts=(2, 2)
    )
    t1 = np.maximum(product * scale[:, None] + bias, 0)
    t2 = np.where(keep & ~(t1 > 9), t1 + rest, rest)
    close(arena["c"], t2, k)
    close(arena["x4"], np.tanh(t2) if long else 3 * t2, 3 * k)
    np.testing.assert_array_equal(arena["x5"], (arena["c"] > -1) & (arena["c"] <= 1))
    np.testing.assert_array_equal(arena["x6"], arena["c"].astype(np.int32))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "k, loops",
    [(95, (1, 1)), (96, (1, 1)), (97, (1, 1)), (200, (2, 2)), (99, (3, 3)), (100, (50, 2))],
)
@pytest.mark.parametrize("rows", [1, 5, 19])
def test_what_is_fetched_during_a_long_reduction(
    level: str, k: int, loops: tuple[int, int], rows: int
) -> None:
    """The innermost loop is cut into segments, in each of which a row is fetched."""
    n = 37
    rest = normal(rows, n, seed=4)
    body = Body(
        (("rest", 1),), (Statement("t", "{0} + {1}", ("acc", "rest"), "float32"),), ((0, "t"),)
    )
    extra = [(TileOperand(), rest, n)]
    tile = small_tiles(level)[0]
    arena, product = matmul(level, tile, rows, n, k, body=body, extra=extra, loops=loops)
    close(arena["c"], product + rest, k)


@pytest.mark.parametrize("level", LEVELS)
def test_an_update_in_place(level: str) -> None:
    """Momentum: the velocity and the weight are read and written by the same epilogue."""
    m, n = 15, 18
    body = Body(
        loads=(("v", 1), ("w", 0)),
        statements=(
            Statement("v1", "K(0.9) * {0} + {1}", ("v", "acc"), "float32"),
            Statement("w1", "{0} - K(0.1) * {1}", ("w", "v1"), "float32"),
        ),
        stores=((1, "v1"), (0, "w1")),
    )
    velocity = normal(m, n, seed=7)
    arena, product = matmul(
        level,
        small_tiles(level)[0],
        m,
        n,
        6,
        transpose_a=True,
        pack=False,
        body=body,
        extra=[(TileOperand(), velocity, n)],
    )
    close(arena["x0"], 0.9 * velocity + product, 6)
    close(arena["c"], -0.1 * (0.9 * velocity + product), 6)


@pytest.mark.parametrize("level", LEVELS)
def test_nan_and_infinity_stay(level: str) -> None:
    body = Body(statements=(Statement("t", RELU, ("acc",), "float32"),), stores=((0, "t"),))
    a, b = np.ones((4, 3), np.float32), np.ones((3, 5), np.float32)
    a[1, 2], a[2, 0], a[3, 1] = np.nan, np.inf, -np.inf
    spec = Contraction.tiled(small_tiles(level)[0], 4, 5, body, (TileOperand(),), lanes_of(level))
    arena = Arena(a=a, b=packed(b, spec.width), c=np.zeros((4, 5), np.float32))
    fields = block(
        m=4, n=5, k=3, a=arena.address("a"), a_m=3, a_k=1, b=arena.address("b"), b_k=spec.width
    )
    execute(level, arena, spec, fields, [[arena.address("c"), 0, 0, 0, 5]])
    np.testing.assert_array_equal(
        arena["c"], np.repeat(np.array([[3], [np.nan], [np.inf], [0]], np.float32), 5, 1)
    )


def test_the_twin_refuses_what_lies_outside() -> None:
    spec = Contraction.tiled((6, 2), 4, 4, PLAIN, (TileOperand(),), 8)
    arena = Arena(a=np.ones((4, 4), np.float32))
    fields = block(m=4, n=4, k=4, a=arena.address("a"), a_m=4, a_k=1, b=arena.address("a"), b_k=400)
    with pytest.raises(IndexError):
        execute("twin", arena, spec, fields, [[arena.address("a"), 0, 0, 0, 4]])


def test_the_environment_names_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAPH_CPU", "x86-64-v3")
    assert (detect().lanes, detect().registers, detect().fma) == (8, 16, True)
    monkeypatch.setenv("TINYGRAPH_CPU", "486")
    with pytest.raises(ValueError, match="x86-64-v2"):
        detect()


@pytest.mark.parametrize("level", LEVELS[:-1])
def test_tiles_fit_the_registers(level: str) -> None:
    features = detect(level)
    for rows, vectors in tiles(features):
        loaded = vectors if rows > 1 else 1  # what is used once can stay in memory
        assert rows * vectors + loaded + 1 <= features.registers


def test_tiles_keep_their_registers() -> None:
    """Where accumulators pass through the stack, or tiles fetch, instructions keep their order."""
    x, w, y = tg.input("x", 32, 40), tg.input("w", 40, 64), tg.input("y", 32, 64)
    product = tg.matmul(x, w)

    def tight(out: tg.Node) -> bool:
        works = (launch.work for launch in schedule(graph_of(out)).launches)
        return next(is_tight(work.contraction) for work in works if isinstance(work, Tile))

    assert tight(tg.gelu(product)) and tight(product + y)
    assert not tight(tg.relu(product)) and not tight(product)
