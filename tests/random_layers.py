"""Functions that ``random_composer`` draws: products, losses, sequences, images, random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygraph as tg
from random_composer import Composer, of
from tinygraph import nn
from tinygraph.graph.ir import Node
from tinygraph.graph.op import OPS

# -- products --------------------------------------------------------------------------------------


@of(2)
def product(c: Composer, x: Node) -> Node:
    w, y = c.new(x.shape[1], 3), x @ c.new(x.shape[1], 3)
    return c.pick([lambda: y, lambda: tg.gelu(y + c.new(3)), lambda: tg.einsum("ij,jk->ki", x, w),
                   lambda: tg.sum(x[:, :, None] * c.like(x)[:, None], 0),
                   lambda: tg.outer(x[0], w[:, 0]), lambda: tg.tril(y), lambda: tg.dot(x, w[:, 1]),
                   lambda: tg.cosine_similarity(x + 2, c.new(*x.shape))])()  # fmt: skip


@of(3)
def projected(c: Composer, x: Node) -> Node:
    y = x @ c.new(x.shape[2], 3)
    return c.pick([y, tg.gelu(y + c.new(3)), tg.einsum("btc,bsc->bts", x, c.like(x))])


@of(2)
def losses(c: Composer, x: Node) -> Node:
    labels = c.whole(0, x.shape[1], x.shape[0])
    y = c.like(x)
    return c.pick([
        lambda: tg.cross_entropy(x, labels, 0.1), lambda: tg.mse_loss(x, y),
        lambda: tg.nll_loss(tg.log_softmax(x), labels, reduction="none"),
        lambda: tg.huber_loss(x, c.new(*x.shape) * 3), lambda: tg.smooth_l1_loss(x, y * 2 + 3),
        lambda: tg.l1_loss(x, y + 5), lambda: tg.kl_div(tg.log_softmax(x), tg.softmax(y), "sum"),
        lambda: tg.binary_cross_entropy_with_logits(x, tg.sigmoid(y)),
        lambda: tg.binary_cross_entropy(tg.sigmoid(x), tg.sigmoid(y)),
    ])()  # fmt: skip


@of(3)
def attention(c: Composer, x: Node) -> Node:
    keys = c.new(x.shape[0], c.pick([1, 4, 9]), x.shape[2])
    mask: Any = None
    causal = keys.shape[1] >= x.shape[1] and c.rng.random() < 0.3
    if c.rng.random() < 0.4:
        mask = c.new(x.shape[1], keys.shape[1])
    return tg.scaled_dot_product_attention(x, keys, c.like(keys), mask, causal)


@of()
def attention_in_one_pass(c: Composer, x: Node) -> Node:
    """Queries and keys enough for a kernel that stores no scores."""
    q, k = (tg.sin(c.new(n, 3) * 9) for n in (33, 40))
    return tg.mean(tg.scaled_dot_product_attention(q, k, k * tg.mean(x)), 0)


@of(3)
def recurrent(c: Composer, x: Node) -> Node:
    kind, options = c.pick([nn.GRU, nn.LSTM, nn.RNN]), c.pick(["batch_first", "bidirectional"])
    layer = kind(x.shape[2], 3, **{options: True})
    for p in layer.parameters():
        p.value = c.rng.uniform(-0.5, 0.5, p.shape).astype("float32")
    return layer(x)[0]


@of(3)
def ctc(c: Composer, x: Node) -> Node:
    logp = tg.log_softmax(c.new(5, 2, 4), 2) + tg.mean(x)
    targets = np.array([[1, 2], [3, 3]], "int32")
    return tg.ctc_loss(logp, targets, np.array([5, 4], "int32"), np.array([2, 1], "int32"))


@of(3)
def sequence(c: Composer, x: Node) -> Node:
    """A loop of the user's over the first axis."""
    state, rows = tg.scan(lambda s, row: (tg.tanh(s * 0.5 + row), s - row), x[0] * 0.1, x)
    return c.pick([state[0], rows[0]])


@of(3)
def embedded(c: Composer, x: Node) -> Node:
    table = c.new(6, x.shape[2])
    return tg.take(table, c.whole(0, 6, *x.shape[:2]), 0) + x


# -- images ----------------------------------------------------------------------------------------


