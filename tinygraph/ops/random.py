"""Random numbers without state, functions of seed, step, stream and position: runs repeat."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from ..graph.convert import whole
from ..graph.ir import Node
from ..graph.op import Kind, Op, ShapeError, broadcast_shapes, define, input
from ..graph.types import Type
from .logic import less, where
from .source import flat_index, zeros_like

__all__ = ("dropout", "random_uniform")

ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)


def threefry(k0: Any, k1: Any, c0: Any, c1: Any, rounds: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Threefry-2x32 of key (k0, k1) and counter (c0, c1) (Salmon et al., SC 2011, 4.2)."""
    k0, k1, x0, x1 = (np.atleast_1d(np.asarray(v)).astype(np.uint32) for v in (k0, k1, c0, c1))
    keys = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for i in range(rounds):
        turn = np.uint32(ROTATIONS[i % 8])
        x0 = x0 + x1
        x1 = (x1 << turn | x1 >> (np.uint32(32) - turn)) ^ x0
        if i % 4 == 3:
            d = i // 4 + 1
            x0, x1 = x0 + keys[d % 3], x1 + keys[(d + 1) % 3] + np.uint32(d)
    return x0, x1


def _infer(seed: Type, step: Type, index: Type, *, stream: int) -> Type:
    if (
        any(t.dtype not in ("int32", "uint32") for t in (seed, step, index))
        or not 0 <= stream < 2**32
    ):
        raise ShapeError(
            f"random_uniform requires int32 or uint32 seed, step and index and a 32-bit stream, "
            f"got {seed}, {step}, {index} and {stream}"
        )
    return Type(broadcast_shapes("random_uniform", seed, step, index), "float32")


def _ref(seed: Any, step: Any, index: Any, *, stream: int) -> np.ndarray:
    bits, _ = threefry(seed, stream, index, step)
    shape = np.broadcast_shapes(np.shape(seed), np.shape(step), np.shape(index))
    return ((bits >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)).reshape(shape)


# Uniform in [0, 1) with 24 random bits: Threefry with key (seed, stream) and counter (index, step).
RANDOM_UNIFORM: Op = define(
    "random_uniform",
    Kind.ELEMENTWISE,
    infer=_infer,
    ref=_ref,
    expr=lambda *, stream: (
        f"random_uniform(uint32({{0}}), uint32({stream}), uint32({{2}}), uint32({{1}}))"
    ),
    vjp=lambda g, out, seed, step, index: (None, None, None),
    cost=lambda out, *_, stream: 75 * out.size,
    example=lambda: random_uniform(
        (4, 3), input("seed", dtype="int32"), input("step", dtype="int32"), "dropout"
    ),
)


def stream_number(stream: str | int) -> int:
    """A name as 32 bits; different names almost never share them."""
    if not isinstance(stream, str):
        return int(whole("random_uniform stream", stream))
    return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:4], "little")


def random_uniform(shape: tuple[int, ...], seed: Node, step: Node, stream: str | int) -> Node:
    """float32 numbers in [0, 1), a function of 0-d integer nodes and the stream's name."""
    return RANDOM_UNIFORM(seed, step, flat_index(shape), stream=stream_number(stream))


def dropout(x: Node, p: float, seed: Node, step: Node, stream: str | int) -> Node:
    """x with each element set to 0 with probability p and the others scaled by 1 / (1 - p)."""
    if not 0 <= p <= 1:
        raise ShapeError(f"dropout requires p in [0, 1], got {p}")
    if p == 0:
        return x
    if p == 1:
        return zeros_like(x)
    return where(less(random_uniform(x.shape, seed, step, stream), p), 0, x * (1 / (1 - p)))
