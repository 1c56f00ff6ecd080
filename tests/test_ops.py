"""Every operator's type rule, reference, expression, loops and gradient agree: walks OPS."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

import tinygraph.ops as tg
from loop_interpreter import element, run_loops
from tinygraph.autodiff import check_grad, grad
from tinygraph.codegen import library
from tinygraph.graph.interpret import evaluate, run
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import OPS, Kind, input
from tinygraph.graph.record import OWN
from tinygraph.ops.along import REDUCTIONS
from tinygraph.ops.conv import CONV2D, CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT, output_size
from tinygraph.ops.indexing import CONCAT
from tinygraph.ops.linalg import MATMUL
from tinygraph.ops.reduce import MAX, MIN, SUM
from tinygraph.ops.view import PAD, SLICE
from tinygraph.ops.window import (
    WINDOW_MAX,
    WINDOW_MAX_INDEX,
    WINDOW_PICK,
    WINDOW_SUM,
    WINDOW_UNPOOL,
)
from tinygraph.ops.window_weighted import WINDOW_WEIGHT_GRADIENT, WINDOW_WEIGHTED
from tinygraph.passes.vectorize import vectorized, vectorizes

EXAMPLES = {name: op.example for name, op in OPS.items() if op.example}
UNARY = ["neg", "abs", "sign", "relu"]
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.5,
    -3.5,
    1e-40,
    -1e-40,
    88.0,
    -104.0,
    3e38,
    math.inf,
    -math.inf,
    math.nan,
]


def f32(*shape: int, name: str = "x") -> Node:
    return input(name, *shape)


def windows(
    x: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    low: tuple[int, ...],
    high: int = 0,
):
    """Attributes of windows over an image of shape x, ``high`` beyond it on each spanned axis."""
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
    index = input("index", *attrs["size"], dtype="uint8")
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
    x, y = f32(5, 4, 3), f32(5, 1, 3, name="y")
    found = {name: example() for name, example in EXAMPLES.items()}
    more = [n for c in CONVS for n in conv_nodes(*c)] + [
        n for w in WINDOWS for n in window_nodes(*w)
    ]
    axes, keep = ((0,), (1, 2), (0, 1, 2)), (False, True)
    more += [op(x, axis=a, keepdims=k) for op, a, k in product((SUM, MAX, MIN), axes, keep)]
    more += [SUM(x, axis=(), keepdims=False), SUM(f32(0, 3), axis=(0,), keepdims=False)]
    more += [
        tg.transpose(x),
        tg.flip(x),
        tg.broadcast_to(f32(), (2, 3)),
        tg.broadcast_to(f32(1, 4, 1), (2, 5, 4, 3)),
    ]
    more += [SLICE(x, start=(4, 0, 1), size=(1, 2, 2), step=(1, 3, 1))]
    more += [SLICE(x, start=(0, 0, 0), size=(0, 4, 3), step=(1, 1, 1))]
    more += [
        PAD(x, widths=((-1, 2, 1), (0, -2, 0), (3, 1, 2)), value=-1.5),
        PAD(f32(1), widths=((0, 0, 5),), value=1),
    ]
    more += [PAD(f32(7), widths=((-3, -3, 2),), value=9.0)]
    more += [
        MATMUL(f32(1, 1), f32(1, 1, name="y")),
        MATMUL(f32(3, 1, 2, 5), f32(4, 5, 3, name="y")),
    ]
    more += [tg.take(x, input("i", dtype="int32"), 1), tg.take(x, input("i", 7, dtype="int64"), -1)]
    more += [
        tg.cumsum(x, 1, reverse=True),
        tg.scatter_add(input("i", 2, 2, dtype="int64"), f32(2, 2, 3), 0, 3),
    ]
    i, u = input("i", 3, 2, 2, dtype="int32"), f32(3, 2, 2, name="u")
    more += [tg.scatter(x, i, u, k % 3, r) for k, r in enumerate(REDUCTIONS)]
    more += [tg.take_along_axis(x, input("i", 5, 4, 7, dtype="int64"), 2)]
    more += [tg.linear_recurrence(f32(4, 3, name="a"), f32(4, 3), 1, reverse=True)]
    more += [CONCAT(x, y, x, axis=1), tg.cast(x, "bool"), tg.cast(x, "float64")]
    more += [tg.clip(x, max=0.25), tg.custom_gradient(tg.round, lambda g, y, x: g)(x)]
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


def test_every_operator_has_a_gradient_or_says_why_not() -> None:
    told = {o for o in OPS.values() if o.vjp or o.no_gradient or o.written_out}
    silent = [o.name for o in OPS.values() if o.kind not in OWN and o not in told]
    assert silent == []


def test_every_operator_with_loops_or_an_expression_has_an_example() -> None:
    without = [o.name for o in OPS.values() if (o.loops or o.expr) and not o.example]
    # These need a device of a backend, a parameter, a rule, or what a gradient is of.
    assert without == ["place", "effect", "custom_gradient", "standardized"]


@pytest.mark.parametrize("name", [k for k, n in CASES.items() if n.inputs and vectorizes(n)])
def test_stacked_form_computes_every_step(name: str) -> None:
    """Once with all inputs stacked, then with one alone: the others are the same in all steps."""
    n, steps = CASES[name], 3
    each = [values(n, seed) for seed in range(steps)]
    for chosen in (range(len(n.inputs)), *((k,) for k in range(len(n.inputs)))):
        own = [[each[t if k in chosen else 0][k] for k in range(len(n.inputs))]
               for t in range(steps)]  # fmt: skip
        given = [
            (input(f"x{k}", *(steps,) * (k in chosen), *i.shape, dtype=i.dtype), k in chosen)
            for k, i in enumerate(n.inputs)
        ]
        out, stacked = vectorized(n, given, steps)
        arrays = [np.stack([o[k] for o in own]) if s else own[0][k]
                  for k, (_, s) in enumerate(given)]  # fmt: skip
        (got,) = run(Graph("stacked", tuple(x for x, _ in given), (out,)), *arrays)
        assert stacked
        with np.errstate(all="ignore"):
            close(got, np.stack([evaluate(n, o) for o in own]))


@pytest.mark.parametrize("name", [k for k, n in CASES.items() if n.op.nonnegative])
def test_operators_that_say_so_are_never_negative(name: str) -> None:
    with np.errstate(all="ignore"):
        got = CASES[name].op.ref(np.array(SPECIAL, "float32"))
    assert not np.signbit(got[~np.isnan(got)]).any()


@pytest.mark.parametrize("name", [k for k, n in CASES.items() if n.op.kind is Kind.ELEMENTWISE])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_expression_agrees_with_reference_on_special_values(name: str, dtype: str) -> None:
    n = CASES[name]
    if any(i.dtype not in ("float32", "bool") for i in n.inputs):
        pytest.skip("not of floats")
    if dtype == "float64" and (set(re.findall(r"\w+", n.op.element(n))) & set(library.FLOAT32)):
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
@pytest.mark.parametrize(
    "name", [*UNARY, "add", "sub", "mul", "maximum", "floor_divide", "mod", "less"]
)
def test_expression_agrees_with_reference_on_integers(name: str, dtype: str) -> None:
    op, top = OPS[name], 200 if dtype == "uint8" else 2**31 - 1
    numbers = np.array(
        [0, 1, 7, 100, top] if dtype == "uint8" else [0, 1, -1, 7, -7, 100, -100, top], dtype
    )
    a, b = np.array(list(product(numbers, numbers[1:])), dtype).T
    arrays = [a, b][: 1 if name in UNARY else 2]
    n = op(*[input(f"x{i}", *v.shape, dtype=dtype) for i, v in enumerate(arrays)])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(element(n, arrays), op.ref(*arrays))


def _as(n: Node, dtype: str) -> Node:
    """The same operator on inputs of another float dtype."""
    wide = [
        input(f"x{i}", *x.shape, dtype=dtype if x.dtype == "float32" else x.dtype)
        for i, x in enumerate(n.inputs)
    ]
    return n.op(*wide, **dict(n.attrs))


@pytest.mark.parametrize(
    "op",
    [tg.relu, tg.maximum, tg.minimum, tg.clip, tg.max_pool2d, tg.max, tg.min],
    ids=lambda f: getattr(f, "name", None) or f.__name__,
)
def test_nan_passes_through(op: Callable) -> None:
    x = f32(1, 1, 2, 2)
    call = {
        tg.maximum: lambda: op(x, 0.0),
        tg.minimum: lambda: op(x, 0.0),
        tg.clip: lambda: op(x, -1.0, 1.0),
    }
    y = call.get(op, lambda: op(x, 2) if op is tg.max_pool2d else op(x))()
    (got,) = run(Graph("nan", (x,), (y,)), np.full((1, 1, 2, 2), np.nan, "float32"))
    assert np.isnan(got).all()


# -- gradients -------------------------------------------------------------------------------------

POSITIVE = ("power", "log", "log1p", "log2", "log10", "sqrt", "rsqrt", "pow")
DOMAINS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **dict.fromkeys(POSITIVE, lambda x: np.abs(x) + 0.1),
    **dict.fromkeys(("arcsin", "arccos", "arctanh"), lambda x: 0.9 * np.tanh(x)),
    "arccosh": lambda x: np.abs(x) + 1.1,
}
FLAT = {
    "floor", "ceil", "trunc", "round", "sign", "stop_gradient", "custom_gradient", "random_uniform",
    "cast",
}  # fmt: skip
SMOOTH = [
    k
    for k, n in CASES.items()
    if n.dtype == "float32" and n.inputs and n.op.name not in FLAT and not n.op.no_gradient
]


def leaves_of(n: Node) -> tuple[tuple[Node, ...], list[np.ndarray]]:
    """The inputs below a node and their values in float64, within the operator's domain."""
    inputs = tuple(m for m in Graph("", (), (n,)).nodes if m.op.name == "input")
    arrays = dict(zip(n.inputs, values(n), strict=True))
    given = [np.asarray(arrays[i], "float64" if i.dtype == "float32" else i.dtype) for i in inputs]
    domain = DOMAINS.get(n.op.name)
    return inputs, [domain(a) for a in given] if domain else given


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_by_finite_differences(name: str) -> None:
    inputs, given = leaves_of(CASES[name])
    check_grad((inputs, CASES[name]), *given)


@pytest.mark.parametrize("name", [k for k in SMOOTH if k in EXAMPLES])
def test_gradient_of_gradient(name: str) -> None:
    n = CASES[name]
    inputs, given = leaves_of(n)
    first = grad(tg.sum(n * n * n), [i for i in inputs if i.dtype == "float32"])
    penalty = tg.sum(first[0] * first[0])
    for g in first[1:]:
        penalty = penalty + tg.sum(g * g)
    check_grad((inputs, penalty), *given, tolerance=1e-4)


@pytest.mark.parametrize("kind", range(3))
def test_convolutions_are_closed_under_differentiation(kind: int) -> None:
    n = conv_nodes(*CONVS[3])[kind]
    first = grad(tg.sum(n * n * n), list(n.inputs))
    nodes = Graph(
        "",
        (),
        tuple(grad(tg.sum(first[0] * first[0]) + tg.sum(first[1] * first[1]), list(n.inputs))),
    ).nodes
    names = {m.op.name for m in nodes if m.op.kind is Kind.ANCHOR}
    assert names == {"conv2d", "conv2d_input_gradient", "conv2d_weight_gradient"}
