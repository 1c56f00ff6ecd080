"""Networks out of ONNX files as users meet them: sizes, parameters, training, names, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx
from onnx.reference import ReferenceEvaluator

import onnx_models
import tinygraph as tg
from tinygraph.onnx.module import OnnxModule


def loaded(made: onnx.ModelProto, folder: Path, **options: Any) -> OnnxModule:
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return tg.onnx.load(path, **options)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, 1, 28, 28)).astype(np.float32)


INPUTS = {
    "convolutional": images,
    "attention": lambda n: np.random.default_rng(n).integers(0, 50, (n, 7)),
    "recurrent": lambda n: np.random.default_rng(n).standard_normal((n, 6, 5)).astype(np.float32),
}


@pytest.mark.parametrize("name", INPUTS)
def test_one_program_for_any_batch_size(name: str, tmp_path: Path) -> None:
    made = getattr(onnx_models, name)()
    reference = ReferenceEvaluator(made)
    net = loaded(made, tmp_path)
    program = net.compile(batch=None)
    for n in (1, 3, 8):
        a = INPUTS[name](n)
        (want,) = reference.run(None, {net.inputs[0].name: a})
        (got,) = program(a)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_one_load_for_several_graphs(tmp_path: Path) -> None:
    net = loaded(onnx_models.convolutional(), tmp_path)
    small, large = net.compile(batch=1), net.compile(batch=4)
    a = images(4)
    np.testing.assert_allclose(large(a)[0][:1], small(a[:1])[0], rtol=1e-4, atol=1e-6)
    net.state.parameters["fc.bias"].value = np.zeros(10)
    assert not np.array_equal(small(a[:1])[0], large(a)[0][:1] + 1)
    np.testing.assert_allclose(large(a)[0][:1], small(a[:1])[0], rtol=1e-4, atol=1e-6)
