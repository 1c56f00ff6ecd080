"""Every operator record: type rule, reference, expression, loops and gradient agree. Walks the table OPS."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import tinygraph.ops as tg
from loop_interpreter import element, run_loops
from tinygraph.autodiff import check_grad, grad
from tinygraph.codegen import math as library
from tinygraph.interpret import evaluate, run
from tinygraph.ir import Graph, Node
from tinygraph.op import OPS, Kind, ShapeError, input
from tinygraph.ops.conv import CONV2D, CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT, output_size
from tinygraph.ops.indexing import CONCAT
from tinygraph.ops.linalg import MATMUL
from tinygraph.ops.random import threefry
from tinygraph.ops.reduce import MAX, MIN, SUM
from tinygraph.ops.view import PAD, SLICE
from tinygraph.ops.window import WINDOW_MAX, WINDOW_MAX_INDEX, WINDOW_PICK, WINDOW_SUM, WINDOW_UNPOOL
from tinygraph.ops.window_weighted import WINDOW_WEIGHT_GRADIENT, WINDOW_WEIGHTED

EXAMPLES = {name: op.example for name, op in OPS.items() if op.example}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.5, 1e-40, -1e-40, 88.0, -104.0, 3e38, math.inf, -math.inf, math.nan]


def f32(*shape: int, name: str = "x") -> Node:
    return input(name, *shape)


def windows(x: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], low: tuple[int, ...], high: int = 0):
    """Attributes of window operators over an image of shape x, with ``high`` more behind each spanned axis."""
    behind = (high if k > 1 else 0 for k in kernel)
    axes = zip(x, kernel, stride, low, behind, strict=True)
    size = tuple((n + before + after - k) // s + 1 for n, k, s, before, after in axes)
    return {"kernel": kernel, "stride": stride, "padding": low, "size": size}


WINDOWS = [
    ((2, 3, 7, 6), windows((2, 3, 7, 6), (1, 1, 2, 2), (1, 1, 2, 2), (0, 0, 0, 0))),
    ((1, 1, 5, 8), windows((1, 1, 5, 8), (1, 1, 3, 3), (1, 1, 2, 2), (0, 0, 1, 1), 1)),
    ((2, 2, 5, 5), windows((2, 2, 5, 5), (1, 1, 3, 2), (1, 1, 1, 3), (0, 0, 2, 0), 2)),
    ((2, 5, 3), windows((2, 5, 3), (1, 3, 1), (1, 1, 1), (0, 1, 0), 1)),
    ((1, 2, 6, 6), windows((1, 2, 6, 6), (1, 1, 1, 1), (1, 1, 2, 3), (0, 0, 0, 0))),
]
CONVS = [  # x[n, g, c, h, w], w[g, o, c, kh, kw], stride, padding, dilation
    ((1, 1, 1, 5, 5), (1, 1, 1, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((2, 1, 3, 7, 6), (1, 4, 3, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((1, 1, 2, 8, 9), (1, 3, 2, 3, 2), (2, 3), ((0, 1), (2, 0)), (1, 1)),
    ((2, 2, 2, 7, 9), (2, 3, 2, 2, 3), (2, 1), ((1, 0), (0, 2)), (2, 3)),
    ((1, 3, 1, 6, 6), (3, 1, 1, 3, 3), (3, 2), ((1, 2), (1, 1)), (1, 2)),
    ((1, 1, 2, 5, 5), (1, 2, 2, 5, 5), (1, 1), ((0, 0), (0, 0)), (1, 1)),
]


def conv_nodes(x: tuple[int, ...], w: tuple[int, ...], stride, padding, dilation) -> list[Node]:
    attrs = {"stride": stride, "padding": padding, "dilation": dilation}
    out = [output_size(x[3 + a], w[3 + a], stride[a], padding[a], dilation[a]) for a in (0, 1)]
    g = f32(x[0], x[1], w[1], *out, name="g")
    xn, wn = f32(*x), f32(*w, name="w")
    return [
        CONV2D(xn, wn, **attrs),
        CONV2D_INPUT_GRADIENT(g, wn, size=x[3:], **attrs),
        CONV2D_WEIGHT_GRADIENT(xn, g, kernel=w[3:], **attrs),
    ]


def window_nodes(shape: tuple[int, ...], attrs: dict) -> list[Node]:
    x, small = f32(*shape), f32(*attrs["size"], name="g")
    index = input("index", *attrs["size"], dtype="int32")
    w = f32(*attrs["kernel"], name="w")
    back = attrs | {"size": shape}
    return [
        WINDOW_SUM(x, **attrs),
        WINDOW_MAX(x, **attrs),
        WINDOW_MAX_INDEX(x, WINDOW_MAX(x, **attrs), **attrs),
        WINDOW_PICK(x, index, **attrs),
        WINDOW_UNPOOL(small, index, **back),
        OPS["window_sum_transpose"](small, **back),
        WINDOW_WEIGHTED(x, w, **attrs),
        OPS["window_weighted_transpose"](small, w, **back),
        WINDOW_WEIGHT_GRADIENT(x, small, **attrs | {"size": attrs["kernel"]}),
    ]


def cases() -> dict[str, Node]:
    """Every example, and shapes that are odd, asymmetric, of size 1 or empty."""
    x = f32(5, 4, 3)
    found = {name: example() for name, example in EXAMPLES.items()}
    more = [n for c in CONVS for n in conv_nodes(*c)] + [n for w in WINDOWS for n in window_nodes(*w)]
    more += [op(x, axis=a, keepdims=k) for op in (SUM, MAX, MIN) for a in ((0,), (1, 2), (0, 1, 2)) for k in (False, True)]
    more += [SUM(x, axis=(), keepdims=False), SUM(f32(0, 3), axis=(0,), keepdims=False)]
    more += [tg.transpose(x), tg.flip(x), tg.broadcast_to(f32(), (2, 3)), tg.broadcast_to(f32(1, 4, 1), (2, 5, 4, 3))]
    more += [SLICE(x, start=(4, 0, 1), size=(1, 2, 2), step=(1, 3, 1)), SLICE(x, start=(0, 0, 0), size=(0, 4, 3), step=(1, 1, 1))]
    more += [PAD(x, widths=((-1, 2, 1), (0, -2, 0), (3, 1, 2)), value=-1.5), PAD(f32(1), widths=((0, 0, 5),), value=1)]
    more += [PAD(f32(7), widths=((-3, -3, 2),), value=9.0)]
    more += [MATMUL(f32(1, 1), f32(1, 1, name="y")), MATMUL(f32(3, 1, 2, 5), f32(4, 5, 3, name="y"))]
    more += [tg.take(x, input("i", dtype="int32"), 1), tg.take(x, input("i", 7, dtype="int64"), -1)]
    more += [tg.cumsum(x, 1, reverse=True), tg.scatter_add(input("i", 2, 2, dtype="int64"), f32(2, 2, 3), 0, 3)]
    more += [CONCAT(x, f32(5, 1, 3, name="y"), x, axis=1), tg.cast(x, "bool"), tg.cast(x, "float64")]
    more += [tg.clip(x, high=0.25)]
    return found | {f"{n.op.name}-{i}": n for i, n in enumerate(more)}


CASES = cases()


def values(n: Node, seed: int = 0) -> list[np.ndarray]:
    """Values of a node's inputs: normal, or small integers, or what computed inputs are."""
    rng = np.random.default_rng(seed)
    leaves: dict[Node, np.ndarray] = {}
    for m in Graph("case", (), (n,)).nodes[:-1]:
        if m.inputs or m.op.name in ("iota", "constant"):
            leaves[m] = evaluate(m, [leaves[i] for i in m.inputs])
        elif m.dtype.startswith("float"):
            leaves[m] = rng.standard_normal(m.shape).astype(m.dtype)
        else:
            leaves[m] = rng.integers(0, 2 if m.dtype == "bool" else 6, m.shape).astype(m.dtype)
    return [leaves[i] for i in n.inputs]


