"""verify="values" runs the compiled program: a wrong kernel is named, and a right one never is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tinygraph as tg
import tinygraph_cpu
from compiled import graph_of
from random_networks import Network, networks
from tinygraph import nn, optim
from tinygraph.codegen.program import Code, KernelCode
from tinygraph.compiler import backend as backends
from tinygraph.compiler.check_kernels import KernelError
from tinygraph.graph.ir import Graph
from tinygraph.graph.op import OPS, Kind, define
from tinygraph.ops.arithmetic import floats
from tinygraph_cpu import runner
from tinygraph_cpu.machine.features import Features

HERE = Path(__file__).name
EXAMPLES = Path(__file__).parent.parent / "examples"
F = np.float32
Change = Callable[[KernelCode], KernelCode]


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path) -> Iterator[None]:
    """A store without the right kernels that other tests have left."""
    before, tg.settings.cache = tg.settings.cache, tmp_path
    yield
    tg.settings.cache = before


@pytest.fixture
def plant(monkeypatch) -> Callable[[ModuleType, str, Change], None]:
    """Makes kernels of a name wrong, by a change of their text or record."""

    def planted(backend: ModuleType, name: str, change: Change) -> None:
        right = backend.assemble

        def assemble(plan: Any) -> Code:
            code = right(plan)
            kernels = (change(k) if k.name.startswith(name) else k for k in code.kernels)
            return replace(code, kernels=tuple(kernels))

        monkeypatch.setattr(backend, "assemble", assemble)

    return planted


def in_text(old: str, new: str) -> Change:
    def change(kernel: KernelCode) -> KernelCode:
        assert old in kernel.text
        return replace(kernel, text=kernel.text.replace(old, new))

    return change


def in_body(old: str, new: str) -> Change:
    """Changes an expression of the epilogue of a contraction or a Winograd convolution."""

    def change(kernel: KernelCode) -> KernelCode:
        body = kernel.record.body
        assert any(s.expr == old for s in body.statements)
        statements = tuple(
            replace(s, expr=new if s.expr == old else s.expr) for s in body.statements
        )
        record = replace(kernel.record, body=replace(body, statements=statements))
        return replace(kernel, record=record)

    return change


def verified(graph: Graph, **options: Any) -> Any:
    return tg.compile(graph.inputs, graph.outputs, verify="values", **options)


# ---------------------------------------------------------------------- wrong kernels


def nest() -> Graph:
    return graph_of(tg.sum(tg.tanh(tg.relu(tg.input("x", 9, 13)) + 1), 0))


def epilogue() -> Graph:
    x = tg.input("x", 3, 5)
    return graph_of(tg.tanh(nn.Linear(7, 20)(tg.relu(nn.Linear(5, 7)(x)))))


def winograd() -> Graph:
    x = tg.max_pool2d(nn.Conv2d(3, 16, 3)(tg.input("x", 1, 3, 42, 42)), 2)
    return graph_of(tg.max_pool2d(tg.relu(nn.Conv2d(16, 32, 3, padding=1)(x)), 2))


def special() -> Graph:
    return graph_of(tg.exp(tg.cumsum(tg.input("x", 4, 30), 1) * 0.1))


def loop() -> Graph:
    xs, first = tg.input("xs", 6, 4), tg.input("first", 4)
    (last,), (sums,) = tg.scan(lambda c, x: (tg.tanh(c) + x, c), first, xs)
    return graph_of(last * 2, sums)


def prepared() -> Graph:
    """exp(w) is computed before the runs; the product reads it packed."""
    w = tg.parameter(np.linspace(-1, 1, 40 * 24).reshape(40, 24), "w")
    return graph_of(tg.input("x", 3, 40) @ tg.exp(w), w)


PLANTED: list[tuple[Callable[[], Graph], str, Change, str]] = [
    (nest, "relu_add_tanh_sum", in_text("tanh(", "exp("), "sum f32[13]"),
    (epilogue, "matmul_add_relu", in_body("{0} + {1}", "{0} - {1}"), "relu f32[3,7]"),
    (winograd, "conv2d_add_relu", in_body("{0} + {1}", "{0} - {1}"), "relu f32[1,32,20,20]"),
    (special, "cumsum", in_text("acc + x", "acc - x"), "cumsum f32[4,30]"),
    (loop, "tanh_add", in_text("tanh(", "exp("), "item f32[7,4]"),
    (prepared, "exp", in_text("exp(", "expm1("), "exp f32[40,24]"),
]


@pytest.mark.parametrize(("make", "name", "change", "node"), PLANTED, ids=[p[1] for p in PLANTED])
def test_a_wrong_kernel_is_named(plant, make, name, change, node):
    graph = make()
    options = {"conv": "winograd"} if make is winograd else {}
    verified(graph, **options)  # nothing is wrong yet
    plant(tinygraph_cpu, name, change)
    with pytest.raises(KernelError) as caught:
        verified(graph, **options)
    message = str(caught.value)
    assert caught.value.kernel.startswith(name)
    assert node in message.partition("the interpreter")[0]
    assert all(f"= {n.op.name}: {n.type}  # {HERE}:" in message for n in caught.value.nodes[:1])
    alone = "is wrong in a kernel of its own, too" in message
    assert alone == (name in OPS) and (alone or "is right in a kernel of its own" in message)


def test_a_wrong_operator_is_named(monkeypatch):
    """Its expr does not agree with its ref: in a kernel with others, and in passes all is well."""
    monkeypatch.setitem(OPS, "thrice", None)  # taken away again after the test
    del OPS["thrice"]
    thrice = define(
        "thrice", Kind.ELEMENTWISE, infer=floats("thrice", 1), ref=lambda x: x * F(3),
        expr="{0} * K(2)", version="1",
    )  # fmt: skip
    x = tg.input("x", 4, 3)
    with pytest.raises(KernelError, match="thrice f32") as caught:
        tg.compile([x], [tg.exp(thrice(tg.relu(x) + 1)) * 2], verify="values")
    assert "is compiled for thrice does not agree" in str(caught.value)


def test_machine_code_is_what_is_verified(monkeypatch):
    """The plan and the text are right, and so is the store's entry; what is loaded is not."""
    x = tg.input("x", 30)
    graph = graph_of(tg.tanh(tg.exp(x)))
    verified(graph, without=["fuse"])
    right, first = runner.symbol_of, list[str]()

    def wrong(kernel: KernelCode, features: Features) -> str:
        first.append(right(kernel, features))
        return first[-2] if kernel.name == "tanh_1" else first[-1]

    monkeypatch.setattr(runner, "symbol_of", wrong)
    with pytest.raises(KernelError, match=r"^tanh_1 of program gives .* for tanh f32\[30\]"):
        verified(graph, without=["fuse"])  # from the store


