"""The bits of products of bfloat16: of instructions, of what stands in for them, at any threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tinygraph as tg
from test_precision import PRODUCTS, Small, compiled, draws
from tinygraph import checkpoint, models, nn, optim
from tinygraph.graph.dtype import astype
from tinygraph_cpu.machine.features import detect

BF16 = "bfloat16"


@pytest.mark.skipif(not detect().dot_bfloat16, reason="the processor has no vdpbf16ps")
@pytest.mark.parametrize("name", PRODUCTS)
def test_the_instruction_has_the_bits_of_what_stands_in_for_it(name, monkeypatch):
    """Two multiply-adds, the odd element first; none of these numbers is a denormal."""
    found = []
    for level in ("cooperlake", "x86-64-v4"):
        monkeypatch.setenv("TINYGRAPH_CPU", level)
        program, got, _ = compiled(PRODUCTS[name]())
        assert "matrix tile" not in program.dump("plan")
        found.append(got)
    np.testing.assert_array_equal(*found)


def in_matrix_registers(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sums of a matrix register: of 16 words at a time the even elements one after the other,
    the odd ones, then both, and that is added to the sum.
    """
    total = np.zeros((len(a), b.shape[1]), np.float32)
    for k in range(0, a.shape[1], 32):
        halves = np.zeros((2, *total.shape), np.float32)
        for i in range(k, min(k + 32, a.shape[1])):
            halves[i % 2] += a[:, i : i + 1] * b[i]
        total += halves[0] + halves[1]
    return total


@pytest.mark.skipif(not detect().matrix, reason="the processor has no matrix registers")
@pytest.mark.parametrize("shape", [(16, 64, 16), (37, 96, 50), (64, 72, 64), (33, 34, 100)])
def test_matrix_registers_add_up_in_the_order_that_is_documented(shape):
    """Whole squares of four blocks, and what remains of rows, columns and channels."""
    m, k, n = shape
    a, b = tg.input("a", m, k, dtype=BF16), tg.input("b", k, n, dtype=BF16)
    program = tg.compile([a, b], [tg.matmul(a, b, accumulate="float32")])
    assert "matrix tile" in program.dump("plan")
    arrays = draws([a, b])
    want = in_matrix_registers(*(astype(x, "float32") for x in arrays))
    np.testing.assert_array_equal(program(*arrays)[0], want)


# -- steps -----------------------------------------------------------------------------------------


class Run:
    """A network in training, in bfloat16: its steps on batches that depend on their number."""

    def __init__(self, make: Callable[[], nn.Module], shape: tuple[int, ...], symbols: int) -> None:
        nn.manual_seed(0)
        self.net, self.symbols = make(), symbols
        self.x = tg.input("x", *shape, dtype="int32" if symbols else "float32")
        out = self.net(self.x, training=True)
        out = out[0] if isinstance(out, tuple) else out
        self.y = tg.input("y", *(shape if out.ndim == 3 else shape[:1]), dtype="int32")
        loss = nn.cross_entropy(out, self.y, axis=out.ndim - 1)
        self.optimizer = optim.AdamW(1e-3)
        updates = self.optimizer.updates(loss, self.net.parameters())
        self.step = tg.compile([self.x, self.y], [loss], updates=updates, precision=BF16)

    def train(self, first: int, last: int) -> list[float]:
        return [float(self.step(*self.batch(number))[0]) for number in range(first, last)]

    def batch(self, number: int) -> list[np.ndarray]:
        rng = np.random.default_rng(number)
        x = (
            rng.integers(0, self.symbols, self.x.shape)
            if self.symbols
            else rng.random(self.x.shape)
        )
        return [x.astype(self.x.dtype), rng.integers(0, 10, self.y.shape).astype(np.int32)]

    def state(self) -> dict[str, np.ndarray]:
        return self.net.state_dict() | self.optimizer.state_dict()


FAMILIES = {
    "convolutions": lambda: Run(models.lenet5, (16, 1, 28, 28), 0),
    "branches, a depthwise one, batch normalization": lambda: Run(Small, (8, 3, 16, 16), 0),
    "recurrent": lambda: Run(lambda: models.lstm(16, 32, 10), (8, 12, 16), 0),
    "characters": lambda: Run(lambda: models.CharLanguageModel(30, hidden=32), (8, 12), 30),
    "attention": lambda: Run(
        lambda: models.TransformerLanguageModel(30, 32, 32, layers=1, heads=2), (2, 32), 30
    ),
}


def same(a: Run, b: Run) -> None:
    for name, value in a.state().items():
        np.testing.assert_array_equal(value, b.state()[name], err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_have_the_same_bits_at_any_number_of_threads(family, monkeypatch):
    monkeypatch.setattr(tg.settings, "threads", 1)
    one = FAMILIES[family]()
    losses = one.train(0, 3)
    monkeypatch.setattr(tg.settings, "threads", 2)
    two = FAMILIES[family]()
    assert two.train(0, 3) == losses
    same(one, two)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stopped_run_goes_on_with_the_same_bits(family, tmp_path):
    """What is rounded is made anew out of parameters, so that it is in no checkpoint."""
    whole = FAMILIES[family]()
    losses = whole.train(0, 4)
    first = FAMILIES[family]()
    early = first.train(0, 2)
    checkpoint.save(tmp_path / "run.npz", first.net, first.optimizer)
    second = FAMILIES[family]()
    second.train(7, 8)
    checkpoint.load(tmp_path / "run.npz", second.net, second.optimizer)
    assert early + second.train(2, 4) == losses
    same(second, whole)
