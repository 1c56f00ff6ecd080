"""Remarks: every two neighbours in two kernels have the reason for which they were refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given

import tinygraph as tg
from golden_networks import WIDE, inspected
from random_decoders import decoders
from random_graphs import graphs
from random_networks import networks
from targets import schedule
from tinygraph.compiler.pipeline import run_passes
from tinygraph.graph.ir import Graph, Node, Parameter
from tinygraph.graph.op import Kind
from tinygraph.graph.origins import origins
from tinygraph.inspect.remarks import Apart, Remark, grouped, unfused
from tinygraph.passes import strip_effects
from tinygraph.plan.records.reason import Reason
from whole_networks import WHOLE

LARGE = ("googlenet_bn_step", "inception_v3_step", "mobilenet_v2_step", "resnet50_step")


def apart(graph: Graph, updates: tuple[Parameter, ...] = (), without: str = "") -> list[Apart]:
    return unfused(schedule(graph, updates, without=frozenset(filter(None, [without]))), graph)


def unexplained(graph: Graph, updates: tuple[Parameter, ...] = ()) -> list[str]:
    pairs = [*apart(graph, updates), *apart(graph, updates, without="fuse")]
    return [f"{p.producer.op} and {p.consumer.op}" for p in pairs if p.reason is None]


# -- every pair has one ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE)
def test_all_neighbours_of_all_networks_have_a_reason(name, request):
    if name in LARGE and not request.config.getoption("--deep"):
        pytest.skip("takes seconds: --deep")
    inputs, outputs, updates = WHOLE[name]()
    graph, pairs = strip_effects(Graph("net", tuple(inputs), tuple(outputs)), tuple(updates))
    whole = Graph("net", graph.inputs, (*graph.outputs, *(new for _, new in pairs)))
    found = apart(run_passes(whole)[-1].graph, tuple(p for p, _ in pairs))
    assert [p for p in found if p.reason is None] == []


@given(graph=graphs())
def test_all_neighbours_of_random_graphs_have_a_reason(graph):
    assert unexplained(graph) == []


@given(network=networks())
def test_all_neighbours_of_random_networks_have_a_reason(network):
    assert unexplained(network.graph, network.updates) == []


@given(network=decoders())
def test_all_neighbours_of_random_decoders_have_a_reason(network):
    assert unexplained(network.graph, network.updates) == []


# -- and it is the true one ------------------------------------------------------------------------


def running_sum() -> tuple[Node, Node, Node]:
    x = tg.input("x", 4, 6) * 2
    return x, (total := tg.cumsum(x, 1)), total + 1


def product(dtype: str) -> tuple[Node, Node, Node]:
    x = tg.exp(tg.input("x", 6, 8, dtype=dtype))
    y = tg.matmul(x, tg.input("w", 8, 40, dtype=dtype))
    return x, y, tg.sum(y, 1)


def residual() -> tuple[Node, Node, Node]:
    """The sum is the second product's epilogue, and reads what the first one's has made."""
    x = tg.relu(tg.matmul(tg.input("x", 6, 8), tg.input("v", 8, 40)))
    y = tg.matmul(tg.input("z", 6, 9), tg.input("w", 9, 40))
    return x, y + x, tg.max(y + x, 1)


TRUE: list[tuple[Callable[[], tuple[Node, Node, Node]], Reason, Reason]] = [
    (running_sum, Reason.TEMPLATE, Reason.TEMPLATE),
    (lambda: product("float32"), Reason.ANCHOR, Reason.STAGE),
    (residual, Reason.JOINED, Reason.STAGE),
]


@pytest.mark.parametrize(("build", "first", "second"), TRUE)
def test_the_reason_is_the_true_one(build, first, second):
    x, y, z = build()
    inputs = tuple(n for n in Graph("", (), (z,)).nodes if n.op.name == "input")
    found = {(p.producer, p.consumer): p.reason for p in apart(Graph("g", inputs, (x, y, z)))}
    assert found[x, y] is first
    assert found[y, z] is second


def test_what_moves_into_its_readers_says_so():
    """The sum of the columns takes three times what the product's epilogue has stored."""
    x, w, row = tg.input("x", 64, 8), tg.input("w", 8, 640), tg.input("row", 640)
    stored = tg.matmul(x, w) - row
    three = stored * 3
    graph = Graph("g", (x, w, row), (tg.sum(stored, 1), tg.sum(three, 0)))
    assert {p.consumer: p.reason for p in apart(graph)}[three] is Reason.COPIED


