"""What people type who come from other libraries works, or says what to write instead.

typed.txt has 292 expressions, collected from NumPy's, PyTorch's and Keras' users.
"""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import checkpoint, data, models, nn, optim, train
from tinygraph.graph import hints
from tinygraph.models.lenet import LeNet5

NAMES = {
    "np": np, "tg": tg, "nn": nn, "optim": optim, "data": data, "train": train, "models": models,
    "checkpoint": checkpoint, "x": tg.input("x", 8, 3, 16, 16), "v": tg.input("v", 8, 32),
    "w": tg.input("w", 8, 32), "i": tg.input("i", 8, dtype="int32"), "s": tg.input("s", 8, 5, 32),
}  # fmt: skip
TYPED = Path(__file__).with_name("typed.txt").read_text().splitlines()
BARE = re.compile(
    r"has no attribute|unexpected keyword|got multiple values|missing \d+ required|"
    r"object is not callable|positional arguments? but|^no [\w.]+$"
)
# Two more of another's shapes than the expression means; conv2d takes its options by keyword.
KNOWN = {"tg.conv2d(x, tg.parameter(np.zeros((4, 3, 3, 3))), None, 1, 1)", "v.size()",
         "nn.Linear(32, 4).weight.grad"}  # fmt: skip


@pytest.mark.parametrize("expression", TYPED)
def test_what_people_type(expression: str) -> None:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            eval(expression, dict(NAMES))
    except (AttributeError, TypeError, ValueError, tg.GradientError) as error:
        message = str(error)
        assert expression in KNOWN or (len(message) > 20 and not BARE.search(message)), message


def names_in(text: str) -> list[tuple[str, str]]:
    """The names of this package that a hint tells to write."""
    return re.findall(r"\b(tg|nn|optim|data|train)\.([A-Za-z_]\w*)", text)


@pytest.mark.parametrize("table", ["FUNCTIONS", "LAYERS", "OPTIMIZERS", "NODES", "MODULES", "DATA"])
def test_hints_name_what_there_is_and_are_for_what_there_is_not(table: str) -> None:
    owner = {"FUNCTIONS": tg, "LAYERS": nn, "OPTIMIZERS": optim, "NODES": NAMES["v"],
             "MODULES": LeNet5(), "DATA": data}[table]  # fmt: skip
    for name, hint in getattr(hints, table).items():
        assert not hasattr(owner, name), f"{name} is there: it needs no hint"
        for module, member in names_in(hint):
            assert hasattr(NAMES[module], member), f"{table}: {hint} names {member}"


def test_methods_are_the_functions() -> None:
    v: Any = NAMES["v"]
    pairs = [
        (v.mean(axis=1), tg.mean(v, 1)), (v.sum(), tg.sum(v)),
        (v.reshape(4, -1), tg.reshape(v, 4, -1)),
        (v.T, tg.transpose(v)), (v.transpose(1, 0), v.T), (v.transpose(), v.T),
        (v.transpose((1, 0)), v.T), (v.astype("float64"), tg.cast(v, "float64")),
        (v.flatten(), tg.reshape(v, -1)), (v.max(1, keepdims=True), tg.max(v, 1, keepdims=True)),
        (v.clip(0, 1), tg.clip(v, 0, 1)), (v.cumsum(1), tg.cumsum(v, 1)),
        (v.argmax(1), tg.argmax(v, 1)),
        (v.std(ddof=1), tg.std(v, ddof=1)), (abs(v), v.abs()),
    ]  # fmt: skip
    for method, function in pairs:
        assert method is function
    assert v.size == 256 and isinstance(np.ones((8, 32), "float32") * v, tg.Node)


class Net(nn.Module):
    """Modules in lists and dicts, an activation, buffers, dropout."""

    def __init__(self) -> None:
        self.parts = {"first": nn.Linear(4, 6), "rest": [nn.GRU(6, 3), nn.GELU()]}
        self.layer = nn.TransformerEncoderLayer(6, 2, 8)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
        y = self.norm(self.parts["first"](x))
        y, _ = self.parts["rest"][0](self.layer(tg.expand_dims(y, 0)))
        return self.parts["rest"][1](y)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
def test_modules_are_copied_and_pickled(how: Any) -> None:
    net = Net()
    before = net.state_dict()
    other = how(net)
    assert list(other.named_parameters()) == list(net.named_parameters())
    assert list(other.named_buffers()) == list(net.named_buffers())
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert not set(other.parameters()) & set(net.parameters())
    x, a = tg.input("x", 5, 4), np.random.default_rng(0).standard_normal((5, 4)).astype("f4")
    (want,), (got,) = (tg.run(tg.Graph("g", (x,), (n(x),)), a) for n in (net, other))
    np.testing.assert_array_equal(got, want)
    next(iter(net.parameters())).value *= 0
    assert other.state_dict()["parts.first.weight"].any()


class Foreign:
    """An array of another library."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Column(Foreign):
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.array, dtype)


@pytest.mark.parametrize("kind", [Foreign, Column])
def test_arrays_of_other_libraries_are_inputs(kind: type[Foreign]) -> None:
    x = tg.input("x", 3)
    program = tg.compile([x], [x * 2])
    given = kind(np.arange(3, dtype="float32"))
    np.testing.assert_array_equal(program(given)[0], [0, 2, 4])
    np.testing.assert_array_equal(tg.run(x * 2, given), [0, 2, 4])
    np.testing.assert_array_equal(tg.run(tg.constant(given)), [0, 1, 2])
