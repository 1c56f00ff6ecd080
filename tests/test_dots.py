"""Products with one column: the reduction is across the lanes, and nothing is packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractions import LEVELS, PLAIN, Arena, block, close, execute, lanes_of, normal
from exact_plans import agree, network
from tinygraph import ops
from tinygraph.graph.op import input
from tinygraph.plan.records.body import Body, Statement
from tinygraph.plan.records.contraction import BLOCK, Contraction, TileOperand
from tinygraph.plan.records.work import Tile

BIASED = Body((("x", 1),), (Statement("t", "{0} + {1}", ("acc", "x"), "float32"),), ((0, "t"),))


def dots(level, rows, m, depth, *, body=PLAIN, parts=1, blocked="", positive=False):
    """A (m, r, s, k) times b (r, s, k), with a bias (m) where the body reads it."""
    a, b, bias = normal(m, *depth), normal(*depth, seed=1), normal(m, seed=2)
    a, b = (abs(a), abs(b)) if positive else (a, b)
    operands = (TileOperand(), TileOperand())[: 1 + len(body.loads)]
    spec = Contraction.tiled(
        (rows, 1), m, 1, body, operands, lanes_of(level), lanes_along="reduction", blocked=blocked
    )
    arena = Arena(a=a, b=b, c=np.zeros(m, np.float32), bias=bias)
    r, s, k = depth
    fields = block(
        row_parts=parts, row_group=1, m=m, n=1, r=r, s=s, k=k,
        a=arena.address("a"), a_m=r * s * k, a_r=s * k, a_s=k, a_k=1,
        b=arena.address("b"), b_r=s * k, b_s=k, b_k=1,
    )  # fmt: skip
    places = [[arena.address(name), 0, 0, 0, 1] for name in ("c", "bias")]
    execute(level, arena, spec, fields, places[: len(operands)])
    expected = a.reshape(m, -1).astype(np.float64) @ b.reshape(-1)
    return arena["c"], expected + (bias if body.loads else 0)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("rows", [1, 8])
def test_lengths_around_those_of_vectors(level: str, rows: int) -> None:
    lanes = lanes_of(level)
    for m in (1, rows, 2 * rows + 1):
        for k in (1, lanes - 1, lanes, 3 * lanes + 2):
            for outer in ((1, 1), (2, 3)):
                got, expected = dots(level, rows, m, (*outer, k), body=BIASED, parts=2)
                close(got, expected, 6 * k)


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
