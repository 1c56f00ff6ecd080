"""dump and parse are inverses; canonical text depends on the graph only."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from random_graphs import graph_of, graphs, parameter
from random_networks import networks
from tinygraph import ops
from tinygraph.autodiff import grad
from tinygraph.compiler.pipeline import run_passes
from tinygraph.graph.dump import WIDTH, canonical, dot, dump
from tinygraph.graph.ir import Graph, Node, Parameter
from tinygraph.graph.op import OPS, constant, input
from tinygraph.graph.origins import scope
from tinygraph.graph.parse import ParseError, parse
from tinygraph.ops.identity import effect
from tinygraph.ops.math import POW
from whole_networks import WHOLE


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
    text = dump(graph, lines=True)
    env = graph if "  constant const#" in text else None  # constants whose values it does not have
    assert parse(text, env).outputs == graph.outputs


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


@given(network=networks())
def test_random_networks_round_trip(network):
    """With convolutions and windows, which have short forms where they are exact."""
    graph = network.graph
    found = parse(dump(graph), env=graph).outputs
    assert all(a is b for a, b in zip(found, graph.outputs, strict=True))
    assert dump(parse(dump(graph))) == dump(graph)


@pytest.mark.parametrize("name", ["lenet5", "lenet5_step", "googlenet", "resnet50", "char_step"])
def test_networks_round_trip(name):
    inputs, outputs, updates = WHOLE[name]()
    graph = Graph("net", tuple(inputs), (*outputs, *(new for _, new in updates)))
    for step in (graph, run_passes(graph)[-1].graph):
        text = dump(step)
        found = parse(text, env=step).outputs
        assert all(a is b for a, b in zip(found, step.outputs, strict=True))
        assert dump(parse(text)) == text
        assert max(map(len, text.splitlines())) <= WIDTH


def test_lenet_is_short():
    text = dump(Graph("net", *map(tuple, WHOLE["lenet5"]()[:2])))
    assert len(text.splitlines()) <= 30
    assert "= max_pool2d(%1, kernel=2, stride=2) " in text
    assert "conv2d(image, conv1.weight: f32[6,1,5,5], conv1.bias: f32[6], padding=2) " in text


# -- short forms -----------------------------------------------------------------------------------


def convolution(**options: Any) -> tuple[Node, Node, Node]:
    x, w = input("x", 2, 6, 9, 8), parameter("w", 4, 6 // options.get("groups", 1), 3, 2)
    return x, w, ops.conv2d(x, w, **options)


def lines(*outputs: Node) -> list[str]:
    """The statements of a dump, which is parsed back first."""
    graph = graph_of(*outputs)
    found = parse(dump(graph), env=graph).outputs
    assert all(a is b for a, b in zip(found, graph.outputs, strict=True))
    return [line.split(" : ")[0].strip() for line in dump(graph, columns=1000).splitlines()[1:-2]]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, ""),
        ({"stride": 2, "padding": 1}, ", padding=1, stride=2"),
        ({"stride": (2, 1), "dilation": (1, 2)}, ", dilation=(1,2), stride=(2,1)"),
        ({"padding": ((1, 0), (2, 2))}, ", padding=((1,0),(2,2))"),
        ({"padding": ((0, 0), (1, 1))}, ", padding=((0,0),(1,1))"),
    ],
)
def test_convolutions_without_groups_have_no_reshapes(options, text):
    _, _, y = convolution(**options)
    assert lines(y) == [f"%0 = conv2d(x, w: f32[4,6,3,2]{text})"]
    biased = y + ops.reshape(parameter("b", 4), 4, 1, 1)
    assert lines(biased) == [f"%0 = conv2d(x, w: f32[4,6,3,2], b: f32[4]{text})"]


def test_convolutions_that_others_see_into_keep_their_nodes():
    x, _, y = convolution()
    b = parameter("b", 4)
    five = y.inputs[0]
    assert len(lines(convolution(groups=2)[2])) == 4
    assert len(lines(ops.relu(five), y)) == 5  # the convolution itself is read
    assert "conv2d(%0, %1, dilation" in lines(five)[2]
    assert len(lines(y, five.inputs[0])) == 2  # a reshape is an output, too
    assert lines(y, y + ops.reshape(b, 4, 1, 1))[0] == "%0 = conv2d(x, w: f32[4,6,3,2])"
    assert len(lines(ops.reshape(b, 4, 1, 1) + y)) == 3  # an add the other way round
    assert len(lines(ops.reshape(five, 2, -1))) == 4
    two = ops.conv2d(x, parameter("v", 4, 6, 1, 1))
    assert len(lines(y, two)) == 2  # they share the image's reshape
    five.named("inner")
    assert lines(y)[2].startswith("%inner = conv2d(")


def test_weights_may_have_five_axes_already():
    """As those that batch normalization was folded into."""
    _, _, y = convolution(padding=1)
    scaled = y.inputs[0].inputs[1] * 2.0
    five = OPS["conv2d"](y.inputs[0].inputs[0], scaled, **dict(y.inputs[0].attrs))
    assert lines(ops.reshape(five, y.shape)) == [
        "%0 = reshape(w: f32[4,6,3,2], shape=(1,4,6,3,2))",
        "%1 = mul(%0, 2.0)",
        "%2 = conv2d(x, %1, padding=1)",
    ]


def test_gradients_of_convolutions_are_short():
    x, w, y = convolution(stride=2)
    text = "\n".join(lines(*grad(ops.sum(y * y), [x, w])))
    assert "conv2d_input_gradient(%" in text and "conv2d_weight_gradient(x, %" in text
    assert text.count("reshape") == 1  # of the loss's own gradient


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kernel_size": 3, "stride": 2, "padding": 1}, "kernel=3, stride=2, padding=1"),
        ({"kernel_size": (3, 2)}, "kernel=(3,2), stride=(3,2)"),
        ({"kernel_size": 3, "stride": 2, "ceil_mode": True}, "kernel=3, stride=2"),
    ],
)
def test_pooling_is_short(options, text):
    (line,) = lines(ops.max_pool2d(input("x", 2, 3, 9, 8), **options))
    assert line == f"%0 = max_pool2d(x, {text})"


def test_pooling_of_channels_is_plain():
    x = input("x", 2, 3, 9, 8)
    sizes = {"kernel": (1, 2, 1, 1), "size": (2, 2, 9, 8)}
    (line,) = lines(OPS["window_max"](x, **sizes, stride=(1,) * 4, padding=(0,) * 4))
    assert line.startswith("%0 = window_max(x, kernel=(1,2,1,1)")


def test_parameters_have_their_type_where_they_are_read_first():
    w = parameter("w", 3)
    assert lines(w + w, w * 2) == ["%0 = add(w: f32[3], w)", "%1 = mul(w, 2.0)"]
    graph = graph_of(w)
    assert dump(graph).splitlines()[-2] == "  return w: f32[3]"
    assert parse(dump(graph), env=graph).outputs[0] is w


def one_line(statement: str) -> str:
    return f"graph g(x: f32[3]) {{\n  %0 = {statement}\n  return %0\n}}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (one_line("nonsense(x) : f32[3]"), "line 2: there is no operator 'nonsense'"),
        (one_line("max_pool2d(x) : f32[3]"), "line 2: .*window_max requires a kernel"),
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
    "an input's label": ("x is defined above", "  %0 = exp(x: f32[4]) : f32[4]"),
    "a complex number": ("1j is not a number", "  %0 = mul(x, 1j) : f32[4]"),
    "a size below 0": ("sizes below 0", "  %0 = broadcast_to(1.0, shape=(-2,)) : f32[-2]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_one_short_error(name):
    message, lines = HOSTILE[name]
    with pytest.raises(ParseError, match=rf"line \d+: .*{message}") as error:
        parse(f"graph g(x: f32[4]) {{\n{lines}\n  return x\n}}")
    assert len(str(error.value)) < 2500
