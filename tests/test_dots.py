"""Products with few columns: the reduction is across the lanes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractions import LEVELS, PLAIN, Arena, block, close, execute, lanes_of, normal
from exact_plans import agree, network, state
from tinygraph import ops
from tinygraph.graph.op import input
from tinygraph.plan.records.body import Body, Statement
from tinygraph.plan.records.contraction import BLOCK, Contraction, Edge, TileOperand
from tinygraph.plan.records.work import Tile

BIASED = Body((("x", 1),), (Statement("t", "{0} + {1}", ("acc", "x"), "float32"),), ((0, "t"),))


def dots(
    level, rows, m, depth, *, n=1, columns=1, body=PLAIN, parts=(1, 1), blocked="", positive=False
):
    """A (m, r, s, k) times B (n, r, s, k), with a bias (m, n) where the body reads it."""
    a, b, bias = normal(m, *depth), normal(n, *depth, seed=1), normal(m, n, seed=2)
    a, b = (abs(a), abs(b)) if positive else (a, b)
    operands, lanes = (TileOperand(), TileOperand())[: 1 + len(body.loads)], lanes_of(level)
    spec = Contraction.tiled(
        (rows, columns), m, n, body, operands, lanes, lanes_along="reduction", blocked=blocked
    )
    arena = Arena(a=a, b=b, c=np.zeros((m, n), np.float32), bias=bias)
    r, s, k = depth
    fields = block(
        row_parts=parts[0], column_parts=parts[1], row_group=1, m=m, n=n, r=r, s=s, k=k,
        a=arena.address("a"), a_m=r * s * k, a_r=s * k, a_s=k, a_k=1,
        b=arena.address("b"), b_j=spec.width * r * s * k, b_r=s * k, b_s=k, b_k=1,
    )  # fmt: skip
    places = [[arena.address(name), 0, 0, 0, n] for name in ("c", "bias")]
    execute(level, arena, spec, fields, places[: len(operands)])
    expected = a.reshape(m, -1).astype(np.float64) @ b.reshape(n, -1).T
    return arena["c"], expected + (bias if body.loads else 0)


def windows(level, tile, channels, n, *, image, kernel, stride, padding):
    """A convolution of a picture, channels last, beyond whose edges zeros are read."""
    (h, w), (kh, kw), (down, right) = image, kernel, stride
    out = (h + 2 * padding - kh) // down + 1, (w + 2 * padding - kw) // right + 1
    x, filters = normal(2, h, w, channels), normal(n, kh, kw, channels, seed=1)
    edges = (Edge("y", "r", down, 1), Edge("m", "s", right, 1))
    along, lanes = "reduction", lanes_of(level)
    spec = Contraction.tiled(
        tile, out[1], n, PLAIN, (TileOperand(),), lanes, lanes_along=along, edges=edges
    )
    arena = Arena(x=x, w=filters, c=np.zeros((2, *out, n), np.float32))
    row, tap = w * channels, kw * channels
    fields = block(
        row_parts=2, row_group=1, z=2, y=out[0], m=out[1], n=n, r=kh, s=kw, k=channels,
        a=arena.address("x"), a_z=h * row, a_y=down * row, a_m=right * channels,
        a_r=row, a_s=channels, a_k=1,
        b=arena.address("w"), b_j=spec.width * kh * tap, b_r=tap, b_s=channels, b_k=1,
    )  # fmt: skip
    place = [arena.address("c"), 0, out[0] * out[1] * n, out[1] * n, n]
    execute(level, arena, spec, fields, [place, [-padding, h, row], [-padding, w, channels]])
    halo = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0))).astype(np.float64)
    seen = np.lib.stride_tricks.sliding_window_view(halo, kernel, (1, 2))[:, ::down, ::right]
    return arena["c"], np.einsum("zyxcij,nijc->zyxn", seen, filters)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("rows", [1, 8])
def test_lengths_around_those_of_vectors(level: str, rows: int) -> None:
    lanes = lanes_of(level)
    for m in (1, rows, 2 * rows + 1):
        for k in (1, lanes - 1, lanes, 3 * lanes + 2):
            for outer in ((1, 1), (2, 3)):
                got, expected = dots(level, rows, m, (*outer, k), body=BIASED, parts=(2, 1))
                close(got, expected, 6 * k)


@pytest.mark.parametrize("level", LEVELS)
def test_columns_around_those_of_a_tile(level: str) -> None:
    lanes = lanes_of(level)
    rows, columns = 5, min(3, lanes)
    for n in (2, columns, 2 * columns + 1):
        for m in (rows, rows + 1):
            for depth in ((1, 1, lanes - 1), (2, 3, lanes + 1), (1, 2, 2 * lanes)):
                got, expected = dots(
                    level, rows, m, depth, n=n, columns=columns, body=BIASED, parts=(2, 2)
                )
                close(got, expected, 6 * lanes)


@pytest.mark.parametrize("level", LEVELS)
def test_windows_beyond_the_edges_of_a_picture(level: str) -> None:
    for more, image, kernel, stride, padding in (
        (-1, (5, 13), (3, 3), (1, 1), 1),
        (0, (5, 13), (3, 3), (1, 1), 1),
        (3, (5, 13), (3, 3), (1, 1), 1),
        (0, (1, 1), (3, 3), (1, 1), 1),
        (3, (4, 15), (3, 5), (2, 3), 4),
    ):
        channels = lanes_of(level) + more
        got, expected = windows(
            level, (4, 3), channels, 3, image=image, kernel=kernel, stride=stride, padding=padding
        )
        close(got, expected, 25 * channels)


@pytest.mark.parametrize("level", LEVELS)
def test_a_sum_is_the_same_in_every_tile(level: str) -> None:
    """So are results, however a processor's tiles are cut."""
    alone = dots(level, 1, 5, (1, 2, 37), n=4, columns=1)[0]
    for rows, columns in ((5, 4), (2, 3)):
        together = dots(level, rows, 5, (1, 2, 37), n=4, columns=columns)[0]
        if level != "twin":
            np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("blocked", "outer"), [("k", (1, 1)), ("r", (50, 1)), ("s", (2, 25))])
