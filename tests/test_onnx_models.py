"""Every network of tinygraph.models as an ONNX file, and a training step of each: valid, read back,
run by ONNX Runtime.

Values are the interpreter's here, so that large networks need no compiling; test_onnx_save.py
compiles small ones of all kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx

import tinygraph as tg
from test_onnx_save import near, onnxruntime, values
from tinygraph import models, nn, optim
from tinygraph.graph.ir import Graph, Node
from tinygraph.passes.effects import strip_effects

IMAGE = (1, 3, 32, 32)
WORDS = (2, 7)
DEEP = 1e-5  # of the largest number, after up to 150 layers' rounding
DEPTHS = (18, 34, 50, 101, 152)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Bert": (lambda: models.Bert(11, 9, 12, 2, 3), WORDS),
    "CharLanguageModel": (lambda: models.CharLanguageModel(11, 6, 2, 4), WORDS),
    "SequenceClassifier": (lambda: models.SequenceClassifier(nn.LSTM(4, 6), 3), (2, 5, 4)),
    "TransformerClassifier": (lambda: models.TransformerClassifier(11, 3, 9, 12, 1, 3), WORDS),
    "TransformerLanguageModel": (lambda: models.TransformerLanguageModel(11, 9, 12, 1, 3), WORDS),
    "VisionTransformer": (lambda: models.VisionTransformer(64, 32, 2, 3, 12), (1, 3, 64, 64)),
    "alexnet": (lambda: models.alexnet("original", 10, 64), (1, 3, 227, 227)),
    "densenet121": (lambda: models.densenet121(10), IMAGE),
    "efficientnet_b0": (lambda: models.efficientnet_b0(10), IMAGE),
    "googlenet": (lambda: models.googlenet("paper", 10), (1, 3, 64, 64)),
    "inception_v3": (lambda: models.inception_v3(10), (1, 3, 75, 75)),
    "lenet5": (models.lenet5, (2, 1, 28, 28)),
    "lstm": (lambda: models.lstm(4, 6, 3, num_layers=2), (2, 5, 4)),
    "mobilenet_v2": (lambda: models.mobilenet_v2(10), IMAGE),
    **{f"resnet{n}": (lambda n=n: getattr(models, f"resnet{n}")(10), IMAGE) for n in DEPTHS},
    "resnext50": (lambda: models.resnext50(10), IMAGE),
    "rnn": (lambda: models.rnn(4, 6, 3), (2, 5, 4)),
    "shufflenet_v2": (lambda: models.shufflenet_v2(10), IMAGE),
    "squeezenet": (lambda: models.squeezenet(10), IMAGE),
    "unet": (lambda: models.unet(2, 1, 4), (1, 1, 32, 32)),
    "vgg16": (lambda: models.vgg16(10, 64), IMAGE),
}
AS_ANOTHER = {"bert_base": "Bert", "vit_b_16": "VisionTransformer"}  # of other sizes
LARGE = {
    "densenet121",
    "inception_v3",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50",
    "vgg16",
}


def flat(made: object) -> list[Node]:
    return [made] if isinstance(made, Node) else [n for part in made for n in flat(part)]  # type: ignore[attr-defined]


def test_every_network_is_here() -> None:
    assert {*NETWORKS, *AS_ANOTHER, "auxiliary_loss"} == set(models.__all__)
    assert set(AS_ANOTHER.values()) <= set(NETWORKS)


def moved(a: np.ndarray) -> np.ndarray:
    """Floats, each by a few roundings up or down."""
    signs = np.random.default_rng(1).choice([-1, 1], a.shape)
    return (a * (1 + 5e-7 * signs)).astype(a.dtype) if a.dtype.kind == "f" else a


def compared(path: Path, graph: Graph, share: float = DEEP) -> None:
    """The file is valid, and both its readers give what the graph gives.

    Args:
        share: by which ONNX Runtime's results may be off, of their norm.
    """
    onnx.checker.check_model(str(path), full_check=True)
    arrays = values(graph.inputs)
    want = tg.run(graph, *arrays)
    made = tg.onnx.load(path)(*graph.inputs)
    near(tg.run(Graph("back", graph.inputs, tuple(flat(made))), *arrays), want, DEEP)
    if onnxruntime is not None:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        feeds = {n.name: a for n, a in zip(graph.inputs, arrays, strict=True)}
        shifted = tg.run(graph, *map(moved, arrays))
        for got, w, s in zip(session.run(None, feeds), want, shifted, strict=True):
            # A hundred layers in training turn rounding of the images into much more.
            size, off, rounding = (np.linalg.norm(v.astype("float64")) for v in (w, got - w, s - w))
            assert got.dtype == w.dtype and off <= DEEP + share * size + 4 * rounding


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_come_back(name: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if name in LARGE and not pytestconfig.getoption("--deep"):
        pytest.skip("takes seconds: --deep")
    build, shape = NETWORKS[name]
    x = tg.input("x", *shape, dtype="int32" if shape == WORDS else "float32")
    graph = Graph(name, (x,), tuple(flat(build()(x))))
    tg.onnx.save(graph, tmp_path / "net.onnx")
    compared(tmp_path / "net.onnx", graph)


# Two images: batch normalization of two numbers alone would turn rounding into signs.
STEP_SHAPES = {IMAGE: (2, 3, 64, 64), (1, 3, 75, 75): (2, 3, 299, 299)}
FLIPPED = 0.03  # of a gradient's norm, where one of the two cuts off a number near 0, and one not
QUICK_STEPS = {
    "CharLanguageModel", "SequenceClassifier", "TransformerClassifier", "TransformerLanguageModel",
    "VisionTransformer", "lenet5", "lstm", "rnn", "shufflenet_v2", "squeezenet", "unet",
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_training_steps_come_back(name: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if name not in QUICK_STEPS and not pytestconfig.getoption("--deep"):
        pytest.skip("takes seconds: --deep")
    build, shape = NETWORKS[name]
    net, shape = build(), STEP_SHAPES.get(shape, shape)
    x = tg.input("x", *shape, dtype="int32" if shape == WORDS else "float32")
    made = flat(net(x, training=True))
    rows = [tg.reshape(y, (-1, y.shape[-1])) for y in made]
    labels = [tg.input(f"label{i}", *y.shape[:1], dtype="int32") for i, y in enumerate(rows)]
    losses = [nn.cross_entropy(y, label) for y, label in zip(rows, labels, strict=True)]
    loss = sum(losses[1:], losses[0])
    updates = list(optim.SGD(0.01, momentum=0.9).updates(loss, net.parameters()))
    graph = Graph(name, (x, *labels), (loss,))
    path = tmp_path / "step.onnx"
    tg.onnx.save(graph, path, updates=updates)
    whole, pairs = strip_effects(graph, updates)
    outputs = (*whole.outputs, *(new for _, new in pairs))
    share = DEEP if name in QUICK_STEPS else FLIPPED
    compared(path, Graph(name, whole.inputs, outputs), share)
    assert len(onnx.load(path).graph.output) == len(outputs) > len(updates)