# -- ranked and grouped ----------------------------------------------------------------------------


def test_remarks_of_a_kind_are_one_line_and_the_costliest_come_first():
    kinds = [("a", 10), ("b", 2_000_000), ("a", 700), ("a", 20)]
    remarks = [Remark(f"{kind} {n}", (kind,), n) for kind, n in kinds]
    assert grouped([*remarks, Remark("c"), Remark("c"), Remark("d")]) == [
        "b 2000000 (2.00 MB)",
        "a 700 (700 bytes, and 2 more like it, 730 bytes in all)",
        "c (and 1 more like it)",
        "d",
    ]


def test_bytes_are_those_that_one_kernel_would_not_move():
    x = tg.input("x", 8, 16)
    y = tg.exp(x)
    z = tg.cumsum(y, 1)
    (pair,) = apart(Graph("g", (x,), (z,)))
    assert pair.bytes == 2 * y.type.bytes  # written and read
    (pair,) = apart(Graph("g", (x,), (z, y)))
    assert pair.bytes == y.type.bytes  # it is written anyway


def test_a_network_has_few_lines_with_what_costs_most_first():
    inputs, outputs, updates = WHOLE["googlenet"]()
    found = inspected(WIDE, inputs, outputs, updates)
    assert len(found.details) == 68 and len(found.remarks) == 18
    assert "window_max" in found.remarks[0] and "more like it" in found.remarks[0]


SCREEN = 45  # lines


@pytest.mark.parametrize("name", ["lenet5_step", "googlenet", "resnet50", "lstm_step", "char",
                                  "transformer_step"])  # fmt: skip
def test_remarks_and_explanations_fit_a_screen(name):
    inputs, outputs, updates = WHOLE[name]()
    found = inspected(WIDE, inputs, outputs, updates)
    text = str(found.remarks)
    assert text.startswith(f"remarks of net: {len(found.remarks)}, those first that cost most")
    assert len(text.splitlines()) <= SCREEN and max(map(len, text.splitlines())) <= 100
    costs = re.compile(r" +[\d,.]+ (bytes|KB|MB)  ")
    rows = [size(line) for line in text.splitlines() if costs.match(line)]
    assert rows == sorted(rows, reverse=True) and rows
    made = [n for n in found.steps[0].graph.nodes if n.op.kind is not Kind.SOURCE]
    for scope in {o.scope.split(".")[0] for n in made for o in origins(n)} - {""}:
        lines = found.explain(scope).splitlines()
        assert len(lines) <= SCREEN and max(map(len, lines)) <= 100, scope


def size(line: str) -> float:
    number, unit = line.split()[:2]
    return float(number.replace(",", "")) * {"bytes": 1, "KB": 1e3, "MB": 1e6}[unit]


def test_a_loop_moves_bytes_in_every_step():
    x = tg.input("x", 7, 5)

    def step(total: Node, row: Node) -> tuple[Node, Node]:
        total = total + tg.cumsum(tg.exp(row), 0)
        return total, total

    _, (rows,) = tg.scan(step, tg.constant(np.zeros(5, "f4")), x)
    (found,) = [p for p in apart(Graph("g", (x,), (rows,))) if p.consumer.op.name == "cumsum"]
    assert found.bytes == 7 * 2 * 5 * 4


def test_what_is_made_of_constants_alone_has_no_line_of_another_program():
    """Equal constants are one node: its line is that of the program which built it first."""
    kept = tg.exp(tg.constant(0.25))
    x = tg.input("x", 3)
    (remark,) = tg.compile([x], [x + tg.exp(tg.constant(0.25))]).remarks
    assert remark == "fold_constants: evaluate_constants" and kept is not None
