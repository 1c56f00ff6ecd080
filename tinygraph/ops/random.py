"""Random numbers without state, functions of seed, step, stream and position: runs repeat."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.convert import sizes, whole
from ..graph.ir import Node, Parameter
from ..graph.op import PARAMETER, Kind, Op, ShapeError, broadcast_shapes, define, input, promote
from ..graph.origins import scopes
from ..graph.placement import device
from ..graph.state import ParameterState
from ..graph.types import Type
from .arithmetic import floor
from .identity import EFFECT
from .logic import cast, less, where
from .math import log, sqrt
from .source import flat_index, zeros_like
from .trigonometry import cos

__all__ = ("bernoulli", "dropout", "randint", "random_normal", "random_uniform")

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


# What random numbers of a program follow from, unless it is told otherwise: every run of a program
# with random numbers advances the counter, and a checkpoint carries both.
def _state(name: str, dtype: str) -> Parameter:
    p = Parameter(PARAMETER, ParameterState(Type((), dtype), name, lambda: np.zeros((), dtype)))
    p.state.trainable = False
    return p


SEED = _state("random.seed", "uint32")
STEP = _state("random.step", "int32")
_drawn: Counter[str] = Counter()  # how many streams have had each name


def next_step() -> Node:
    """The counter's next value: one node, on whichever devices random numbers are drawn."""
    with device(None):
        return STEP + 1


def start_streams() -> None:
    """Streams are counted anew: the next ones have the names of the first."""
    _drawn.clear()


def stream_number(stream: str | int) -> int:
    """A name as 32 bits; different names almost never share them."""
    if not isinstance(stream, str):
        return int(whole("random_uniform stream", stream))
    return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:4], "little")


def _own_stream(kind: str) -> str:
    """A name that no other call in this place has: scopes, and a number."""
    name = ".".join([*scopes(), kind])
    _drawn[name] += 1
    return f"{name}:{_drawn[name]}"


def random_uniform(
    shape: int | Sequence[int],
    seed: Node | None = None,
    step: Node | None = None,
    stream: str | int | None = None,
    *,
    low: float = 0.0,
    high: float = 1.0,
) -> Node:
    """float32 numbers, each in [low, high) with the same probability: others in every run.

    They are a function of ``tg.manual_seed``'s seed, of a counter that every run of a program
    advances, and of the stream: a name of this call, made of its scopes and its number among the
    calls there. So runs repeat, and a network that goes on from a checkpoint draws what it would
    have drawn. No state is stored with the numbers, and threads do not matter.

    Args:
        shape: of the result.
        seed, step: 0-d integer nodes in place of the seed and the counter, which then is not
            advanced.
        stream: a name in place of the call's own; two calls with one name draw the same numbers.
        low, high: the limits.

    Raises:
        ShapeError: a size is negative, or seed and step are not both given.

    Example:
        >>> import tinygraph as tg
        >>> noise = tg.random_uniform((2, 3), low=-1)
        >>> noise.shape
        (2, 3)
    """
    if (seed is None) != (step is None):
        raise ShapeError("random_uniform requires a seed and a step, or neither of them")
    stream = _own_stream("random") if stream is None else stream
    places = flat_index(sizes("random_uniform", shape))
    number = stream_number(stream)
    if seed is None:
        drawn = RANDOM_UNIFORM(SEED, STEP, places, stream=number)
        drawn = EFFECT(drawn, STEP, next_step())
    else:
        drawn = RANDOM_UNIFORM(seed, step, places, stream=number)
    return drawn if (low, high) == (0, 1) else drawn * (high - low) + low


def random_normal(
    shape: int | Sequence[int], mean: float = 0.0, std: float = 1.0, *, stream: str | None = None
) -> Node:
    """Normally distributed float32 numbers: others in every run, as ``random_uniform`` has them.

    Made of two uniform numbers each (Box and Muller, Annals of Mathematical Statistics 29, 1958);
    with 24 random bits none is further than 5.8 standard deviations from the mean.

    Args:
        shape: of the result.
        mean, std: of the distribution: numbers, or nodes that broadcast.
        stream: see ``random_uniform``.

    Example:
        >>> import tinygraph as tg
        >>> z = tg.random_normal((8, 2))  # noise for a variational autoencoder
        >>> z.shape
        (8, 2)
    """
    stream = _own_stream("normal") if stream is None else stream
    size, turn = (random_uniform(shape, stream=f"{stream}/{k}") for k in ("size", "turn"))
    radius = sqrt(log(1 - size) * -2.0)
    z = radius * cos(turn * (2 * math.pi))
    z = z if isinstance(std, (int, float)) and std == 1 else z * std
    return z if isinstance(mean, (int, float)) and mean == 0 else z + mean


def bernoulli(p: Any, shape: Sequence[int] | None = None, *, stream: str | None = None) -> Node:
    """float32: 1 with probability ``p``, 0 otherwise; others in every run.

    Args:
        p: a number, or a node of probabilities.
        shape: of the result; by default that of p.
        stream: see ``random_uniform``.

    Example:
        >>> import tinygraph as tg
        >>> tg.bernoulli(0.5, (3,)).shape
        (3,)
    """
    (p,) = promote("bernoulli", (p,))
    stream = _own_stream("bernoulli") if stream is None else stream
    drawn = random_uniform(p.shape if shape is None else shape, stream=stream)
    return cast(less(drawn, cast(p, "float32")), "float32")


def randint(
    low: int,
    high: int | None = None,
    shape: int | Sequence[int] = (),
    *,
    dtype: str = "int32",
    stream: str | None = None,
) -> Node:
    """Whole numbers from low to high - 1, or below low if it is the only one; others in every run.

    Args:
        low, high: the limits, at most 2**24 apart.
        shape: of the result.
        dtype: of integers.
        stream: see ``random_uniform``.

    Raises:
        ShapeError: there is no number between the limits, or too many.

    Example:
        >>> import tinygraph as tg
        >>> tg.randint(0, 10, (4,)).dtype
        'int32'
    """
    low, high = (0, low) if high is None else (low, high)
    low, high = int(whole("randint low", low)), int(whole("randint high", high))
    if not 0 < high - low <= 1 << 24:
        raise ShapeError(f"randint requires limits 1 to 2**24 apart, got {low} and {high}")
    stream = _own_stream("randint") if stream is None else stream
    drawn = floor(random_uniform(shape, stream=stream) * float(high - low))
    return cast(drawn, dtype) + low


def dropout(x: Node, p: float, seed: Node, step: Node, stream: str | int) -> Node:
    """x with each element set to 0 with probability p and the others scaled by 1 / (1 - p).

    Args:
        seed, step: uint32 and int32 nodes: with ``stream`` they determine the mask.
        stream: a name of its own for each use; ``nn.Dropout`` chooses it.

    Raises:
        ShapeError: ``p`` is not in [0, 1).

    Example:
        >>> from tinygraph.nn import random
        >>> x = tg.ones((8, 64))
        >>> tg.dropout(x, 0.5, random.SEED, random.STEP, "my_layer").shape
        (8, 64)
    """
    if not 0 <= p <= 1:
        raise ShapeError(f"dropout requires p in [0, 1], got {p}")
    if p == 0:
        return x
    if p == 1:
        return zeros_like(x)
    return where(less(random_uniform(x.shape, seed, step, stream), p), 0, x * (1 / (1 - p)))
