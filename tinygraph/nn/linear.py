"""Layers with weights, stored and started as in PyTorch: linear, convolutions, embedding."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .. import ops
from ..graph.ir import Node, Parameter
from ..graph.numeric import numeric
from ..graph.op import ShapeError
from ..ops.convolution import Edges, Window, sizes_of
from .drawn import drawn
from .init import Initializer, fan_in_uniform, fans, normal, uniform
from .module import Module


def _bias(weight_shape: tuple[int, ...], size: int, wanted: bool) -> Parameter | None:
    """Uniform in +-1 / sqrt(the weight's fan-in)."""
    bound = 1 / math.sqrt(fans(weight_shape)[0])
    return drawn((size,), uniform(-bound, bound)) if wanted else None


def linear(x: Node, weight: Node, bias: Node | None = None) -> Node:
    """x @ weight.T + bias over the last axis of x[..., inputs]; weight [outputs, inputs].

    Raises:
        ShapeError: the last axis of x is not that of the weight.

    Example:
        >>> nn.linear(tg.zeros((8, 4)), tg.zeros((2, 4))).shape
        (8, 2)
    """
    if x.shape[-1:] != weight.shape[1:]:
        raise ShapeError(f"linear requires x[..., {weight.shape[-1]}], got {x.type}")
    rows = ops.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))  # one product, not a batch
    y = rows @ weight.T
    y = y if bias is None else y + bias
    return ops.reshape(y, (*x.shape[:-1], y.shape[-1]))


