"""Values for parameters by name: all of them, or none and one error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph.convert import as_array
from ..graph.dtype import is_similar, widened
from ..graph.ir import Parameter


def assign(
    parameters: Mapping[str, Parameter], values: Mapping[str, Any], strict: bool = True
) -> None:
    """Sets parameters by name; or none, and raises one ValueError that lists what does not fit.

    One that is shared needs a value under one of its names.
    """
    arrays = {name: widened(as_array(v)) for name, v in values.items()}
    found = [(name, p, arrays[name]) for name, p in parameters.items() if name in arrays]
    problems = _misnamed(parameters, arrays) if strict else []
    first: dict[Parameter, str] = {}
    for name, p, a in found:
        other = first.setdefault(p, name)
        if a.shape != p.shape:
            problems.append(f"wrong shape: {name} is {p.shape}, got {a.shape}")
        elif not is_similar(a.dtype, p.dtype):
            problems.append(f"wrong dtype: {name} is {p.dtype}, got {a.dtype.name}")
        elif not np.array_equal(a, arrays[other], equal_nan=True):
            problems.append(f"two values: {name} and {other} are one parameter")
    if problems:
        raise ValueError(f"{len(problems)} names do not fit:\n  " + "\n  ".join(problems))
    for _, p, a in found:
        p.value = a


def _misnamed(parameters: Mapping[str, Parameter], arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Parameters without a value, values without a parameter."""
    given = {p for name, p in parameters.items() if name in arrays}
    named = {p: name for name, p in reversed(list(parameters.items()))}  # its first name
    missing = [f"missing: {name} {p.shape}" for p, name in named.items() if p not in given]
    extra = [f"unexpected: {n} {a.shape}" for n, a in arrays.items() if n not in parameters]
    return [*reversed(missing), *extra]
