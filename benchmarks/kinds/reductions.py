"""Reductions, running sums and pools."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import tinygraph as tg

from .layer import Layer


def reductions() -> Iterator[Layer]:
    for name in ("sum", "max"):
        for shape, axes in (
            ((2048, 2048), (0, 1)),
            ((2048, 2048), (0,)),
            ((2048, 2048), (1,)),
            ((100000, 40), (0,)),
            ((8, 64, 112, 112), (2, 3)),
            ((64, 100, 256), (1,)),
        ):
            theirs = "sum" if name == "sum" else "amax"
            yield Layer(
                f"{name} over {axes} of {'x'.join(map(str, shape))}",
                (shape,),
                partial(getattr(tg, name), axis=axes),
                lambda t, x, n=theirs, a=axes: getattr(t, n)(x, dim=a),
            )
    square = ((2048, 2048),)
    yield Layer(
        "argmax last 2048x2048", square, partial(tg.argmax, axis=-1), lambda t, x: t.argmax(x, -1)
    )
    yield Layer(
        "argmax first 2048x2048", square, partial(tg.argmax, axis=0), lambda t, x: t.argmax(x, 0)
    )
    yield Layer(
        "var last 2048x2048",
        square,
        partial(tg.var, axis=-1),
        lambda t, x: t.var(x, -1, correction=0),
    )
    yield Layer(
        "norm last 2048x2048",
        square,
        partial(tg.norm, axis=-1),
        lambda t, x: t.linalg.vector_norm(x, dim=-1),
    )
    yield Layer(
        "cumsum first 2048x2048", square, partial(tg.cumsum, axis=0), lambda t, x: t.cumsum(x, 0)
    )
    yield Layer(
        "cumsum last 2048x2048", square, partial(tg.cumsum, axis=1), lambda t, x: t.cumsum(x, 1)
    )
    yield Layer("cumsum 1M", ((1 << 20,),), tg.cumsum, lambda t, x: t.cumsum(x, 0))


def pools() -> Iterator[Layer]:
    for last in (False, True):
        where = "nhwc" if last else "nchw"
        for name, shape, k, s, p in (
            ("max", (1, 64, 112, 112), 3, 2, 1),
            ("max", (8, 64, 112, 112), 3, 2, 1),
            ("max", (1, 64, 224, 224), 2, 2, 0),
            ("max", (1, 192, 28, 28), 3, 1, 1),
            ("max", (1, 256, 13, 13), 13, 1, 6),
            ("avg", (1, 192, 28, 28), 3, 1, 1),
            ("avg", (8, 64, 56, 56), 2, 2, 0),
        ):
            mine = tg.max_pool2d if name == "max" else tg.avg_pool2d
            yield Layer(
                f"{name} {k}x{k}/{s} of {'x'.join(map(str, shape))} {where}",
                (shape,),
                partial(mine, kernel_size=k, stride=s, padding=p),
                lambda t, x, n=name, q=(k, s, p): getattr(t.nn.functional, f"{n}_pool2d")(x, *q),
                last=last,
            )
        for shape, size in (
            ((1, 256, 13, 13), 6),
            ((1, 512, 13, 13), 7),
            ((1, 2048, 60, 60), 6),
            ((8, 2048, 7, 7), 1),
            ((1, 16, 512, 512), 1),
        ):
            yield Layer(
                f"adaptive avg {size} of {'x'.join(map(str, shape))} {where}",
                (shape,),
                partial(tg.adaptive_avg_pool2d, output_size=size),
                lambda t, x, n=size: t.nn.functional.adaptive_avg_pool2d(x, n),
                last=last,
            )
    yield Layer(
        "adaptive max 7 of 1x512x13x13",
        ((1, 512, 13, 13),),
        partial(tg.adaptive_max_pool2d, output_size=7),
        lambda t, x: t.nn.functional.adaptive_max_pool2d(x, 7),
        last=False,
    )
