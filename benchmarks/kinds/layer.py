"""A single layer in both libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import tinygraph as tg

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A function of arrays of ``shapes``.

    ``weights`` of them, the last ones, are parameters of a network. Inputs named in ``below`` hold
    whole numbers under a limit. Images are stored channels ``last`` or first by tinygraph, and both
    ways by PyTorch; without images it is None.
    ``mode``: "forward"; "backward" is its gradients to all inputs for a given one, "both" the
    result, too, where gradients need what only the forward pass computes.
    """

    name: str
    shapes: tuple[Shape, ...]
    mine: Callable[..., Any]
    theirs: Callable[..., Any]
    weights: int = 0
    below: tuple[tuple[int, int], ...] = ()
    last: bool | None = None
    mode: str = "forward"


def along(name: str, shape: Shape, axis: int) -> Layer:
    """A function along one axis, which both libraries call by the same name."""
    return Layer(
        f"{name} axis {axis} of {'x'.join(map(str, shape))}",
        (shape,),
        partial(getattr(tg, name), axis=axis),
        lambda t, x: getattr(t, name)(x, axis),
    )


def taken(name: str, shape: Shape, count: int, axis: int) -> Layer:
    """So many slices of an array, at places that are data."""
    return Layer(
        name,
        (shape, (count,)),
        partial(tg.take, axis=axis),
        lambda t, x, i: t.index_select(x, axis, i),
        below=((1, shape[axis]),),
    )
