"""Fine-tuning networks out of ONNX files gives PyTorch's losses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx_fine_tuning as fine_tuning
import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.onnx.module import OnnxModule

GOLDEN = Path(__file__).parent / "golden" / "torch_fine_tuning.json"


def imported(name: str, net: nn.Module, folder: Path) -> OnnxModule:
    """The network, with the weights that PyTorch had, by way of a file."""
    state = {**net.named_parameters(), **net.named_buffers()}
    for key, value in fine_tuning.weights({k: p.shape for k, p in state.items()}).items():
        state[key].value = value
    tg.onnx.save(net, folder / "net.onnx", tg.input("x", *fine_tuning.IMAGES[name]))
    return tg.onnx.load(folder / "net.onnx")


def losses(name: str, net: OnnxModule) -> list[float]:
    """Of steps that the interpreter runs."""
    images, labels = fine_tuning.batch(name)
    x, y = tg.input("x", *images.shape), tg.input("y", *labels.shape, dtype="int64")
    loss = nn.cross_entropy(net(x), y)
    method = optim.SGD(fine_tuning.RATE, momentum=fine_tuning.MOMENTUM)
    updates = list(method.updates(loss, net.parameters()))
    step = tg.Graph("step", (x, y), (loss, *(new for _, new in updates)))
    found = []
    for _ in range(fine_tuning.STEPS):
        value, *changed = tg.run(step, images, labels)
        for (p, _), new in zip(updates, changed, strict=True):
            p.value = new
        found.append(float(value))
    return found


def test_all_of_lenet5(tmp_path: Path) -> None:
    net = imported("lenet5", models.lenet5(), tmp_path)
    want = json.loads(GOLDEN.read_text())["lenet5"]
    np.testing.assert_allclose(losses("lenet5", net), want, rtol=1e-4)


def test_the_last_layer_of_resnet50(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--deep"):
        pytest.skip("takes a minute: with --deep only")
    net = imported("resnet50", models.resnet50(fine_tuning.CLASSES), tmp_path)
    for name, p in net.named_parameters().items():
        p.state.trainable = name.startswith("fc.")
    assert len(net.parameters()) == 2
    want = json.loads(GOLDEN.read_text())["resnet50"]
    np.testing.assert_allclose(losses("resnet50", net), want, rtol=1e-4)
