"""The CPU's kernels touch their own arrays only, reads included; ``--deep`` draws many more graphs,
and ``pytest --guard`` runs the tests of anything else so.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import tinygraph as tg
from compiled import graph_of
from guarded import SIDES, guarded
from random_decoders import decoders
from random_networks import Network, networks
from random_programs import graph_and_values, program
from test_size_zero import FUNCTIONS
from tinygraph.compiler.arguments import draw
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Parameter

DEEP = settings.default.max_examples >= 1000
pytestmark = pytest.mark.parametrize("side", SIDES)


def agree(
    graph: Graph, arrays: list[np.ndarray], side: str, updates: tuple[Parameter, ...] = ()
) -> None:
    """A graph, compiled and run in guarded memory, against the interpreter."""
    count = len(graph.outputs) - len(updates)
    want = run(graph, *arrays)
    pairs = list(zip(updates, graph.outputs[count:], strict=True))
    with guarded(side):
        f = tg.compile(graph.inputs, graph.outputs[:count], updates=pairs, conv="implicit")
    for a, b in zip([*f(*arrays), *(p.value for p in updates)], want, strict=True):
        size = np.abs(b[np.isfinite(b)]).max(initial=1) if b.dtype.kind == "f" else 0
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * size)


@settings(max_examples=300 if DEEP else 4)
@given(net=networks(size=6, dtypes=("float32", "int32")))
def test_random_graphs(side: str, net: Network) -> None:
    agree(net.graph, net.arrays, side, net.updates)


@settings(max_examples=200 if DEEP else 2)
@given(net=decoders())
def test_random_decoders(side: str, net: Network) -> None:
    agree(net.graph, net.arrays, side, net.updates)


@pytest.mark.parametrize("seed", range(200 if DEEP else 3))
def test_random_programs(side: str, seed: int) -> None:
    graph, arguments, _ = graph_and_values(program(seed + 3 * 10**6, 14))
    agree(graph, arguments, side)


@pytest.mark.filterwarnings("ignore")
def test_arrays_without_elements(side: str) -> None:
    names = [*FUNCTIONS] if DEEP else ["sum of a slice", "concat", "matmul", "max_pool2d"]
    graph = graph_of(*(FUNCTIONS[name] for name in names))
    rng = np.random.default_rng(0)
    agree(graph, [draw(i.type, rng) for i in graph.inputs], side)


@pytest.mark.parametrize(("m", "k", "n"), [(1, 5, 7), (1, 3, 17), (3, 4, 33), (9, 2, 1)])
def test_products_of_two_inputs(side: str, m: int, k: int, n: int) -> None:
    """Few rows are multiplied with an input where it is, which ends with its last column."""
    x, w = tg.input("x", m, k), tg.input("w", k, n)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(i.shape).astype("float32") for i in (x, w)]
    agree(Graph("g", (x, w), (x @ w, tg.transpose(w) @ tg.transpose(x))), arrays, side)


PLANTED = """
import sys
from dataclasses import replace
import numpy as np
import tinygraph as tg, tinygraph_cpu
from guarded import guarded

side, operand, by = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
assemble = tinygraph_cpu.assemble

def one_too_far(plan):
    launch = plan.launches[0]
    operands = list(launch.work.operands)
    operands[operand] = replace(operands[operand], offset=by)
    launch.work = replace(launch.work, operands=tuple(operands))
    return assemble(plan)

tinygraph_cpu.assemble = one_too_far
x = tg.input("x", 3, 5)
with guarded(side):
    f = tg.compile([x], [x * 2])
f(np.zeros((3, 5), "float32"))
"""


@pytest.mark.parametrize(
    ("operand", "beyond"), [(0, True), (1, True), (1, False)], ids=["read", "write", "other end"]
)
def test_one_element_too_far(side: str, operand: int, beyond: bool) -> None:
    """Beyond the guarded end, reads and writes are fatal; at the other, a write leaves traces."""
    by = 1 if beyond == (side == "end") else -1
    done = subprocess.run(
        [sys.executable, "-c", PLANTED, side, str(operand), str(by)],
        cwd=Path(__file__).parent, capture_output=True, text=True,
    )  # fmt: skip
    if beyond:
        assert done.returncode == -signal.SIGSEGV
    else:
        assert "memory next to an output was written" in done.stderr
