"""What is looked up in a table is multiplied there, and its gradients are added up first."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from tinygraph import nn, ops
from tinygraph.compiler.check_values import check_passes
from tinygraph.graph.interpret import run
from tinygraph.graph.op import Kind
from tinygraph.passes import PIPELINE

ROWS, SIZE, HIDDEN = 7, 6, 5


class Projected(nn.Module):
    """Looked-up rows times a matrix."""

    def __init__(self) -> None:
        self.table = nn.Embedding(ROWS, SIZE)
        self.fc = nn.Linear(SIZE, HIDDEN)

    def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
        return self.fc(self.table(x))


class Recurrent(nn.Module):
    """Looked-up rows through an LSTM."""

    def __init__(self) -> None:
        self.table = nn.Embedding(ROWS, SIZE)
        self.lstm = nn.LSTM(SIZE, HIDDEN, batch_first=True)

    def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
        y, _ = self.lstm(self.table(x))
        return y


CASES = [(Projected, (3, 11)), (Projected, (29,)), (Projected, (2, 3, 5)), (Recurrent, (4, 9))]


def step(kind: type[nn.Module], shape: tuple[int, ...]) -> tuple[nn.Module, tg.Graph]:
    """Loss and gradients of all parameters."""
    nn.manual_seed(1)
    net, x = kind(), tg.input("x", *shape, dtype="int32")
    y = net(x)
    loss = tg.sum(y * y * tg.cast(ops.arange(y.shape[-1]), "float32"))
    return net, tg.Graph("step", (x,), (loss, *tg.grad(loss, net.parameters())))


def indices(shape: tuple[int, ...], rows: int = ROWS) -> np.ndarray:
    """With some that lie outside of the table, which count as its first and its last row."""
    return np.random.default_rng(0).integers(-2, rows + 2, shape).astype("i4")


def products_of(graph: tg.Graph, rows: int) -> list[tg.Node]:
    """Products over or of as many rows as there are indices."""
    anchors = [n for n in graph.nodes if n.op.kind is Kind.ANCHOR]
    return [n for n in anchors if any(np.prod(i.shape[:-1]) == rows for i in (*n.inputs, n))]


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_gradients_stay_and_products_are_of_tables(kind, shape):
    _, graph = step(kind, shape)
    after = check_passes(graph, PIPELINE, indices(shape))
    rows = int(np.prod(shape))
    assert products_of(graph, rows) or kind is Recurrent
    kept = 0 if kind is Projected else 1  # the LSTM's own weight is multiplied with every state
    assert len(products_of(after, rows)) == kept
    want, got = run(graph, indices(shape)), run_python(after, indices(shape))
    for a, b in zip(want, got, strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-5 * np.abs(a).max())


def test_compiled_step_with_and_without():
    _, graph = step(Recurrent, (4, 9))
    programs = [
        tg.compile([*graph.inputs], [*graph.outputs], without=without)
        for without in ((), ("defer_lookups",))
    ]
    assert programs[0].cost()["flops"] < programs[1].cost()["flops"]
    results = [p(indices((4, 9))) for p in programs]
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize(("count", "table"), [(2 * ROWS, True), (2 * ROWS - 1, False)])
def test_rows_that_come_up_once_are_multiplied_as_they_are(count, table):
    _, graph = step(Projected, (count,))
    (loss, *_) = check_passes(graph, PIPELINE).outputs
    assert bool(products_of(graph_of(loss), count)) is not table


def test_what_no_index_names_makes_no_difference():
    net, graph = step(Projected, (3, 11))
    values = net.table.weight.value.copy()
    values[2], values[4] = np.nan, np.inf
    net.table.weight.value = values
    x = np.random.default_rng(0).choice([0, 1, 3, 5, 6], (3, 11)).astype("i4")
    program = tg.compile([*graph.inputs], [*graph.outputs])
    for a, b in zip(run(graph, x), program(x), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-5 * np.abs(a).max())


@pytest.mark.parametrize("width", [1, 3, 127, 128, 257, 600])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rows_are_added_in_their_order_in_any_number_of_threads(width, axis, monkeypatch):
    shape = [3, width]
    updates = tg.input("u", *shape[:axis], 4, 13, *shape[axis:])
    places = tg.input("i", 4, 13, dtype="int32")
    summed = ops.scatter_add(places, updates, axis, 9)
    i, u = indices((4, 13), 9), np.random.default_rng(1).standard_normal(updates.shape, "f4")
    (want,) = run(tg.Graph("g", (places, updates), (summed,)), i, u)
    program = tg.compile([places, updates], [summed])
    for threads in (1, 2, 3):
        monkeypatch.setattr(tg.settings, "threads", threads)
        (got,) = program(i, u)
        assert got.tobytes() == want.tobytes()


def test_what_is_looked_up_beside_its_other_readers_is_in_memory() -> None:
    """The kernel that computes a value cannot look it up at other places."""
    x = tg.input("x", 1, 5, dtype="int32")
    a = np.array([[3, 1, 2, 5, 4]], "int32")
    small = x < 3
    chosen = tg.where(tg.equal(small, small), small, small)
    graph = graph_of(tg.logical_or(tg.take(tg.flip(small), [0], axis=0), chosen))
    np.testing.assert_array_equal(run_python(graph, a)[0], run(graph, a)[0])