def test_long_reductions_keep_their_digits(level: str, blocked: str, outer) -> None:
    k = 3 * BLOCK * lanes_of(level) + 5 if blocked == "k" else 4001
    got, expected = dots(level, 3, 4, (*outer, k), blocked=blocked, positive=True)
    assert np.abs(got / expected - 1).max() < 4e-6


def tiles(plan) -> list[Tile]:
    works = [m.work for launch in plan.launches for m in launch.members]
    return [w for w in works if isinstance(w, Tile)]


@given(
    rows=st.sampled_from([1, 2, 9]),
    depth=st.sampled_from([15, 16, 17, 40]),
    batch=st.sampled_from([(), (3,), (2, 3)]),
    query=st.booleans(),
)
def test_one_column_or_one_query(rows, depth, batch, query) -> None:
    """A matrix by a vector, or one query by keys that are stored row by row."""
    keys = input("keys", *batch, rows, depth)
    if query:
        one = input("one", *batch, 1, depth)
        axes = (*range(len(batch)), len(batch) + 1, len(batch))
        y = ops.matmul(one, ops.transpose(keys, axes))
    else:
        y = ops.matmul(keys, input("one", *batch, depth, 1))
    plan = agree(network(ops.relu(y + 1.0)))
    if depth >= 16:
        assert {t.contraction.lanes_along for t in tiles(plan)} == {"reduction"}
        assert not any(launch.name == "pack" for launch in plan.launches)


@given(
    channels=st.sampled_from([15, 16, 17, 33]),
    columns=st.sampled_from([1, 2, 3]),
    kernel=st.sampled_from([1, 2, 3]),
    stride=st.sampled_from([1, 2]),
    padding=st.sampled_from([0, 1]),
    size=st.sampled_from([(2, 0, 4), (1, 3, 9), (2, 5, 3)]),
)
def test_convolutions_with_few_output_channels(
    channels, columns, kernel, stride, padding, size
) -> None:
    """Their padding is read in place, whatever the order of axes in which they are stored."""
    batch, height, width = size
    height = max(height, kernel - 2 * padding)
    image = input("x", batch, height, width, channels)
    w, bias = state(columns, channels, kernel, kernel), state(columns, 1, 1)
    y = ops.conv2d(ops.transpose(image, (0, 3, 1, 2)), w, stride=stride, padding=padding)
    y = ops.relu(y + bias)
    last = ops.transpose(y, (0, 2, 3, 1))
    plan = agree(network(last if stride == 1 else y))
    if height > 0 and stride == 1 and (channels, kernel, columns) in ((33, 3, 1), (33, 3, 2)):
        assert {t.contraction.lanes_along for t in tiles(plan)} == {"reduction"}
        assert not any("pad" in m.name for launch in plan.launches for m in launch.members)


@given(
    rows=st.sampled_from([1, 2, 9, 40]),
    depth=st.sampled_from([15, 16, 17, 33, 64]),
    columns=st.sampled_from([1, 2, 3, 5]),
    fixed=st.booleans(),
    turned=st.booleans(),
)
def test_layers_with_few_outputs(rows, depth, columns, fixed, turned) -> None:
    """Weights by rows or by columns, trained or given."""
    shape = (columns, depth) if turned else (depth, columns)
    w = state(*shape) if fixed else input("w", *shape)
    x, bias = input("x", rows, depth), state(columns)
    agree(network(ops.relu(x @ (ops.transpose(w, (1, 0)) if turned else w) + bias)))
