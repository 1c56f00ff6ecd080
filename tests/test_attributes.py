"""Numbers and flags of functions: NumPy's are taken as well, all else is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg

X, IM, C = tg.input("x", 2, 4), tg.input("im", 1, 4, 4, 4), tg.input("c", 4)
LABELS, W = tg.input("labels", 2, dtype="int32"), tg.input("w", 2, 4, 3, 3)
LOGP = tg.log_softmax(tg.input("lp", 5, 2, 4), 2)
SEED = tg.constant(1, "int32")

FLOATS: dict[str, Callable[[Any], Any]] = {
    "leaky_relu": lambda v: tg.leaky_relu(X, v),
    "elu": lambda v: tg.elu(X, v),
    "celu": lambda v: tg.celu(X, v),
    "hardtanh": lambda v: tg.hardtanh(X, v, 1.0),
    "layer_norm": lambda v: tg.layer_norm(X, eps=v),
    "batch_norm": lambda v: tg.batch_norm(IM, None, None, C, C, v),
    "batch_norm_training": lambda v: tg.batch_norm_training(IM, None, None, v),
    "group_norm": lambda v: tg.group_norm(IM, 2, eps=v),
    "instance_norm": lambda v: tg.instance_norm(IM, eps=v),
    "local_response_norm, alpha": lambda v: tg.local_response_norm(IM, 3, alpha=v),
    "local_response_norm, beta": lambda v: tg.local_response_norm(IM, 3, beta=v),
    "local_response_norm, k": lambda v: tg.local_response_norm(IM, 3, k=v),
    "cosine_similarity": lambda v: tg.cosine_similarity(X, X, eps=v),
    "huber_loss": lambda v: tg.huber_loss(X, X, delta=v),
    "smooth_l1_loss": lambda v: tg.smooth_l1_loss(X, X, beta=v),
    "dropout": lambda v: tg.dropout(X, v, SEED, SEED, 1),
    "random_normal, mean": lambda v: tg.random_normal((3,), v),
    "random_normal, std": lambda v: tg.random_normal((3,), 0.0, v),
    "random_uniform": lambda v: tg.random_uniform((3,), low=v),
    "bernoulli": lambda v: tg.bernoulli(v, (3,)),
    "full": lambda v: tg.full((2,), v),
    "full_like": lambda v: tg.full_like(X, v),
    "pad": lambda v: tg.pad(X, 1, value=v),
    "lp_pool": lambda v: tg.lp_pool(IM, v, 2),
    "linspace": lambda v: tg.linspace(0, v, 3),
    "mod": lambda v: X % v,
    "fmod": lambda v: tg.fmod(X, v),
    "arctan2": lambda v: tg.arctan2(X, v),
    "prelu": lambda v: tg.prelu(IM, v),
    "resize, outside": lambda v: tg.resize(IM, (2, 2), (2, 3), outside=v),
    "resize, cubic": lambda v: tg.resize(IM, (2, 2), (2, 3), mode="cubic", cubic=v),
    "interpolate": lambda v: tg.interpolate(IM, scale_factor=v),
}
WHOLE: dict[str, Callable[[Any], Any]] = {
    "tril": lambda v: tg.tril(X, v),
    "eye": lambda v: tg.eye(3, k=v),
    "roll": lambda v: tg.roll(X, v),
    "cumsum": lambda v: tg.cumsum(X, v),
    "sort": lambda v: tg.sort(X, v),
    "topk": lambda v: tg.topk(X, v),
    "repeat": lambda v: tg.repeat(X, v),
    "one_hot": lambda v: tg.one_hot(LABELS, v),
    "split": lambda v: tg.split(X, v, 1),
    "swapaxes": lambda v: tg.swapaxes(X, 0, v),
    "max_pool2d": lambda v: tg.max_pool2d(IM, v),
    "conv2d, stride": lambda v: tg.conv2d(IM, W, stride=v),
    "conv2d, padding": lambda v: tg.conv2d(IM, W, padding=v),
    "ctc_loss": lambda v: tg.ctc_loss(LOGP, np.array([[2], [2]], "int32"), [5, 5], [1, 1], v),
    "randint": lambda v: tg.randint(v),
}
FLAGS: dict[str, Callable[[Any], Any]] = {
    "keepdims": lambda v: tg.sum(X, 0, keepdims=v),
    "cumsum": lambda v: tg.cumsum(X, 0, v),
    "cumprod": lambda v: tg.cumprod(X, 0, v),
    "linear_recurrence": lambda v: tg.linear_recurrence(X, X, 0, v),
    "sort": lambda v: tg.sort(X, 0, v),
    "argsort": lambda v: tg.argsort(X, 0, v),
    "topk": lambda v: tg.topk(X, 1, largest=v),
    "attention": lambda v: tg.scaled_dot_product_attention(X, X, X, causal=v),
    "max_pool2d": lambda v: tg.max_pool2d(IM, 2, ceil_mode=v),
    "interpolate": lambda v: tg.interpolate(IM, (2, 2), mode="bilinear", align_corners=v),
    "antialias": lambda v: tg.interpolate(IM, (2, 2), mode="bilinear", antialias=v),
}


@pytest.mark.parametrize("name", FLOATS)
def test_numbers(name: str) -> None:
    build = FLOATS[name]
    build(0.5)
    build(np.float64(0.5))
    build(np.float32(0.5))
    for wrong in (None, "1", "nan", 2j, object(), [None]):
        with pytest.raises((tg.ShapeError, TypeError)):
            build(wrong)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name: str) -> None:
    build = WHOLE[name]
    build(1)
    build(np.int64(1))
    build(np.array(1))
    for wrong in (None, "1", True, 0.5, np.float32(1), [0.5], object()):
        if (name, wrong) != ("max_pool2d", None):
            with pytest.raises(tg.ShapeError):
                build(wrong)


@pytest.mark.parametrize("name", FLAGS)
def test_flags(name: str) -> None:
    build = FLAGS[name]
    for right in (True, np.False_):
        build(right)
    for wrong in (None, 1, "False", 0.0):
        with pytest.raises(tg.ShapeError, match="True or False"):
            build(wrong)


def test_arrays_without_axes_are_numbers() -> None:
    assert X * np.array(2) is X * 2 and np.array(0.5) - X is 0.5 - X
    assert (tg.argmax(X, 1) + np.array(1)).dtype == "int32"
    for wrong in (np.array(0.5), np.array(2**40)):
        with pytest.raises(tg.ShapeError):
            tg.argmax(X, 1) + wrong
