"""Random numbers in graphs: their distributions, and that runs repeat, also after a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of
from tinygraph import checkpoint, nn, optim


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    tg.manual_seed(5)
    yield
    tg.manual_seed(0)


def noises() -> list[tg.Node]:
    return [tg.random_normal((400, 50), 2.0, 0.5), tg.random_uniform((9_000,), low=-1, high=3),
            tg.bernoulli(0.3, (9_000,)), tg.randint(-2, 4, (9_000,))]  # fmt: skip


def test_distributions() -> None:
    normal, uniform, coin, die = tg.compile([], noises())()
    z = (normal - 2) / 0.5
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        assert abs((z.astype("f8") ** power).mean() - moment) < 0.1
    assert np.isfinite(z).all() and uniform.min() >= -1 and uniform.max() < 3
    assert abs(uniform.mean() - 1) < 0.05 and abs(coin.mean() - 0.3) < 0.02
    assert set(np.unique(coin)) == {0, 1} and set(np.unique(die)) == set(range(-2, 4))
    assert die.dtype == "int32" and coin.dtype == normal.dtype == "float32"


def test_every_call_and_every_run_draws_others_and_the_interpreter_the_same() -> None:
    a, b = tg.random_normal((64,)), tg.random_normal((64,))
    with tg.scope("inner"):
        c = tg.random_normal((64,))
    want = [tg.run(graph_of(x))[0] for x in (a, b, c)]
    program = tg.compile([], [a, b, c])
    first, second = program(), program()
    np.testing.assert_allclose(first, want, rtol=1e-5, atol=1e-6)
    everything = np.array([*first, *second])
    assert len(np.unique(everything.round(6))) > 0.99 * everything.size
    assert (tg.run(graph_of(tg.random_uniform((9,), stream="mine")))[0] ==
            tg.run(graph_of(tg.random_uniform((9,), stream="mine")))[0]).all()  # fmt: skip


def test_what_goes_on_from_a_checkpoint_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    net, optimizer = nn.Linear(3, 2), optim.SGD(0.1)
    program = tg.compile([], noises())
    program()
    checkpoint.save(tmp_path / "net.npz", net, optimizer)
    want = [program() for _ in range(2)]
    tg.manual_seed(77)
    tg.manual_seed(5)
    again = tg.compile([], noises())  # as in another process: streams are counted anew
    checkpoint.load(tmp_path / "net.npz", net, optimizer)
    for results in want:
        for got, expected in zip(again(), results, strict=True):
            assert got.tobytes() == expected.tobytes()


def test_gradients_go_through_the_parameters_of_a_distribution() -> None:
    mean, std = tg.input("mean", 4), tg.input("std", 4)
    z = tg.random_normal((4,), mean, std)
    program = tg.compile([mean, std], [z, *tg.grad(tg.sum(z), [mean, std])])
    m, s = np.arange(4, dtype="f4"), np.full(4, 0.5, "f4")
    value, by_mean, by_std = program(m, s)
    np.testing.assert_allclose(by_mean, 1)
    np.testing.assert_allclose(m + s * by_std, value, rtol=1e-5, atol=1e-6)


def test_errors() -> None:
    with pytest.raises(tg.ShapeError, match="randint requires limits 1 to 2"):
        tg.randint(3, 3)
    with pytest.raises(tg.ShapeError, match="a seed and a step, or neither"):
        tg.random_uniform((3,), seed=tg.constant(1, "int32"))
    with pytest.raises(tg.ShapeError, match="random_uniform requires sizes from 0 up"):
        tg.random_normal((-1,))
