"""Windows and their transposes: edges, strides, NaN, infinities; as plain Python and compiled.

Values are few, so that maxima are often equal; the reference decides who is the first.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from targets import schedule
from tinygraph.codegen.assemble import assemble
from tinygraph.graph.ir import Node

SPECIAL = np.float32([np.nan, np.inf, -np.inf, 0.0, 1.0, -1.0, 2.0, 0.5])
GEOMETRIES = [
    # image, kernel, stride, padding, ceil_mode
    ((7, 6), 3, 1, 1, False),
    ((7, 8), 3, 2, 0, True),
    ((8, 7), 3, 2, 1, False),
    ((5, 9), (2, 3), (2, 1), (0, 1), False),
    ((6, 6), 2, 2, 0, False),
    ((9, 4), (5, 3), (3, 2), (2, 1), True),
    ((1, 7), (1, 3), 1, (0, 1), False),
    ((9, 9), 2, 3, 0, False),  # elements that no window sees
]


def images(*shape: int, special: bool, seed: int = 0) -> np.ndarray:
    """Channels last, few different values; with ``special``, one in ten is NaN or infinite."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(-2, 3, shape).astype("float32")
    odd = rng.random(shape) < 0.1
    drawn[odd & special] = rng.choice(SPECIAL, int((odd & special).sum()))
    return drawn


def pooled(geometry, channels: int) -> tuple[Node, Node, Node]:
    """x and g, channels last, and the gradient of a maximum with both."""
    (height, width), kernel, stride, padding, ceil = geometry
    x = tg.input("x", 2, height, width, channels)
    y = tg.max_pool2d(tg.transpose(x, (0, 3, 1, 2)), kernel, stride, padding, ceil_mode=ceil)
    y = tg.transpose(y, (0, 2, 3, 1))
    g = tg.input("g", *y.shape)
    (gradient,) = tg.grad(tg.sum(y * g), [x])
    return x, y, gradient


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_maxima_and_their_gradients_in_python(geometry) -> None:
    _, y, gradient = pooled(geometry, 3)
    graph = graph_of(y, gradient)
    for special in (False, True):
        values = [images(*i.shape, special=special and i.name == "x") for i in graph.inputs]
        for got, want in zip(run_python(graph, *values), tg.run(graph, *values), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("channels", [1, 5, 33])
def test_maxima_and_their_gradients_compiled(channels: int) -> None:
    """Vectors, their tails, and edges in one program for all geometries."""
    x = [pooled(g, channels) for g in GEOMETRIES[:4]]
    graphs = [graph_of(y, gradient) for _, y, gradient in x]
    for graph, special in product(graphs, (False, True)):
        values = [images(*i.shape, special=special and i.name == "x") for i in graph.inputs]
        program = tg.compile(graph.inputs, graph.outputs)
        for got, want in zip(program(*values), tg.run(graph, *values), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("geometry", GEOMETRIES[:6], ids=str)
def test_averages_and_their_gradients(geometry) -> None:
    (height, width), kernel, stride, padding, ceil = geometry
    x = tg.input("x", 2, height, width, 3)
    y = tg.avg_pool2d(tg.transpose(x, (0, 3, 1, 2)), kernel, stride, padding, ceil_mode=ceil)
    graph = graph_of(y, *tg.grad(tg.sum(y * y), [x]))
    values = images(*x.shape, special=False)
    for got, want in zip(run_python(graph, values), tg.run(graph, values), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def texts(*outputs: Node) -> list[str]:
    return [k.text for k in assemble(schedule(graph_of(*outputs))).kernels]


def test_a_maximum_needs_no_edge_tests() -> None:
    """Beyond an edge it reads an element of the window once more."""
    _, y, _ = pooled(((7, 7), 3, 1, 1, False), 16)
    (text,) = texts(y)
    assert "exchanged" not in text and "if (" not in text


def test_a_transpose_walks_the_taps_that_can_meet_an_element() -> None:
    """Of 3 x 3 taps with a stride of 2, there are 2 x 2 for each element."""
    _, _, gradient = pooled(((9, 9), 3, 2, 0, False), 16)
    text = texts(gradient)[-1]
    assert text.count("accumulate(") == 4


def test_the_numbers_of_a_windows_taps_are_bytes() -> None:
    indices = [
        n
        for _, _, gradient in (pooled(((40, 40), k, k, 0, False), 2) for k in (15, 16))
        for n in graph_of(gradient).nodes
        if n.op.name == "window_max_index"
    ]
    assert [n.dtype for n in indices] == ["uint8", "int32"]


def channels_first(geometry, width: int, special: bool) -> tuple[list[Node], list[np.ndarray]]:
    """Maxima, averages and their gradients over an image whose rows are contiguous."""
    (height, _), kernel, stride, padding, ceil = geometry
    x = tg.input("x", 2, 3, height, width)
    largest = tg.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil)
    average = tg.avg_pool2d(x, kernel, stride, padding, ceil_mode=ceil)
    g = tg.input("g", *largest.shape)
    gradients = (tg.grad(tg.sum(y * g), [x])[0] for y in (largest, average))
    values = [images(*x.shape, special=special), images(*g.shape, special=False)]
    return [largest, average, *gradients], values


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_windows_along_rows_in_python(geometry) -> None:
    for width, special in product((5, 9), (False, True)):
        outputs, values = channels_first(geometry, width, special)
        graph = graph_of(*outputs)
        for got, want in zip(run_python(graph, *values), tg.run(graph, *values), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [4, 17, 35, 70])
def test_windows_along_rows_compiled(width: int) -> None:
    """Rows of less than a vector, of one and of several, with all edges."""
    for geometry, special in product(GEOMETRIES[:5], (False, True)):
        outputs, values = channels_first(geometry, width, special)
        graph = graph_of(*outputs)
        program = tg.compile(graph.inputs, graph.outputs)
        for got, want in zip(program(*values), tg.run(graph, *values), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_windows_along_rows_have_no_tests_within() -> None:
    """Away from the edges, neighbours are a literal number of steps apart."""
    x = tg.input("x", 2, 3, 40, 40)
    (text,) = texts(tg.max_pool2d(x, 3, 2, 1))
    inside = text[text.index("for q in") : text.index("for edge in")]
    assert "q * 2 - 1]" in inside and " if 0 <=" not in inside