def close(got: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert got.shape == expected.shape and got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_reference_has_the_type_that_is_inferred(name: str) -> None:
    evaluate(CASES[name], values(CASES[name]))


@pytest.mark.parametrize("name", [k for k, n in CASES.items() if n.op.loops])
def test_loops_agree_with_reference(name: str) -> None:
    n = CASES[name]
    arrays = values(n)
    with np.errstate(all="ignore"):
        close(run_loops(n, arrays), evaluate(n, arrays))


def test_every_operator_with_loops_or_an_expression_has_an_example() -> None:
    without = [o.name for o in OPS.values() if (o.loops or o.expr) and not o.example]
    assert without == ["effect", "custom_gradient"]  # these need a parameter or a rule


@pytest.mark.parametrize("name", [k for k, n in CASES.items() if n.op.kind is Kind.ELEMENTWISE])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_expression_agrees_with_reference_on_special_values(name: str, dtype: str) -> None:
    n = CASES[name]
    if any(i.dtype not in ("float32", "bool") for i in n.inputs):
        pytest.skip("not of floats")
    if dtype == "float64" and n.op.name in vars(library):
        pytest.skip("the project's polynomials are made for float32")
    k = sum(i.dtype == "float32" for i in n.inputs)
    pairs = iter(np.array(list(product(SPECIAL, repeat=k)), dtype).T)
    bits = np.arange(len(SPECIAL) ** k) % 2 == 0
    arrays = [next(pairs) if i.dtype == "float32" else bits for i in n.inputs]
    if n.op.name == "cast" and n.dtype.startswith("int"):  # infinities and NaN have no integer
        arrays = [np.clip(np.nan_to_num(arrays[0]), -1e6, 1e6).astype(dtype)]
    with np.errstate(all="ignore"):
        expected = np.asarray(n.op.ref(*arrays, **dict(n.attrs)))
        got = element(_as(n, dtype), arrays).astype(expected.dtype)
    tolerance = 0 if expected.dtype == "bool" else 1e-6
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=1e-38)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
@pytest.mark.parametrize("name", ["add", "sub", "mul", "neg", "abs", "sign", "relu", "maximum", "floor_divide", "mod", "less"])
def test_expression_agrees_with_reference_on_integers(name: str, dtype: str) -> None:
    op, top = OPS[name], 200 if dtype == "uint8" else 2**31 - 1
    numbers = np.array([0, 1, 7, 100, top] if dtype == "uint8" else [0, 1, -1, 7, -7, 100, -100, top], dtype)
    a, b = np.array(list(product(numbers, numbers[1:])), dtype).T
    arrays = [a, b][: 1 if name in ("neg", "abs", "sign", "relu") else 2]
    n = op(*[input(f"x{i}", *v.shape, dtype=dtype) for i, v in enumerate(arrays)])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(element(n, arrays), op.ref(*arrays))


