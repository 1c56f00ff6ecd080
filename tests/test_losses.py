"""Losses compiled, at their edges, and what they refuse; PyTorch's values: test_torch_functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of

X, T = tg.input("x", 3, 4), tg.input("t", 3, 4)
LABELS = tg.constant([0, 2, 3], "int32")


def test_ctc_is_one_loop_and_knows_targets_that_do_not_fit() -> None:
    x = tg.input("x", 40, 2, 5)
    logp = tg.log_softmax(x, -1)
    targets = np.array([[1, 1, 1], [1, 2, 3]], "int32")
    lengths = tg.input("lengths", 2, dtype="int32")
    loss = tg.ctc_loss(logp, targets, lengths, np.array([3, 0], "int32"), reduction="none")
    (g,) = tg.grad(tg.sum(tg.where(loss < 1e9, loss, 0.0)), [x])
    assert len(graph_of(loss, g).nodes) < 250
    a = np.random.default_rng(0).standard_normal(x.shape).astype("f4")
    program = tg.compile([x, lengths], [loss, g])
    for given in ([40, 40], [5, 3], [4, 1]):  # three equal labels need two blanks
        steps = np.array(given, "int32")
        got, gradient = program(a, steps)
        want = tg.run(tg.Graph("g", (x, lengths), (loss,)), a, steps)[0]
        np.testing.assert_allclose(got, want, rtol=1e-4)
        assert np.isinf(got[0]) == (given[0] < 5) and np.isfinite(gradient).all()
        blanks = tg.run(logp, a)[: given[1], 1, 0].sum()
        np.testing.assert_allclose(got[1], -blanks, rtol=1e-4)


def test_edges() -> None:
    big = np.array([[1000.0, -1000, 0, 0]] * 3, "float32")
    one = np.ones_like(big)
    bce = tg.binary_cross_entropy_with_logits(X, T, "none")
    (got,) = tg.run(tg.Graph("g", (X, T), (bce,)), big, one)
    np.testing.assert_allclose(got[0], [0, 1000, math.log(2), math.log(2)], rtol=1e-6)
    p = tg.binary_cross_entropy(X, T, "none")
    g = tg.grad(tg.sum(p), [X])[0]
    got, gradient = tg.run(tg.Graph("g", (X, T), (p, g)), np.zeros((3, 4), "f4"), one)
    assert (got == 100).all() and np.isfinite(gradient).all()
    zero = tg.cosine_similarity(X, T)
    g = tg.grad(tg.sum(zero), [X])[0]
    got, gradient = tg.run(tg.Graph("g", (X, T), (zero, g)), np.zeros((3, 4), "f4"), one)
    assert (got == 0).all() and np.isfinite(gradient).all()
    ignored = tg.cross_entropy(X, LABELS, ignore_index=2, reduction="none")
    assert tg.run(ignored, big)[1] == 0


ERRORS: list[tuple[Callable[[], tg.Node], type[Exception], str]] = [
    (lambda: tg.l1_loss(X, tg.ones((3, 1))), tg.ShapeError, "l1_loss requires equal shapes"),
    (lambda: tg.mse_loss(X, T, "average"), ValueError, "reduction of mean, sum, none, got 'avera"),
    (lambda: tg.cross_entropy(X, T, ignore_index=0), tg.ShapeError, "integer labels for ignore"),
    (lambda: tg.cross_entropy(X, LABELS, weight=[1.0, 2.0]), tg.ShapeError, "a weight for each"),
    (lambda: tg.nll_loss(X, T), tg.ShapeError, "nll_loss requires logits[N, C, ...] and labels"),
    (lambda: tg.huber_loss(X, T, delta=0), tg.ShapeError, "delta above 0"),
    (lambda: tg.ctc_loss(X, X, X, X), tg.ShapeError, "floats logp[T, N, C] and integers targets"),
]


@pytest.mark.parametrize("build, kind, message", ERRORS)
def test_errors_say_what_is_required(
    build: Callable[[], tg.Node], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        build()
    assert message in str(error.value)
