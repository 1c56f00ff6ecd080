"""Importing this fills ``RULES``: all families of operators."""

from . import (  # noqa: F401
    contrib,
    control,
    convolution,
    drawing,
    elementwise,
    features,
    indexing,
    linear,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    sampling,
    shaping,
    signal,
    training,
)
