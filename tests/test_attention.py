"""Attention in one pass over blocks of keys: its operators, kernels, and where it is found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of, run_python
from tinygraph import nn
from tinygraph.autodiff import check_grad
from tinygraph.graph.float64 import in_float64
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.ops.blockwise_attention import ATTENTION, with_gradients
from tinygraph.passes import expand_composites, fuse_attention
from tinygraph.plan.records.target import PlainTarget

IN_ONE_PASS = ["expand_composites"]  # left out, so that kernels take what would be written out


class Always:
    """A kernel that refuses nothing; none is ever made."""

    def refusal(self, n: Node) -> str:
        return ""

    def work(self, n: Node, operands: Any, scratch: Any) -> Any:
        raise AssertionError


TAKES_ALL = PlainTarget(kernels={name: Always() for name in ("attention", "attention_gradient")})


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def masks(queries: int, keys: int) -> dict[str, np.ndarray | None]:
    """None; by key, by query and key, and added; every query sees the first key."""
    rng = np.random.default_rng(keys)
    seen = rng.random((queries, keys)) < 0.5
    seen[:, 0] = True
    added = np.where(seen, rng.standard_normal(seen.shape), -np.inf).astype(np.float32)
    return {"none": None, "by key": seen[0], "boolean": seen, "added": added}


def operands(
    queries: int, keys: int, d: int, e: int, batch: Sequence[int] = (2,)
) -> tuple[list[Node], list[np.ndarray]]:
    shapes = [(*batch, queries, d), (*batch, keys, d), (*batch, keys, e)]
    nodes = [tg.input(name, *shape) for name, shape in zip("qkv", shapes, strict=True)]
    return nodes, [draw(*shape, seed=i) for i, shape in enumerate(shapes)]


def both(
    nodes: Sequence[Node], mask: np.ndarray | None, causal: bool, fill: float = -math.inf
) -> list[Node]:
    """The result and the gradients to q, k and v, by the two operators."""
    q, k, v = nodes
    m = () if mask is None else (tg.constant(mask),)
    out = tg.matmul(tg.matmul(q, tg.transpose(k, (*range(k.ndim - 2), -1, -2))), v)
    g = tg.constant(draw(*out.shape, seed=9))
    attrs = {"scale": 0.3, "causal": causal, "fill": fill}
    return [*with_gradients(q, k, v, m, g, attrs), ATTENTION(q, k, v, *m, **attrs, stats=False)]


def reference(outputs: Sequence[Node], nodes: Sequence[Node], arrays: Sequence[np.ndarray]) -> list:
    """The same written out, in float64."""
    graph, _ = in_float64(expand_composites(Graph("g", tuple(nodes), tuple(outputs))))
    return run(graph, *(a.astype(np.float64) for a in arrays))


def agree(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> None:
    for x, y in zip(got, want, strict=True):
        largest = np.nanmax(np.abs(y), initial=1)
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-5 * largest)


SIZES = [  # queries, keys, d, e: at the edges of blocks of 64 queries and 96 keys, of vectors
    (1, 1, 1, 1), (3, 5, 2, 7), (64, 96, 16, 16), (65, 97, 17, 15), (63, 95, 33, 64),
    (17, 193, 4, 3), (130, 20, 8, 80),
]  # fmt: skip


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_kernels_compute_what_is_written_out(size: tuple[int, ...], causal: bool) -> None:
    nodes, arrays = operands(*size)
    outputs = both(nodes, None, causal)
    program = tg.compile(nodes, outputs, without=IN_ONE_PASS)
    assert "attention_gradient" in program.dump("plan")
    want = reference(outputs, nodes, arrays)
    agree(program(*arrays), want)
    agree(run_python(graph_of(*outputs), *arrays), want)


@pytest.mark.parametrize("kind", ["by key", "boolean", "added"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("fill", [-math.inf, -1e9])
def test_masks(kind: str, causal: bool, fill: float) -> None:
    nodes, arrays = operands(70, 130, 5, 6)
    outputs = both(nodes, masks(70, 130)[kind], causal, fill)
    program = tg.compile(nodes, outputs, without=IN_ONE_PASS)
    want = reference(outputs, nodes, arrays)
    agree(program(*arrays), want)
    agree(run_python(graph_of(*outputs), *arrays), want)


@pytest.mark.parametrize("causal", [False, True])
def test_blocks_that_a_mask_hides_are_left_out(causal: bool) -> None:
    """What is hidden is not even read: there is no number in it."""
    nodes, arrays = operands(64, 4 * 96, 5, 6)
    mask = np.zeros((64, 4 * 96), bool)
    mask[:, :40] = True
    outputs = both(nodes, mask, causal)
    program = tg.compile(nodes, outputs, without=IN_ONE_PASS)
    want = program(*arrays)
    for x in arrays[1:]:
        x[:, 96:] = np.nan
    agree(program(*arrays)[:1], want[:1])


def test_rows_that_see_nothing_are_not_numbers() -> None:
    """As where scores are stored: NaN, also in the gradients of all that their weights go to."""
    nodes, arrays = operands(70, 200, 5, 6)
    mask = np.ones((70, 200), bool)
    mask[3] = False
    mask[64:, :192] = False
    outputs = both(nodes, mask, False)
    want = reference(outputs, nodes, arrays)
    assert np.isnan(want[0][:, 3]).all() and np.isnan(want[3]).all()
    agree(tg.compile(nodes, outputs, without=IN_ONE_PASS)(*arrays), want)


def test_grouped_queries_read_fewer_keys() -> None:
    """Keys and values of one head serve several; their gradients are summed."""
    q, k, v = (
        tg.input("q", 2, 2, 3, 40, 8),
        tg.input("k", 2, 2, 1, 50, 8),
        tg.input("v", 2, 1, 1, 50, 8),
    )
    nodes, arrays = [q, k, v], [draw(*x.shape, seed=i) for i, x in enumerate((q, k, v))]
    outputs = both(nodes, None, True)
    program = tg.compile(nodes, outputs, without=IN_ONE_PASS)
    agree(program(*arrays), reference(outputs, nodes, arrays))
    assert "pack" not in program.dump("plan") and "copy" not in program.dump("plan")


def test_operands_in_any_order_of_axes() -> None:
    """Features that are not side by side."""
    x = [tg.input(name, 7, 2, 70) for name in "qkv"]
    nodes = [tg.transpose(each, (1, 2, 0)) for each in x]
    outputs = both(nodes, None, False)
    arrays = [draw(7, 2, 70, seed=i) for i in range(3)]
    turned, _ = operands(70, 70, 7, 7)
    want = reference(both(turned, None, False), turned, [a.transpose(1, 2, 0) for a in arrays])
    agree(tg.compile(x, outputs, without=IN_ONE_PASS)(*arrays), want)


def test_the_same_bits_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, arrays = operands(200, 200, 8, 8, batch=(5,))
    program = tg.compile(nodes, both(nodes, None, True), without=IN_ONE_PASS)
    results = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(tg.settings, "threads", threads)
        results.append([x.tobytes() for x in program(*arrays)])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("level", ["x86-64-v3", "x86-64-v2"])
def test_narrower_vectors(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tg.settings, "cpu", level)
    nodes, arrays = operands(37, 101, 9, 18)
    outputs = both(nodes, masks(37, 101)["boolean"], True)
    agree(
        tg.compile(nodes, outputs, without=IN_ONE_PASS)(*arrays), reference(outputs, nodes, arrays)
    )


def test_values_are_as_exact_as_before() -> None:
    """With weights that are all 0 or 1, or scores in the hundreds, after the pass and compiled."""
    nodes, _ = operands(32, 128, 8, 8, batch=(4,))
    y = attention(*nodes, causal=True)
    outputs = [y, *tg.grad(tg.sum(y * y), nodes)]
    program = tg.compile(nodes, outputs, verify="values")
    assert "attention_gradient" in program.dump("plan")


def test_gradients_of_gradients() -> None:
    """Composite operators are differentiated as what they are written out in."""
    nodes, _ = operands(2, 3, 2, 2, batch=())
    (first,) = tg.grad(
        tg.sum(ATTENTION(*nodes, scale=0.5, causal=True, fill=-math.inf, stats=False)), nodes[:1]
    )
    check_grad((nodes, tg.sum(first * first)))


# -- where it is found -----------------------------------------------------------------------------


def attention(q: Node, k: Node, v: Node, mask: Node | None = None, causal: bool = False) -> Node:
    return tg.scaled_dot_product_attention(q, k, v, mask, causal)


def by_hand(q: Node, k: Node, v: Node) -> Node:
    """Without stop_gradient, divided instead of multiplied, sums without their axis."""
    scores = tg.matmul(q, tg.transpose(k, (0, 2, 1))) / 2.0
    e = tg.exp(scores - tg.max(scores, -1, keepdims=True))
    return tg.matmul(e / tg.reshape(tg.sum(e, -1), (*e.shape[:-1], 1)), v)


def filled_by_hand(q: Node, k: Node, v: Node) -> Node:
    """What is in the future gets a large negative number."""
    scores = tg.matmul(q, tg.transpose(k, (0, 2, 1))) * 0.5
    future = tg.constant(np.triu(np.ones(scores.shape[-2:], bool), 1))
    return tg.matmul(tg.softmax(tg.where(future, -1e9, scores)), v)


def masked_twice(q: Node, k: Node, v: Node) -> Node:
    """Hidden by one mask, and another one added."""
    scores = tg.matmul(q, tg.transpose(k, (0, 2, 1))) + tg.constant(draw(4, 5))
    return tg.matmul(
        tg.softmax(tg.where(tg.constant(masks(4, 5)["boolean"]), scores, -math.inf)), v
    )


def heads(q: Node, k: Node, v: Node) -> Node:
    return nn.multi_head_attention(q, k, v, heads=2, causal=True)


FORMS = {
    "function": attention,
    "causal": lambda q, k, v: attention(q, k, v, causal=True),
    "boolean": lambda q, k, v: attention(q, k, v, tg.constant(masks(4, 5)["boolean"])),
    "both": lambda q, k, v: attention(q, k, v, tg.constant(masks(4, 5)["by key"]), True),
    "added": lambda q, k, v: attention(q, k, v, tg.constant(draw(4, 5)), True),
    "by hand": by_hand,
    "filled": filled_by_hand,
    "masked twice": masked_twice,
    "heads": heads,
}


@pytest.mark.parametrize("differentiated", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_attention_is_found_however_it_is_written(form: str, differentiated: bool) -> None:
    nodes, arrays = operands(4, 5, 4, 4)
    y = FORMS[form](*nodes)
    loss = tg.sum(y * tg.constant(draw(*y.shape)))
    graph = Graph("g", tuple(nodes), (y, *(tg.grad(loss, nodes) if differentiated else ())))
    remarks: list[str] = []
    made = fuse_attention(graph, target=TAKES_ALL, remarks=remarks)
    names = [n.op.name for n in made.nodes if n.op.name.startswith("attention")]
    assert names == ["attention"] + ["attention_gradient"] * differentiated
    assert "exp" not in {n.op.name for n in made.nodes}
    agree(run(made, *arrays), run(graph, *arrays))
    assert len(remarks) == 1 and "in one pass" in remarks[0]
    (node,) = (n for n in made.nodes if n.op is ATTENTION)
    assert node.attr("causal") == (form in ("causal", "both", "added", "heads"))
    again = tg.parse(tg.dump(made))
    assert tg.dump(again) == tg.dump(made)


def test_only_a_gradient_is_left() -> None:
    nodes, _ = operands(4, 5, 4, 4)
    graph = graph_of(*tg.grad(tg.sum(attention(*nodes) * tg.constant(draw(2, 4, 4))), nodes))
    names = {n.op.name for n in fuse_attention(graph, target=TAKES_ALL).nodes}
    assert "attention_gradient" in names and "exp" not in names


def test_weights_that_others_use_are_stored() -> None:
    nodes, _ = operands(4, 5, 4, 4)
    q, k, v = nodes
    remarks: list[str] = []
    graph = graph_of(attention(*nodes), tg.attention_weights(q, k))
    assert fuse_attention(graph, target=TAKES_ALL, remarks=remarks).digest == graph.digest
    assert "are used by more than it" in remarks[0]
    bias = tg.input("bias", 4, 5)
    y = attention(q, k, v, bias)
    learnt = graph_of(*tg.grad(tg.sum(y * y), [q, bias]))
    assert fuse_attention(learnt, target=TAKES_ALL).digest == learnt.digest


def test_dropped_weights_are_stored() -> None:
    nodes, _ = operands(4, 5, 4, 4)
    y = tg.scaled_dot_product_attention(*nodes, dropout=lambda w: w * tg.constant(draw(4, 5)))
    assert fuse_attention(graph_of(y), target=TAKES_ALL).digest == graph_of(y).digest


def test_what_only_looks_like_attention() -> None:
    q, k, v = (tg.input(name, 2, 4, 4) for name in "qkv")
    scores = tg.matmul(q, k)
    e = tg.exp(scores - tg.max(scores, -1, keepdims=True))
    others = [
        e / tg.sum(e, -2, keepdims=True),  # along the other axis
        e / tg.reshape(tg.sum(e, -1), (2, 1, 4)),  # the sums of other rows
        tg.exp(scores - tg.max(scores, -2, keepdims=True)) / tg.sum(e, -1, keepdims=True),
    ]
    for weights in others:
        graph = graph_of(tg.matmul(weights, v))
        assert fuse_attention(graph, target=TAKES_ALL).digest == graph.digest


def test_targets_without_a_kernel_write_it_out() -> None:
    nodes, arrays = operands(4, 5, 4, 4)
    graph = graph_of(*both(nodes, masks(4, 5)["boolean"], True))
    remarks: list[str] = []
    made = expand_composites(graph, target=PlainTarget(), remarks=remarks)
    assert not {"attention", "attention_gradient"} & {n.op.name for n in made.nodes}
    assert all("this backend has no kernel for it" in r for r in remarks) and len(remarks) == 3
    agree(run(made, *arrays), run(graph, *arrays))
    with pytest.raises(ValueError, match="the pass expand_composites writes it out"):
        run_python(graph, *arrays, target=PlainTarget())


@pytest.mark.parametrize("size", [(64, 64, 8, 0), (0, 64, 8, 8), (64, 64, 0, 8), (5, 7, 8, 8)])
def test_sizes_that_do_not_pay_are_as_before(size: tuple[int, ...]) -> None:
    nodes, arrays = operands(*size)
    y = ATTENTION(*nodes, scale=0.5, causal=False, fill=-math.inf, stats=False)
    agree(tg.compile(nodes, [y])(*arrays), run(graph_of(y), *arrays))


def test_memory_grows_with_the_length_not_its_square() -> None:
    def arena(length: int) -> int:
        x = tg.input("x", 1, length, 64)
        y = nn.MultiHeadAttention(64, 4)(x, causal=True)
        loss = tg.sum(y * y)
        return tg.compile([x], [loss, *tg.grad(loss, [x])]).cost()["arena_bytes"]

    assert arena(2048) < 2.5 * arena(1024) < 2**24


WRONG: dict[str, Any] = {
    "no keys": ([(4, 2), (0, 2), (0, 2)], {}, "at least one key"),
    "features": ([(4, 2), (5, 3), (5, 2)], {}, "floats q"),
    "a mask": ([(4, 2), (5, 2), (5, 2), (3, 5)], {}, "a mask that broadcasts|requires shapes"),
    "a vector": ([(4,), (5, 2), (5, 2)], {}, "two axes or more"),
    "fill": (
        [(4, 2), (5, 2), (5, 2), (4, 5)],
        {"fill": 0.0},
        "a fill that is a number other than 0",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_operands_are_named(case: str) -> None:
    shapes, more, message = WRONG[case]
    nodes = [tg.input(f"x{i}", *shape) for i, shape in enumerate(shapes)]
    with pytest.raises(tg.ShapeError, match=message):
        ATTENTION(
            *nodes, **{"scale": 1.0, "causal": False, "fill": -math.inf, "stats": False} | more
        )


@pytest.mark.parametrize("shape", [(5,), (1,), (0, 3), (3, 0)])
def test_a_softmax_without_attention_stays_as_it_is(shape):
    """Of a vector, too: it has no rows that values could be multiplied with."""
    x = tg.input("x", *shape)
    program = tg.compile([x], [tg.softmax(x, -1) if shape[-1] else tg.exp(x)])
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    weights = np.exp(array - array.max(-1, keepdims=True, initial=-np.inf))
    np.testing.assert_allclose(
        program(array)[0], weights / weights.sum(-1, keepdims=True), rtol=1e-6
    )