def _as(n: Node, dtype: str) -> Node:
    """The same operator on inputs of another float dtype."""
    wide = [input(f"x{i}", *x.shape, dtype=dtype if x.dtype == "float32" else x.dtype) for i, x in enumerate(n.inputs)]
    return n.op(*wide, **dict(n.attrs))


@pytest.mark.parametrize("op", [tg.relu, tg.maximum, tg.minimum, tg.clip, tg.max_pool2d, tg.max, tg.min], ids=str)
def test_nan_passes_through(op: Callable) -> None:
    x = f32(1, 1, 2, 2)
    call = {tg.maximum: lambda: op(x, 0.0), tg.minimum: lambda: op(x, 0.0), tg.clip: lambda: op(x, -1.0, 1.0)}
    y = call.get(op, lambda: op(x, 2) if op is tg.max_pool2d else op(x))()
    (got,) = run(Graph("nan", (x,), (y,)), np.full((1, 1, 2, 2), np.nan, "float32"))
    assert np.isnan(got).all()


# -- gradients -------------------------------------------------------------------------------------------------------

POSITIVE = {"log", "log1p", "sqrt", "rsqrt", "pow"}
SMOOTH = [k for k, n in CASES.items() if n.dtype.startswith("float") and n.op.vjp and n.inputs and n.op.kind is not Kind.SOURCE]
FLAT = {"floor", "round", "sign", "stop_gradient", "random_uniform", "cast"}


@pytest.mark.parametrize("name", [k for k in SMOOTH if CASES[k].op.name not in FLAT])
def test_gradient_by_finite_differences(name: str) -> None:
    n = CASES[name]
    inputs = tuple(dict.fromkeys(m for m in Graph("", (), (n,)).nodes if m.op.name == "input"))
    arrays = dict(zip(n.inputs, values(n), strict=True))
    given = [np.asarray(arrays[i], "float64" if i.dtype == "float32" else i.dtype) for i in inputs]
    if n.op.name in POSITIVE:
        given = [np.abs(a) + 0.1 for a in given]
    check_grad((inputs, n), *given)


