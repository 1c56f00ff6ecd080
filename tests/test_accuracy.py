"""How far float32 is from float64, in units of PyTorch's own error (golden/make_torch_errors.py).

Rms errors of single layers and of their gradients; a whole network; a whole training step on any
number of threads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.graph.float64 import in_float64
from tinygraph.graph.ir import Graph, Node

PYTORCH = json.loads((Path(__file__).parent / "golden" / "torch_errors.json").read_text())
RESULTS = ("output", "input gradient", "weight gradient")


@dataclass(frozen=True)
class Layer:
    """A convolution of a square image; its output's gradient is given."""

    inputs: int
    outputs: int
    image: int
    kernel: int
    stride: int = 1

    @property
    def padding(self) -> int:
        return self.kernel // 2

    def arrays(self) -> list[np.ndarray]:
        """An image without negative values, weights that keep its size, a gradient; NCHW."""
        rng = np.random.default_rng([self.inputs, self.kernel])
        size = -(-self.image // self.stride)
        shapes = (
            (1, self.inputs, self.image, self.image),
            (self.outputs, self.inputs, self.kernel, self.kernel),
            (1, self.outputs, size, size),
        )
        x, w, g = (rng.standard_normal(shape, np.float32) for shape in shapes)
        return [np.maximum(x, 0), w / np.float32(self.kernel * self.inputs**0.5), g]

    def inputs_of_graph(self) -> list[np.ndarray]:
        x, w, g = self.arrays()
        return [x.transpose(0, 2, 3, 1), w, g.transpose(0, 2, 3, 1)]

    def graph(self) -> Graph:
        """Channels last outside, as layers see it within a network."""
        shapes = [a.shape for a in self.inputs_of_graph()]
        x, w, g = (tg.input(n, *shape) for n, shape in zip("xwg", shapes, strict=True))
        y = tg.conv2d(channels_first(x), w, stride=self.stride, padding=self.padding)
        y = tg.transpose(y, (0, 2, 3, 1))
        return Graph("layer", (x, w, g), (y, *tg.grad(tg.sum(y * g), [x, w])))


def channels_first(x: Node) -> Node:
    return tg.transpose(x, (0, 3, 1, 2))


LAYERS = {
    "3x3": Layer(160, 32, 14, 3),
    "5x5": Layer(32, 32, 14, 5),
    "1x1": Layer(256, 64, 14, 1),
    "7x7, stride 2": Layer(3, 32, 42, 7, 2),
    "11x11, stride 4": Layer(3, 32, 59, 11, 4),
    "fully connected": Layer(1024, 64, 1, 1),
}
WINOGRAD = [("3x3", 2), ("3x3", 3), ("3x3", 4), ("5x5", 2), ("5x5", 4)]
WINOGRAD += [(name, m) for name in ("7x7, stride 2", "11x11, stride 4") for m in (2, 3, 4)]


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def truth(layer: Layer) -> list[np.ndarray]:
    """The results in float64."""
    graph, _ = in_float64(layer.graph())
    return tg.run(graph, *(a.astype(np.float64) for a in layer.inputs_of_graph()))


def errors(name: str, conv: str) -> tuple[dict[str, float], str]:
    """The rms error of each result relative to PyTorch's, and the plan."""
    layer, graph = LAYERS[name], LAYERS[name].graph()
    program = tg.compile(graph.inputs, graph.outputs, conv=conv)
    found = {}
    made = zip(RESULTS, program(*layer.inputs_of_graph()), truth(layer), strict=True)
    for result, actual, exact in made:
        found[result] = rms(actual - exact) / rms(exact) / PYTORCH[name][result]
    return found, program.dump("plan")


@pytest.mark.parametrize("name", LAYERS)
def test_direct_forms_have_at_most_4_times_the_error_of_pytorch(name: str) -> None:
    found, plan = errors(name, "implicit")
    assert "winograd" not in plan
    assert max(found.values()) < 4, found


@pytest.mark.parametrize("name, m", WINOGRAD)
def test_winograd_has_at_most_8_times_the_error_of_pytorch(name: str, m: int) -> None:
    """All ways; 3 times with output tiles of 2, and for those that stay direct: a strided one's
    gradient to the input, and a gradient to weights that would take 8 x 8 points.
    """
    found, plan = errors(name, f"winograd({m})")
    if LAYERS[name].stride == 1:
        kernels = " ".join(plan.split()).count(f"_winograd{m}: Winograd")
        assert kernels == 3 - ((name, m) == ("5x5", 4)), "the output and both gradients"
    else:
        assert plan.count(f"_winograd{m}:") == 2, "the output and the gradient to the weights"
        assert found.pop("input gradient") < 3
    if (name, m) == ("5x5", 4):
        assert found.pop("weight gradient") < 3
    assert max(found.values()) < (3 if m == 2 else 8), found


def googlenet(classes: int = 1000) -> nn.Module:
    """With weights that keep activations of one size."""
    net = models.googlenet("batch_norm", classes, auxiliary=False)
    rng = np.random.default_rng(0)
    state = net.state_dict()
    for name, old in state.items():
        noise = rng.standard_normal(old.shape, np.float32)
        if old.ndim > 1:
            state[name] = noise * np.float32((2 * old.shape[0] / old.size) ** 0.5)
        else:
            near = name.endswith("var") or name.endswith("weight")
            state[name] = np.float32(near) + noise * np.float32(0.05)
    net.load_state_dict(state)
    return net


def test_logits_of_googlenet_are_within_a_ten_thousandth_of_float64() -> None:
    net, x = googlenet(), tg.input("x", 2, 3, 64, 64)
    images = np.random.default_rng(1).standard_normal(x.shape, np.float32)
    program = tg.compile([x], [net(x)])
    assert any("winograd" in call.name for call in program.built.code.calls)
    graph, parameters = in_float64(Graph("g", (x,), (net(x),)))
    wide = (p.value.astype(np.float64) for p in parameters)
    (exact,) = tg.run(graph, images.astype(np.float64), *wide)
    (logits,) = program(images)
    assert np.abs(logits - exact).max() < 1e-4 * exact.std()


def test_a_training_step_of_googlenet_is_the_same_on_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Loss, every parameter and every momentum, bit for bit, after two steps."""
    monkeypatch.setattr(tg.settings, "threads", 3)
    net, x, y = googlenet(10), tg.input("x", 2, 3, 64, 64), tg.input("y", 2, dtype="int32")
    rng = np.random.default_rng(1)
    images, labels = rng.standard_normal(x.shape, np.float32), np.array([3, 7], np.int32)
    loss = nn.cross_entropy(first(net(x, training=True)), y)
    updates = optim.SGD(0.1, momentum=0.9).updates(loss, net.parameters())
    step = tg.compile([x, y], [loss], updates=updates)
    assert any("winograd" in call.name for call in step.built.code.calls)
    before = [p.value.copy() for p in step.parameters]
    results = []
    for threads in (1, 2, 3):
        step._runner.threads = threads
        for p, value in zip(step.parameters, before, strict=True):
            p.value = value
        losses = [step(images, labels)[0].tobytes() for _ in range(2)]
        results.append([*losses, *(p.value.tobytes() for p in step.parameters)])
    assert results[0] == results[1] == results[2]
    assert results[0][0] != results[0][1], "a step changes the loss"


def first(outputs: Node | tuple[Node, ...]) -> Node:
    return outputs if isinstance(outputs, Node) else outputs[0]
