"""Functions that build graphs: they follow NumPy, and errors say what is wrong."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinygraph.ops as tg
from tinygraph.autodiff import check_grad, grad
from tinygraph.codegen.random import random_bits
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import ShapeError, input
from tinygraph.ops.random import threefry


def f32(*shape: int, name: str = "x") -> Node:
    return input(name, *shape)


def gradient(fn: Callable[..., Node], *arrays: np.ndarray) -> list[np.ndarray]:
    nodes = [input(f"x{i}", *a.shape, dtype=a.dtype.name) for i, a in enumerate(arrays)]
    wrt = [n for n in nodes if n.dtype.startswith("float")]
    return run(Graph("", tuple(nodes), tuple(grad(tg.sum(fn(*nodes)), wrt))), *arrays)


def same(fn: Callable[..., Node], expected: Callable[..., np.ndarray], *arrays: np.ndarray) -> None:
    nodes = [input(f"x{i}", *a.shape, dtype=a.dtype.name) for i, a in enumerate(arrays)]
    (got,) = run(Graph("same", tuple(nodes), (fn(*nodes),)), *arrays)
    wanted = np.asarray(expected(*arrays))
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


X = np.random.default_rng(1).standard_normal((5, 4, 3)).astype("float32")
KEYS = [
    0, -1, (1, 2, 0), slice(1, 4), slice(None, None, 2), slice(None, None, -1), slice(4, 0, -2),
    (..., 1), (None, 2, ..., None), (slice(3, 1),), (slice(None), -1), (), slice(1, 2),
    (slice(-3, None, 2), ..., slice(2, None, -1)), (slice(2, -9, -3), 0),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing(key: object) -> None:
    same(lambda x: x[key], lambda x: x[key], X)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_reductions(axis: int | None) -> None:
    for keep in (False, True):
        for name in ("sum", "mean", "max", "min", "var", "std", "argmax", "argmin"):
            given = {"axis": axis, "keepdims": keep}
            same(partial(getattr(tg, name), **given), partial(getattr(np, name), **given), X)


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
    same(
        lambda x: tg.concat(tg.split(x, [1, 3], 1)[::-1], 1),
        lambda x: np.concatenate([x[:, 1:], x[:, :1]], 1),
        X,
    )
    same(lambda x: tg.stack([x, x * 2], -1), lambda x: np.stack([x, x * 2], -1), X)
    same(lambda x: tg.reshape(x, 2, -1), lambda x: x.reshape(2, -1), X)
    same(lambda x: tg.squeeze(tg.expand_dims(x, 1)), lambda x: x, X)
    same(lambda x: tg.flatten(x), lambda x: x.reshape(5, 12), X)
    same(lambda x: x.T, lambda x: x.T, X)


def test_take_and_its_kin() -> None:
    places = np.array([[4, 0], [9, -2]], "int32")
    same(lambda x, i: tg.take(x, i, 1), lambda x, i: np.take(x, np.clip(i, 0, 3), 1), X, places)
    same(
        lambda i: tg.one_hot(i, 5),
        lambda i: (i[..., None] == np.arange(5)).astype("float32"),
        places,
    )
    same(lambda x: tg.cumsum(x, 1), lambda x: np.cumsum(x, 1), X)


@pytest.mark.parametrize("start", [(0, 0, 0), (2, 1, 1), (9, -5, 2)])
def test_dynamic_slices_are_clamped(start: tuple[int, ...]) -> None:
    a, b, c = (min(max(0, s), n - k) for s, n, k in zip(start, X.shape, (2, 4, 2), strict=True))

    def updated(x: np.ndarray, u: np.ndarray, *_: np.ndarray) -> np.ndarray:
        x = x.copy()
        x[a : a + 2, b : b + 4, c : c + 2] = u
        return x

    starts = [np.array(s, "int32") for s in start]
    same(
        lambda x, *s: tg.dynamic_slice(x, s, (2, 4, 2)),
        lambda x, *s: x[a : a + 2, b : b + 4, c : c + 2],
        X,
        *starts,
    )
    same(lambda x, u, *s: tg.dynamic_update(x, u, s), updated, X, X[:2, :, :2] * 9, *starts)


def test_matmul_like_numpy() -> None:
    rng = np.random.default_rng(2)
    shapes = [
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((4, 3), (3,)),
        ((2, 4, 3), (3,)),
        ((3,), (2, 3, 4)),
        ((2, 1, 4, 3), (5, 3, 2)),
    ]
    for a, b in shapes:
        same(
            lambda x, y: x @ y,
            lambda x, y: x @ y,
            *(rng.standard_normal(s).astype("float32") for s in (a, b)),
        )


@pytest.mark.parametrize("exponent", [2, 3.0, 0.5, 1.5, -1, -0.5, 0, 0.75, 5])
def test_pow(exponent: float) -> None:
    same(lambda x: x**exponent, lambda x: x**exponent, np.array([0.3, 1, 2, 7.5], "float32"))


def test_pow_of_integers() -> None:
    same(lambda x: x**3, lambda x: x**3, np.arange(-3, 4, dtype="int32"))
    with pytest.raises(ShapeError, match="pow requires float32 or float64, got int32"):
        input("i", 3, dtype="int32") ** -1


def test_where_and_comparisons() -> None:
    same(lambda x: tg.where(x > 0, x, -1.0), lambda x: np.where(x > 0, x, -1), X)

    def chosen(x: Any) -> Any:
        return (x >= 0) & ~(x > 1) | (x <= -1)

    same(lambda x: tg.cast(chosen(x), "float32"), chosen, X)


def test_soft_maxima_do_not_overflow() -> None:
    x = np.array([[1000.0, 0, -1000], [-np.inf, 1, 2]], "float32")

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    same(tg.softmax, softmax, x)
    same(lambda x: tg.logsumexp(x, 1), lambda x: np.logaddexp.reduce(x.astype("float64"), 1), x)
    infinite = np.array([[-np.inf, -np.inf], [np.inf, 1]], "float32")
    same(lambda x: tg.logsumexp(x, 1), lambda x: np.array([-np.inf, np.inf]), infinite)


def test_center_weights() -> None:
    w = tg.center_weights(3)
    assert w.sum() == pytest.approx(1) and w[1, 1] / w[0, 1] == pytest.approx(2)
    assert w[1, 1] / w[0, 0] == pytest.approx(1 + math.sqrt(2))
    ones = np.ones((1, 2, 5, 5), "float32")
    same(
        lambda x: tg.center_weighted_pool2d(x, 3, 2, 1, count_include_pad=False),
        lambda x: np.ones((1, 2, 3, 3)),
        ones,
    )


# -- gradients at kinks ----------------------------------------------------------------------------


def test_subgradients_are_those_of_pytorch() -> None:
    at = np.array([0.0, -0.0, 1.0, -1.0], "float32")
    assert gradient(tg.relu, at)[0].tolist() == [0, 0, 1, 0]
    assert gradient(tg.abs, at)[0].tolist() == [0, 0, 1, -1]
    assert gradient(lambda x: tg.clip(x, -1.0, 0.0), at)[0].tolist() == [1, 1, 0, 1]
    assert gradient(tg.maximum, at, at)[0].tolist() == [0.5] * 4
    assert gradient(tg.max, np.ones(4, "float32"))[0].tolist() == [0.25] * 4
    assert gradient(tg.softplus, at[:1])[0].tolist() == [0.5]
    assert gradient(tg.elu, at[:1])[0].tolist() == [1]
    assert gradient(lambda x: tg.l2_pool2d(x, 2), np.zeros((1, 1, 2, 2), "float32"))[
        0
    ].tolist() == [[[[0, 0], [0, 0]]]]


def test_pooling_gradient_goes_to_the_first_maximum() -> None:
    def pool(x: Node) -> Node:
        return tg.max_pool2d(x, 2)

    ties = np.array([[3, 3, 1, np.nan], [3, 3, np.nan, 9]], "float32").reshape(1, 1, 2, 4)
    assert gradient(pool, ties)[0].reshape(2, 4).tolist() == [[1, 0, 0, 1], [0, 0, 0, 0]]


# -- random, custom gradients, errors --------------------------------------------------------------


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
    assert (
        random_bits(*np.array(word, "uint32")[:, None]) == expected[0]
    )  # the text that is compiled


def test_dropout() -> None:
    x, seed, step = f32(100, 100), input("seed", dtype="int32"), input("step", dtype="int32")
    graph = Graph(
        "d", (x, seed, step), tuple(tg.dropout(x, 0.25, seed, step, s) for s in ("a", "b"))
    )
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
    (
        lambda x: x + f32(4, name="y"),
        "add requires shapes that broadcast, got f32[5,4,3] with f32[4]",
    ),
    (
        lambda x: x + input("i", 3, dtype="int32"),
        "add requires one dtype, got float32 and int32; convert with tg.cast",
    ),
    (
        lambda x: input("i", 3, dtype="int32") / 2,
        "div requires float32 or float64, got int32; use tg.floor_divide",
    ),
    (lambda x: input("i", 3, dtype="int32") + 0.5, "use tg.cast"),
    (lambda x: x @ x, "matmul requires numbers [..., m, k] and [..., k, n]"),
    (lambda x: tg.reshape(x, 7, -1), "reshape requires sizes that divide 60 elements"),
    (lambda x: tg.sum(x, 3), "sum requires an axis in [-3, 3), got 3"),
    (lambda x: x[5], "indexing requires an index in [-5, 5) for axis 0, got 5"),
    (lambda x: tg.conv2d(x, x), "conv2d requires x[N, C, H, W] and weight[O, I, KH, KW]"),
    (lambda x: tg.conv2d(f32(1, 3, 8, 8), f32(4, 2, 3, 3)), "conv2d requires 2 input channels"),
    (
        lambda x: tg.conv2d(f32(1, 2, 2, 8), f32(4, 2, 3, 3)),
        "conv2d requires a kernel that fits the padded image",
    ),
    (
        lambda x: tg.max_pool2d(f32(1, 2, 4, 4), 2, padding=2),
        "max_pool2d requires kernel_size and stride",
    ),
    (
        lambda x: tg.concat([x, f32(5, 4, name="y")], 1),
        "concat requires shapes that differ in axis 1 only",
    ),
    (lambda x: tg.where(x, x, x), "where requires a bool condition"),
    (lambda x: tg.cross_entropy(f32(2, 3), f32(2)), "cross_entropy requires integer labels"),
    (lambda x: tg.cross_entropy(f32(2, 3, 4), f32(2, 3)), "classes along axis 1"),
    (lambda x: tg.cross_entropy((f32(2, 3), f32(2, 3)), f32(2)), "one node of logits, got tuple"),
    (lambda x: tg.take(x, f32(2)), "take requires integer indices"),
    (lambda x: tg.exp(x, x), "exp requires 1 input, got 2"),
]


@pytest.mark.parametrize("build, message", BAD)
def test_errors_say_what_is_required_and_what_came(
    build: Callable[[Node], Node], message: str
) -> None:
    with pytest.raises(ShapeError) as error:
        build(f32(5, 4, 3))
    assert message in str(error.value)


def test_errors_name_the_users_line() -> None:
    with pytest.raises(ShapeError, match=r"^test_functions\.py:\d+: matmul requires"):
        f32(2, 3) @ f32(2, 3)


def test_uncaught_errors_show_no_frames_of_the_package() -> None:
    program = """
import tinygraph.ops as tg
from tinygraph import tracebacks
from tinygraph.graph.op import input
tracebacks.install()
def layer(x):
    return tg.conv2d(x, x)
layer(input("x", 3, 4))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Traceback") and "tinygraph/" not in done.stderr
    assert "conv2d requires x[N, C, H, W] and weight[O, I, KH, KW], got f32[3,4]" in lines[-1]
    assert done.stderr.count("File") == 2
