"""Parameters of layers: a shape and a way to draw it at first use."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ..graph.ir import Parameter
from ..graph.parameter import parameter
from .init import Elementwise, Initializer
from .random import Generators, current_source


def drawn(shape: tuple[int, ...], initial: Initializer, **options: Any) -> Parameter:
    """A parameter whose value follows from the seed and its name; options of ``tg.parameter``."""
    draw = LateDraw(shape, initial, current_source())
    p = parameter(shape, initial=draw, **options)
    draw.parameter = p
    return p


class LateDraw:
    """Draws a value with the generator of its name that is the next one at the first ``claim``."""

    parameter: Parameter

    def __init__(self, shape: tuple[int, ...], initial: Initializer, source: Generators):
        self.shape, self.initial, self.source = shape, initial, source

    @cached_property
    def generator(self) -> np.random.Generator:
        return self.source.generator(self.parameter.name or "")

    def claim(self) -> None:
        """The value does not depend on others of the name that are drawn from now on."""
        self.generator  # noqa: B018

    def __call__(self) -> Any:
        if self.shape and isinstance(self.initial, Elementwise):
            return self.initial.rows(self.shape, self.generator)
        return self.initial(self.shape, self.generator)


def buffer(shape: tuple[int, ...], initial: Initializer) -> Parameter:
    """State that no optimizer changes, such as running statistics."""
    p = drawn(shape, initial)
    p.state.trainable = False
    return p
