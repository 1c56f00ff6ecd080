"""Batch sizes that are bound at the call: the same bits as a program compiled for the size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.graph.batch import bind
from tinygraph.graph.ir import Graph
from tinygraph.graph.size import Ratio, Size, parse_size
from tinygraph.train import classify

N = Size((0, 1))


@pytest.mark.parametrize(
    ("value", "text", "at_seven"),
    [
        (N, "n", 7),
        (64 * N, "64*n", 448),
        (N * 25 - 3, "25*n-3", 172),
        (3 - N, "-1*n+3", -4),
        (2 * N * N + N, "2*n**2+n", 105),
        ((64 * N) // 8, "8*n", 56),
        (6 * N * N // (2 * N), "3*n", 21),
        (N + 5 - N, "5", 5),
    ],
)
def test_sizes_compute(value: int, text: str, at_seven: int) -> None:
    assert str(value) == text
    assert parse_size(text) == value and str(parse_size(text)) == text
    x = tg.input("x", value)
    (bound,) = bind(Graph("f", (x,), (x,)), 7).outputs if at_seven > 0 else (None,)
    assert bound is None or bound.shape == (at_seven,)


@pytest.mark.parametrize("text", ["", "m", "2n", "n2", "n**", "*n", "n 1", "1+"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_quotients_keep_what_they_depend_on() -> None:
    x = tg.input("x", None)
    for value, at_four in ((1 / N, 0.25), (N / (N - 1), 4 / 3), (3 / (0.5 / N), 24), (N, 4)):
        (y,) = bind(Graph("f", (x,), (x * value,)), 4).outputs
        assert tg.run(Graph("f", (y.inputs[0],), (y,)), np.ones(4, np.float32))[0][0] == np.float32(
            at_four
        )


def test_what_neither_can_say_is_refused() -> None:
    for compute in (lambda: N // 3, lambda: N % 2, lambda: 12 // N):
        with pytest.raises(ValueError, match="batch size"):
            compute()
    for compute in (lambda: 1 / N + 1, lambda: N + 0.5, lambda: float(N), lambda: range(N)):
        with pytest.raises(TypeError):
            compute()
    with pytest.raises(ValueError, match="batch size"):
        tg.reshape(tg.input("x", None, 5), (-1, 2))


Network = Callable[[int | None], tuple[tg.Program, tg.Program]]


def network(batch: int | None) -> tuple[tg.Program, tg.Program]:
    """Training and inference of a small network with batch normalization and dropout."""
    nn.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(64, 5),
    )
    x, y = tg.input("x", batch, 1, 8, 8), tg.input("y", batch, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)
    updates = optim.SGD(lr=0.1, momentum=0.9).updates(loss, net.parameters())
    return tg.compile([x, y], [loss], updates=updates), tg.compile([x], [net(x)])


def recurrent_network(batch: int | None) -> tuple[tg.Program, tg.Program]:
    """Training and inference of a network with a loop."""
    nn.manual_seed(0)
    net = models.lstm(6, 8, 5)
    x, y = tg.input("x", batch, 4, 6), tg.input("y", batch, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)
    updates = optim.SGD(lr=0.1, momentum=0.9).updates(loss, net.parameters())
    return tg.compile([x, y], [loss], updates=updates), tg.compile([x], [net(x)])


@pytest.mark.parametrize("n", [1, 7, 16, 17])
@pytest.mark.parametrize(
    "network, shape", [(network, (1, 8, 8)), (recurrent_network, (4, 6))], ids=["images", "loop"]
)
def test_a_bound_size_gives_the_bits_of_a_fixed_one(
    n: int, network: Network, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((n, *shape), np.float32), rng.integers(0, 5, n).astype(np.int32)
    results = []
    for batch in (None, n):
        train, predict = network(batch)
        results.append([*(train(x, y)[0] for _ in range(3)), predict(x)[0]])
    for any_size, fixed in zip(*results, strict=True):
        np.testing.assert_array_equal(any_size, fixed)


def test_sizes_share_parameters_and_the_last_one_is_inspected() -> None:
    train, predict = network(None)
    rng = np.random.default_rng(0)
    x, y = rng.random((9, 1, 8, 8), np.float32), rng.integers(0, 5, 9).astype(np.int32)
    before = predict(x)[0]
    for n in (9, 4):
        train(x[:n], y=y[:n])
    assert not np.allclose(predict(x)[0], before)
    assert set(train.sizes) == {9, 4} and "9, 4" in repr(train)
    assert "x: f32[4,1,8,8]" in train.dump() and "x: f32[n,1,8,8]" in str(train.graph)
    assert train.cost()["launches"] > 0 and "4" in str(train.profile(x[:4], y[:4]))
    np.testing.assert_array_equal(classify(predict, x), predict(x)[0].argmax(1))


def test_errors_name_what_is_wrong() -> None:
    train, predict = network(None)
    with pytest.raises(ValueError, match=r"bound at the call"):
        predict.dump()
    with pytest.raises(ValueError, match=r"x f32\[n,1,8,8\] .* got an array of shape \(8, 8\)"):
        predict(np.zeros((8, 8), np.float32))
    with pytest.raises(TypeError, match="takes 1 array "):
        predict()
    with pytest.raises(ValueError, match=r"input y i32\[3\] .* got an array of shape \(2,\)"):
        train(np.zeros((3, 1, 8, 8), np.float32), np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="0 examples or more"):
        predict.bind(-1)
    with pytest.raises(tg.ShapeError, match="a batch of 1 is too small here"):
        x = tg.input("x", None, 3)
        tg.compile([x], [nn.BatchNorm1d(3)(x, training=True)]).bind(1)


def test_dumps_of_any_size_parse_back() -> None:
    x = tg.input("x", None, 3, 4)
    y = tg.reshape(tg.mean(x, axis=0) + tg.var(x, axis=(0, 2), ddof=1)[:, None], (12,))
    graph = Graph("f", (x,), (tg.reshape(x, (-1, 2)), y))
    assert tg.dump(tg.parse(tg.dump(graph))) == tg.dump(graph)


def test_models_bind() -> None:
    x = tg.input("x", None, 3, 64, 64)
    graph = Graph("googlenet", (x,), (models.googlenet("batch_norm", 10, auxiliary=False)(x),))
    assert bind(graph, 3).outputs[0].shape == (3, 10)
    assert isinstance(1 / N, Ratio)


def test_slices_of_other_axes_leave_an_open_one_alone():
    x = tg.input("x", None, 5)
    program = tg.compile([x], [x[:, 1:3], x[..., 0], tg.concat(tg.split(x, 5, 1)[::-1], 1)])
    for n in (1, 3):
        a = np.arange(5 * n, dtype=np.float32).reshape(n, 5)
        for got, want in zip(program(a), (a[:, 1:3], a[:, 0], a[:, ::-1]), strict=True):
            np.testing.assert_array_equal(got, want)
    with pytest.raises(tg.ShapeError, match="steps of 1 for axis 0, whose size n is open"):
        x[::2]


def test_ranges_of_an_open_axis():
    """As NumPy's, and gradients through joining them; a batch that has too few is refused."""
    x = tg.input("x", None, 2)
    rolled = tg.concat([x[-1:], x[:-1]], 0)
    outputs = [x[1:] - x[:-1], x[-1], x[2], x[:3], rolled, tg.grad(tg.sum(rolled * x), x)[0]]
    program = tg.compile([x], outputs)
    for n in (3, 4, 7):
        a = np.arange(2 * n, dtype=np.float32).reshape(n, 2) ** 2
        moved = np.roll(a, 1, 0) + np.roll(a, -1, 0)
        want = (a[1:] - a[:-1], a[-1], a[2], a[:3], np.roll(a, 1, 0), moved)
        for got, value in zip(program(a), want, strict=True):
            np.testing.assert_array_equal(got, value)
    with pytest.raises(tg.ShapeError, match=r"test_batch.py:\d+: slice requires positions"):
        program(np.zeros((2, 2), np.float32))


def test_products_over_an_open_axis():
    x = tg.input("x", None, 3)
    program = tg.compile([x], [tg.prod(x, 0), tg.prod(x), tg.grad(tg.sum(tg.prod(x, 0)), x)[0]])
    for n in (0, 1, 2, 5):
        a = np.arange(3 * n, dtype=np.float32).reshape(n, 3) % 4
        rest = [[np.prod(np.delete(a[:, c], r)) for c in range(3)] for r in range(n)]
        want = a.prod(0), a.prod(), np.reshape(rest, (n, 3))
        for got, value in zip(program(a), want, strict=True):
            np.testing.assert_array_equal(got, value)
