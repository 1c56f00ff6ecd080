"""Normalizations and dropout: layers that training and inference see differently, and their kin."""

from __future__ import annotations

from itertools import count
from typing import Any

from .. import ops
from ..graph.convert import sizes
from ..graph.ir import Node
from ..graph.numeric import numeric
from ..graph.op import ShapeError
from .drawn import buffer, drawn
from .init import constant
from .module import Module
from .random import SEED, STEP, next_step


@numeric
class BatchNorm2d(Module):
    """Normalizes each channel of x[N, C, H, W] (Ioffe and Szegedy, ICML 2015).

    In training by the batch's own mean and variance, and the running ones move by ``momentum``
    towards them, with the unbiased variance, as in PyTorch; in inference by the running ones.

    Args:
        num_features: C.
        eps: is added to the variance.
        momentum: see above.

    Example:
        >>> bn = nn.BatchNorm2d(3)
        >>> y = bn(tg.input("x", 8, 3, 4, 4), training=True)  # a program of y moves the statistics
    """

    ranks: tuple[int, ...] = (4,)
    ignored_state = ("num_batches_tracked",)

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1):
        self.weight = drawn((num_features,), constant(1))
        self.bias = drawn((num_features,), constant(0))
        self.running_mean = buffer((num_features,), constant(0))
        self.running_var = buffer((num_features,), constant(1))
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Node, training: bool = False) -> Node:
        channels = self.weight.shape[0]
        if x.ndim not in self.ranks or x.shape[1] != channels:
            shapes = " or ".join(
                f"x[N, {', '.join((str(channels), *'DHW'[5 - r :]))}]" for r in self.ranks
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
    """The same for x[N, C] or x[N, C, L].

    Arguments are those of ``nn.BatchNorm2d``.

    Example:
        >>> nn.BatchNorm1d(16)(tg.zeros((8, 16)), training=True).shape
        (8, 16)
    """

    ranks = (2, 3)


class BatchNorm3d(BatchNorm2d):
    """The same for x[N, C, D, H, W].

    Arguments are those of ``nn.BatchNorm2d``.

    Example:
        >>> nn.BatchNorm3d(4)(tg.zeros((2, 4, 8, 8, 8))).shape
        (2, 4, 8, 8, 8)
    """

    ranks = (5,)


@numeric
class LayerNorm(Module):
    """Normalizes over the last axes, whose sizes are ``normalized_shape`` (Ba et al., 2016).

    Args:
        eps: is added to the variance.

    Example:
        >>> nn.LayerNorm(64)(tg.zeros((8, 10, 64))).shape
        (8, 10, 64)
    """

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5):
        self.shape = sizes("LayerNorm", normalized_shape)
        self.weight = drawn(self.shape, constant(1))
        self.bias = drawn(self.shape, constant(0))
        self.eps = eps

    def axes(self, x: Node) -> tuple[int, ...]:
        """The axes that are normalized, if x has them."""
        if x.shape[-len(self.shape) :] != self.shape:
            raise ShapeError(
                f"{type(self).__name__} requires x[..., {', '.join(map(str, self.shape))}], "
                f"got {x.type}"
            )
        return tuple(range(x.ndim - len(self.shape), x.ndim))

    def forward(self, x: Node, training: bool = False) -> Node:
        return ops.layer_norm(x, self.axes(x), self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.shape}, eps={self.eps}"


@numeric
class RMSNorm(LayerNorm):
    """Divides by the root of the mean square over the last axes (Zhang and Sennrich, 2019).

    ``eps`` is by default that of the dtype, as in PyTorch.

    Args:
        normalized_shape: sizes of the last axes.

    Example:
        >>> nn.RMSNorm(64)(tg.zeros((8, 10, 64))).shape
        (8, 10, 64)
    """

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float | None = None):
        self.shape, self.eps = sizes("RMSNorm", normalized_shape), eps  # type: ignore[assignment]
        self.weight = drawn(self.shape, constant(1))

    def forward(self, x: Node, training: bool = False) -> Node:
        return ops.rms_norm(x, self.axes(x), self.weight, self.eps)


