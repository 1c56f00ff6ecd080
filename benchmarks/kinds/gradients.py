"""Gradients of what is no convolution."""

from __future__ import annotations

from collections.abc import Iterator

import tinygraph as tg

from .layer import Layer
from .products import linear_layer


def other_gradients() -> Iterator[Layer]:

    for rows, i, o in ((128, 1024, 1024), (32, 1000, 10), (512, 768, 3072)):
        yield linear_layer(rows, i, o, "backward")
    image = ((8, 64, 112, 112),)
    for last in (False, True):
        where = "nhwc" if last else "nchw"
        yield Layer(
            f"max pool 3x3/2 {where} forward and back",
            image,
            lambda x: tg.max_pool2d(x, 3, 2, 1),
            lambda t, x: t.nn.functional.max_pool2d(x, 3, 2, 1),
            last=last,
            mode="both",
        )
        yield Layer(
            f"max pool 2x2/2 {where} forward and back",
            image,
            lambda x: tg.max_pool2d(x, 2, 2),
            lambda t, x: t.nn.functional.max_pool2d(x, 2, 2),
            last=last,
            mode="both",
        )
        yield Layer(
            f"avg pool 3x3/2 {where} back",
            image,
            lambda x: tg.avg_pool2d(x, 3, 2, 1),
            lambda t, x: t.nn.functional.avg_pool2d(x, 3, 2, 1),
            last=last,
            mode="backward",
        )
        yield Layer(
            f"batch norm {where} forward and back",
            ((8, 64, 56, 56), (64,), (64,)),
            lambda x, s, b: tg.batch_norm_training(x, s, b)[0],
            lambda t, x, s, b: t.nn.functional.batch_norm(x, None, None, s, b, training=True),
            weights=2,
            last=last,
            mode="both",
        )
    yield Layer(
        "layer norm 2048x768 forward and back",
        ((2048, 768), (768,), (768,)),
        lambda x, s, b: tg.layer_norm(x, -1, s, b),
        lambda t, x, s, b: t.nn.functional.layer_norm(x, (768,), s, b),
        2,
        mode="both",
    )
    yield Layer(
        "softmax 2048x1000 forward and back",
        ((2048, 1000),),
        tg.softmax,
        lambda t, x: t.softmax(x, -1),
        mode="both",
    )
    yield Layer(
        "gelu of 1M back",
        ((1024, 1024),),
        tg.gelu,
        lambda t, x: t.nn.functional.gelu(x),
        mode="backward",
    )
    yield Layer(
        "tanh of 1M forward and back", ((1024, 1024),), tg.tanh, lambda t, x: t.tanh(x), mode="both"
    )
    yield Layer(
        "attention 12 heads 256x64 forward and back",
        ((1, 12, 256, 64),) * 3,
        tg.scaled_dot_product_attention,
        lambda t, *x: t.nn.functional.scaled_dot_product_attention(*x),
        mode="both",
    )
    yield Layer(
        "rows of a table, gradient 4096 of 30000x128",
        ((30000, 128), (4096,)),
        tg.take,
        lambda t, x, i: t.nn.functional.embedding(i, x),
        below=((1, 30000),),
        mode="backward",
    )
