"""The nine architectures that the onnx package ships, with seeded weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx
from onnx import numpy_helper

import tinygraph as tg
from tinygraph.onnx.compare import difference, runtime
from tinygraph.onnx.module import OnnxModule
from tinygraph.onnx.reading.file import from_proto

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = ("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet",
         "squeezenet", "vgg19", "zfnet512")  # fmt: skip
QUICK = ("shufflenet", "squeezenet")  # to compile; --deep takes all


def seeded(name: str) -> onnx.ModelProto:
    """A model whose weights, filled by nodes in the file, are random instead."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    graph, rng = model.graph, np.random.default_rng(0)
    shapes = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    filled = {n.output[0]: shapes[n.input[0]] for n in graph.node if n.op_type == "ConstantOfShape"}
    kept = [n for n in graph.node if n.op_type != "ConstantOfShape"]
    roles = {name: (n.op_type, i) for n in kept for i, name in enumerate(n.input)}
    for name, shape in filled.items():
        value = _weights(rng, tuple(shape), *roles[name])
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    del graph.node[:]
    graph.node.extend(kept)
    return model


def _weights(rng: np.random.Generator, shape: Any, op: str, place: int) -> np.ndarray:
    if op == "BatchNormalization" and place in (1, 4):  # scales and variances
        return rng.uniform(0.5, 1.5, shape)
    spread = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
    return rng.standard_normal(shape) * spread


def loaded(name: str) -> tuple[onnx.ModelProto, OnnxModule]:
    model = seeded(name)
    return model, OnnxModule(from_proto(model, f"{name}.onnx"), {})


@pytest.mark.parametrize("name", NAMES)
def test_it_becomes_a_graph(name: str) -> None:
    _, net = loaded(name)
    (x,) = net.nodes()
    y = net(x)
    assert np.prod(y.shape) == 1000 and len(net.parameters()) > 15


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_what_onnx_runtime_does(name: str, pytestconfig: pytest.Config) -> None:
    if name not in QUICK and not pytestconfig.getoption("--deep"):
        pytest.skip("compiled with --deep only")
    pytest.importorskip("onnxruntime", reason="requires onnxruntime", exc_type=Exception)
    model, net = loaded(name)
    program = net.compile()
    a = np.random.default_rng(1).standard_normal(program.graph.inputs[0].shape).astype(np.float32)
    (want,) = runtime(model.SerializeToString())({net.inputs[0].name: a})
    assert difference(name, program(a)[0], want).relative < 1e-4


def test_importing_gives_no_more_nodes_for_a_second_call() -> None:
    _, net = loaded("squeezenet")
    (x,) = net.nodes()
    assert net(x) is net(x)
    assert tg.Graph("g", (x,), (net(x),)).nodes
