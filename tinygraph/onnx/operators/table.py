"""Importing this fills ``RULES``: all families of operators."""

from . import (  # noqa: F401
    control,
    convolution,
    elementwise,
    indexing,
    linear,
    normalization,
    pooling,
    recurrent,
    reduction,
    shaping,
)
