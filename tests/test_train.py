"""The training loop on small programs: it learns, validates, repeats, stops, goes on, and tells."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import json
import struct
import sys
import types

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import metrics, nn, optim
from tinygraph.data import Batches
from tinygraph.metrics import Share
from tinygraph.train import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    Epoch,
    Evaluation,
    History,
    JSONLog,
    TensorBoard,
    classify,
    evaluate,
    fit,
    validate,
)
from tinygraph.train.events import masked
from tinygraph.train.history import direction

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(0, 3, (3, 4)).astype(np.float32)
LABELS = RNG.integers(0, 3, 90, dtype=np.int32)
POINTS = (CENTRES[LABELS] + RNG.normal(0, 0.5, (90, 4))).astype(np.float32)
DATA = POINTS, LABELS


def programs(seed=0, dropout=0.0):
    """A linear classifier of three clouds: its training step, [loss, scores], points -> scores."""
    nn.manual_seed(seed)
    net = nn.Sequential(nn.Dropout(dropout), nn.Linear(4, 3))
    x, y = tg.input("points", 10, 4), tg.input("labels", 10, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)
    optimizer = optim.SGD(lr=0.2, momentum=0.9)
    updates = optimizer.updates(loss, net.parameters())
    many, truth = tg.input("points", None, 4), tg.input("labels", None, dtype="int32")
    check = tg.compile([many, truth], [nn.cross_entropy(net(many), truth), net(many)])
    step = tg.compile([x, y], [loss], updates=updates)
    return step, check, tg.compile([many], [net(many)]), net, optimizer


def test_it_learns_validates_and_repeats():
    batches = Batches(*DATA, batch_size=10)
    step, check, predict, *_ = programs()
    found = fit(step, batches, 4, validation=(check, DATA), metrics=[metrics.accuracy], show=False)
    assert found["epoch"].tolist() == [0, 1, 2, 3]
    assert found[-1].loss < 0.2 * found[0].loss and found["val_accuracy"][-1] > 0.95
    assert found["val_accuracy"][-1] == evaluate(predict, *DATA).accuracy

    step, *_ = programs()
    parts = [*fit(step, batches, 2, show=False), *fit(step, batches, 4, first=2, show=False)]
    assert [e.loss for e in parts] == found["loss"].tolist()  # bit for bit


def losses(*values):
    made = itertools.cycle(values)
    return lambda *batch: (np.float32(next(made)),)


TWO = Batches(np.zeros(4), batch_size=2)


# ---------------------------------------------------------------- validation


def test_validation_counts_every_example_once():
    _, check, predict, *_ = programs()
    whole = check(*DATA)
    parts = validate(check, Batches(*DATA, batch_size=7, last="keep"), [metrics.accuracy])
    assert parts["loss"] == pytest.approx(float(whole[0]), rel=1e-6)
    assert parts["accuracy"] == np.mean(whole[1].argmax(axis=1) == LABELS)
    named = {"top2": lambda p, y: metrics.top_k_accuracy(p, y, 2)}
    assert list(validate(predict, DATA, named)) == ["top2"]  # no loss: points alone go in


def test_wrong_validation_is_said():
    step, check, *_ = programs()
    x, y = tg.input("points", 20, 4), tg.input("labels", 20, dtype="int32")
    fixed = tg.compile([x, y], [nn.cross_entropy(x[:, :3], y)], name="fixed")
    with pytest.raises(ValueError, match="90 examples are no multiple of fixed's batch size, 20"):
        validate(fixed, DATA)
    assert validate(fixed, (POINTS[:40], LABELS[:40]))["loss"] > 0
    with pytest.raises(ValueError, match=r"compile it with the predictions after the loss"):
        validate(fixed, (POINTS[:40], LABELS[:40]), [metrics.accuracy])
    with pytest.raises(ValueError, match="at least one batch"):
        validate(check, [])
    with pytest.raises(ValueError, match=r"validation=\(program, data\)"):
        fit(step, TWO, 1, metrics=[metrics.accuracy])


def test_a_function_may_validate():
    found = fit(losses(1.0), TWO, 2, validation=lambda: {"iou": 0.5}, show=False)
    assert found["val_iou"].tolist() == [0.5, 0.5]


# ---------------------------------------------------------------- data


def test_a_score_is_one_number_of_an_epoch():
    """And epochs may be run one at a time."""
    scores = iter([0.5, 0.25])
    for number in range(2):
        (epoch,) = fit(lambda: [1.0], [()], number + 1, first=number, score=lambda: next(scores),
                       show=False)  # fmt: skip
        assert (epoch.number, epoch.score) == (number, [0.5, 0.25][number])
    assert Epoch(0, 1.0, 0.1).score is None


def test_any_iterable_is_data():
    seen = []

    def step(*arrays, **named):
        seen.append((arrays, named))
        return [1.0]

    fit(step, [(1, 2), [3], 4, {"x": 5}], 1, show=False)
    assert seen == [((1, 2), {}), ((3,), {}), ((4,), {}), ((), {"x": 5})]
    seen.clear()
    fit(step, lambda epoch: [epoch], 3, show=False)
    assert [arrays for arrays, _ in seen] == [(0,), (1,), (2,)]
    with pytest.raises(TypeError, match="a generator can be read once"):
        fit(step, (i for i in range(3)), 2, show=False)
    with pytest.raises(TypeError, match="data is Batches or an iterable of batches, got 5"):
        fit(step, 5, 1, show=False)
    with pytest.raises(ValueError, match="no batch in epoch 0"):
        fit(step, [], 1, show=False)


# ---------------------------------------------------------------- callbacks


def test_callbacks_see_each_step_and_epoch():
    told = []

    class Tell(Callback):
        def on_train_begin(self, run):
            told.append("begin")

        def on_batch_end(self, run):
            told.append((run.epoch, len(run.losses), run.loss))

        def on_epoch_end(self, run):
            told.append(run.history[-1].loss)

        def on_train_end(self, run):
            told.append("end")

    fit(losses(1.0, 3.0), TWO, 2, callbacks=[Tell(), lambda run: run.stop("enough")], show=False)
    assert told == ["begin", (0, 1, 1.0), (0, 2, 2.0), 2.0, "end"]
    with pytest.raises(FloatingPointError):
        fit(losses(np.nan), TWO, 2, callbacks=[Tell()], show=False)
    assert told[-2:] == ["begin", "end"]


def after(values, stopping):
    """The number of epochs of a run whose validation gives these values."""
    given = iter(values)
    validation = lambda: {"loss": next(given)}  # noqa: E731
    kept = [stopping]
    return len(fit(losses(1.0), TWO, 9, validation=validation, callbacks=kept, show=False))


def test_early_stopping_waits_for_a_better_one():
    assert after([3, 2, 4, 2, 1, 5, 5, 5, 5], EarlyStopping(patience=3)) == 8
    assert after([3, 2, 4, 2, 2, 5, 5, 5, 5], EarlyStopping(patience=3)) == 5  # equal: no better
    assert after([3, 2, 1.9, 1.8, 1.7, 1, 1, 1, 1], EarlyStopping(patience=3, threshold=1)) == 6
    assert after([1, 2, 3, 1, 1, 1, 1, 1, 1], EarlyStopping(patience=2, mode="max")) == 5
    with pytest.raises(KeyError, match="no 'val_los' in this history; there is epoch, loss, val_l"):
        after([1], EarlyStopping("val_los", mode="min"))
    with pytest.raises(ValueError, match="mode='min' or mode='max' says which val_iou is best"):
        EarlyStopping("val_iou")
    with pytest.raises(ValueError, match="patience >= 1"):
        EarlyStopping(patience=0)


def test_what_is_better_is_known_of_every_metric():
    functions = [n for n in metrics.__all__ if n not in ("Share", "confusion_matrix")]
    less = {"perplexity", "mean_absolute_error"}
    for name in functions:
        assert direction(f"val_{name}") == ("min" if name in less else "max")


class Crash(Exception):
    pass


def test_a_run_that_was_broken_off_goes_on_with_the_same_bits(tmp_path):
    """Dropout's counter, momentum, order, history and early stopping included."""
    batches = Batches(*DATA, batch_size=10)

    def run(path, crash=None):
        step, check, _, net, optimizer = programs(3, dropout=0.3)

        def maybe(run):
            if run.epoch == crash:
                raise Crash

        logs = [CSVLog(path / "log.csv"), JSONLog(path / "log.jsonl")]
        saved = [Checkpoint(path / "run.npz", net, optimizer, resume=True)]
        saved += [Checkpoint(path / "best.npz", net, monitor="val_loss")]
        found = fit(
            step,
            batches,
            6,
            validation=(check, DATA),
            metrics=[metrics.accuracy],
            callbacks=[*logs, *saved, EarlyStopping("val_accuracy", patience=3), maybe],
            show=False,
        )
        return found, net.state_dict()

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, values = run(tmp_path / "whole")
    with pytest.raises(Crash):
        run(tmp_path / "parts", crash=1)
    with pytest.raises(Crash):
        run(tmp_path / "parts", crash=3)
    parts, again = run(tmp_path / "parts")
    assert all((values[k] == again[k]).all() for k in values)
    for name in ("epoch", "loss", "val_loss", "val_accuracy"):
        assert (whole[name] == parts[name]).all()
    assert repr(parts).count("%") == repr(whole).count("%") == len(whole)
    best = [np.load(tmp_path / name / "best.npz") for name in ("whole", "parts")]
    assert all((best[0][k] == best[1][k]).all() for k in values)
    assert best[0]["@number.epoch"] == whole.best("val_loss").number + 1

    with open(tmp_path / "parts" / "log.csv") as file:
        table = list(csv.DictReader(file))
    lines = (tmp_path / "parts" / "log.jsonl").read_text().splitlines()
    for row, line, epoch in zip(table, map(json.loads, lines), parts, strict=True):
        assert {k: float(v) for k, v in row.items()} == line == epoch.as_dict()

    done, _ = run(tmp_path / "parts")  # all of it is there: no step is taken
    assert (done["seconds"] == parts["seconds"]).all()


