"""What moves elements: transposes, concatenations, lookups, sorts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import tinygraph as tg

from .layer import Layer, taken


def moves() -> Iterator[Layer]:
    square = ((2048, 2048),)
    for shape, order in (
        ((2048, 2048), (1, 0)),
        ((8, 64, 112, 112), (0, 2, 3, 1)),
        ((8, 224, 224, 3), (0, 3, 1, 2)),
        ((8, 112, 112, 64), (0, 3, 1, 2)),
        ((8, 3, 224, 224), (0, 2, 3, 1)),
        ((8, 128, 12, 64), (0, 2, 1, 3)),
        ((1, 64, 56, 56), (0, 2, 3, 1)),
        ((64, 64), (1, 0)),
        ((1001, 999), (1, 0)),
    ):
        yield Layer(
            f"transpose {'x'.join(map(str, shape))} {order}",
            (shape,),
            partial(tg.transpose, axes=order),
            lambda t, x, o=order: x.permute(o).contiguous(),
        )
    for axis, shape in (
        (1, (8, 64, 56, 56)),
        (0, (8, 64, 56, 56)),
        (3, (8, 56, 56, 64)),
        (1, (128, 256)),
    ):
        yield Layer(
            f"concat 4 of {'x'.join(map(str, shape))} on {axis}",
            (shape,) * 4,
            lambda *x, a=axis: tg.concat(x, a),
            lambda t, *x, a=axis: t.cat(x, a),
        )
    yield Layer(
        "stack 3 of 512x512 last",
        ((512, 512),) * 3,
        lambda *x: tg.stack(x, 2),
        lambda t, *x: t.stack(x, 2),
    )
    for axis in (0, 1):
        yield Layer(
            f"flip {axis} of 2048x2048",
            square,
            partial(tg.flip, axis=axis),
            lambda t, x, a=axis: t.flip(x, (a,)),
        )
        yield Layer(
            f"roll {axis} of 2048x2048",
            square,
            lambda x, a=axis: tg.roll(x, 100, a),
            lambda t, x, a=axis: t.roll(x, 100, a),
        )
    yield Layer(
        "pad 1 8x64x56x56",
        ((8, 64, 56, 56),),
        lambda x: tg.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))),
        lambda t, x: t.nn.functional.pad(x, (1, 1, 1, 1)),
    )
    yield Layer(
        "every second of 2048x2048",
        square,
        lambda x: x[::2, ::2],
        lambda t, x: x[::2, ::2].contiguous(),
    )
    yield Layer(
        "tile 2x2 of 1024x1024",
        ((1024, 1024),),
        lambda x: tg.tile(x, (2, 2)),
        lambda t, x: x.repeat(2, 2),
    )
    yield Layer(
        "shuffle channels 1x116x28x28",
        ((1, 116, 28, 28),),
        lambda x: tg.reshape(tg.swapaxes(tg.reshape(x, (1, 2, 58, 28, 28)), 1, 2), x.shape),
        lambda t, x: x.view(1, 2, 58, 28, 28).transpose(1, 2).reshape(x.shape),
    )
    for mode in ("nearest", "bilinear"):
        for last in (False, True):
            yield Layer(
                f"{mode} x2 of 1x64x56x56 {'nhwc' if last else 'nchw'}",
                ((1, 64, 56, 56),),
                lambda x, m=mode: tg.interpolate(x, scale_factor=2, mode=m),
                lambda t, x, m=mode: t.nn.functional.interpolate(x, scale_factor=2, mode=m),
                last=last,
            )


def gathers() -> Iterator[Layer]:
    yield taken("1024 rows of 2048x2048", (2048, 2048), 1024, 0)
    yield taken("1024 columns of 2048x2048", (2048, 2048), 1024, 1)
    yield Layer(
        "embedding 8x128 of 30000x768",
        ((30000, 768), (8, 128)),
        tg.take,
        lambda t, x, i: t.nn.functional.embedding(i, x),
        below=((1, 30000),),
    )
    yield Layer(
        "bags: 1024 sums of 16 rows of 64",
        ((10000, 64), (1024, 16)),
        lambda x, i: tg.sum(tg.take(x, i), 1),
        lambda t, x, i: t.nn.functional.embedding_bag(i, x, mode="sum"),
        below=((1, 10000),),
    )
    yield Layer(
        "scatter-add 4096 rows of 256 to 1000",
        ((4096, 256), (4096,)),
        lambda x, i: tg.scatter_add(i, x, 0, 1000),
        lambda t, x, i: t.zeros(1000, 256).index_add(0, i, x),
        below=((1, 1000),),
    )
    yield Layer(
        "histogram of 1M to 1000",
        ((1 << 20,), (1 << 20,)),
        lambda x, i: tg.scatter_add(i, x, 0, 1000),
        lambda t, x, i: t.zeros(1000).index_add(0, i, x),
        below=((1, 1000),),
    )
    yield Layer(
        "take along last 1024x1024",
        ((1024, 1024), (1024, 1024)),
        lambda x, i: tg.take_along_axis(x, i, 1),
        lambda t, x, i: t.gather(x, 1, i),
        below=((1, 1024),),
    )


def orders() -> Iterator[Layer]:
    yield Layer("sort 1M", ((1 << 20,),), tg.sort, lambda t, x: t.sort(x).values)
    yield Layer("sort last 1000x1000", ((1000, 1000),), tg.sort, lambda t, x: t.sort(x).values)
    yield Layer(
        "sort first 1000x1000",
        ((1000, 1000),),
        partial(tg.sort, axis=0),
        lambda t, x: t.sort(x, 0).values,
    )
    yield Layer("argsort 1M", ((1 << 20,),), tg.argsort, lambda t, x: t.argsort(x, stable=True))
    yield Layer(
        "argsort last 1000x1000",
        ((1000, 1000),),
        tg.argsort,
        lambda t, x: t.argsort(x, stable=True),
    )
    yield Layer(
        "top 10 of 1000x1000",
        ((1000, 1000),),
        lambda x: tg.topk(x, 10)[0],
        lambda t, x: t.topk(x, 10).values,
    )
    yield Layer(
        "top 50 of 50257",
        ((1, 50257),),
        lambda x: tg.topk(x, 50)[0],
        lambda t, x: t.topk(x, 50).values,
    )
