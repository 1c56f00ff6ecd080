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
    """Whichever axis is innermost, another one is shared out."""
    widest = sorted((1, 1, *n.shape))[-2]
    return max(1, min(widest, n.type.size // ROW, MOST_PARTS))


def resampled(k: KernelWriter) -> None:
    """Along the axis that the result has contiguous, in the innermost loop; what the other axes
    take is read before it.
    """
    (x, *tables), y, axes = k.inputs, k.output, k.attrs["axes"]
    row = innermost(y.shape, y.strides)
    for name, operand in (("x", x), ("y", y)):
        k.array(name, operand)
        k.argument(f"{name}_s", operand.strides[row])
    for number, table in enumerate(tables):
        k.array(f"table{number}", table)
    kept = [0 if a in axes else s for a, s in enumerate(x.strides)]
    bases = shared_rows(k, row, y.shape, {"x": kept, "y": y.strides})
    for number, axis in enumerate(axes):
        k.argument(f"x_{axis}_s", x.strides[axis])
        if axis != row:
            _taken(k, number, axis, f"o{axis}")
    taps = [t.shape[1] for t in tables[::2]]
    each = f"for o{row} in range({k.argument(f'n{row}', y.shape[row])}):"
    steps = ["" if s == 1 else f" * {name}_s" for name, s in (("x", x.strides[row]),
                                                             ("y", y.strides[row]))]  # fmt: skip
    if row not in axes and prod(taps) > MOST:
        _added(k, each, [f"{bases[n]} + o{row}{s}" for n, s in zip("xy", steps, strict=True)], taps)
        return
    k.line(each)
    k.depth += 1
    if row in axes:
        _taken(k, axes.index(row), row, f"o{row}")
    k.line(f"x_at = {bases['x']}" + ("" if row in axes else f" + o{row}{steps[0]}"))
    k.line(f"y_at = {bases['y']} + o{row}{steps[1]}")
    for line in weighed(y.dtype, taps, axes):
        k.line(line)
    k.depth -= 1


def innermost(shape: Sequence[int], strides: Sequence[int]) -> int:
    """The axis whose elements are nearest, of those that have several."""
    return min(range(len(shape)), key=lambda a: (shape[a] == 1, abs(strides[a]), -a))


def _added(k: KernelWriter, each: str, places: Sequence[str], taps: Sequence[int]) -> None:
    """Many elements of one axis are added to a row of results, one row of them after the other."""
    (x_at, y_at), axis = places, k.attrs["axes"][0]
    for line in (
        each,
        f"    y[{y_at}] = {k.output.dtype}(0)",
        f"for t in range({taps[0]}):",
        f"    moved = int64(table0[row + t]) * x_{axis}_s",
        "    weight = table1[row + t]",
        f"    {each}",
        f"        y[{y_at}] = y[{y_at}] + x[{x_at} + moved] * weight",
    ):
        k.line(line)


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
