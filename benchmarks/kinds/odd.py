"""Layers of odd sizes, which no network here has: what a rule for round numbers would miss."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import tinygraph as tg

from .convolutions import convolution
from .layer import Layer, Shape, along, taken


def odd_convolutions() -> Iterator[Layer]:
    yield convolution(17, 3, 17, 3, batch=3)
    yield convolution(31, 17, 100, 3, batch=2)
    yield convolution(57, 100, 17, 1)
    yield convolution(45, 24, 40, 3, 3)
    yield convolution(33, 36, 52, 5, 2)
    yield convolution(29, 40, 40, 3, dilation=3)
    yield convolution(51, 50, 50, 7, 1, 50)
    yield convolution(63, 21, 21, 3, 2, 21)
    yield convolution(25, 60, 60, 3, 1, 10)
    yield convolution(25, 48, 96, 3, 1, 16)
    yield convolution(25, 60, 30, 3, 2, 15)
    yield convolution(21, 100, 3, 3)
    yield convolution(30, 17, 33, 3, batch=4, mode="backward")
    yield convolution(30, 66, 66, 3, 1, 66, batch=4, mode="backward")
    yield convolution(30, 64, 64, 3, 1, 16, batch=4, mode="backward")
    for length, i, o, kernel, stride, groups in (
        (1000, 17, 33, 5, 2, 1),
        (777, 100, 100, 3, 1, 100),
        (5000, 1, 7, 11, 3, 1),
    ):
        options = {"stride": stride, "padding": kernel // 2, "groups": groups}
        yield Layer(
            f"1-D {kernel}/{stride} {i} to {o} at {length} in {groups} groups b3",
            ((3, i, length), (o, i // groups, kernel)),
            partial(tg.conv1d, **options),
            lambda t, x, w, q=options: t.nn.functional.conv1d(x, w, **q),
            weights=1,
        )
    for channels, out, stride in ((7, 19, 1), (12, 24, 2)):
        options = {"stride": stride, "padding": 1}
        yield Layer(
            f"3-D 3/{stride} {channels} to {out} at 11x23x29",
            ((2, channels, 11, 23, 29), (out, channels, 3, 3, 3)),
            partial(tg.conv3d, **options),
            lambda t, x, w, q=options: t.nn.functional.conv3d(x, w, **q),
            weights=1,
        )
    for kernel, stride, pad in ((3, 3, 0), (5, 2, 2)):
        options = {"stride": stride, "padding": pad}
        yield Layer(
            f"transposed {kernel}x{kernel}/{stride} 30 to 17 at 19",
            ((2, 30, 19, 19), (30, 17, kernel, kernel)),
            partial(tg.conv_transpose2d, **options),
            lambda t, x, w, q=options: t.nn.functional.conv_transpose2d(x, w, **q),
            weights=1,
            last=True,
        )
    yield Layer(
        "transposed 1-D 4/2 32 to 17 at 500",
        ((2, 32, 500), (32, 17, 4)),
        partial(tg.conv_transpose1d, stride=2, padding=1),
        lambda t, x, w: t.nn.functional.conv_transpose1d(x, w, stride=2, padding=1),
        weights=1,
    )


def odd_products() -> Iterator[Layer]:
    for m, k, n in ((130, 70, 50), (257, 129, 65), (19, 300, 211), (700, 5, 700), (100, 2000, 3)):
        yield Layer(f"{m}x{k} @ {k}x{n}", ((m, k), (k, n)), tg.matmul, lambda t, a, b: a @ b)
    for n, m, k, p in ((30, 31, 29, 37), (7, 100, 3, 100), (200, 5, 50, 7), (50, 65, 65, 1)):
        yield Layer(
            f"({n},) {m}x{k} @ {k}x{p}", ((n, m, k), (n, k, p)), tg.matmul, lambda t, a, b: a @ b
        )
    for text, shapes in (
        ("bij,bjk->bik", ((9, 40, 33), (9, 33, 50))),
        ("ijk,kl->ijl", ((13, 37, 41), (41, 19))),
        ("abc,abd->cd", ((17, 23, 30), (17, 23, 35))),
        ("bhid,bhjd->bhij", ((3, 5, 50, 24), (3, 5, 60, 24))),
        ("nct,vw->nctv", ((2, 30, 40), (25, 25))),
        ("nctv,vw->nctw", ((4, 30, 40, 25), (25, 25))),
        ("i,j->ij", ((777,), (555,))),
    ):
        yield Layer(
            f"einsum {text}",
            shapes,
            partial(tg.einsum, text),
            lambda t, a, b, x=text: t.einsum(x, a, b),
        )


def odd_walks() -> Iterator[Layer]:
    """Reductions, norms and scans along any axes."""
    shape: Shape = (7, 30, 45, 50)
    pairs = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3))
    for axes in ((0,), (1,), (2,), (3,), *pairs, (0, 2, 3), (0, 1, 3)):
        yield _reduction("sum", shape, axes)
    for name in ("max", "mean", "var"):
        yield _reduction(name, shape, (1,))
        yield _reduction(name, shape, (0, 2))
    for axis in range(4):
        for name in ("softmax", "cumsum", "argmax"):
            yield along(name, shape, axis)
    yield Layer(
        "top 5 of 300x777, axis 0",
        ((300, 777),),
        lambda x: tg.topk(x, 5, axis=0)[0],
        lambda t, x: t.topk(x, 5, 0).values,
    )
    yield Layer("sort 777x333", ((777, 333),), tg.sort, lambda t, x: t.sort(x).values)
    for rows, size in ((333, 77), (1000, 17), (50, 3001)):
        yield Layer(
            f"layer norm {rows}x{size}",
            ((rows, size), (size,), (size,)),
            lambda x, s, b: tg.layer_norm(x, -1, s, b),
            lambda t, x, s, b: t.nn.functional.layer_norm(x, s.shape, s, b),
            2,
        )
    for last in (False, True):
        where = "nhwc" if last else "nchw"
        yield Layer(
            f"group norm 5 of 3x35x21x21 {where}",
            ((3, 35, 21, 21), (35,), (35,)),
            lambda x, s, b: tg.group_norm(x, 5, s, b),
            lambda t, x, s, b: t.nn.functional.group_norm(x, 5, s, b),
            2,
            last=last,
        )
        yield Layer(
            f"batch norm in training 6x17x33x35 {where}",
            ((6, 17, 33, 35), (17,), (17,)),
            lambda x, s, b: tg.batch_norm_training(x, s, b)[0],
            lambda t, x, s, b: t.nn.functional.batch_norm(x, None, None, s, b, True),
            2,
            last=last,
        )
        for k, s in ((3, 2), (5, 3), (2, 1)):
            yield Layer(
                f"avg {k}x{k}/{s} of 3x21x45x47 {where}",
                ((3, 21, 45, 47),),
                partial(tg.avg_pool2d, kernel_size=k, stride=s, padding=0),
                lambda t, x, q=(k, s, 0): t.nn.functional.avg_pool2d(x, *q),
                last=last,
            )
            yield Layer(
                f"max {k}x{k}/{s} of 3x21x45x47 {where}",
                ((3, 21, 45, 47),),
                partial(tg.max_pool2d, kernel_size=k, stride=s, padding=0),
                lambda t, x, q=(k, s, 0): t.nn.functional.max_pool2d(x, *q),
                last=last,
            )


def _reduction(name: str, shape: Shape, axes: Shape) -> Layer:
    options: dict[str, Any] = {"correction": 0} if name == "var" else {}
    theirs = "amax" if name == "max" else name
    return Layer(
        f"{name} over {axes} of {'x'.join(map(str, shape))}",
        (shape,),
        partial(getattr(tg, name), axis=axes),
        lambda t, x: getattr(t, theirs)(x, dim=axes, **options),
    )


def odd_moves() -> Iterator[Layer]:
    for shape, order in (
        ((7, 30, 45, 50), (0, 3, 1, 2)),
        ((7, 30, 45, 50), (3, 2, 1, 0)),
        ((7, 30, 45, 50), (1, 0, 3, 2)),
        ((5, 6, 17, 18, 19), (0, 2, 1, 4, 3)),
        ((5, 6, 17, 18, 19), (4, 0, 1, 2, 3)),
        ((5, 6, 17, 18, 19), (1, 2, 3, 4, 0)),
        ((33, 17, 3, 100), (0, 2, 1, 3)),
        ((100, 3, 1000), (2, 1, 0)),
    ):
        yield Layer(
            f"transpose {'x'.join(map(str, shape))} {order}",
            (shape,),
            partial(tg.transpose, axes=order),
            lambda t, x, o=order: x.permute(o).contiguous(),
        )
    shape = (7, 30, 45, 50)
    for other in ((30, 1, 1), (45, 1), (50,), (7, 1, 1, 1), (1, 30, 1, 50), (7, 1, 45, 1)):
        yield Layer(
            f"add {'x'.join(map(str, other))} to 7x30x45x50",
            (shape, other),
            tg.add,
            lambda t, a, b: a + b,
        )
    yield Layer("add 700x1 and 1x900", ((700, 1), (1, 900)), tg.add, lambda t, a, b: a + b)
    for axis in (1, 3):
        yield Layer(
            f"concat 3 on {axis}",
            ((5, 17, 21, 23),) * 3,
            lambda *x, a=axis: tg.concat(x, a),
            lambda t, *x, a=axis: t.cat(x, a),
        )
        yield Layer(
            f"second third on {axis}",
            ((5, 18, 45, 48),),
            lambda x, a=axis: tg.split(x, 3, a)[1] + 0.0,
            lambda t, x, a=axis: t.chunk(x, 3, a)[1] + 0.0,
        )
        yield Layer(
            f"flip {axis} of 7x30x45x50",
            (shape,),
            partial(tg.flip, axis=axis),
            lambda t, x, a=axis: t.flip(x, (a,)),
        )
        yield Layer(
            f"roll {axis} of 7x30x45x50",
            (shape,),
            lambda x, a=axis: tg.roll(x, 7, a),
            lambda t, x, a=axis: t.roll(x, 7, a),
        )
    for mode, theirs in (("constant", "constant"), ("reflect", "reflect"), ("edge", "replicate")):
        yield Layer(
            f"pad {mode} 3x17x45x47",
            ((3, 17, 45, 47),),
            lambda x, m=mode: tg.pad(x, ((0, 0), (0, 0), (2, 1), (3, 2)), m),
            lambda t, x, m=theirs: t.nn.functional.pad(x, (3, 2, 2, 1), m),
        )
    yield Layer(
        "pixel shuffle 3 of 2x27x33x35",
        ((2, 27, 33, 35),),
        lambda x: tg.pixel_shuffle(x, 3),
        lambda t, x: t.nn.functional.pixel_shuffle(x, 3),
    )
    for size in ((40, 61), (100, 77)):
        for mode in ("nearest", "bilinear"):
            yield Layer(
                f"{mode} 2x17x50x51 to {size[0]}x{size[1]}",
                ((2, 17, 50, 51),),
                lambda x, m=mode, s=size: tg.interpolate(x, s, mode=m),
                lambda t, x, m=mode, s=size: t.nn.functional.interpolate(x, s, mode=m),
            )
    yield taken("333 columns of 500x700", (500, 700), 333, 1)
    yield taken("3000 rows of 17", (500, 17), 3000, 0)
    yield Layer(
        "scatter-add 3000 rows of 17 to 500",
        ((3000, 17), (3000,)),
        lambda x, i: tg.scatter_add(i, x, 0, 500),
        lambda t, x, i: t.zeros(500, 17).index_add(0, i, x),
        below=((1, 500),),
    )
