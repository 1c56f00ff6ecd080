"""Recurrent layers agree with PyTorch: outputs, states, all gradients, three steps of SGD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.compiler.pipeline import run_passes
from tinygraph.passes import PIPELINE

GOLDEN = np.load(Path(__file__).with_name("golden") / "torch_recurrent.npz")
CASES = {
    "lstm": lambda: nn.LSTM(3, 4),
    "lstm_layers": lambda: nn.LSTM(3, 4, num_layers=2, batch_first=True),
    "lstm_both_ways": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True),
    "rnn": lambda: nn.RNN(3, 4, bias=False),
    "rnn_relu": lambda: nn.RNN(3, 4, num_layers=2, nonlinearity="relu"),
    "gru": lambda: nn.GRU(3, 4),
    "gru_layers": lambda: nn.GRU(
        input_size=3, hidden_size=4, num_layers=2, batch_first=True, bias=False
    ),
    "gru_lengths": lambda: nn.GRU(3, 4, num_layers=2, bidirectional=True),
    "lstm_lengths": lambda: nn.LSTM(3, 4, bidirectional=True),
}


def golden(prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in GOLDEN.items() if k.startswith(prefix)}


def loaded(name: str) -> nn.Module:
    layer = CASES[name]()
    layer.load_state_dict(golden(f"{name}/state/"))
    return layer


def called(layer: nn.Module, x: tg.Node, name: str = "") -> tuple[tg.Node, ...]:
    lengths = tg.constant([3, 5], "int32") if "lengths" in name else None
    y, left = layer(x, lengths=lengths)
    return (y, *left) if isinstance(left, tuple) else (y, left)


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients(name):
    layer, x = loaded(name), tg.input("x", 5, 2, 3)
    y, *left = called(layer, x, name)
    weights = np.cos(np.arange(y.type.size, dtype=np.float32)).reshape(y.shape)
    loss = tg.sum(y * weights) + sum(tg.sum(s * s) for s in left)
    wanted = {"x": x, **layer.named_parameters()}
    program = tg.compile([x], [y, *left, *tg.grad(loss, list(wanted.values()))])
    got = program(GOLDEN[f"{name}/x"])
    names = ["y", *(f"left/{k}" for k in range(len(left))), *(f"gradient/{k}" for k in wanted)]
    for key, value in zip(names, got, strict=True):
        np.testing.assert_allclose(value, GOLDEN[f"{name}/{key}"], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_three_steps_of_sgd(name):
    layer, x = loaded(name), tg.input("x", 5, 2, 3)
    loss = tg.mean((called(layer, x, name)[0] - 0.5) ** 2)
    updates = optim.SGD(lr=0.1, momentum=0.9).updates(loss, layer.parameters())
    step = tg.compile([x], [loss], updates=updates)
    losses = [step(GOLDEN[f"{name}/x"])[0] for _ in range(3)]
    np.testing.assert_allclose(losses, GOLDEN[f"{name}/losses"], rtol=1e-5)


def test_a_gru_cell_is_one_step_of_its_layer():
    cell, layer = nn.GRUCell(3, 4), loaded("gru")
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in golden("gru/state/").items()})
    x, h = tg.input("x", 1, 2, 3), tg.input("h", 1, 2, 4)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(n.shape).astype("f4") for n in (x, h)]
    got = tg.compile([x, h], [cell(x[0], h[0]), layer(x, h)[0][0]])(*arrays)
    np.testing.assert_allclose(*got, rtol=1e-6)
    assert repr(layer) == "GRU(3, 4)"


def test_dropout_is_between_layers_and_in_training_only():
    x = tg.input("x", 5, 2, 3)
    one, two = nn.GRU(3, 4, dropout=0.5), nn.GRU(3, 4, 2, dropout=0.5)
    for net, differ in ((one, False), (two, True)):
        seen, trained = net(x)[0], net(x, training=True)[0]
        got = tg.compile([x], [seen, trained])(np.ones(x.shape, "f4"))
        assert (got[0] != got[1]).any() == differ
    with pytest.raises(tg.ShapeError, match=r"GRU requires integer lengths\[2\], got i32\[3\]"):
        one(x, lengths=tg.constant([1, 2, 3], "int32"))


def test_cells_are_one_step_of_their_layers():
    rng = np.random.default_rng(0)
    state = golden("lstm/state/")
    cell, layer = nn.LSTMCell(3, 4), loaded("lstm")
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in state.items()})
    x, h, c = tg.input("x", 1, 2, 3), tg.input("h", 1, 2, 4), tg.input("c", 1, 2, 4)
    y, (_, last) = layer(x, (h, c))
    got = tg.compile([x, h, c], [*cell(x[0], (h[0], c[0])), y[0], last[0]])(
        *(rng.standard_normal(n.shape).astype("f4") for n in (x, h, c))
    )
    np.testing.assert_allclose(got[:2], got[2:], rtol=1e-6)
    with pytest.raises(tg.ShapeError, match=r"LSTM requires x\[L, N, 3\], got f32\[2,3\]"):
        layer(x[0])


def test_plan_of_a_training_step_is_two_launches_a_step_each_way():
    net, x = models.lstm(8, 16, 3), tg.input("x", 4, 7, 8)
    loss = nn.cross_entropy(net(x), tg.input("y", 4, dtype="int32"))
    inputs = [x, tg.input("y", 4, dtype="int32")]
    updates = optim.SGD(lr=0.1).updates(loss, net.parameters())
    program = tg.compile(inputs, [loss], updates=updates)
    plan = program.inspection.plan
    assert [(x.last - x.first, x.length) for x in plan.loops] == [(2, 7), (2, 7)]
    names = [n.op.name for n in program.inspection.steps[-1].graph.nodes]
    assert names.count("scan") == 2 and names.count("outer_sum") == 2
    cost = program.cost()
    assert cost["arena_bytes"] <= 1.1 * cost["live_bytes"]


def test_passes_have_no_more_to_do_for_longer_sequences():
    def sizes(length: int) -> list[int]:
        net, x = models.lstm(8, 16, 3), tg.input("x", 4, length, 8)
        loss = tg.sum(net(x))
        graph = tg.Graph("g", (x,), (loss, *tg.grad(loss, net.parameters())))
        return [len(step.graph.nodes) for step in run_passes(graph, PIPELINE)]

    assert sizes(1000) == sizes(10) and sizes(10)[-1] < 150


def test_language_model_continues_from_the_state_it_left():
    net = models.CharLanguageModel(11, hidden=8, layers=2, size=4)
    tokens = np.random.default_rng(0).integers(0, 11, (2, 6)).astype("i4")
    whole, part = (tg.input(name, 2, n, dtype="int32") for name, n in (("whole", 6), ("part", 3)))
    h, c = tg.input("h", 2, 2, 8), tg.input("c", 2, 2, 8)
    (want,) = tg.compile([whole], [net(whole)[0]])(tokens)
    logits, left = net(part, (h, c))
    step = tg.compile([part, h, c], [logits, *left])
    zeros = np.zeros((2, 2, 8), "f4")
    first, *state = step(tokens[:, :3], zeros, zeros)
    second, *_ = step(tokens[:, 3:], *state)
    np.testing.assert_allclose(np.concatenate([first, second], 1), want, rtol=1e-5, atol=1e-6)