@pytest.mark.parametrize("name", ["conv2d-1", "mul", "div", "exp", "tanh", "sigmoid", "matmul", "softplus"])
def test_gradient_of_gradient(name: str) -> None:
    n = CASES[name] if name in CASES else next(c for k, c in CASES.items() if k.startswith(name.split("-")[0] + "-"))
    inputs = tuple(n.inputs)
    first = grad(tg.sum(n * n), list(inputs))
    total = first[0]
    penalty = tg.sum(total * total)
    for g in first[1:]:
        penalty = penalty + tg.sum(g * g)
    check_grad((inputs, penalty), *[v.astype("float64") for v in values(n)], tolerance=1e-4)


@pytest.mark.parametrize("kind", range(3))
def test_convolutions_are_closed_under_differentiation(kind: int) -> None:
    n = conv_nodes(*CONVS[3])[kind]
    first = grad(tg.sum(n * n * n), list(n.inputs))
    nodes = Graph("", (), tuple(grad(tg.sum(first[0] * first[0]) + tg.sum(first[1] * first[1]), list(n.inputs)))).nodes
    names = {m.op.name for m in nodes if m.op.kind is Kind.ANCHOR}
    assert names == {"conv2d", "conv2d_input_gradient", "conv2d_weight_gradient"}


def gradient(fn: Callable[..., Node], *arrays: np.ndarray) -> list[np.ndarray]:
    nodes = [input(f"x{i}", *a.shape, dtype=a.dtype.name) for i, a in enumerate(arrays)]
    wrt = [n for n in nodes if n.dtype.startswith("float")]
    return run(Graph("", tuple(nodes), tuple(grad(tg.sum(fn(*nodes)), wrt))), *arrays)


def test_subgradients_are_those_of_pytorch() -> None:
    at = np.array([0.0, -0.0, 1.0, -1.0], "float32")
    assert gradient(tg.relu, at)[0].tolist() == [0, 0, 1, 0]
    assert gradient(tg.abs, at)[0].tolist() == [0, 0, 1, -1]
    assert gradient(lambda x: tg.clip(x, -1.0, 0.0), at)[0].tolist() == [1, 1, 0, 1]
    assert gradient(tg.maximum, at, at)[0].tolist() == [0.5] * 4
    assert gradient(tg.max, np.ones(4, "float32"))[0].tolist() == [0.25] * 4
    assert gradient(tg.softplus, at[:1])[0].tolist() == [0.5]
    assert gradient(tg.elu, at[:1])[0].tolist() == [1]
    assert gradient(lambda x: tg.l2_pool2d(x, 2), np.zeros((1, 1, 2, 2), "float32"))[0].tolist() == [[[[0, 0], [0, 0]]]]


def test_pooling_gradient_goes_to_the_first_maximum() -> None:
    def pool(x: Node) -> Node:
        return tg.max_pool2d(x, 2)

    ties = np.array([[3, 3, 1, np.nan], [3, 3, np.nan, 9]], "float32").reshape(1, 1, 2, 4)
    assert gradient(pool, ties)[0].reshape(2, 4).tolist() == [[1, 0, 0, 1], [0, 0, 0, 0]]


# -- functions follow NumPy ------------------------------------------------------------------------------------------


def same(fn: Callable[..., Node], expected: Callable[..., np.ndarray], *arrays: np.ndarray) -> None:
    nodes = [input(f"x{i}", *a.shape, dtype=a.dtype.name) for i, a in enumerate(arrays)]
    (got,) = run(Graph("same", tuple(nodes), (fn(*nodes),)), *arrays)
    wanted = np.asarray(expected(*arrays))
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


