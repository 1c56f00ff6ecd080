"""Arrays without elements: plans compute what NumPy does, and read nothing."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from tinygraph import nn
from tinygraph.autodiff import GradientError, grad
from tinygraph.compiler.arguments import draw
from tinygraph.graph.dtype import is_float
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import INPUT, OPS, ShapeError, input
from tinygraph.graph.rebuild import rebuild

EXAMPLES = {k: op.example for k, op in OPS.items() if op.example and k != "place"}


def shrunk(example: Node, size: int) -> Node | None:
    """The node with 0 in place of a size of its inputs; None where the operator refuses it."""

    def smaller(key: str, value: Any) -> Any:
        if key in ("shape", "size") and isinstance(value, tuple):
            return tuple(0 if n == size else n for n in value)
        return value

    def build(n: Node) -> Node:
        if n.op is INPUT:
            return input(n.name or "", *smaller("shape", n.shape), dtype=n.dtype)
        return n.op(*n.inputs, **{k: smaller(k, v) for k, v in n.attrs})

    try:
        (out,) = rebuild(graph_of(example), build).outputs
    except ShapeError:
        return None
    return out if any(i.type.size == 0 for i in graph_of(out).nodes) else None


def cases() -> dict[str, Node]:
    found = {}
    for name, example in EXAMPLES.items():
        n = example()
        sizes = {s for i in graph_of(n).inputs for s in i.shape}
        for size in sorted(sizes):
            small = shrunk(n, size)
            if small is not None:
                found[f"{name}-{size}"] = small
    return found


CASES = cases()


def agree(*outputs: Node) -> None:
    graph = graph_of(*outputs)
    rng = np.random.default_rng(0)
    arrays = [draw(i.type, rng) for i in graph.inputs]
    for got, want in zip(run_python(graph, *arrays), run(graph, *arrays), strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_most_operators_take_a_size_of_zero() -> None:
    assert len({k.split("-")[0] for k in CASES}) > 60


@pytest.mark.parametrize("name", CASES)
def test_every_operator(name: str) -> None:
    n = CASES[name]
    agree(n)
    wrt = [i for i in graph_of(n).inputs if is_float(i.dtype)]
    if is_float(n.dtype) and wrt:
        try:
            gradients = grad(tg.sum(n), wrt)
        except GradientError:
            return
        agree(*gradients)


X, EMPTY = tg.input("x", 2, 4), tg.input("e", 0, 4)
IMAGES, W = tg.input("im", 0, 1, 8, 8), tg.parameter(np.ones((2, 1, 3, 3)), "w")
FUNCTIONS = {
    "sum of a slice": tg.sum(X[5:], 0),
    "sum of no copies": tg.sum(tg.broadcast_to(X, (0, 2, 4)), 0),
    "sum of copies of nothing": tg.sum(tg.broadcast_to(EMPTY[:, None], (0, 3, 4)), (0, 1)),
    "sum of no lookups": tg.sum(tg.take(X, []), 0),
    "mean": tg.mean(EMPTY, 0),
    "var": tg.var(EMPTY, 0),
    "sample variance": tg.var(EMPTY, 0, ddof=1),
    "softmax": tg.softmax(EMPTY),
    "softmax of nothing": tg.softmax(X[:, :0]),
    "log_softmax of nothing": tg.log_softmax(X[:, :0]),
    "attention to nothing": tg.scaled_dot_product_attention(X, EMPTY, EMPTY),
    "cross_entropy": tg.cross_entropy(EMPTY, tg.input("y", 0, dtype="int32")),
    "concat": tg.concat([EMPTY, X * 2, EMPTY], 0),
    "concat of nothing": tg.concat([EMPTY, EMPTY], 0),
    "stack": tg.stack([EMPTY, EMPTY], 1),
    "flip": EMPTY[::-1],
    "reshape": tg.reshape(EMPTY, (4, 0, 3)),
    "pad": tg.pad(EMPTY, ((1, 2), (0, 1)), value=3),
    "matmul": X[:, :0] @ EMPTY,
    "outer": tg.transpose(EMPTY) @ EMPTY,
    "conv2d": tg.conv2d(IMAGES, W),
    "weight gradient": tg.grad(tg.sum(tg.conv2d(IMAGES, W)), W)[0],
    "max_pool2d": tg.max_pool2d(IMAGES, 2),
    "batch norm": tg.batch_norm_training(IMAGES, None, None)[0],
    "broadcast gradient": tg.grad(tg.sum(EMPTY + X[0]), X)[0],
    "product gradient": tg.grad(tg.sum(EMPTY @ tg.transpose(X)), X)[0],
    "scatter_add": tg.scatter_add([], EMPTY, 0, 3),
    "scan of nothing": tg.scan(lambda s, x: (s + x, s * 2), X[0], EMPTY)[0][0],
    "scan of nothing, stacked": tg.scan(lambda s, x: (s + x, s * 2), X[0], EMPTY)[1][0],
    "scan over nothing": tg.scan(lambda s, x: s + x, EMPTY, tg.input("t", 3, 0, 4))[0][0],
    "gradient through no steps": tg.grad(
        tg.sum(tg.scan(lambda s, x: s + x, X[0] * 3, EMPTY)[0][0]), X
    )[0],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    agree(FUNCTIONS[name])


def test_a_loop_beside_empty_values() -> None:
    def step(s: Node, e: Node, x: Node) -> tuple[Node, ...]:
        return s + tg.sum(e) + x, e * 2, e + 1, s * 2

    (s, e), outs = tg.scan(step, (X[0], EMPTY), tg.input("t", 3, 4))
    agree(s, e, *outs)


def test_compiled() -> None:
    names = ("sum of a slice", "mean", "concat", "flip", "conv2d", "weight gradient", "max_pool2d")
    graph = graph_of(*(FUNCTIONS[k] for k in names))
    arrays = [np.ones(i.shape, i.dtype) for i in graph.inputs]
    program = tg.compile(graph.inputs, graph.outputs)
    for got, want in zip(program(*arrays), run(graph, *arrays), strict=True):
        assert got.shape == want.shape
        np.testing.assert_array_equal(got, want)
    assert program.dump("plan") and program.dump("source")


@pytest.mark.parametrize("training", [False, True])
def test_open_batch_sizes_take_none(training: bool) -> None:
    x, w = tg.input("x", None, 1, 6, 6), tg.parameter(np.ones((2, 1, 3, 3)), "w")
    y = tg.mean(tg.max_pool2d(tg.conv2d(x, w), 2), (2, 3))
    loss = tg.mean(y * y)
    outputs = [y, loss, *(tg.grad(tg.sum(y), w) if training else [])]
    got = tg.compile([x], outputs)(np.zeros((0, 1, 6, 6), "float32"))
    assert got[0].shape == (0, 2) and np.isnan(got[1]) and not np.any(got[2:])


@pytest.mark.parametrize(("rows", "columns", "axis"), list(product((0, 1, 3), (0, 1, 17), (0, 1))))
def test_sums_of_small_matrices(rows: int, columns: int, axis: int) -> None:
    x = tg.input("x", rows, columns)
    agree(tg.sum(x * 2 + 1, axis), tg.sum(x), tg.concat([x, x], axis))


def test_what_has_no_elements_has_no_extremes() -> None:
    for f in (tg.max, tg.min, tg.argmax):
        with pytest.raises(ShapeError, match="at least one element"):
            f(EMPTY, 0)


def test_nothing_but_empty_values_changes() -> None:
    from tinygraph.plan.empty import without_empty

    graph = Graph("g", (X,), (tg.sum(X * 2),))
    assert without_empty(graph) is graph


@pytest.mark.parametrize("shape, to", [((3, 1), (3, 0)), ((0, 1), (0, 4)), ((1, 0), (5, 0))])
def test_sums_of_repeated_values_of_which_there_are_none(shape, to):
    """No product stands for them: infinity times zero is none."""
    x = tg.input("x", *shape)
    y = tg.sum(tg.broadcast_to(x, to), (0, 1))
    (found,) = tg.compile([x], [y])(np.full(shape, np.inf, np.float32))
    assert found == 0


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "Linear": (nn.Linear(4, 2), (4,)),
    "Conv1d": (nn.Conv1d(3, 2, 3), (3, 5)),
    "Conv2d": (nn.Conv2d(3, 2, 3), (3, 5, 5)),
    "Conv3d": (nn.Conv3d(1, 1, 2), (1, 3, 3, 3)),
    "ConvTranspose2d": (nn.ConvTranspose2d(3, 2, 3), (3, 5, 5)),
    "LayerNorm": (nn.LayerNorm(4), (4,)),
    "RMSNorm": (nn.RMSNorm(4), (4,)),
    "GroupNorm": (nn.GroupNorm(1, 3), (3, 4, 4)),
    "InstanceNorm2d": (nn.InstanceNorm2d(3), (3, 4, 4)),
    "LocalResponseNorm": (nn.LocalResponseNorm(3), (3, 4, 4)),
    "MaxPool2d": (nn.MaxPool2d(2), (3, 4, 4)),
    "AvgPool2d": (nn.AvgPool2d(2), (3, 4, 4)),
    "L2Pool2d": (nn.L2Pool2d(2), (3, 4, 4)),
    "CenterWeightedPool2d": (nn.CenterWeightedPool2d(3), (3, 4, 4)),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d(2), (3, 4, 4)),
    "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d(2), (3, 5, 4)),
    "Upsample": (nn.Upsample(scale_factor=2), (3, 3, 3)),
    "LSTM": (nn.LSTM(4, 3, batch_first=True), (5, 4)),
    "GRU": (nn.GRU(4, 3, batch_first=True, bidirectional=True), (2, 4)),
    "RNN": (nn.RNN(4, 3, batch_first=True), (3, 4)),
    "GRU of no steps": (nn.GRU(4, 3), (2, 4)),
    "MultiHeadAttention": (nn.MultiHeadAttention(4, 2), (3, 4)),
    "TransformerEncoderLayer": (nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0), (3, 4)),
    "PReLU": (nn.PReLU(), (4,)),
}


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, size: int) -> None:
    """Of no examples, and of one: their values, and gradients together with them."""
    layer, shape = LAYERS[name]
    x = tg.input("x", size, *shape)
    y = layer(x, training=True)
    y = y[0] if isinstance(y, tuple) else y
    agree(y, *tg.grad(tg.sum(y * y), [*layer.parameters(), x]))
