"""Layers without weights: pooling, activations, reshaping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..graph.ir import Node
from .module import Module


class _Options(Module):
    """A function of x with options that the layer keeps."""

    function: Callable[..., Node]

    def __init__(self, **options: Any):
        self.options = options

    def forward(self, x: Node, training: bool = False) -> Node:
        return type(self).function(x, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self.options.items())


class MaxPool2d(_Options):
    """[N, C, H, W]: the maximum of each window; the gradient goes to the first one.

    Arguments of all pooling layers are those of ``tg.max_pool2d``; the stride is the kernel's size
    by default.
    """

    function: Callable[..., Node] = staticmethod(ops.max_pool2d)

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
    ):
        stride = kernel_size if stride is None else stride
        super().__init__(
            kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
        )


class L2Pool2d(MaxPool2d):
    """[N, C, H, W]: the L2 norm of each window, sqrt(sum x^2)."""

    function = staticmethod(ops.l2_pool2d)


class AvgPool2d(MaxPool2d):
    """[N, C, H, W]: the mean of each window, padded zeros counted or not."""

    function = staticmethod(ops.avg_pool2d)

    def __init__(self, *window: Any, count_include_pad: bool = True, **options: Any):
        super().__init__(*window, **options)
        self.options["count_include_pad"] = count_include_pad


class CenterWeightedPool2d(AvgPool2d):
    """The mean of each window, weighted by the distance from its centre."""

    function = staticmethod(ops.center_weighted_pool2d)


class AdaptiveAvgPool2d(_Options):
    """[N, C, H, W]: means over as many regions as ``output_size``, a number or a pair, says."""

    function = staticmethod(ops.adaptive_avg_pool2d)

    def __init__(self, output_size: Any):
        super().__init__(output_size=output_size)


class GlobalAvgPool(_Options):
    """The mean over height and width, [N, C, H, W] -> [N, C]."""

    function = staticmethod(ops.mean)

    def __init__(self) -> None:
        super().__init__(axis=(2, 3))


class Flatten(_Options):
    """All axes from ``start_axis`` on as one."""

    function = staticmethod(ops.flatten)

    def __init__(self, start_axis: int = 1):
        super().__init__(start_axis=start_axis)


class ReLU(_Options):
    """max(x, 0), and NaN stays NaN."""

    function = staticmethod(ops.relu)


class LeakyReLU(_Options):
    """x where x > 0, else negative_slope * x."""

    function = staticmethod(ops.leaky_relu)

    def __init__(self, negative_slope: float = 0.01):
        super().__init__(negative_slope=negative_slope)


class ELU(_Options):
    """x where x > 0, else alpha (e^x - 1)."""

    function = staticmethod(ops.elu)

    def __init__(self, alpha: float = 1.0):
        super().__init__(alpha=alpha)


class Tanh(_Options):
    """(e^x - e^-x) / (e^x + e^-x)."""

    function = staticmethod(ops.tanh)


class Sigmoid(_Options):
    """1 / (1 + e^-x)."""

    function = staticmethod(ops.sigmoid)


class SiLU(_Options):
    """x sigmoid(x)."""

    function = staticmethod(ops.silu)


class GELU(_Options):
    """x times the normal distribution function; ``approximate="tanh"`` is faster."""

    function = staticmethod(ops.gelu)

    def __init__(self, approximate: str = "none"):
        super().__init__(approximate=approximate)


class Softmax(_Options):
    """e^x / sum e^x along ``axis``."""

    function = staticmethod(ops.softmax)

    def __init__(self, axis: int = -1):
        super().__init__(axis=axis)