X = np.random.default_rng(1).standard_normal((5, 4, 3)).astype("float32")
KEYS = [
    0, -1, (1, 2, 0), slice(1, 4), slice(None, None, 2), slice(None, None, -1), slice(4, 0, -2), (..., 1), (None, 2, ..., None),
    (slice(3, 1),), (slice(None), -1), (slice(-3, None, 2), ..., slice(2, None, -1)), (), slice(1, 2), (slice(2, -9, -3), 0),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing(key: object) -> None:
    same(lambda x: x[key], lambda x: x[key], X)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_reductions(axis: int | None) -> None:
    for keep in (False, True):
        for name in ("sum", "mean", "max", "min", "var", "std", "argmax", "argmin"):
            f, g = getattr(tg, name), getattr(np, name)
            same(lambda x, f=f: f(x, axis, keepdims=keep), lambda x, g=g: g(x, axis, keepdims=keep), X)


def test_argmax_takes_the_first_and_nan() -> None:
    for row in ([1, 3, 3, 2], [1, np.nan, 5, np.nan], [-np.inf] * 4, [np.inf, 1, np.inf, 0]):
        same(tg.argmax, np.argmax, np.array(row, "float32"))
        same(tg.argmin, np.argmin, np.array(row, "float32"))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_pad(mode: str) -> None:
    widths = ((1, 4), (0, 0), (2, 1))
    same(lambda x: tg.pad(x, widths, mode), lambda x: np.pad(x, widths, mode), X)
    same(lambda x: tg.pad(x, 1, mode), lambda x: np.pad(x, 1, mode), X)
    check_grad(lambda x: tg.pad(x, widths, mode), X.astype("float64"))


def test_joining_splitting_and_shapes() -> None:
    same(lambda x: tg.concat(tg.split(x, [1, 3], 1)[::-1], 1), lambda x: np.concatenate([x[:, 1:], x[:, :1]], 1), X)
    same(lambda x: tg.stack([x, x * 2], -1), lambda x: np.stack([x, x * 2], -1), X)
    same(lambda x: tg.reshape(x, 2, -1), lambda x: x.reshape(2, -1), X)
    same(lambda x: tg.squeeze(tg.expand_dims(x, 1)), lambda x: x, X)
    same(lambda x: tg.flatten(x), lambda x: x.reshape(5, 12), X)
    same(lambda x: x.T, lambda x: x.T, X)


def test_take_and_its_kin() -> None:
    places = np.array([[4, 0], [9, -2]], "int32")
    same(lambda x, i: tg.take(x, i, 1), lambda x, i: np.take(x, np.clip(i, 0, 3), 1), X, places)
    same(lambda i: tg.one_hot(i, 5), lambda i: (i[..., None] == np.arange(5)).astype("float32"), places)
    same(lambda x: tg.cumsum(x, 1), lambda x: np.cumsum(x, 1), X)


@pytest.mark.parametrize("start", [(0, 0, 0), (2, 1, 1), (9, -5, 2)])
def test_dynamic_slices_are_clamped(start: tuple[int, ...]) -> None:
    a, b, c = (min(max(0, s), n - k) for s, n, k in zip(start, X.shape, (2, 4, 2), strict=True))

    def updated(x: np.ndarray, u: np.ndarray, *_: np.ndarray) -> np.ndarray:
        x = x.copy()
        x[a : a + 2, b : b + 4, c : c + 2] = u
        return x

    starts = [np.array(s, "int32") for s in start]
    same(lambda x, *s: tg.dynamic_slice(x, s, (2, 4, 2)), lambda x, *s: x[a : a + 2, b : b + 4, c : c + 2], X, *starts)
    same(lambda x, u, *s: tg.dynamic_update(x, u, s), updated, X, X[:2, :, :2] * 9, *starts)


def test_matmul_like_numpy() -> None:
    rng = np.random.default_rng(2)
    for a, b in [((3,), (3,)), ((3,), (3, 2)), ((4, 3), (3,)), ((2, 4, 3), (3,)), ((3,), (2, 3, 4)), ((2, 1, 4, 3), (5, 3, 2))]:
        same(lambda x, y: x @ y, lambda x, y: x @ y, *(rng.standard_normal(s).astype("float32") for s in (a, b)))


@pytest.mark.parametrize("exponent", [2, 3.0, 0.5, 1.5, -1, -0.5, 0, 0.75, 5])
def test_pow(exponent: float) -> None:
    same(lambda x: x**exponent, lambda x: x**exponent, np.array([0.3, 1, 2, 7.5], "float32"))


def test_where_and_comparisons() -> None:
    same(lambda x: tg.where(x > 0, x, -1.0), lambda x: np.where(x > 0, x, -1), X)
    same(lambda x: tg.cast((x >= 0) & ~(x > 1) | (x <= -1), "float32"), lambda x: ((x >= 0) & ~(x > 1) | (x <= -1)) * 1.0, X)


def test_soft_maxima_do_not_overflow() -> None:
    x = np.array([[1000.0, 0, -1000], [-np.inf, 1, 2]], "float32")
    same(tg.softmax, lambda x: np.exp(x - x.max(1, keepdims=True)) / np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True), x)
    same(lambda x: tg.logsumexp(x, 1), lambda x: np.logaddexp.reduce(x.astype("float64"), 1), x)
    infinite = np.array([[-np.inf, -np.inf], [np.inf, 1]], "float32")
    same(lambda x: tg.logsumexp(x, 1), lambda x: np.array([-np.inf, np.inf]), infinite)


