"""Random layers of sizes around the edges of tiles and vectors, compiled, against NumPy.

Values are small integers, so that products and sums are exact in any order: no tolerance. Softmax
is the exception.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import tinygraph as tg
from seeds import drawn, pytest_generate_tests  # noqa: F401  pytest finds it here
from tinygraph.graph.ir import Graph, Node

SIZES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128, 129]
MOST = 200_000  # elements


@dataclass
class Layer:
    """Nodes with arrays for the inputs, and NumPy's value of ``output``."""

    what: str
    inputs: dict[Node, np.ndarray]
    output: Node
    value: np.ndarray


Rng = np.random.Generator


def some(rng: Rng, values: Sequence[int], count: int) -> list[int]:
    return [int(v) for v in rng.choice(values, count)]


def whole(rng: Rng, shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    return rng.integers(0 if dtype[0] == "u" else -3, 4, shape).astype(dtype)


def given(inputs: dict[Node, np.ndarray], array: np.ndarray) -> Node:
    x = tg.input(f"x{len(inputs)}", *array.shape, dtype=array.dtype)
    inputs[x] = array
    return x


def product(rng: Rng) -> Layer:
    """Either factor may be stored transposed; an epilogue follows."""
    m, k, n = some(rng, SIZES, 3)
    batch = [(), (), (1,), (2,), (0,)][int(rng.integers(5))]
    a, b = whole(rng, (*batch, m, k)), whole(rng, (k, n))
    turned = rng.random(2) < 0.5
    inputs: dict[Node, np.ndarray] = {}
    x = given(inputs, a.swapaxes(-1, -2).copy() if turned[0] else a)
    y = given(inputs, b.T.copy() if turned[1] else b)
    out = (tg.swapaxes(x, -1, -2) if turned[0] else x) @ (y.T if turned[1] else y)
    what = f"product {a.shape} {b.shape}, transposed {turned}"
    return Layer(what, inputs, tg.relu(out + 1), np.maximum(a @ b + 1, 0))


def bytes_product(rng: Rng) -> Layer:
    """All numbers that bytes have, of any signs; weights are known or not."""
    m, k, n = some(rng, SIZES, 3)
    bounds = {"int8": (-128, 128), "uint8": (0, 256)}
    first, second = (str(d) for d in rng.choice(list(bounds), 2))
    a = rng.integers(*bounds[first], (m, k)).astype(first)
    b = rng.integers(*bounds[second], (k, n)).astype(second)
    inputs: dict[Node, np.ndarray] = {}
    known = rng.random() < 0.5
    y = tg.constant(b) if known else given(inputs, b)
    out = tg.matmul(given(inputs, a), y, accumulate="int32")
    what = f"bytes {first}{a.shape} {second}{b.shape}, weights known: {known}"
    return Layer(what, inputs, out + 1, a.astype("int32") @ b.astype("int32") + 1)


def reduction(rng: Rng) -> Layer:
    shape = some(rng, SIZES, 3)
    while math.prod(shape) > MOST:
        shape[int(rng.integers(3))] = 1
    axes = tuple(np.flatnonzero(rng.random(3) < 0.5).tolist())
    order = rng.permutation(3).tolist()
    dtype = str(rng.choice(["float32", "int32", "uint8", "int64"]))
    a, inputs = whole(rng, shape, dtype), {}
    x = tg.transpose(given(inputs, a), order)
    total, most = tg.sum(x, axes), tg.max(x, axes)
    b = a.transpose(order)
    value = b.sum(axes, dtype=total.dtype) + b.max(axes).astype(total.dtype)
    what = f"reduction {dtype}{shape}, order {order}, over {axes}"
    return Layer(what, inputs, total + tg.cast(most, total.dtype), value)


def convolution(rng: Rng) -> Layer:
    """Groups of one channel in half of them."""
    (c,) = some(rng, [1, 2, 3, 7, 8, 16, 17, 33], 1)
    apart = bool(rng.random() < 0.5)
    o = c if apart else some(rng, [1, 3, 8, 15, 16, 17, 33], 1)[0]
    (n, stride), (pad, *_) = some(rng, [1, 2, 3], 2), some(rng, [0, 1, 2], 1)
    kernel, step = some(rng, [1, 2, 3, 5], 2), some(rng, [1, 1, 2], 1)[0]
    h, w = (
        max(int(v), step * (k - 1) + 1) for v, k in zip(rng.integers(5, 20, 2), kernel, strict=True)
    )
    inputs: dict[Node, np.ndarray] = {}
    a, b = whole(rng, (n, c, h, w)), whole(rng, (o, 1 if apart else c, *kernel))
    out = tg.conv2d(given(inputs, a), given(inputs, b), stride=stride, padding=pad, dilation=step,
                    groups=c if apart else 1)  # fmt: skip
    reach = [step * (k - 1) + 1 for k in kernel]
    padded = np.pad(a, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, (2, 3))
    windows = windows[:, :, ::stride, ::stride, ::step, ::step]
    value = (
        np.einsum("nchwij,cij->nchw", windows, b[:, 0]) if apart
        else np.einsum("nchwij,ocij->nohw", windows, b)
    )  # fmt: skip
    what = f"convolution {a.shape} {b.shape}, stride {stride}, padding {pad}, dilation {step}"
    return Layer(what, inputs, out, value)


def transpose(rng: Rng) -> Layer:
    shape = some(rng, SIZES[:16], 4)
    while math.prod(shape) > MOST:
        shape[int(rng.integers(4))] = 1
    order = rng.permutation(4).tolist()
    a, inputs = whole(rng, shape, str(rng.choice(["float32", "uint8", "int16", "float64"]))), {}
    out = tg.transpose(given(inputs, a), order)
    return Layer(f"transpose {a.dtype}{shape} to {order}", inputs, out, a.transpose(order))


def softmax(rng: Rng) -> Layer:
    a, axis, inputs = whole(rng, some(rng, SIZES, 2)), int(rng.integers(2)), {}
    powers = np.exp(a - a.max(axis, keepdims=True))
    out = tg.softmax(given(inputs, a), axis)
    value = powers / powers.sum(axis, keepdims=True)
    return Layer(f"softmax {a.shape} over {axis}", inputs, out, value)


LAYERS = [product, bytes_product, reduction, convolution, convolution, transpose, softmax]


@drawn(60, 3000)
def test_layers(seed: int) -> None:
    """Values, and gradients of convolutions, which the interpreter knows."""
    rng = np.random.default_rng(seed)
    make = LAYERS[int(rng.integers(len(LAYERS)))]
    layer = make(rng)
    inputs, arrays = tuple(layer.inputs), list(layer.inputs.values())
    outputs = [layer.output]
    if make is convolution:
        outputs += tg.grad(tg.sum(layer.output * layer.output), inputs)
    got = tg.compile(inputs, outputs, conv="implicit")(*arrays)
    want = [layer.value, *tg.run(Graph("layer", inputs, tuple(outputs)), *arrays)[1:]]
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape, layer.what
        tolerance = 1e-6 if make is softmax else 0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=layer.what)
