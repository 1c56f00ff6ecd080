"""Pooling layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from ..graph.op import ShapeError
from ..ops.convolution import Edges, Window
from .functional import Function


@numeric
class MaxPool2d(Function):
    """[N, C, H, W]: the maximum of each window; the gradient goes to the first one.

    Arguments of all pooling layers are those of ``tg.max_pool2d``; the stride is the kernel's size
    by default.

    Example:
        >>> nn.MaxPool2d(3, stride=2, padding=1)(tg.zeros((1, 64, 112, 112))).shape
        (1, 64, 56, 56)
    """

    function: Callable[..., Node] = staticmethod(ops.max_pool2d)

    def __init__(
        self,
        kernel_size: Window,
        stride: Window | None = None,
        padding: Edges = 0,
        ceil_mode: bool = False,
    ):
        stride = kernel_size if stride is None else stride
        super().__init__(
            kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
        )


class _PoolNd(MaxPool2d):
    """A pool of images with ``rank`` axes after the channels."""

    rank = 1

    def forward(self, x: Node, training: bool = False) -> Node:
        if x.ndim != self.rank + 2:
            axes = {1: "L", 3: "D, H, W"}[self.rank]
            raise ShapeError(f"{type(self).__name__} requires x[N, C, {axes}], got {x.type}")
        return super().forward(x)


class MaxPool1d(_PoolNd):
    """[N, C, L]: the maximum of each window.

    Arguments are those of ``nn.MaxPool2d``.

    Example:
        >>> nn.MaxPool1d(2)(tg.zeros((1, 4, 10))).shape
        (1, 4, 5)
    """

    function = staticmethod(ops.max_pool)


class MaxPool3d(MaxPool1d):
    """[N, C, D, H, W]: the maximum of each window.

    Arguments are those of ``nn.MaxPool2d``.

    Example:
        >>> nn.MaxPool3d(2)(tg.zeros((1, 4, 8, 8, 8))).shape
        (1, 4, 4, 4, 4)
    """

    rank = 3


class AvgPool1d(_PoolNd):
    """[N, C, L]: the mean of each window, padded zeros counted or not.

    Arguments are those of ``nn.AvgPool2d``.

    Example:
        >>> nn.AvgPool1d(2)(tg.zeros((1, 4, 10))).shape
        (1, 4, 5)
    """

    function = staticmethod(ops.avg_pool)

    def __init__(self, *window: Any, count_include_pad: bool = True, **options: Any):
        super().__init__(*window, **options)
        self.options["count_include_pad"] = count_include_pad


class AvgPool3d(AvgPool1d):
    """[N, C, D, H, W]: the mean of each window, padded zeros counted or not.

    Arguments are those of ``nn.AvgPool2d``.

    Example:
        >>> nn.AvgPool3d(2)(tg.zeros((1, 4, 8, 8, 8))).shape
        (1, 4, 4, 4, 4)
    """

    rank = 3


class L2Pool2d(MaxPool2d):
    """[N, C, H, W]: the L2 norm of each window, sqrt(sum x^2).

    Arguments are those of ``nn.MaxPool2d``.

    Example:
        >>> nn.L2Pool2d(2)(tg.zeros((1, 4, 10, 10))).shape
        (1, 4, 5, 5)
    """

    function = staticmethod(ops.l2_pool2d)


class AvgPool2d(MaxPool2d):
    """[N, C, H, W]: the mean of each window, padded zeros counted or not.

    Args:
        window: kernel_size, stride, padding, ceil_mode; see ``tg.max_pool2d``.
        count_include_pad: whether padded zeros count.

    Example:
        >>> nn.AvgPool2d(2)(tg.zeros((1, 4, 10, 10))).shape
        (1, 4, 5, 5)
    """

    function = staticmethod(ops.avg_pool2d)

    def __init__(self, *window: Any, count_include_pad: bool = True, **options: Any):
        super().__init__(*window, **options)
        self.options["count_include_pad"] = count_include_pad


class CenterWeightedPool2d(AvgPool2d):
    """The mean of each window, weighted by the distance from its centre.

    Weights are those of ``tg.center_weighted_pool2d``, arguments those of ``nn.AvgPool2d``.

    Example:
        >>> nn.CenterWeightedPool2d(3)(tg.zeros((1, 4, 9, 9))).shape
        (1, 4, 3, 3)
    """

    function = staticmethod(ops.center_weighted_pool2d)


@numeric
class AdaptiveAvgPool2d(Function):
    """[N, C, H, W]: means over as many regions as ``output_size``, a number or a pair, says.

    Example:
        >>> nn.AdaptiveAvgPool2d(6)(tg.zeros((1, 4, 13, 13))).shape
        (1, 4, 6, 6)
    """

    function = staticmethod(ops.adaptive_avg_pool2d)

    def __init__(self, output_size: Window):
        super().__init__(output_size=output_size)


class AdaptiveMaxPool2d(AdaptiveAvgPool2d):
    """[N, C, H, W]: maxima over as many regions as ``output_size`` says.

    Example:
        >>> nn.AdaptiveMaxPool2d(6)(tg.zeros((1, 4, 13, 13))).shape
        (1, 4, 6, 6)
    """

    function = staticmethod(ops.adaptive_max_pool2d)


class GlobalAvgPool(Function):
    """The mean over height and width, [N, C, H, W] -> [N, C].

    Example:
        >>> nn.GlobalAvgPool()(tg.zeros((8, 64, 7, 7))).shape
        (8, 64)
    """

    function = staticmethod(ops.mean)

    def __init__(self) -> None:
        super().__init__(axis=(2, 3))