def test_center_weights() -> None:
    w = tg.center_weights(3)
    assert w.sum() == pytest.approx(1) and w[1, 1] / w[0, 1] == pytest.approx(2)
    assert w[1, 1] / w[0, 0] == pytest.approx(1 + math.sqrt(2))
    ones = np.ones((1, 2, 5, 5), "float32")
    same(lambda x: tg.center_weighted_pool2d(x, 3, 2, 1, count_include_pad=False), lambda x: np.ones((1, 2, 3, 3)), ones)


# -- random, custom gradients, errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word, expected",  # Random123's kat_vectors, threefry2x32 with 20 rounds
    [
        ((0, 0, 0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 4, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_known_answers(word: tuple[int, ...], expected: tuple[int, int]) -> None:
    assert tuple(int(x[0]) for x in threefry(*word)) == expected


def test_dropout() -> None:
    x, seed, step = f32(100, 100), input("seed", dtype="int32"), input("step", dtype="int32")
    graph = Graph("d", (x, seed, step), tuple(tg.dropout(x, 0.25, seed, step, s) for s in ("a", "b")))
    ones = np.ones((100, 100), "float32")
    a, b = run(graph, ones, 7, 0)
    later, _ = run(graph, ones, 7, 1)
    assert abs((a == 0).mean() - 0.25) < 0.02 and set(np.unique(a)) == {0, np.float32(1 / 0.75)}
    assert (a != b).any() and (a != later).any() and (a == run(graph, ones, 7, 0)[0]).all()


def test_custom_gradient_and_stop_gradient() -> None:
    straight = tg.custom_gradient(tg.round, lambda g, y, x: g * 3)
    x = np.array([0.4, 1.6], "float32")
    assert gradient(straight, x)[0].tolist() == [3, 3]
    same(straight, np.round, x)
    assert gradient(lambda x: x * tg.stop_gradient(x), x)[0].tolist() == x.tolist()


BAD = [
    (lambda x: x + f32(4, name="y"), "add requires shapes that broadcast, got f32[5,4,3] with f32[4]"),
    (lambda x: x + input("i", 3, dtype="int32"), "add requires one dtype, got float32 and int32; convert with tg.cast"),
    (lambda x: input("i", 3, dtype="int32") / 2, "div requires float32 or float64, got int32; use tg.floor_divide"),
    (lambda x: input("i", 3, dtype="int32") + 0.5, "use tg.cast"),
    (lambda x: x @ x, "matmul requires numbers [..., m, k] and [..., k, n]"),
    (lambda x: tg.reshape(x, 7, -1), "reshape requires sizes that divide 60 elements"),
    (lambda x: tg.sum(x, 3), "sum requires an axis in [-3, 3), got 3"),
    (lambda x: x[5], "indexing requires an index in [-5, 5) for axis 0, got 5"),
    (lambda x: tg.conv2d(x, x), "conv2d requires x[N, C, H, W] and weight[O, I, KH, KW]"),
    (lambda x: tg.conv2d(f32(1, 3, 8, 8), f32(4, 2, 3, 3)), "conv2d requires 2 input channels"),
    (lambda x: tg.conv2d(f32(1, 2, 2, 8), f32(4, 2, 3, 3)), "conv2d requires a kernel that fits the padded image"),
    (lambda x: tg.max_pool2d(f32(1, 2, 4, 4), 2, padding=2), "max_pool2d requires kernel_size and stride"),
    (lambda x: tg.concat([x, f32(5, 4, name="y")], 1), "concat requires shapes that differ in axis 1 only"),
    (lambda x: tg.where(x, x, x), "where requires a bool condition"),
    (lambda x: tg.cross_entropy(f32(2, 3), f32(2)), "cross_entropy requires integer labels"),
    (lambda x: tg.take(x, f32(2)), "take requires int32 or int64 indices"),
]


@pytest.mark.parametrize("build, message", BAD)
def test_errors_say_what_is_required_and_what_came(build: Callable[[Node], Node], message: str) -> None:
    with pytest.raises(ShapeError) as error:
        build(f32(5, 4, 3))
    assert message in str(error.value)