def test_checkpoints_that_cannot_go_on_are_refused():
    net = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="requires an optimizer"):
        Checkpoint("a.npz", net, resume=True)
    with pytest.raises(ValueError, match="no monitor"):
        Checkpoint("a.npz", net, optim.SGD(0.1), monitor="val_loss", resume=True)


# ---------------------------------------------------------------- logs


def varint(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        n, shift, at = n | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return n, at


def fields(data):
    """The fields of a protocol buffer: number, value."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(key & 7)
            if size is None:
                size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        yield key >> 3, value


def events(path):
    """(name, step, value) of each number in a file of events."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        head = data[at : at + 8]
        (length,) = struct.unpack("<Q", head)
        body = data[at + 12 : at + 12 + length]
        assert data[at + 8 : at + 12] == masked(head)
        assert data[at + 12 + length : at + 16 + length] == masked(body)
        at += 16 + length
        record = dict(fields(body))
        if 5 in record:
            pair = dict(fields(dict(fields(record[5]))[1]))
            yield pair[1].decode(), record[2], struct.unpack("<f", pair[2])[0]


def test_tensorboard_gets_steps_and_epochs(tmp_path):
    board = TensorBoard(tmp_path / "runs")
    values = lambda: {"loss": 0.25}  # noqa: E731
    fit(losses(1, 2, 3, 4), TWO, 2, validation=values, callbacks=[board], show=False)
    (path,) = (tmp_path / "runs").iterdir()
    found = list(events(path))
    assert [v for name, _, v in found if name == "loss/step"] == [1, 2, 3, 4]
    assert [(s, v) for name, s, v in found if name == "loss"] == [(1, 1.5), (2, 3.5)]
    assert [(s, v) for name, s, v in found if name == "val_loss"] == [(1, 0.25), (2, 0.25)]


def test_tensorboard_itself_reads_the_events(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    fit(losses(1, 2), TWO, 2, callbacks=[TensorBoard(tmp_path)], show=False)
    found = reader.EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in found.Scalars("loss/step")][:2] == [(1, 1.0), (2, 2.0)]


# ---------------------------------------------------------------- the history


def test_a_history_is_a_table_arrays_and_a_picture(tmp_path):
    epochs = [Epoch(k, 1 / (k + 1), 1.0, {"val_loss": 0.5}) for k in range(20)]
    history = History(epochs)
    assert len(repr(history).splitlines()) == 14 and "..." in repr(history)
    assert history[3:5] == epochs[3:5] and list(history) == epochs
    again = History.from_arrays(history.arrays())
    assert list(again) == epochs
    assert history.best("loss").number == 19
    assert history.learning_curve(tmp_path / "curve.svg").read_text().count("<polyline") == 2
    assert "<svg" in history._repr_html_() and "<details>" in history._repr_html_()
    with pytest.raises(ValueError, match=r"ending in \.svg"):
        history.learning_curve(tmp_path / "curve.png")
    for few in (History(), History(epochs[:1])):
        assert "nan" not in few.svg() and few._repr_html_()


def test_only_shares_are_percentages():
    text = str(Epoch(0, 0.125, 1.26, {"val_mse": 0.0376, "val_accuracy": Share(0.98)}))
    assert text == "loss 0.1250  val_mse 0.0376  val_accuracy 98.00%  1.3 s"
    assert str(Epoch(0, 1.5e-5, 0.0)) == "loss 1.5e-05  0.0 s"


# ---------------------------------------------------------------- progress


def test_a_line_for_each_epoch_where_there_is_no_terminal(capsys):
    stop = lambda run: run.stop("enough") if run.epoch == 9 else None  # noqa: E731
    fit(losses(1.0, 3.0), TWO, 12, first=8, validation=lambda: {"x": 0.5}, callbacks=[stop])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[2] == "stopped: enough"
    for number, line in zip((9, 10), lines[:2], strict=True):
        assert line.startswith(f"epoch {number:2}/12  loss 2.0000  val_x 0.5000")
    fit(losses(1.0), TWO, 2, show=False)
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(not importlib.util.find_spec("rich"), reason="rich is not installed")
@pytest.mark.parametrize("data", [TWO, lambda epoch: iter(TWO)])
def test_a_bar_on_a_terminal(capsys, monkeypatch, data):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    fit(losses(1.5), data, 3)
    shown = capsys.readouterr().out
    assert "epoch 3/3  loss 1.5000" in shown and "epoch 1/3  loss 1.5000" in shown


def test_a_bar_in_a_notebook(monkeypatch):
    shown = []

    class Handle:
        def update(self, html):
            shown.append(html)

    shell = types.SimpleNamespace(kernel=object())
    display = types.SimpleNamespace(HTML=str, display=lambda html, display_id: Handle())
    ipython = types.SimpleNamespace(get_ipython=lambda: shell, display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    fit(losses(1.5), TWO, 2)
    assert 'value="1" max="2"' in shown[0] and "batch 1 of 2, loss 1.5000" in shown[0]
    assert shown[-1].startswith('<pre style="font-family:monospace">epoch 1/2  loss 1.5000')


# ---------------------------------------------------------------- classifiers


def test_classify_takes_any_number_of_examples():
    *_, predict, net, _ = programs()
    x = tg.input("points", 20, 4)
    fixed = tg.compile([x], [net(x)])
    scores = predict(POINTS)[0]
    for n in (1, 20, 50, 90):
        for program in (predict, fixed):
            assert (classify(program, POINTS[:n]) == scores[:n].argmax(axis=1)).all()


def test_evaluation_counts_by_class(tmp_path):
    *_, predict, _, _ = programs()
    found = evaluate(predict, *DATA)
    right = classify(predict, POINTS) == LABELS
    assert found.accuracy == right.mean() and (found.predicted == classify(predict, POINTS)).all()
    assert np.allclose(found.per_class, [right[c == LABELS].mean() for c in range(3)])
    assert found.save_svg(tmp_path / "c.svg", ["a", "b", "c"]).read_text().count("<rect") == 10
    empty = Evaluation(np.array([[3, 1], [0, 0]]))
    assert empty.accuracy == 0.75 and empty.per_class[0] == 0.75 and np.isnan(empty.per_class[1])
    assert "75.00% of 4 right" in repr(empty) and "nan" not in repr(empty)


def test_a_loss_that_is_not_finite_is_an_error_that_says_where():
    batches = Batches(np.zeros(6), batch_size=2)
    with pytest.raises(FloatingPointError, match="the loss is nan at epoch 1, batch 2"):
        fit(losses(1, 1, 1, 1, 1, np.nan), batches, 3, show=False)
