"""dump and parse are inverses; canonical text depends on the graph only."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given

from random_graphs import graph_of, graphs, parameter
from tinygraph import ops
from tinygraph.autodiff import grad
from tinygraph.graph.dump import WIDTH, canonical, dot, dump
from tinygraph.graph.ir import Graph, Parameter
from tinygraph.graph.op import OPS, constant, input
from tinygraph.graph.origins import scope
from tinygraph.graph.parse import ParseError, parse
from tinygraph.ops.identity import effect
from tinygraph.ops.math import POW


def mlp() -> Graph:
    x, labels = input("image", 32, 784), input("label", 32, dtype="int32")
    w, b = parameter("fc1.weight", 784, 10), parameter("fc1.bias", 10)
    with scope("fc1"):
        h = ops.relu(x @ w + b).named("hidden")
    loss = ops.cross_entropy(h, labels).named("loss")
    return Graph("mlp", (x, labels), (loss, *grad(loss, [w, b])))


def examples() -> list:
    made = [(op.name, op.example()) for op in OPS.values() if op.example is not None]
    return [pytest.param(graph_of(node), id=name) for name, node in made]


def odd_graph() -> Graph:
    x, y, b = input("two words", 2, 3), input("nan", 3), input("x", 3, dtype="bool")
    w, twin, nameless = parameter("w", 3), parameter("w", 3), parameter(None, 3)
    z = (ops.where(b, x, np.array([np.inf, -np.inf, np.nan], "f4")) * w + twin * nameless).named(
        "nan"
    )
    z = (effect(z, w, w - y) + np.arange(6, dtype="f4").reshape(2, 3) ** 0.5).named("it's # odd")
    wide = ops.cast(z, "float64") * constant(0.1, "float64") + constant([1e-300, 2, 3], "float64")
    many = np.arange(20, dtype="f4") + ops.concat([y] * 7)[:20].named("12")
    return Graph("odd graph", (x, y, b), (wide, many, ops.cast(b, "uint8") + constant(3, "uint8")))


def test_golden(golden):
    assert golden == dump(mlp())


def test_golden_with_scopes(golden):
    assert golden == dump(mlp(), scopes=True)


@pytest.mark.parametrize("graph", examples())
def test_every_operator_round_trips(graph):
    assert parse(dump(graph, lines=True)).outputs == graph.outputs


@pytest.mark.parametrize("make", [mlp, odd_graph])
def test_round_trip_with_parameters_and_large_constants(make):
    graph = make()
    text = dump(graph, lines=True)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert parse(text, env=graph).outputs == graph.outputs
    alone = parse(text)
    assert dump(alone) == dump(graph)
    assert dump(parse(dump(alone))) == dump(graph)


def test_placeholders_say_that_they_have_no_value():
    alone = parse(dump(mlp()))
    with pytest.raises(ValueError, match=r"fc1\.weight was parsed from text and has no value"):
        alone.parameters[0].state.read()


@given(graph=graphs())
def test_random_graphs_round_trip(graph):
    assert parse(dump(graph), env=graph).outputs == graph.outputs
    assert dump(parse(dump(graph))) == dump(graph)


def one_line(statement: str) -> str:
    return f"graph g(x: f32[3]) {{\n  %0 = {statement}\n  return %0\n}}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (one_line("nonsense(x) : f32[3]"), "line 2: there is no operator 'nonsense'"),
        (one_line("neg(y) : f32[3]"), "line 2: y is not defined above"),
        (one_line("neg(x) : f32[4]"), r"line 2: neg gives f32\[3\], the text says f32\[4\]"),
        (one_line("reshape(x, shape=open('f')) : f32[3]"), "line 2: expected a value"),
        (one_line("neg(x : f32[3]"), "line 2"),
        ("graph g(x: f32[3]) {\n  return x", "found 'the end'"),
        ("", "expected 'graph'"),
    ],
)
def test_parse_errors_name_the_line(text, why):
    with pytest.raises(ParseError, match=why):
        parse(text)


def test_canonical_text_ignores_names_lines_and_values():
    def build(name: str, w: Parameter) -> Graph:
        return graph_of(ops.tanh(input(name, 4, 3) @ w).named(name + "!"))

    one, two = build("a", parameter("p", 3, 2)), build("b", parameter("q", 3, 2))
    assert canonical(one) == canonical(two)
    assert canonical(one) != canonical(build("a", parameter("p", 3, 5)))
    x = input("x", 3)
    assert canonical(graph_of(x + 0.0)) != canonical(graph_of(x + -0.0))
    assert canonical(graph_of(POW(x, 2.0))) != canonical(graph_of(POW(x, 3.0)))


def test_canonical_text_is_the_same_in_every_process():
    code = "import test_dump as t; print(t.canonical(t.mlp()), t.dump(t.mlp()))"
    here = os.path.dirname(__file__)
    path = os.pathsep.join([here, *sys.path])
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1 and "matmul" in texts.pop()


def test_dot_and_print():
    graph = mlp()
    assert str(graph) == dump(graph)
    assert dot(graph).count("->") == sum(len(n.inputs) for n in graph.nodes) + len(graph.outputs)
    assert dump(graph) in graph._repr_markdown_()
    assert "matmul" in graph.outputs[0]._repr_markdown_()


def test_five_thousand_nodes_are_fast():
    x, n = input("x", 8), input("x", 8)
    for _ in range(2500):
        n = ops.relu(n) + x
    graph = graph_of(n)
    start = time.process_time()
    text = dump(graph)
    printed = time.process_time() - start
    assert parse(text).outputs == graph.outputs
    assert printed < 1 and time.process_time() - start < 5


HOSTILE = {
    "minus signs": ("expected a value", "  %0 = mul(x, " + "-" * 100_000 + "1.0) : f32[4]"),
    "brackets": ("expected a value", "  %0 = reshape(x, shape=" + "(" * 3000 + ") : f32[4]"),
    "sizes": ("nested too deeply", "  %0 = reshape(x, shape=(" + "n*" * 3000 + "n,)) : f32[4]"),
    "bodies": ("nested too deeply", "  body#0 = graph b(x: f32[4]) {\n" * 5000),
    "a label twice": ("%0 is defined above", "  %0 = exp(x) : f32[4]\n" * 2),
    "an input's label": ("x is defined above", "  parameter x: f32[4]"),
    "a complex number": ("1j is not a number", "  %0 = mul(x, 1j) : f32[4]"),
    "a size below 0": ("sizes below 0", "  %0 = broadcast_to(1.0, shape=(-2,)) : f32[-2]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_one_short_error(name):
    message, lines = HOSTILE[name]
    with pytest.raises(ParseError, match=rf"line \d+: .*{message}") as error:
        parse(f"graph g(x: f32[4]) {{\n{lines}\n  return x\n}}")
    assert len(str(error.value)) < 2500
