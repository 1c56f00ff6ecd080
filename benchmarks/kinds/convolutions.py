"""Convolutions and their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import tinygraph as tg

from .layer import Layer


def convolution(
    size: int,
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    batch: int = 1,
    dilation: int = 1,
    mode: str = "forward",
    padding: int | None = None,
) -> Layer:
    pad = dilation * (kernel // 2) if padding is None else padding
    options = {"stride": stride, "padding": pad, "groups": groups, "dilation": dilation}
    between = f"{inputs}" if groups == inputs == outputs else f"{inputs} to {outputs}"
    name = f"{kernel}x{kernel}/{stride} {between} at {size}"
    name += f" in {groups} groups" if 1 < groups < inputs else ""
    name += f" dilation {dilation}" if dilation > 1 else ""
    return Layer(
        name + f" b{batch}",
        ((batch, inputs, size, size), (outputs, inputs // groups, kernel, kernel)),
        partial(tg.conv2d, **options),
        lambda t, x, w: t.nn.functional.conv2d(x, w, **options),
        weights=1,
        last=True,
        mode=mode,
    )


def depthwise() -> Iterator[Layer]:
    at = (112, 32), (56, 144), (14, 576), (7, 960)
    for kernel in (3, 5):
        for size, c in at:
            yield convolution(size, c, c, kernel, 1, c)
            yield convolution(size, c, c, kernel, 2, c)
    yield convolution(56, 96, 96, 7, 1, 96)
    yield convolution(56, 144, 144, 3, 1, 144, batch=8)
    yield convolution(28, 240, 240, 5, 1, 240, batch=8)
    yield convolution(28, 192, 192, 3, 1, 192, dilation=2)
    yield convolution(56, 24, 24, 3, 1, 24)
    yield Layer(
        "31 of 256 at 512, 1-D",
        ((4, 256, 512), (256, 1, 31)),
        lambda x, w: tg.conv1d(x, w, padding=15, groups=256),
        lambda t, x, w: t.nn.functional.conv1d(x, w, padding=15, groups=256),
        weights=1,
    )


def grouped() -> Iterator[Layer]:
    for size, c in ((56, 128), (28, 256), (14, 512), (7, 1024)):
        yield convolution(size, c, c, 3, 1, 32)
    yield convolution(56, 256, 256, 3, 2, 32)
    yield convolution(28, 512, 512, 3, 2, 32)
    yield convolution(56, 128, 128, 3, 1, 32, batch=4)
    yield convolution(28, 192, 192, 3, 1, 24)
    yield convolution(14, 448, 448, 3, 1, 28)
    yield convolution(27, 96, 256, 5, 1, 2)
    yield convolution(28, 240, 60, 1, 1, 3)
    yield convolution(56, 64, 128, 3, 1, 32)


def pointwise() -> Iterator[Layer]:
    for size, i, o in (
        (224, 64, 1),
        (256, 64, 2),
        (56, 64, 64),
        (56, 64, 256),
        (56, 256, 64),
        (112, 16, 96),
        (56, 144, 24),
        (28, 512, 128),
        (14, 1024, 256),
        (14, 512, 24),
        (7, 320, 1280),
        (7, 2048, 512),
        (7, 960, 160),
        (14, 96, 576),
    ):
        yield convolution(size, i, o, 1)
    yield convolution(56, 256, 512, 1, 2)
    yield convolution(14, 1024, 256, 1, batch=8)
    yield convolution(56, 24, 144, 1, batch=8)
    yield convolution(1, 1280, 1000, 1)


def dense() -> Iterator[Layer]:
    for size, c in ((56, 64), (28, 128), (14, 256), (7, 512), (128, 32)):
        yield convolution(size, c, c, 3)
    yield convolution(56, 64, 128, 3, 2)
    yield convolution(14, 256, 512, 3, 2)
    yield convolution(28, 128, 128, 3, batch=8)
    yield convolution(32, 512, 256, 3, dilation=6)
    yield convolution(28, 128, 128, 3, dilation=2)
    yield convolution(28, 16, 32, 5)
    yield convolution(14, 32, 128, 5)
    yield convolution(27, 64, 192, 5)
    yield convolution(28, 64, 64, 7)


def first() -> Iterator[Layer]:
    yield convolution(224, 3, 64, 3)
    yield convolution(224, 3, 32, 3, 2)
    yield convolution(224, 3, 64, 7, 2)
    yield convolution(227, 3, 96, 11, 4, padding=0)
    yield convolution(224, 3, 192, 16, 16, padding=0)
    yield convolution(28, 1, 6, 5, batch=64)
    yield convolution(224, 3, 32, 3, 2, batch=8)


def other_convolutions() -> Iterator[Layer]:
    for size, i, o, k, s, p in (
        (28, 256, 128, 2, 2, 0),
        (8, 512, 256, 4, 2, 1),
        (28, 64, 32, 3, 2, 1),
    ):
        options = {"stride": s, "padding": p}
        yield Layer(
            f"transposed {k}x{k}/{s} {i} to {o} at {size}",
            ((1, i, size, size), (i, o, k, k)),
            partial(tg.conv_transpose2d, **options),
            lambda t, x, w, q=options: t.nn.functional.conv_transpose2d(x, w, **q),
            weights=1,
            last=True,
        )
    for length, i, o, k, d in ((1024, 64, 64, 3, 4), (16000, 1, 16, 9, 1), (400, 80, 384, 3, 1)):
        options = {"padding": d * (k // 2), "dilation": d}
        yield Layer(
            f"1-D {k} {i} to {o} at {length} dilation {d}",
            ((1, i, length), (o, i, k)),
            partial(tg.conv1d, **options),
            lambda t, x, w, q=options: t.nn.functional.conv1d(x, w, **q),
            weights=1,
        )
    yield Layer(
        "3-D 3x3x3 16 to 32 at 8x56x56",
        ((1, 16, 8, 56, 56), (32, 16, 3, 3, 3)),
        lambda x, w: tg.conv3d(x, w, padding=1),
        lambda t, x, w: t.nn.functional.conv3d(x, w, padding=1),
        weights=1,
    )


def convolution_gradients() -> Iterator[Layer]:
    back = partial(convolution, mode="backward")
    yield back(56, 64, 64, 3, batch=8)
    yield back(14, 256, 256, 3, batch=8)
    yield back(56, 64, 128, 3, 2, batch=4)
    yield back(56, 64, 256, 1, batch=8)
    yield back(14, 1024, 256, 1, batch=8)
    yield back(224, 3, 32, 3, 2, batch=8)
    yield back(224, 3, 64, 7, 2, batch=4)
    yield back(28, 16, 32, 5, batch=8)
    yield back(56, 128, 128, 3, 1, 32, batch=4)
    yield back(14, 512, 512, 3, 1, 32, batch=4)
    yield back(56, 144, 144, 3, 1, 144, batch=8)
    yield back(28, 240, 240, 5, 1, 240, batch=8)
    yield back(112, 96, 96, 3, 2, 96, batch=8)
    yield back(14, 576, 576, 3, 1, 576, batch=4)
    yield back(56, 96, 96, 7, 1, 96, batch=4)
    yield back(7, 960, 960, 3, 1, 960, batch=4)
    yield back(28, 64, 64, 3, dilation=2, batch=4)
