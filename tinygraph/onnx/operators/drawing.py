"""Random numbers: a function of the library's seed, the number of runs and the node's name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from ...graph.ir import Node
from ...graph.op import constant
from .rules import Applied, rule


def uniform(c: Applied, shape: tuple[Any, ...], stream: str = "") -> Node:
    """float32 numbers in [0, 1), others at each run."""
    return c.walk.drawn(shape, f"{c.node.name or c.node.op}_{c.node.number}{stream}")


def _like(c: Applied) -> tuple[tuple[Any, ...], str]:
    """Shape and dtype: given, or those of an input."""
    if c.node.op.endswith("Like") or c.node.op == "Bernoulli":
        x = c.x(0)
        return x.shape, c.dtype("dtype", x.dtype)
    return tuple(c.attr("shape")), c.dtype("dtype", "float32")


@rule("RandomUniform", "RandomUniformLike")
def random_uniform(c: Applied) -> Node:
    shape, dtype = _like(c)
    low, high = c.attr("low"), c.attr("high")
    return ops.cast(uniform(c, shape) * (high - low) + low, dtype)


@rule("RandomNormal", "RandomNormalLike")
def random_normal(c: Applied) -> Node:
    """By Box and Muller's transform (1958)."""
    shape, dtype = _like(c)
    radius = ops.sqrt(ops.log(1 - uniform(c, shape, ":radius")) * -2.0)
    y = radius * ops.cos(uniform(c, shape, ":angle") * (2 * math.pi))
    return ops.cast(y * c.attr("scale") + c.attr("mean"), dtype)


@rule("Bernoulli")
def bernoulli(c: Applied) -> Node:
    shape, dtype = _like(c)
    return ops.cast(ops.less(uniform(c, shape), ops.cast(c.x(0), "float32")), dtype)


@rule("Multinomial")
def multinomial(c: Applied) -> Node:
    """Classes [batch, samples] by their logarithms of probabilities [batch, classes]."""
    x, count = c.x(0), c.attr("sample_size")
    upto = ops.cumsum(ops.softmax(x, 1), 1)  # [batch, classes]
    draws = ops.expand_dims(uniform(c, (x.shape[0], count)), 2)
    below = ops.cast(ops.less_equal(ops.expand_dims(upto, 1), draws), "int32")
    found = ops.minimum(ops.sum(below, 2), constant(np.int32(x.shape[1] - 1)))
    return ops.cast(found, c.dtype("dtype", "int32"))