@numeric
class Linear(Module):
    """x @ weight.T + bias over the last axis; weight [outputs, inputs].

    Args:
        in_features, out_features: inputs and outputs.
        bias: whether one is added.
        initial: what draws the weight; by default uniform in +-1 / sqrt(inputs), as in PyTorch.

    Example:
        >>> nn.Linear(784, 10)(tg.zeros((64, 784))).shape
        (64, 10)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        initial: Initializer | None = None,
    ):
        shape = (out_features, in_features)
        self.weight = drawn(shape, initial or fan_in_uniform(), order=(1, 0))
        self.bias = _bias(shape, out_features, bias)

    def forward(self, x: Node, training: bool = False) -> Node:
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"{inputs}, {outputs}, bias={self.bias is not None}"


@numeric
class _ConvNd(Module):
    rank = 2
    function: Callable[..., Node] = staticmethod(ops.conv2d)
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Window,
        stride: Window = 1,
        padding: Edges | str = 0,
        dilation: Window = 1,
        groups: int = 1,
        bias: bool = True,
        initial: Initializer | None = None,
    ):
        name = type(self).__name__
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"{name} requires channels that divide by groups, "
                f"got {in_channels} and {out_channels}, groups={groups}"
            )
        kernel = sizes_of(f"{name} kernel_size", kernel_size, self.rank)
        rows, columns = out_channels, in_channels // groups
        if self.transposed:
            rows, columns = in_channels, out_channels // groups
        order = (2, 1, 0) if self.rank == 1 else None  # as that of a convolution of height 1
        self.weight = drawn((rows, columns, *kernel), initial or fan_in_uniform(), order=order)
        self.bias = _bias(self.weight.shape, out_channels, bias)
        self.channels, self.kernel_size = (in_channels, out_channels), kernel
        self.options = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }

    def forward(self, x: Node, training: bool = False) -> Node:
        y = type(self).function(x, self.weight, **self.options)
        return y if self.bias is None else y + ops.reshape(self.bias, -1, *(1,) * self.rank)

    def extra_repr(self) -> str:
        kernel = self.kernel_size if self.rank > 1 else self.kernel_size[0]
        plain = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "output_padding": 0}
        rest = "".join(f", {k}={v}" for k, v in self.options.items() if v != plain[k])
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.channels[0]}, {self.channels[1]}, kernel_size={kernel}{rest}{bias}"


class Conv2d(_ConvNd):
    """Cross-correlation over x[N, C, H, W]; weight [O, C / groups, KH, KW].

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation, groups: see ``tg.conv2d``; ``padding="same"`` keeps
            the image's size.
        bias: whether a number is added to each channel.
        initial: what draws the weight; by default uniform in +-1 / sqrt(fan-in).

    Example:
        >>> nn.Conv2d(3, 16, 3, stride=2, padding=1)(tg.zeros((8, 3, 32, 32))).shape
        (8, 16, 16, 16)
    """


class Conv1d(_ConvNd):
    """Cross-correlation over x[N, C, L]; weight [O, C / groups, K]. Arguments are Conv2d's.

    See ``nn.Conv2d``.

    Example:
        >>> nn.Conv1d(2, 8, 5, padding="same")(tg.zeros((1, 2, 100))).shape
        (1, 8, 100)
    """

    rank = 1
    function = staticmethod(ops.conv1d)


class Conv3d(_ConvNd):
    """Cross-correlation over x[N, C, D, H, W]; weight [O, C / groups, KD, KH, KW].

    Arguments are those of ``nn.Conv2d``.

    Example:
        >>> nn.Conv3d(1, 4, 3)(tg.zeros((1, 1, 8, 8, 8))).shape
        (1, 4, 6, 6, 6)
    """

    rank = 3
    function = staticmethod(ops.conv3d)


@numeric
class ConvTranspose2d(_ConvNd):
    """A convolution's input gradient as a layer; weight [in_channels, O / groups, KH, KW].

    Arguments are in PyTorch's order; see ``tg.conv_transpose2d``.

    Args:
        in_channels, out_channels: I and O.
        kernel_size, stride, padding, output_padding, groups, dilation: as there.
        bias: whether a number is added to each channel.
        initial: what draws the weight.

    Example:
        >>> nn.ConvTranspose2d(8, 4, 2, 2)(tg.zeros((1, 8, 16, 16))).shape
        (1, 4, 32, 32)
    """

    transposed = True
    function = staticmethod(ops.conv_transpose2d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Window,
        stride: Window = 1,
        padding: Edges | str = 0,
        output_padding: Window = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Window = 1,
        initial: Initializer | None = None,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, initial
        )
        self.options["output_padding"] = output_padding


class ConvTranspose1d(ConvTranspose2d):
    """The same over x[N, C, L]; weight [in_channels, O / groups, K].

    Arguments are those of ``nn.ConvTranspose2d``.

    Example:
        >>> nn.ConvTranspose1d(4, 2, 4, 2, 1)(tg.zeros((1, 4, 10))).shape
        (1, 2, 20)
    """

    rank = 1
    function = staticmethod(ops.conv_transpose1d)


class ConvTranspose3d(ConvTranspose2d):
    """The same over x[N, C, D, H, W]; weight [in_channels, O / groups, KD, KH, KW].

    Arguments are those of ``nn.ConvTranspose2d``.

    Example:
        >>> nn.ConvTranspose3d(4, 2, 2, 2)(tg.zeros((1, 4, 4, 4, 4))).shape
        (1, 2, 8, 8, 8)
    """

    rank = 3
    function = staticmethod(ops.conv_transpose3d)


@numeric
class Embedding(Module):
    """Rows of weight [count, size] by integer index; weights start normal, standard deviation 1.

    An index below 0 gives the first row, one beyond the last row that: see ``tg.take``.

    Args:
        num_embeddings, embedding_dim: count and size.
        padding_idx: an index whose row is 0 and stays so: it gets no gradient.
        initial: what draws the weight.

    Example:
        >>> nn.Embedding(1000, 64)(tg.input("symbols", 8, 20, dtype="int32")).shape
        (8, 20, 64)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        initial: Initializer | None = None,
    ):
        shape = (num_embeddings, embedding_dim)
        draw = initial or normal(1.0)
        self.padding_idx = padding_idx
        if padding_idx is None:
            self.weight = drawn(shape, draw)
            return
        if not -num_embeddings <= padding_idx < num_embeddings:
            raise ShapeError(f"Embedding requires padding_idx below {num_embeddings}, "
                             f"got {padding_idx}")  # fmt: skip
        self.padding_idx = padding_idx % num_embeddings
        others = np.arange(num_embeddings)[:, None] != self.padding_idx
        self.weight = drawn(shape, lambda shape, rng: np.where(others, draw(shape, rng), 0))

    def forward(self, x: Node, training: bool = False) -> Node:
        rows = ops.take(self.weight, x)
        if self.padding_idx is None:
            return rows
        padded = ops.equal(ops.expand_dims(x, -1), self.padding_idx)
        return ops.where(padded, ops.stop_gradient(rows), rows)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"
