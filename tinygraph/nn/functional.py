"""Functions as layers: what all of them share, and those that reshape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import ops
from ..graph import hints
from ..graph.ir import Node
from ..graph.numeric import numeric
from .module import Module

if not TYPE_CHECKING:

    def __getattr__(name):
        """Functions are in ``tg``."""
        if name in ops.__all__:
            raise AttributeError(f"no nn.functional.{name}: tg.{name}")
        hints.missing("tg", name, hints.FUNCTIONS, ops.__all__)


class Function(Module):
    """A function of x with options that the layer keeps."""

    function: Callable[..., Node]

    def __init__(self, **options: Any):
        self.options = options

    def forward(self, x: Node, training: bool = False) -> Node:
        return type(self).function(x, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self.options.items())


@numeric
class Upsample(Function):
    """Images of another size: arguments are those of ``tg.interpolate``.

    Example:
        >>> nn.Upsample(scale_factor=2)(tg.zeros((1, 4, 8, 8))).shape
        (1, 4, 16, 16)
    """

    function = staticmethod(ops.interpolate)

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
    ):
        given = {"size": size, "scale_factor": scale_factor}
        given = {k: v for k, v in given.items() if v is not None}
        super().__init__(**given, mode=mode, align_corners=align_corners)


@numeric
class ZeroPad2d(Function):
    """Zeros around images [N, C, H, W]: a number, or (left, right, top, bottom).

    Args:
        padding: as above, in pixels.

    Raises:
        ValueError: it is neither a number nor four.

    Example:
        >>> nn.ZeroPad2d(1)(tg.zeros((1, 3, 4, 4))).shape
        (1, 3, 6, 6)
    """

    function = staticmethod(ops.pad)

    def __init__(self, padding: int | tuple[int, int, int, int]):
        sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(sides) != 4:
            raise ValueError(f"ZeroPad2d requires a number or four, got {padding!r}")
        left, right, top, bottom = sides
        super().__init__(widths=((0, 0), (0, 0), (top, bottom), (left, right)))


@numeric
class PixelShuffle(Function):
    """[N, C r^2, H, W] -> [N, C, H r, W r] (Shi et al., CVPR 2016).

    Args:
        upscale_factor: r.

    Example:
        >>> nn.PixelShuffle(2)(tg.zeros((1, 12, 4, 4))).shape
        (1, 3, 8, 8)
    """

    function = staticmethod(ops.pixel_shuffle)

    def __init__(self, upscale_factor: int):
        super().__init__(factor=upscale_factor)


@numeric
class Flatten(Function):
    """All axes from ``start_axis`` on as one.

    Example:
        >>> nn.Flatten()(tg.zeros((8, 3, 4, 4))).shape
        (8, 48)
    """

    function = staticmethod(ops.flatten)

    def __init__(self, start_axis: int = 1):
        super().__init__(start_axis=start_axis)
