"""Layers without weights: pooling, activations, reshaping."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import ops
from ..graph import hints
from ..graph.ir import Node
from ..graph.op import ShapeError
from .drawn import drawn
from .init import constant
from .module import Module

if not TYPE_CHECKING:

    def __getattr__(name):
        """Functions are in ``tg``."""
        if name in ops.__all__:
            raise AttributeError(f"no nn.functional.{name}: tg.{name}")
        hints.missing("tg", name, hints.FUNCTIONS, ops.__all__)


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


class _PoolNd(MaxPool2d):
    """A pool of images with ``rank`` axes after the channels."""

    rank = 1

    def forward(self, x: Node, training: bool = False) -> Node:
        if x.ndim != self.rank + 2:
            axes = {1: "L", 3: "D, H, W"}[self.rank]
            raise ShapeError(f"{type(self).__name__} requires x[N, C, {axes}], got {x.type}")
        return super().forward(x)


class MaxPool1d(_PoolNd):
    """[N, C, L]: the maximum of each window."""

    function = staticmethod(ops.max_pool)


class MaxPool3d(MaxPool1d):
    """[N, C, D, H, W]: the maximum of each window."""

    rank = 3


class AvgPool1d(_PoolNd):
    """[N, C, L]: the mean of each window, padded zeros counted or not."""

    function = staticmethod(ops.avg_pool)

    def __init__(self, *window: Any, count_include_pad: bool = True, **options: Any):
        super().__init__(*window, **options)
        self.options["count_include_pad"] = count_include_pad


class AvgPool3d(AvgPool1d):
    """[N, C, D, H, W]: the mean of each window, padded zeros counted or not."""

    rank = 3


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


class AdaptiveMaxPool2d(AdaptiveAvgPool2d):
    """[N, C, H, W]: maxima over as many regions as ``output_size`` says."""

    function = staticmethod(ops.adaptive_max_pool2d)


class Upsample(_Options):
    """Images of another size: arguments are those of ``tg.interpolate``."""

    function = staticmethod(ops.interpolate)

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool = False,
    ):
        given = {"size": size, "scale_factor": scale_factor}
        given = {k: v for k, v in given.items() if v is not None}
        super().__init__(**given, mode=mode, align_corners=align_corners)


class ZeroPad2d(_Options):
    """Zeros around images [N, C, H, W]: a number, or (left, right, top, bottom)."""

    function = staticmethod(ops.pad)

    def __init__(self, padding: int | tuple[int, int, int, int]):
        sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(sides) != 4:
            raise ValueError(f"ZeroPad2d requires a number or four, got {padding!r}")
        left, right, top, bottom = sides
        super().__init__(widths=((0, 0), (0, 0), (top, bottom), (left, right)))


class PixelShuffle(_Options):
    """[N, C r^2, H, W] -> [N, C, H r, W r] (Shi et al., CVPR 2016)."""

    function = staticmethod(ops.pixel_shuffle)

    def __init__(self, upscale_factor: int):
        super().__init__(factor=upscale_factor)


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


class CELU(ELU):
    """x where x > 0, else alpha (e^(x / alpha) - 1)."""

    function = staticmethod(ops.celu)


class SELU(_Options):
    """ELU, scaled so that activations keep mean 0 and variance 1 (Klambauer et al., 2017)."""

    function = staticmethod(ops.selu)


class PReLU(Module):
    """x where x > 0, else ``weight`` x: a slope that is learned (He et al., ICCV 2015).

    Args:
        num_parameters: 1, or a slope for each channel of x[N, C, ...].
        init: the slope at first.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25):
        self.weight = drawn((num_parameters,), constant(init))

    def forward(self, x: Node, training: bool = False) -> Node:
        return ops.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}"


class ReLU6(_Options):
    """x kept within [0, 6]."""

    function = staticmethod(ops.relu6)


class Hardtanh(_Options):
    """x kept within [min, max]."""

    function = staticmethod(ops.hardtanh)

    def __init__(self, min: float = -1.0, max: float = 1.0):
        super().__init__(min=min, max=max)


class Hardsigmoid(_Options):
    """relu6(x + 3) / 6."""

    function = staticmethod(ops.hardsigmoid)


class Hardswish(_Options):
    """x relu6(x + 3) / 6."""

    function = staticmethod(ops.hardswish)


class Mish(_Options):
    """x tanh(log(1 + e^x))."""

    function = staticmethod(ops.mish)


class Softplus(_Options):
    """log(1 + e^x)."""

    function = staticmethod(ops.softplus)


class Softsign(_Options):
    """x / (1 + |x|)."""

    function = staticmethod(ops.softsign)


class LogSigmoid(_Options):
    """log(sigmoid(x))."""

    function = staticmethod(ops.log_sigmoid)


class LogSoftmax(_Options):
    """log(softmax(x)) along ``axis``."""

    function = staticmethod(ops.log_softmax)

    def __init__(self, axis: int = -1):
        super().__init__(axis=axis)


class GLU(_Options):
    """The first half along ``axis`` times the sigmoid of the second."""

    function = staticmethod(ops.glu)

    def __init__(self, axis: int = -1):
        super().__init__(axis=axis)


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
