"""verify() accepts what constructors build and points at what breaks a rule of graphs."""

from __future__ import annotations

import pytest
from hypothesis import given

from random_graphs import graph_of, graphs, parameter
from tinygraph import ops
from tinygraph.graph.ir import Graph, node
from tinygraph.graph.op import OPS, Kind, Op, input
from tinygraph.graph.types import Type
from tinygraph.graph.verify import VerifyError, verify


@pytest.mark.parametrize("op", [o for o in OPS.values() if o.example], ids=str)
def test_examples_are_well_formed(op):
    verify(graph_of(op.example()))


@given(graph=graphs())
def test_random_graphs_are_well_formed(graph):
    assert verify(graph) is graph


def wrong_type() -> Graph:
    x = input("x", 4, 3)
    good = ops.exp(x)
    bad = node(OPS["neg"], (good,), (), Type((3, 4)))
    return graph_of(ops.relu(bad))


def refused() -> Graph:
    x = input("x", 4, 3)
    return graph_of(node(OPS["matmul"], (x, x), (), Type((4, 4))))


def undeclared() -> Graph:
    x, y = input("x", 4), input("y", 4)
    return Graph("g", (x,), (x + y,))


def two_of_one_name() -> Graph:
    x, y = input("x", 4), input("x", 5)
    return Graph("g", (x, y), (x * 2, y * 2))


def not_an_input() -> Graph:
    p = parameter("p", 4)
    return Graph("g", (p,), (p * 2,))


def unknown_operator() -> Graph:
    op = Op("mystery", Kind.ELEMENTWISE, infer=lambda x: x)
    return graph_of(op(input("x", 3)))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (wrong_type, r"after my pass: neg says f32\[3,4\], its inputs give f32\[4,3\]"),
        (refused, r"after my pass: matmul refuses its inputs: test_verify.py:\d+: matmul requires"),
        (undeclared, "y is read but is not an input"),
        (two_of_one_name, "two inputs of g have one name: input x"),
        (not_an_input, "parameter is listed as an input of g"),
        (unknown_operator, "mystery is not in the operator table"),
    ],
)
def test_broken_graphs(make, why):
    with pytest.raises(VerifyError, match=why):
        verify(make(), after="my pass")


def test_the_error_points_at_the_node():
    with pytest.raises(VerifyError) as e:
        verify(wrong_type())
    lines = str(e.value).splitlines()
    at = next(k for k, line in enumerate(lines) if "^^^" in line)
    assert "neg(" in lines[at - 1] and "its inputs give f32[4,3]" in lines[at]