@numeric
class GroupNorm(Module):
    """Normalizes each of ``num_groups`` groups of channels of x[N, C, ...] (Wu and He, 2018).

    Args:
        num_groups, num_channels: the first divides the second, C.
        eps: is added to the variance.
        affine: whether there are a weight and a bias for each channel.

    Example:
        >>> nn.GroupNorm(4, 16)(tg.zeros((2, 16, 8, 8))).shape
        (2, 16, 8, 8)
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True):
        if num_groups < 1 or num_channels % num_groups:
            raise ShapeError(f"{type(self).__name__} requires groups that divide the channels, "
                             f"got {num_groups} groups of {num_channels}")  # fmt: skip
        self.groups, self.channels, self.eps = num_groups, num_channels, eps
        self.weight = drawn((num_channels,), constant(1)) if affine else None
        self.bias = drawn((num_channels,), constant(0)) if affine else None

    def forward(self, x: Node, training: bool = False) -> Node:
        if x.ndim < 2 or x.shape[1] != self.channels:
            name = type(self).__name__
            raise ShapeError(f"{name} requires x[N, {self.channels}, ...], got {x.type}")
        return ops.group_norm(x, self.groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.groups}, {self.channels}, eps={self.eps}"


@numeric
class InstanceNorm2d(GroupNorm):
    """Normalizes each channel of each image of x[N, C, H, W] (Ulyanov et al., 2016).

    Args:
        num_features: C.
        eps: is added to the variance.
        affine: whether there are a weight and a bias for each channel.

    Example:
        >>> nn.InstanceNorm2d(4)(tg.zeros((2, 4, 8, 8))).shape
        (2, 4, 8, 8)
    """

    rank = 4

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False):
        super().__init__(num_features, num_features, eps, affine)

    def forward(self, x: Node, training: bool = False) -> Node:
        if x.ndim != self.rank:
            axes = ", ".join("DHW"[5 - self.rank :])
            raise ShapeError(
                f"{type(self).__name__} requires x[N, {self.channels}, {axes}], got {x.type}"
            )
        return super().forward(x)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}, affine={self.weight is not None}"


class InstanceNorm1d(InstanceNorm2d):
    """The same for x[N, C, L].

    Arguments are those of ``nn.InstanceNorm2d``.

    Example:
        >>> nn.InstanceNorm1d(4)(tg.zeros((2, 4, 8))).shape
        (2, 4, 8)
    """

    rank = 3


class InstanceNorm3d(InstanceNorm2d):
    """The same for x[N, C, D, H, W].

    Arguments are those of ``nn.InstanceNorm2d``.

    Example:
        >>> nn.InstanceNorm3d(4)(tg.zeros((2, 4, 8, 8, 8))).shape
        (2, 4, 8, 8, 8)
    """

    rank = 5


@numeric
class LocalResponseNorm(Module):
    """Divides by a power of neighbouring channels' squares (Krizhevsky et al., NIPS 2012, 3.3).

    Arguments are those of ``tg.local_response_norm``.

    Example:
        >>> nn.LocalResponseNorm(5)(tg.zeros((1, 96, 27, 27))).shape
        (1, 96, 27, 27)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        self.size, self.options = size, {"alpha": alpha, "beta": beta, "k": k}

    def forward(self, x: Node, training: bool = False) -> Node:
        return ops.local_response_norm(x, self.size, **self.options)

    def extra_repr(self) -> str:
        return ", ".join((str(self.size), *(f"{k}={v}" for k, v in self.options.items())))


_ownerless = count()


@numeric
class Dropout(Module):
    """In training, sets each element to 0 with probability p and scales the others by 1 / (1 - p).

    Every call in a graph drops other elements, and so does every run: the mask is a function of
    ``random.seed``, ``random.step``, this module's path and how often it was called in training,
    so runs repeat. Modules of two networks that share a path share masks.

    Srivastava et al., JMLR 15, 2014.

    Example:
        >>> drop = nn.Dropout(0.1)
        >>> y = drop(tg.input("x", 8, 64), training=True)
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
        return ops.effect(self.dropped(x, stream), STEP, next_step())

    def dropped(self, x: Node, stream: str) -> Node:
        """x without what is dropped in this stream."""
        return ops.dropout(x, self.p, SEED, STEP, stream)

    def extra_repr(self) -> str:
        return f"{self.p}"


class Dropout2d(Dropout):
    """In training, drops whole channels of x[N, C, ...] (Tompson et al., CVPR 2015).

    Args:
        p: the probability of each channel.

    Example:
        >>> y = nn.Dropout2d(0.1)(tg.input("x", 8, 16, 4, 4), training=True)
    """

    def dropped(self, x: Node, stream: str) -> Node:
        if x.ndim < 3:
            raise ShapeError(f"{type(self).__name__} requires x[N, C, ...], got {x.type}")
        return x * ops.dropout(ops.ones((*x.shape[:2], *(1,) * (x.ndim - 2)), x.dtype), self.p,
                               SEED, STEP, stream)  # fmt: skip


class Identity(Module):
    """x itself; takes and ignores any arguments, so that it can stand in for another layer.

    Example:
        >>> x = tg.input("x", 2)
        >>> nn.Identity()(x) is x
        True
    """

    def __init__(self, *_: Any, **__: Any):
        pass

    def forward(self, x: Node, training: bool = False) -> Node:
        return x