def test_a_value_that_another_launch_overwrites_is_found(monkeypatch):
    """Each kernel is right, but the program's arena is not laid out as it was planned."""
    x = tg.input("x", 40, 40)
    graph = graph_of((x @ x) @ tg.relu(x @ x + 1))
    right = tinygraph_cpu.assemble

    def assemble(plan: Any) -> Code:
        code = right(plan)
        calls = tuple(replace(c, work=tuple(map(moved, c.work))) for c in code.calls)
        return replace(code, calls=calls)

    def moved(work: Any) -> Any:
        arena = {a for a in work.arguments if isinstance(a, tuple) and a[0] == "arena"}
        return replace(
            work, arguments=tuple(("arena", 0, 0) if a in arena else a for a in work.arguments)
        )

    monkeypatch.setattr(tinygraph_cpu, "assemble", assemble)
    with pytest.raises(KernelError, match=r"gives other bits .* launches disturb each other"):
        verified(graph)


def test_a_backend_from_outside_is_verified(plant, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(backends, "REGISTERED", {})
    import custom_backend

    backends.register("python", custom_backend)
    graph = graph_of(tg.sum(tg.exp(tg.input("x", 5, 4)), 0))
    verified(graph, backend="python")
    plant(custom_backend, "exp_sum", in_text("exp(", "expm1("))
    with pytest.raises(KernelError, match=r"^exp_sum_0 of program"):
        verified(graph, backend="python")


def test_each_batch_size_is_verified_when_it_is_bound(plant):
    x = tg.input("x", None, 5)
    program = tg.compile([x], [tg.exp(tg.sum(x, 1))], verify="values")
    program(np.ones((3, 5), F))
    plant(tinygraph_cpu, "sum_exp", in_text("exp(", "expm1("))
    with pytest.raises(KernelError, match=r"^sum_exp_0 of"):
        program(np.ones((7, 5), F))


# ---------------------------------------------------------------------- right kernels


def step(verify: str | None) -> tg.Program:
    """A step with momentum, running statistics and dropout."""
    tg.manual_seed(3)
    x, y = tg.input("x", 4, 2, 8, 8), tg.input("y", 4, dtype="int32")
    net = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(216, 10),
    )  # fmt: skip
    loss = nn.cross_entropy(net(x, training=True), y)
    updates = optim.Adam(0.01).updates(loss, net.parameters())
    first = tg.compile([x, y], [loss], updates=updates)
    versions = [p.state.version for p in first.parameters]
    program = tg.compile([x, y], [loss], updates=updates, verify=verify)
    assert versions == [p.state.version for p in program.parameters]
    return program


def test_verifying_changes_nothing():
    data = np.random.default_rng(0).normal(size=(4, 2, 8, 8)).astype(F), np.arange(4, dtype="i4")
    results = []
    for program in map(step, (None, "values")):
        start = [p.value for p in program.parameters]
        losses = [program(*data)[0] for _ in range(3)]
        results.append([*start, *losses, *(p.value for p in program.parameters)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=8)
@given(net=networks(size=6, dtypes=("float32", "float32", "int32")))
def test_random_graphs_are_right(net: Network):
    count = len(net.graph.outputs) - len(net.updates)
    updates = list(zip(net.updates, net.graph.outputs[count:], strict=True))
    tg.compile(net.graph.inputs, net.graph.outputs[:count], updates=updates, verify="values")


def test_rounding_is_no_error():
    """A comparison near its edge, a difference of nearly equal numbers, long sums."""
    x, y = tg.input("x", 300, 70), tg.input("y", 70, 90)
    z = x @ y
    close = (z + 1e4) - z
    outputs = [tg.cast(tg.less(z, 0), "int32"), close, tg.argmax(z, 1), tg.sum(z) - tg.sum(x) * 3]
    tg.compile([x, y], outputs, verify="values")
