"""A single layer in both libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
