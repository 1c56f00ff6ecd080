"""Every operator and gradient, compiled for the CPU, agrees with the reference.

Operators are compiled a dozen to a program, which shares kernels and compiles them side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import ops
from tinygraph.autodiff import grad
from tinygraph.compiler.arguments import draw
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import CONSTANT, INPUT, OPS, Kind, ShapeError, constant, input

RECORDS = [o for o in OPS.values() if o.example is not None]
DOZEN = 12


def inputs_of(*outputs: Node) -> tuple[Node, ...]:
    return tuple(n for n in Graph("", (), outputs).nodes if n.op is INPUT)


def retyped(y: Node, prefix: str, dtype: str) -> Node | None:
    """A node with inputs of its own names, floats as another dtype; None where that is illegal."""
    new: dict[Node, Node] = {}
    for n in Graph("", (), (y,)).nodes:
        wanted = dtype if n.dtype == "float32" else n.dtype
        if n.op is INPUT:
            new[n] = input(f"{prefix}_{n.name}", *n.shape, dtype=wanted)
        elif n.op is CONSTANT:
            new[n] = constant(n.attr("value").data.astype(wanted))
        elif dtype == "int32" and any(isinstance(v, float) for _, v in n.attrs):
            return None
        else:
            try:
                new[n] = n.op(*(new[i] for i in n.inputs), **dict(n.attrs))
            except ShapeError:
                return None
    return new[y]


def examples(dtype: str) -> list[Node]:
    made = [retyped(o.example(), o.name, dtype) for o in RECORDS]
    return [y for y in made if y is not None]


def gradients(dtype: str) -> list[Node]:
    """Of each operator's example with respect to all its floating-point inputs."""
    found: list[Node] = []
    for o in RECORDS:
        y = retyped(o.example(), o.name, dtype) if o.vjp and o.kind is not Kind.SOURCE else None
        if y is not None and y.dtype == dtype:
            wrt = [i for i in inputs_of(y) if i.dtype == dtype]
            weight = input(f"{o.name}_weight", *y.shape, dtype=dtype)
            found += grad(ops.sum(y * weight), wrt)
    return found


def agree(outputs: list[Node], arrays: Callable[[Node], np.ndarray], rtol: float) -> None:
    inputs = inputs_of(*outputs)
    graph = Graph("cpu", inputs, tuple(outputs))
    values = [arrays(i) for i in inputs]
    for got, want, n in zip(
        tg.compile(inputs, outputs)(*values), run(graph, *values), outputs, strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol, err_msg=str(n))


def dozens(nodes: list[Node]) -> Iterator[list[Node]]:
    for first in range(0, len(nodes), DOZEN):
        yield nodes[first : first + DOZEN]


@pytest.mark.parametrize(
    ("make", "dtype", "rtol"),
    [
        (examples, "float32", 2e-5),
        (examples, "float64", 1e-12),
        (examples, "int32", 0),
        (gradients, "float32", 5e-5),
        (gradients, "float64", 1e-12),
    ],
)
def test_operators(make, dtype, rtol):
    rng = np.random.default_rng(0)
    nodes = make(dtype)
    for dozen in dozens(nodes):
        agree(dozen, lambda i: draw(i.type, rng), rtol)
    assert len(nodes) >= {"float32": len(RECORDS) // 2, "float64": 40, "int32": 20}[dtype]


SIZES = [1, 15, 16, 17, 31, 33]  # around the edges of vectors


@pytest.mark.parametrize("n", SIZES)
def test_sizes_around_the_edges_of_vectors(n):
    rng = np.random.default_rng(n)
    x, y, w = input("x", 3, n), input("y", n), input("w", n, n)
    rows, columns = ops.sum(x, 1), ops.sum(x * 2, 0)
    outputs = [
        ops.relu(x * y + 1),
        rows,
        columns,
        ops.max(x, 1),
        ops.argmax(x, 1),
        x @ w + y,
        ops.flip(x, 1),
    ]
    agree(outputs, lambda i: draw(i.type, rng), 2e-5)


@pytest.mark.parametrize(
    ("image", "channels", "out"),
    [((1, 1), 3, 17), ((5, 7), 1, 16), ((9, 9), 17, 3), ((16, 17), 3, 33)],
)
def test_convolutions_around_the_edges_of_tiles(image, channels, out):
    rng = np.random.default_rng(out)
    x, w = input("x", 1, channels, *image), input("w", out, channels, 3, 3)
    y = ops.relu(ops.conv2d(x, w, padding=1))
    loss = ops.sum(y * input("g", *y.shape))
    agree([y, *grad(loss, [x, w])], lambda i: draw(i.type, rng), 2e-4)


SPECIAL = np.array(
    [
        np.nan,
        np.inf,
        -np.inf,
        0.0,
        -0.0,
        1e-40,
        -1e-40,
        1.5,
        -1.5,
        3e38,
        -3e38,
        0.5,
        1,
        -1,
        88,
        -104,
        2.5,
    ],
    "float32",
)


def test_special_values():
    """NaN, infinities, signed zeros, denormals, in pairs, for every element-wise operator."""
    found = []
    for o in RECORDS:
        y = o.example()
        if o.kind is Kind.ELEMENTWISE and all(i.dtype == "float32" for i in y.inputs):
            column = [
                input(f"{o.name}{k}", *((17, 1) if k % 2 else (1, 17)))
                for k in range(len(y.inputs))
            ]
            found.append(o(*column, **dict(y.attrs)))
    assert len(found) > 25
    for dozen in dozens(found):
        with np.errstate(all="ignore"):
            agree(dozen, lambda i: SPECIAL.reshape(i.shape), 2e-5)


def test_weight_gradients_that_are_summed_in_pieces(monkeypatch):
    """Of a layer's size: chunks, pieces, tails of tiles; the same bits on one thread and two."""
    rng = np.random.default_rng(0)
    first, second = (
        tg.parameter(rng.standard_normal(s, np.float32), f"w{i}", order=(2, 3, 1, 0))
        for i, s in enumerate([(20, 3, 1, 1), (40, 20, 3, 3)])
    )
    image = tg.input("image", 4, 3, 33, 31)
    hidden = tg.conv2d(image, first)
    y = tg.conv2d(hidden, second, padding=1)
    loss = tg.sum(y * y) / y.type.size
    values = rng.standard_normal(image.shape, np.float32)
    (slope,) = grad(loss, [second])
    (want,) = run(Graph("g", (image,), (slope,)), values)
    results, start = [], second.value.copy()
    for threads in (1, 2):
        monkeypatch.setattr(tg.settings, "threads", threads)
        second.value = start
        step = tg.compile([image], [loss], updates=[(second, second - slope)])
        assert "pieces" in step.dump("plan")
        step(values)
        results.append(start - second.value)
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], want, rtol=1e-3, atol=1e-3 * np.abs(want).max())
