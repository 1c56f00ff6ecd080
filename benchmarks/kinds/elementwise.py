"""Element by element, and normalized along axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import tinygraph as tg

from .layer import Layer, along


def elementwise() -> Iterator[Layer]:
    large, small = ((2048, 2048),), ((32, 32),)
    for name in ("exp", "log1p", "tanh", "sigmoid", "erf", "sin", "sqrt", "relu", "abs"):
        yield Layer(f"{name} of 4M", large, _positive(getattr(tg, name)), _positive_torch(name))
    for name in ("gelu", "silu", "softplus", "hardswish", "elu"):
        yield Layer(
            f"{name} of 4M",
            large,
            getattr(tg, name),
            lambda t, x, n=name: getattr(t.nn.functional, n)(x),
        )
    for name in ("add", "mul", "div", "maximum"):
        yield Layer(
            f"{name} of 4M",
            large * 2,
            getattr(tg, name),
            lambda t, a, b, n=name: getattr(t, n)(a, b),
        )
    yield Layer("add of 1024", small * 2, tg.add, lambda t, a, b: a + b)
    yield Layer("relu of 1024", small, tg.relu, lambda t, a: t.relu(a))
    yield Layer("gelu of 64k", ((256, 256),), tg.gelu, lambda t, a: t.nn.functional.gelu(a))
    yield Layer("add a row to 2048x2048", ((2048, 2048), (2048,)), tg.add, lambda t, a, b: a + b)
    yield Layer(
        "mul a column by 2048x2048", ((2048, 2048), (2048, 1)), tg.mul, lambda t, a, b: a * b
    )
    yield Layer(
        "scale and shift channels 8x64x56x56",
        ((8, 64, 56, 56), (64, 1, 1), (64, 1, 1)),
        lambda x, s, b: x * s + b,
        lambda t, x, s, b: x * s + b,
    )
    yield Layer(
        "where of 4M",
        large * 3,
        lambda c, a, b: tg.where(c > 0, a, b),
        lambda t, c, a, b: t.where(c > 0, a, b),
    )
    yield Layer("clip of 4M", large, lambda x: tg.clip(x, -1, 1), lambda t, x: x.clamp(-1, 1))
    yield Layer("a + a.T of 2048", large, lambda a: a + tg.transpose(a), lambda t, a: a + a.T)
    yield Layer("copy of 4M", large, lambda a: a + 0.0, lambda t, a: a + 0.0)


def _positive(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: f(tg.abs(x)) if f is tg.sqrt or f is tg.log1p else f(x)


def _positive_torch(name: str) -> Callable[..., Any]:
    positive = name in ("sqrt", "log1p")
    return lambda t, x: getattr(t, name)(t.abs(x) if positive else x)


def norms() -> Iterator[Layer]:
    for rows, size in ((128, 768), (2048, 1024), (64, 64)):
        yield Layer(
            f"layer norm {rows}x{size}",
            ((rows, size), (size,), (size,)),
            lambda x, s, b: tg.layer_norm(x, -1, s, b),
            lambda t, x, s, b: t.nn.functional.layer_norm(x, s.shape, s, b),
            2,
        )
    yield Layer(
        "RMS norm 2048x1024",
        ((2048, 1024), (1024,)),
        lambda x, s: tg.rms_norm(x, -1, s, 1e-6),
        lambda t, x, s: t.nn.functional.rms_norm(x, s.shape, s, 1e-6),
        1,
    )
    image = (8, 64, 56, 56)
    for last in (False, True):
        where = "nhwc" if last else "nchw"
        yield Layer(
            f"group norm 8 {where}",
            (image, (64,), (64,)),
            lambda x, s, b: tg.group_norm(x, 8, s, b),
            lambda t, x, s, b: t.nn.functional.group_norm(x, 8, s, b),
            2,
            last=last,
        )
        yield Layer(
            f"instance norm {where}",
            (image,),
            tg.instance_norm,
            lambda t, x: t.nn.functional.instance_norm(x),
            last=last,
        )
        yield Layer(
            f"batch norm in training {where}",
            (image, (64,), (64,)),
            lambda x, s, b: tg.batch_norm_training(x, s, b)[0],
            lambda t, x, s, b: t.nn.functional.batch_norm(x, None, None, s, b, True),
            2,
            last=last,
        )
    yield Layer(
        "local response norm 8x96x55x55",
        ((8, 96, 55, 55),),
        lambda x: tg.local_response_norm(x, 5),
        lambda t, x: t.nn.functional.local_response_norm(x, 5),
        last=False,
    )


def softmax() -> Iterator[Layer]:
    for shape, axis in (
        ((1024, 1000), -1),
        ((1, 50257), -1),
        ((1024, 1000), 0),
        ((8, 21, 128, 128), 1),
        ((12, 512, 512), -1),
        ((64, 10), -1),
    ):
        yield along("softmax", shape, axis)
    yield Layer(
        "log_softmax 1024x1000", ((1024, 1000),), tg.log_softmax, lambda t, x: t.log_softmax(x, -1)
    )
    yield Layer(
        "logsumexp 1024x1000",
        ((1024, 1000),),
        partial(tg.logsumexp, axis=-1),
        lambda t, x: t.logsumexp(x, -1),
    )
    yield Layer(
        "cross entropy 512x1000",
        ((512, 1000), (512,)),
        tg.cross_entropy,
        lambda t, x, y: t.nn.functional.cross_entropy(x, y),
        below=((1, 1000),),
    )
