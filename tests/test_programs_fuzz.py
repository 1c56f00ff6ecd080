"""Random programs compute what NumPy computes: interpreted, as generated Python, and compiled."""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from compiled import run_python
from random_programmer import Programmer
from random_programs import graph_and_values, program, types_agree
from seeds import drawn, pytest_generate_tests  # noqa: F401  pytest finds it here
from tinygraph.autodiff import GradientError, check_grad
from tinygraph.graph.dtype import is_float
from tinygraph.graph.interpret import run
from tinygraph.passes import widen


def same(p: Programmer, results: list[np.ndarray], want: list[np.ndarray], how: str) -> None:
    for got, value in zip(results, want, strict=True):
        message = f"{how}, seed {p.seed}:\n" + "\n".join(p.log)
        assert got.shape == value.shape, message
        np.testing.assert_array_equal(got, value, err_msg=message)


@drawn(120, 10_000)
def test_interpreted_and_as_python(seed: int) -> None:
    p = program(seed)
    graph, arguments, want = graph_and_values(p)
    for node, value in zip(graph.outputs, want, strict=True):
        assert types_agree(node, value), "\n".join(p.log)
    same(p, run(graph, *arguments), want, "interpreted")
    same(p, run_python(widen(graph), *arguments), want, "as Python")


@drawn(10, 1000)
def test_compiled(seed: int) -> None:
    p = program(seed + 10**6, 14)
    graph, arguments, want = graph_and_values(p)
    q = tg.parameter(np.arange(3, dtype="float32"), "q")
    new = q * 2 + (tg.sum(tg.cast(graph.outputs[-1], "float32")) * 0 + 1)
    program_ = tg.compile(graph.inputs, graph.outputs, updates=[(q, new)], conv="implicit")
    same(p, list(program_(*arguments)), want, "compiled")  # Winograd's fractions would round
    before = np.arange(3, dtype="float32")
    with np.errstate(all="ignore"):
        total = np.float32(np.sum(want[-1].astype("float32"))) * 0 + 1
    np.testing.assert_array_equal(q.value, before * 2 + total)


@drawn(60, 3000)
def test_gradients_by_finite_differences(seed: int) -> None:
    p = program(seed + 2 * 10**6, 8, smooth=True)
    graph, arguments, _ = graph_and_values(p)
    floats = [v for v in graph.outputs if is_float(v.dtype)]
    if floats:
        every = tg.concat([tg.reshape(tg.cast(v, "float64"), (v.size,)) for v in floats])
        try:
            check_grad((graph.inputs, every), *arguments, tolerance=1e-4)
        except GradientError as error:
            raise AssertionError(f"seed {p.seed}:\n" + "\n".join(p.log)) from error
