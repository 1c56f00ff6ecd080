"""Words of two floats of 16 bits: weights rounded while they are packed, rows that are joined."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from test_precision import LEVELS, NONE, STRIDED, WINDOW, draws, last, wide
from tinygraph.graph.dtype import astype
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.ops.conv import CONV2D, CONV2D_INPUT_GRADIENT
from tinygraph.plan.indexing.phases import Unsuitable
from tinygraph.plan.nests.words import word_nest
from tinygraph.plan.records.work import Access, Buffer, Put

BF16 = "bfloat16"


def weight(*shape: int) -> Node:
    return tg.parameter(np.random.default_rng(1).standard_normal(shape).astype(np.float32), "w")


def rounded(w: Node) -> Node:
    return tg.cast(tg.cast(w, BF16), "float32")


# products with a weight of so many rows and columns, which training rounds anew in every step
USES = {
    "forward": (lambda w: wide("a", 9, 64) @ rounded(w), (64, 50)),
    "gradient": (lambda w: wide("g", 9, 50) @ tg.transpose(rounded(w)), (64, 50)),
    "odd depth": (lambda w: wide("a", 9, 33) @ rounded(w), (33, 50)),
    "odd depth of the gradient": (lambda w: wide("g", 9, 51) @ tg.transpose(rounded(w)), (64, 51)),
    "large": (lambda w: wide("a", 9, 160) @ rounded(w), (160, 144)),
    "large gradient": (lambda w: wide("g", 9, 144) @ tg.transpose(rounded(w)), (160, 144)),
    "convolution": (
        lambda w: CONV2D(last("x", 2, 9, 7, 6), tg.reshape(rounded(w), 1, 17, 6, 3, 3), **WINDOW),
        (17, 6, 3, 3),
    ),
    "convolution of 3 channels": (
        lambda w: CONV2D(
            wide("x", 2, 1, 3, 9, 7), tg.reshape(rounded(w), 1, 17, 3, 3, 3), **STRIDED
        ),
        (17, 3, 3, 3),
    ),
    "groups": (
        lambda w: CONV2D(wide("x", 2, 2, 4, 9, 7), tg.reshape(rounded(w), 2, 5, 4, 3, 3), **WINDOW),
        (10, 4, 3, 3),
    ),
    "gradient to images": (
        lambda w: CONV2D_INPUT_GRADIENT(
            last("g", 2, 9, 7, 16), tg.reshape(rounded(w), 1, 16, 5, 3, 3), size=(9, 7), **WINDOW
        ),
        (16, 5, 3, 3),
    ),
    "gradient to images, 1x1": (
        lambda w: CONV2D_INPUT_GRADIENT(
            last("g", 2, 9, 7, 16), tg.reshape(rounded(w), 1, 16, 5, 1, 1), size=(9, 7), **NONE
        ),
        (16, 5, 1, 1),
    ),
}


def trained(name: str, **options) -> tuple[tg.Program, Node]:
    """A program that multiplies with a weight, and then changes it."""
    build, shape = USES[name]
    w = weight(*shape)
    node = build(w)
    inputs = [n for n in Graph("", (), (node,)).nodes if n.op.name == "input"]
    return tg.compile(inputs, [node], updates=[(w, w * 0.5)], **options), node


@pytest.mark.parametrize("name", USES)
def test_weights_are_rounded_while_they_are_packed(name, monkeypatch):
    """In one launch, with the bits of two; with the processor's instructions and without."""
    for level in LEVELS:
        monkeypatch.setenv("TINYGRAPH_CPU", level)
        program, node = trained(name)
        apart, _ = trained(name, without=["fuse"])
        assert "cast:" not in program.dump("plan") and "cast:" in apart.dump("plan")
        arrays = draws(list(program.graph.inputs))
        want = run(Graph("", program.graph.inputs, (node,)), *arrays)[0]
        for _ in range(2):  # the second step has half of the weights
            got = program(*arrays)[0]
            np.testing.assert_array_equal(got, apart(*arrays)[0])
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6 * np.abs(want).max())
            want = want / 2


def test_weights_that_others_read_are_rounded_in_memory():
    """An output, a left operand, or an element-wise reader needs the numbers themselves."""
    a = tg.input("a", 9, 64, dtype=BF16)
    w = weight(64, 64)
    narrow, values = tg.cast(w, BF16), w.value.copy()
    product = tg.matmul(a, narrow, accumulate="float32")
    for other in (narrow, tg.matmul(narrow, tg.transpose(a), accumulate="float32"), narrow * 2):
        program = tg.compile([a], [product, other], updates=[(w, w * 0.5)])
        arrays = draws([a])
        found = program(*arrays)
        half = astype(astype(values, BF16), "float32")
        want = astype(arrays[0], "float32") @ half
        np.testing.assert_allclose(found[0], want, rtol=2e-5, atol=1e-5)
        w.value = values


def test_a_product_without_tiles_rounds_what_it_reads(monkeypatch):
    """Plain loops, of a product that no tile takes; no other test has its sizes cached."""
    monkeypatch.setitem(USES, "loops", (lambda w: wide("a", 7, 62) @ rounded(w), (62, 46)))

    def refused(*_):
        raise Unsuitable("the test wants it so")

    monkeypatch.setattr("tinygraph.plan.lower.contraction.oriented", refused)
    program, node = trained("loops")
    assert "contraction" not in program.dump("plan") and "cast:" not in program.dump("plan")
    arrays = draws(list(program.graph.inputs))
    want = run(Graph("", program.graph.inputs, (node,)), *arrays)[0]
    np.testing.assert_allclose(program(*arrays)[0], want, rtol=2e-5, atol=1e-5)


def access(dtype: str, strides: tuple[int, ...], offset: int = 0) -> Access:
    return Access(Buffer("x", 1 << 16, "arena"), offset, strides, dtype)


def test_words_are_stored_whole():
    """Two elements of another row, or of the same one; not where a word would be cut in half."""
    apart = word_nest((8, 6), access(BF16, (1, 8)), access(BF16, (6, 1)))
    assert [o.dtype for o in apart.operands] == ["uint16", "uint16", "int32"]
    beside = word_nest((8, 6), access(BF16, (6, 1)), access(BF16, (6, 1)))
    assert [o.dtype for o in beside.operands] == ["int32", "int32"]
    rounds = word_nest((8, 6), access("float32", (6, 1)), access(BF16, (6, 1)))
    assert [o.dtype for o in rounds.operands] == ["int64", "int32"]
    for source, target in (
        (access("float32", (6, 1)), access("float32", (6, 1))),
        (access(BF16, (1, 8)), access(BF16, (7, 1))),  # rows begin within words
        (access(BF16, (1, 8)), access(BF16, (6, 1), offset=1)),
    ):
        nest = word_nest((8, 6), source, target)
        assert len(nest.operands) == 2 and nest.operands[1].dtype == target.dtype
    odd = word_nest((8, 5), access(BF16, (1, 8)), access(BF16, (6, 1)))
    assert [o.dtype for o in odd.operands] == [BF16, BF16]
    assert all(sum(isinstance(s, Put) for s in x.stages[0].outer) == 1 for x in (apart, rounds))
