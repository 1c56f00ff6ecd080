"""The training loop on small programs: it learns, repeats, goes on, shows progress, evaluates."""

from __future__ import annotations

import importlib.util
import itertools

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.data import Batches
from tinygraph.train import Epoch, Evaluation, classify, evaluate, fit

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(0, 3, (3, 4)).astype(np.float32)
LABELS = RNG.integers(0, 3, 90, dtype=np.int32)
POINTS = (CENTRES[LABELS] + RNG.normal(0, 0.5, (90, 4))).astype(np.float32)


def programs(seed=0):
    """A linear classifier of three clouds: its training step, and points [20, 4] -> scores."""
    nn.manual_seed(seed)
    net = nn.Linear(4, 3)
    x, y = tg.input("points", 10, 4), tg.input("labels", 10, dtype="int32")
    loss = nn.cross_entropy(net(x), y)
    updates = optim.SGD(lr=0.2, momentum=0.9).updates(loss, net.parameters())
    many = tg.input("points", 20, 4)
    return tg.compile([x, y], [loss], updates=updates), tg.compile([many], [net(many)])


def test_it_learns_repeats_and_goes_on_where_it_stopped():
    batches = Batches(POINTS, LABELS, batch_size=10)
    step, predict = programs()
    history = fit(step, batches, 4, score=lambda: evaluate(predict, POINTS, LABELS).accuracy)
    assert [e.number for e in history] == [0, 1, 2, 3]
    assert history[-1].loss < 0.2 * history[0].loss and history[-1].score > 0.95

    step, predict = programs()
    parts = fit(step, batches, 2, show=False) + fit(step, batches, 4, first=2, show=False)
    assert [e.loss for e in parts] == [e.loss for e in history]  # bit for bit


def test_classify_takes_any_number_of_examples():
    _, predict = programs()
    scores = np.concatenate([predict(np.resize(p, (20, 4)))[0][:1] for p in POINTS])
    for n in (1, 20, 50, 90):
        assert (classify(predict, POINTS[:n]) == scores[:n].argmax(axis=1)).all()


def test_evaluation_counts_by_class():
    _, predict = programs()
    found = evaluate(predict, POINTS, LABELS)
    right = classify(predict, POINTS) == LABELS
    assert found.accuracy == right.mean()
    assert np.allclose(found.per_class, [right[c == LABELS].mean() for c in range(3)])
    empty = Evaluation(np.array([[3, 1], [0, 0]]))
    assert empty.accuracy == 0.75 and empty.per_class[0] == 0.75 and np.isnan(empty.per_class[1])


def losses(*values):
    made = itertools.cycle(values)
    return lambda *batch: (np.float32(next(made)),)


def test_a_line_for_each_epoch_where_there_is_no_terminal(capsys):
    batches = Batches(np.zeros(4), batch_size=2)
    fit(losses(1.0, 3.0), batches, 10, first=8, score=lambda: 0.5)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for number, line in zip((9, 10), lines, strict=True):
        assert line.startswith(f"epoch {number:2}/10  loss 2.0000  score 50.00%")
    fit(losses(1.0), batches, 2, show=False)
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(not importlib.util.find_spec("rich"), reason="rich is not installed")
def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    fit(losses(1.5), Batches(np.zeros(4), batch_size=2), 3)
    assert "6/6" in (shown := capsys.readouterr().out) and "epoch 3/3  loss 1.5000" in shown


def test_a_loss_that_is_not_finite_is_an_error_that_says_where():
    batches = Batches(np.zeros(6), batch_size=2)
    with pytest.raises(FloatingPointError, match="the loss is nan at epoch 1, batch 2"):
        fit(losses(1, 1, 1, 1, 1, np.nan), batches, 3, show=False)


def test_an_epoch_prints_as_one_line():
    assert str(Epoch(0, 0.125, None, 1.26)) == "loss 0.1250  1.3 s"
    assert str(Epoch(0, 0.125, 0.98, 1.26)) == "loss 0.1250  score 98.00%  1.3 s"
