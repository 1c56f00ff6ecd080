"""The kernel of resample: sums of weighed elements, written out where they are few."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

from ..graph.ir import Node
from ..graph.template import KernelWriter
from .templates import MOST_PARTS, ROW, shared_rows

MOST = 16  # elements that one kernel weighs for a result; beyond, axes are resampled one by one


def resampled_parts(n: Node) -> int:
    widest = max(n.shape[:-1], default=1)
    return max(1, min(widest, n.type.size // ROW, MOST_PARTS))


def resampled(k: KernelWriter) -> None:
    """Along the last axis in the innermost loop; what the other axes take is read before it."""
    (x, *tables), y, axes = k.inputs, k.output, k.attrs["axes"]
    last = len(y.shape) - 1
    for name, operand in (("x", x), ("y", y)):
        k.array(name, operand)
        k.argument(f"{name}_s", operand.strides[last])
    for number, table in enumerate(tables):
        k.array(f"table{number}", table)
    kept = [0 if a in axes else s for a, s in enumerate(x.strides)]
    bases = shared_rows(k, last, y.shape, {"x": kept, "y": y.strides})
    for number, axis in enumerate(axes):
        k.argument(f"x_{axis}_s", x.strides[axis])
        if axis != last:
            _taken(k, number, axis, f"o{axis}")
    k.line(f"for o{last} in range({k.argument(f'n{last}', y.shape[last])}):")
    k.depth += 1
    base = bases["x"] if last in axes else f"{bases['x']} + o{last} * x_s"
    if last in axes:
        _taken(k, axes.index(last), last, f"o{last}")
    k.line(f"x_at = {base}")
    k.line(f"y_at = {bases['y']} + o{last} * y_s")
    for line in weighed(y.dtype, [t.shape[1] for t in tables[::2]], axes):
        k.line(line)
    k.depth -= 1


def _taken(k: KernelWriter, number: int, axis: int, at: str) -> None:
    for line in taken([t.shape[1] for t in k.inputs[1::2]], number, axis, at):
        k.line(line)


def taken(taps: Sequence[int], number: int, axis: int, at: str) -> list[str]:
    """Lines that name the places and weights of one axis, or where its row of the tables begins."""
    if prod(taps) > MOST:
        return [f"row = {at} * {taps[number]}"]
    found = []
    for t in range(taps[number]):
        place = f"{at} * {taps[number]} + {t}"
        found.append(f"i{number}_{t} = int64(table{2 * number}[{place}]) * x_{axis}_s")
        found.append(f"w{number}_{t} = table{2 * number + 1}[{place}]")
    return found


def weighed(dtype: str, taps: Sequence[int], axes: Sequence[int]) -> list[str]:
    """Lines that sum up one result and store it, in the order of the tables."""
    if prod(taps) > MOST:
        return [
            f"total = {dtype}(0)",
            f"for t in range({taps[0]}):",
            f"    place = x_at + int64(table0[row + t]) * x_{axes[0]}_s",
            "    total = total + x[place] * table1[row + t]",
            "y[y_at] = total",
        ]
    lines = []
    for number, chosen in enumerate(product(*map(range, taps))):
        place = " + ".join(f"i{k}_{t}" for k, t in enumerate(chosen))
        weight = " * ".join(f"w{k}_{t}" for k, t in enumerate(chosen))
        term = f"x[x_at + {place}] * ({weight})"
        lines.append(f"total = {term}" if number == 0 else f"total = total + {term}")
    return [*lines, "y[y_at] = total"]
