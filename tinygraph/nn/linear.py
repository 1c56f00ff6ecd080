"""Layers with weights, stored and started as in PyTorch: linear, convolutions, embedding."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..graph.ir import Node, Parameter
from ..graph.op import ShapeError
from ..ops.convolution import pair
from .drawn import drawn
from .init import Initializer, fan_in_uniform, fans, normal, uniform
from .module import Module


def _bias(weight_shape: tuple[int, ...], size: int, wanted: bool) -> Parameter | None:
    """Uniform in +-1 / sqrt(the weight's fan-in)."""
    bound = 1 / math.sqrt(fans(weight_shape)[0])
    return drawn((size,), uniform(-bound, bound)) if wanted else None


def linear(x: Node, weight: Node, bias: Node | None = None) -> Node:
    """x @ weight.T + bias over the last axis of x[..., inputs]; weight [outputs, inputs]."""
    if x.shape[-1:] != weight.shape[1:]:
        raise ShapeError(f"linear requires x[..., {weight.shape[-1]}], got {x.type}")
    rows = ops.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))  # one product, not a batch
    y = rows @ weight.T
    y = y if bias is None else y + bias
    return ops.reshape(y, (*x.shape[:-1], y.shape[-1]))


class Linear(Module):
    """x @ weight.T + bias over the last axis; weight [outputs, inputs]."""

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, initial: Initializer | None = None
    ):
        self.weight = drawn((outputs, inputs), initial or fan_in_uniform(), order=(1, 0))
        self.bias = _bias((outputs, inputs), outputs, bias)

    def forward(self, x: Node, training: bool = False) -> Node:
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"{inputs}, {outputs}, bias={self.bias is not None}"


class _ConvNd(Module):
    rank = 2
    transposed = False

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        initial: Initializer | None = None,
    ):
        name = type(self).__name__
        if groups < 1 or inputs % groups or outputs % groups:
            raise ShapeError(
                f"{name} requires channels that divide by groups, "
                f"got {inputs} and {outputs}, groups={groups}"
            )
        kernel = pair(f"{name} kernel_size", kernel_size) if self.rank == 2 else (int(kernel_size),)
        shape = (inputs, outputs // groups) if self.transposed else (outputs, inputs // groups)
        order = (2, 1, 0) if self.rank == 1 else None  # as that of a convolution of height 1
        self.weight = drawn((*shape, *kernel), initial or fan_in_uniform(), order=order)
        self.bias = _bias(self.weight.shape, outputs, bias)
        self.channels, self.kernel_size = (inputs, outputs), kernel
        self.options = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }

    def _biased(self, y: Node) -> Node:
        return y if self.bias is None else y + ops.reshape(self.bias, -1, *(1,) * self.rank)

    def extra_repr(self) -> str:
        kernel = self.kernel_size if self.rank == 2 else self.kernel_size[0]
        plain = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "output_padding": 0}
        rest = "".join(f", {k}={v}" for k, v in self.options.items() if v != plain[k])
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.channels[0]}, {self.channels[1]}, kernel_size={kernel}{rest}{bias}"


class Conv2d(_ConvNd):
    """Cross-correlation over x[N, C, H, W]; weight [outputs, inputs / groups, KH, KW]."""

    def forward(self, x: Node, training: bool = False) -> Node:
        return self._biased(ops.conv2d(x, self.weight, **self.options))


class Conv1d(_ConvNd):
    """Cross-correlation over x[N, C, L]; weight [outputs, inputs / groups, K]."""

    rank = 1

    def forward(self, x: Node, training: bool = False) -> Node:
        return self._biased(ops.conv1d(x, self.weight, **self.options))


class ConvTranspose2d(_ConvNd):
    """A convolution's input gradient as a layer; weight [inputs, outputs / groups, KH, KW]."""

    transposed = True

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: Any,
        *,
        output_padding: Any = 0,
        **options: Any,
    ):
        super().__init__(inputs, outputs, kernel_size, **options)
        self.options["output_padding"] = output_padding

    def forward(self, x: Node, training: bool = False) -> Node:
        return self._biased(ops.conv_transpose2d(x, self.weight, **self.options))


class Embedding(Module):
    """Rows of weight [count, size] by integer index; weights start normal, standard deviation 1.

    An index below 0 gives the first row, one beyond the last row that: see ``tg.take``.
    """

    def __init__(self, count: int, size: int, initial: Initializer | None = None):
        self.weight = drawn((count, size), initial or normal(1.0))

    def forward(self, x: Node, training: bool = False) -> Node:
        return ops.take(self.weight, x)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"
