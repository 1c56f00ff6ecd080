"""Parameters of layers: a shape and a way to draw it at first use."""

from __future__ import annotations

from typing import Any

from ..graph.ir import Parameter
from ..graph.parameter import parameter
from .init import Elementwise, Initializer
from .random import current_source


def drawn(shape: tuple[int, ...], initial: Initializer, **options: Any) -> Parameter:
    """A parameter whose value follows from the seed and its name; options of ``tg.parameter``."""
    source = current_source()

    def draw() -> Any:
        rng = source.generator(p.name or "")
        if shape and isinstance(initial, Elementwise):
            return initial.rows(shape, rng)
        return initial(shape, rng)

    p = parameter(shape, initial=draw, **options)
    return p


def buffer(shape: tuple[int, ...], initial: Initializer) -> Parameter:
    """State that no optimizer changes, such as running statistics."""
    p = drawn(shape, initial)
    p.state.trainable = False
    return p