@of(4)
def convolved(c: Composer, x: Node) -> Node:
    k, channels = c.pick([1, 2, 3]), x.shape[1]
    stride, padding = c.pick([1, 2]), c.pick([0, 1])
    way = c.pick(["plain", "depthwise", "transpose", "biased"])
    if way == "transpose":
        return tg.conv_transpose2d(x, c.new(channels, 2, k, k), stride=stride)
    if way == "depthwise":
        return tg.conv2d(x, c.new(channels, 1, k, k), stride=stride, padding=1, groups=channels)
    padding = max(padding, k - min(x.shape[2:]))  # a kernel fits the image
    y = tg.conv2d(x, c.new(3, channels, k, k), stride=stride, padding=padding)
    return tg.relu(y + c.new(3, 1, 1)) if way == "biased" else y


@of(4)
def pooled(c: Composer, x: Node) -> Node:
    y = c.new(*x.shape)
    return c.pick([
        lambda: tg.max_pool2d(y, 2, 1), lambda: tg.avg_pool2d(x, 2, 1, 1),
        lambda: tg.center_weighted_pool2d(x, 3, 1, 1), lambda: tg.l2_pool2d(x + 1, 2, 1),
        lambda: tg.lp_pool(x + 1, 3, 2), lambda: tg.adaptive_avg_pool2d(x, 3),
        lambda: tg.adaptive_max_pool2d(y, 2), lambda: tg.local_response_norm(x, 3),
    ])()  # fmt: skip


@of(4)
def weighted(c: Composer, x: Node) -> Node:
    """Windows with the same weights for every channel."""
    size = (*x.shape[:2], *(n - 1 for n in x.shape[2:]))
    kernel, one, none = (1, 1, 2, 2), (1, 1, 1, 1), (0, 0, 0, 0)
    w = c.new(*kernel)
    return OPS["window_weighted"](x, w, kernel=kernel, stride=one, padding=none, size=size)


@of(4)
def slope(c: Composer, x: Node) -> Node:
    """A gradient that is differentiated again."""
    y = c.new(*x.shape)
    z = c.pick([tg.max_pool2d(y, 2, 1), tg.softmax(x + y), tg.sin(x) * y, y @ swapped(x)])
    return tg.grad(tg.sum(z * z), y)[0]


def swapped(x: Node) -> Node:
    return tg.swapaxes(x, -1, -2)


@of(4)
def batch_norms(c: Composer, x: Node) -> Node:
    scale, y = c.new(x.shape[1]), x + c.new(*x.shape)
    return c.pick([
        lambda: tg.batch_norm_training(y, scale, None, 0.1)[0],
        lambda: tg.instance_norm(y, eps=0.1), lambda: tg.group_norm(y, 1, scale, eps=0.1),
        lambda: tg.batch_norm(y, None, scale, c.new(x.shape[1]), tg.square(scale) + 0.5),
    ])()  # fmt: skip


@of(4)
def resized(c: Composer, x: Node) -> Node:
    return tg.interpolate(
        x, c.pick([(3, 7), (8, 2), (5, 5)]), mode=c.pick(["nearest", "bilinear", "bicubic"])
    )


@of(4)
def shuffled(c: Composer, x: Node) -> Node:
    return tg.pixel_shuffle(x, 2) if x.shape[1] % 4 == 0 else tg.glu(tg.concat([x, x * 2], 1), 1)


@of(5)
def volumes(c: Composer, x: Node) -> Node:
    w = c.new(2, x.shape[1], 2, 2, 2)
    return c.pick([lambda: tg.conv3d(x, w), lambda: tg.max_pool(c.new(*x.shape), 2, 1),
                   lambda: tg.avg_pool(x, 2, 1)])()  # fmt: skip


@of()
def random(c: Composer, x: Node) -> Node:
    seed, step = c.whole(0, 9), c.whole(0, 9)
    return c.pick([
        lambda: tg.dropout(x, 0.3, seed, step, 1),
        lambda: x * tg.bernoulli(0.5, x.shape, stream="b"),
        lambda: x + tg.random_uniform(x.shape, seed, step, 2),
        lambda: x + tg.random_normal(x.shape, stream="n") * 0.1,
    ])()  # fmt: skip
