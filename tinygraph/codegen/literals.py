"""Numbers out of kernels: what depends on sizes, such as the n of a mean, becomes an argument.

So layers that differ in nothing else share one compiled kernel.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from .writer import Argument, WrittenKernel

LITERAL = re.compile(r"\bfloat32\((-?\d[\d.]*(?:e[+-]?\d+)?)\)")
PROLOGUE = re.compile(r"    \w+ = (view_\w+\()?args\[\d+\]\)?")


def lift_literals(kernel: WrittenKernel) -> WrittenKernel:
    """The kernel with its long float32 literals as arguments, handed over as their bits."""
    arguments: list[Argument] = list(kernel.arguments)
    names: dict[str, str] = {}
    fetches: list[str] = []

    def lifted(found: re.Match[str]) -> str:
        text = found[1]
        if is_short(float(text)):
            return found[0]
        if text not in names:
            names[text] = f"literal{len(names)}"
            fetches.append(f"    {names[text]}_bits = args[{len(arguments)}]")
            arguments.append(int(np.float32(text).view(np.int32)))
        return names[text]

    lines = [LITERAL.sub(lifted, line) for line in kernel.text.split("\n")]
    if not names:
        return kernel
    body = 1 + max(i for i, line in enumerate(lines) if PROLOGUE.fullmatch(line))
    values = [f"    {name} = bits_float(int32({name}_bits))" for name in names.values()]
    text = "\n".join([*lines[:body], *fetches, *values, *lines[body:]])
    return replace(kernel, text=text, arguments=tuple(arguments))


def is_short(value: float) -> bool:
    """True if a number has at most two significant bits: 0, 1, -0.5, 3; few sizes have so few."""
    mantissa, _ = np.frexp(value)
    return float(mantissa * 4).is_integer()
