"""Attention and transformers: PyTorch's values, masks, generation with a cache, plans.

Golden values come from tests/golden/make_torch_sequences.py, which says how weights are drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models, nn, optim

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_torch_models import direction, weights
from make_torch_sequences import MASKS, SYMBOLS, attended

GOLDEN = dict(np.load(Path(__file__).with_name("golden") / "torch_sequences.npz"))


def language_model() -> models.TransformerLanguageModel:
    return models.TransformerLanguageModel(SYMBOLS, length=9, size=12, layers=2, heads=3)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


# -- PyTorch's numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("causal", [False, True])
def test_cross_attention_is_that_of_pytorch(mask: str, causal: bool) -> None:
    net, given = nn.MultiHeadAttention(8, 2), MASKS[mask]
    net.load_state_dict({n: weights(n, v.shape) for n, v in net.state_dict().items()})
    arrays = attended()
    q, k, v = (tg.input(name, *a.shape) for name, a in zip("qkv", arrays, strict=True))
    m = None if given is None else tg.constant(given, given.dtype.name)
    y = net(q, k, v, mask=m, causal=causal)
    loss = tg.sum(y * tg.constant(direction(y.shape), "float32"))
    wanted = [q, k, v, *net.parameters()]
    program = tg.compile([q, k, v], [y, *tg.grad(loss, wanted)])
    for i, got in enumerate(program(*arrays)):
        want = GOLDEN[f"attention/{mask}/{causal}/{i}"]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert f"attention/{mask}/{causal}/{len(wanted) + 1}" not in GOLDEN


# -- attention -------------------------------------------------------------------------------------


def test_attention_by_hand() -> None:
    """One query between two keys: weights e^(q k / sqrt(D)) over their sum; a third is hidden."""
    q, k, v = tg.input("q", 1, 4), tg.input("k", 3, 4), tg.input("v", 3, 1)
    mask = tg.constant(np.array([True, True, False]), "bool")
    program = tg.compile([q, k, v], [tg.scaled_dot_product_attention(q, k, v, mask)])
    keys = np.array([[1, 0, 0, 0], [0, 3, 0, 0], [9, 9, 9, 9]], np.float32)
    (y,) = program([[2, 2, 0, 0]], keys, [[1], [10], [100]])
    a, b = np.exp(2 * 1 / 2), np.exp(2 * 3 / 2)
    np.testing.assert_allclose(y, [[(a * 1 + b * 10) / (a + b)]], rtol=1e-6)


def test_a_query_that_sees_nothing_is_not_a_number() -> None:
    x = tg.input("x", 2, 3, 4)
    mask = tg.constant(np.array([[True] * 3, [False] * 3, [True] * 3]), "bool")
    (y,) = tg.compile([x], [nn.multi_head_attention(x, x, x, heads=2, mask=mask)])(draw(2, 3, 4))
    assert np.isnan(y).all(axis=(0, 2)).tolist() == [False, True, False]


def test_weights_are_those_with_which_a_call_adds_up_values() -> None:
    net, x = nn.MultiHeadAttention(8, 2), tg.input("x", 2, 5, 8)
    y, weights = net(x, causal=True), net.weights(x, causal=True)
    both, alone = tg.compile([x], [y, weights]), tg.compile([x], [y])
    assert both.cost()["flops"] == alone.cost()["flops"]
    data = draw(2, 5, 8)
    found, shares = both(data)
    assert shares.shape == (2, 2, 5, 5) and not np.triu(shares, 1).any()
    np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-6)
    values = data @ net.in_proj_weight.value[16:].T
    heads = shares @ values.reshape(2, 5, 2, 4).transpose(0, 2, 1, 3)
    joined = heads.transpose(0, 2, 1, 3).reshape(2, 5, 8)
    np.testing.assert_allclose(joined @ net.out_proj.weight.value.T, found, rtol=1e-4, atol=1e-6)


def test_dropout_acts_on_the_weights_in_training_only() -> None:
    net, x = nn.MultiHeadAttention(8, 2, dropout=0.5), tg.input("x", 2, 5, 8)
    predict, train = tg.compile([x], [net(x)]), tg.compile([x], [net(x, training=True)])
    once, again = train(draw(2, 5, 8))[0], train(draw(2, 5, 8))[0]
    assert not np.allclose(once, again)
    np.testing.assert_array_equal(predict(draw(2, 5, 8))[0], predict(draw(2, 5, 8))[0])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: nn.MultiHeadAttention(8, 3), "heads that divide 8, got 3"),
        (lambda x: nn.multi_head_attention(x, x, x, 3), "attention in 3 heads"),
        (lambda x: nn.MultiHeadAttention(6, 3)(x), r"linear requires x\[..., 6\]"),
        (lambda x: nn.MultiHeadAttention(8, 2)(x, mask=tg.ones((4, 4))), "a mask"),
        (lambda x: nn.TransformerEncoderLayer(8, 2, activation="tan"), "activation is one of"),
        (lambda x: tg.scaled_dot_product_attention(x, x[:, :, :5], x), "requires q"),
        (lambda x: models.TransformerLanguageModel(9, 4, 8)(x), r"up to 4\]"),
    ],
)
def test_what_does_not_fit_is_refused(build: Callable[[tg.Node], Any], message: str) -> None:
    with pytest.raises((tg.ShapeError, ValueError), match=message):
        build(tg.input("x", 2, 5, 8))


def test_the_batch_size_may_be_open() -> None:
    net, x = language_model(), tg.input("x", None, 4, dtype="int32")
    program, tokens = tg.compile([x], [net(x)]), np.arange(8, dtype=np.int32).reshape(2, 4)
    both, (first,) = program(tokens)[0], program(tokens[:1])
    np.testing.assert_allclose(both[:1], first, rtol=1e-5, atol=1e-6)


# -- generation ------------------------------------------------------------------------------------


def test_generation_with_a_cache_gives_the_logits_of_the_whole_text() -> None:
    """First three symbols at once, then one by one: two programs that share their caches."""
    net = language_model()
    tokens = np.random.default_rng(0).integers(0, SYMBOLS, (2, 9), np.int32)
    x = tg.input("x", 2, 9, dtype="int32")
    (whole,) = tg.compile([x], [net(x)])(tokens)

    caches, at = net.caches(batch=2), tg.input("at", dtype="int32")
    prompt, token = tg.input("prompt", 2, 3, dtype="int32"), tg.input("token", 2, 1, dtype="int32")
    read = tg.compile([prompt, at], [net(prompt, caches, at)])
    step = tg.compile([token, at], [net(token, caches, at)])
    for _ in range(2):  # a new text needs no clearing: what is behind its position is not seen
        parts = [
            read(tokens[:, :3], 0)[0],
            *(step(tokens[:, i : i + 1], i)[0] for i in range(3, 9)),
        ]
        np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-4, atol=1e-5)
    assert np.isnan(step(tokens[:, :1], 9)[0]).all() and np.isnan(read(tokens[:, :3], 7)[0]).all()
    assert not any("cache" in name for name in net.state_dict())


def test_a_cache_takes_no_mask() -> None:
    net, x = nn.MultiHeadAttention(8, 2), tg.input("x", 1, 1, 8)
    cache = nn.KeyValueCache(1, 2, 5, 4)
    with pytest.raises(ValueError, match="requires a position"):
        net(x, cache=cache)
    with pytest.raises(ValueError, match="neither mask"):
        net(x, cache=cache, position=tg.constant(0, "int32"), causal=True)


def test_a_cache_is_for_one_size_of_batch() -> None:
    net, x = nn.MultiHeadAttention(8, 2), tg.input("x", 1, 1, 8)
    with pytest.raises(tg.ShapeError, match=r"a cache for keys \[3, 2, up to 5, 4\] got"):
        net(x, cache=nn.KeyValueCache(3, 2, 5, 4), position=tg.constant(0, "int32"))


# -- plans -----------------------------------------------------------------------------------------


def test_all_products_are_contractions_and_no_transpose_is_stored() -> None:
    net = models.TransformerLanguageModel(SYMBOLS, 16, 32, layers=1, heads=4)
    x, y = (tg.input(name, 3, 16, dtype="int32") for name in "xy")
    loss = nn.cross_entropy(net(x, training=True), y, axis=-1)
    updates = optim.SGD(0.1).updates(loss, net.parameters())
    for program in (
        tg.compile([x], [net(x)]),
        tg.compile([x, y], [loss], updates=updates),
    ):
        assert not [remark for remark in program.remarks if "plain loops" in remark]
        nests = [line for line in program.dump("plan").splitlines() if ": nest" in line]
        assert not any("transpose" in line for line in nests)


def test_a_step_with_a_cache_copies_nothing() -> None:
    net = models.TransformerLanguageModel(SYMBOLS, 32, 32, layers=1, heads=2)
    token, at = tg.input("token", 1, 1, dtype="int32"), tg.input("at", dtype="int32")
    program = tg.compile([token, at], [net(token, net.caches(1), at)])
    _, run = program.dump("plan").split("\nrun: ")
    assert "contraction" in run and "pack: " not in run and "copy: " not in run
