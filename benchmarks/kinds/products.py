"""Matrix products and attention."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import tinygraph as tg

from .layer import Layer


def linear_layer(rows: int, inputs: int, outputs: int, mode: str = "forward") -> Layer:
    return Layer(
        f"{rows}x{inputs} by weight {outputs}x{inputs}",
        ((rows, inputs), (outputs, inputs)),
        lambda x, w: x @ tg.transpose(w),
        lambda t, x, w: t.nn.functional.linear(x, w),
        weights=1,
        mode=mode,
    )


def linear() -> Iterator[Layer]:
    for rows, i, o in (
        (1, 256, 256),
        (1, 1024, 1024),
        (1, 4096, 4096),
        (1, 2048, 1000),
        (1, 768, 3072),
        (8, 1024, 1024),
        (8, 4096, 1000),
        (32, 256, 1024),
        (32, 784, 128),
        (128, 1024, 1024),
        (128, 768, 3072),
        (128, 3072, 768),
        (128, 1024, 10),
        (33, 17, 100),
        (512, 512, 512),
        (1000, 64, 3),
    ):
        yield linear_layer(rows, i, o)


def matmul() -> Iterator[Layer]:
    for m, k, n in (
        (1, 1, 1),
        (2, 2, 2),
        (3, 3, 3),
        (7, 7, 7),
        (17, 17, 17),
        (33, 33, 33),
        (64, 64, 64),
        (100, 100, 100),
        (256, 256, 256),
        (512, 512, 512),
        (1000, 1000, 1000),
        (1, 1000, 1000),
        (1000, 1000, 1),
        (1, 1000, 1),
        (2, 1000, 256),
        (3, 1000, 1000),
        (7, 100, 100),
        (17, 1000, 17),
        (17, 1000, 33),
        (33, 7, 100),
        (33, 17, 1000),
        (1000, 33, 17),
        (1000, 1, 1000),
        (64, 10000, 64),
        (5000, 64, 8),
    ):
        yield Layer(f"{m}x{k} @ {k}x{n}", ((m, k), (k, n)), tg.matmul, lambda t, a, b: a @ b)
    yield Layer(
        "256x256 transposed @ 256x256",
        ((256, 256),) * 2,
        lambda a, b: tg.transpose(a) @ b,
        lambda t, a, b: a.T @ b,
    )


def batched() -> Iterator[Layer]:
    for n, m, k, p in (
        (64, 17, 33, 17),
        (1000, 1, 64, 20),
        (12, 128, 64, 128),
        (1000, 3, 3, 3),
        (8, 256, 256, 256),
        (96, 49, 32, 49),
    ):
        yield Layer(
            f"({n},) {m}x{k} @ {k}x{p}", ((n, m, k), (n, k, p)), tg.matmul, lambda t, a, b: a @ b
        )
    for n, m, k, p in ((12, 1, 64, 256), (12, 128, 64, 128)):
        yield Layer(
            f"({n},) {m}x{k} @ transposed {p}x{k}",
            ((n, m, k), (n, p, k)),
            lambda a, b: a @ tg.swapaxes(b, 1, 2),
            lambda t, a, b: a @ b.mT,
        )


def attention() -> Iterator[Layer]:
    for queries, keys, causal in (
        (128, 128, False),
        (512, 512, False),
        (1024, 1024, True),
        (1024, 1024, False),
        (1, 256, False),
        (77, 77, True),
    ):
        yield Layer(
            f"12 heads {queries}x64 by {keys}" + (" causal" if causal else ""),
            ((1, 12, queries, 64), (1, 12, keys, 64), (1, 12, keys, 64)),
            partial(tg.scaled_dot_product_attention, causal=causal),
            lambda t, *x, c=causal: t.nn.functional.scaled_dot_product_attention(*x, is_causal=c),
        )
