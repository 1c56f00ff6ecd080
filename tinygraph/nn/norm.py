"""Normalizations and dropout: layers that training and inference see differently, and their kin."""

from __future__ import annotations

from itertools import count
from typing import Any

from .. import ops
from ..graph.convert import sizes
from ..graph.ir import Node
from ..graph.op import ShapeError
from .drawn import buffer, drawn
from .init import constant
from .module import Module
from .random import SEED, STEP


class BatchNorm2d(Module):
    """Normalizes each channel of x[N, C, H, W] (Ioffe and Szegedy, ICML 2015).

    In training by the batch's own mean and variance, and the running ones move by ``momentum``
    towards them, with the unbiased variance, as in PyTorch; in inference by the running ones.
    """

    ranks: tuple[int, ...] = (4,)
    ignored_state = ("num_batches_tracked",)

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1):
        self.weight = drawn((channels,), constant(1))
        self.bias = drawn((channels,), constant(0))
        self.running_mean = buffer((channels,), constant(0))
        self.running_var = buffer((channels,), constant(1))
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Node, training: bool = False) -> Node:
        channels = self.weight.shape[0]
        if x.ndim not in self.ranks or x.shape[1] != channels:
            shapes = " or ".join(
                f"x[N, {', '.join((str(channels), *'HW'[4 - r :]))}]" for r in self.ranks
            )
            raise ShapeError(f"{type(self).__name__} requires {shapes}, got {x.type}")
        if not training:
            return ops.batch_norm(
                x, self.weight, self.bias, self.running_mean, self.running_var, self.eps
            )
        values = x.type.size // channels
        if values < 2:
            raise ShapeError(
                f"{type(self).__name__} requires more than one value a channel in training, "
                f"got {x.type}"
            )
        y, mean, variance = ops.batch_norm_training(x, self.weight, self.bias, self.eps)
        unbiased = variance * (values / (values - 1))
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            y = ops.effect(y, running, running * (1 - self.momentum) + new * self.momentum)
        return y

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm1d(BatchNorm2d):
    """The same for x[N, C] or x[N, C, L]."""

    ranks = (2, 3)


class LayerNorm(Module):
    """Normalizes over the last axes, whose sizes are ``shape`` (Ba et al., 2016)."""

    def __init__(self, shape: int | tuple[int, ...], eps: float = 1e-5):
        self.shape = sizes("LayerNorm", shape)
        self.weight = drawn(self.shape, constant(1))
        self.bias = drawn(self.shape, constant(0))
        self.eps = eps

    def forward(self, x: Node, training: bool = False) -> Node:
        if x.shape[-len(self.shape) :] != self.shape:
            raise ShapeError(
                f"LayerNorm requires x[..., {', '.join(map(str, self.shape))}], got {x.type}"
            )
        axes = tuple(range(x.ndim - len(self.shape), x.ndim))
        return ops.layer_norm(x, axes, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.shape}, eps={self.eps}"


class LocalResponseNorm(Module):
    """Divides by a power of neighbouring channels' squares (Krizhevsky et al., NIPS 2012, 3.3)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        self.size, self.options = size, {"alpha": alpha, "beta": beta, "k": k}

    def forward(self, x: Node, training: bool = False) -> Node:
        return ops.local_response_norm(x, self.size, **self.options)

    def extra_repr(self) -> str:
        return ", ".join((str(self.size), *(f"{k}={v}" for k, v in self.options.items())))


_ownerless = count()


class Dropout(Module):
    """In training, sets each element to 0 with probability p and scales the others by 1 / (1 - p).

    Every call in a graph drops other elements, and so does every run: the mask is a function of
    ``random.seed``, ``random.step``, this module's path and how often it was called in training,
    so runs repeat. Modules of two networks that share a path share masks.
    """

    def __init__(self, p: float = 0.5):
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout requires p in [0, 1], got {p}")
        self.p, self._calls, self._alone = p, 0, next(_ownerless)

    def forward(self, x: Node, training: bool = False) -> Node:
        if not training or self.p == 0:
            return x
        stream = f"{self.path or f'dropout {self._alone}'}:{self._calls}"
        self._calls += 1
        return ops.effect(ops.dropout(x, self.p, SEED, STEP, stream), STEP, STEP + 1)

    def extra_repr(self) -> str:
        return f"{self.p}"


class Identity(Module):
    """x itself; takes and ignores any arguments, so that it can stand in for another layer."""

    def __init__(self, *_: Any, **__: Any):
        pass

    def forward(self, x: Node, training: bool = False) -> Node:
        return x
