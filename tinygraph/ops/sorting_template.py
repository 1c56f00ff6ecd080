"""The kernel of argsort: a heap of the first places, then sorted in place.

The order has no two equal elements, since places break ties; so every algorithm finds the same
places. A heap needs no memory but the result, and its time is n log k for the worst input.
"""

from __future__ import annotations

from ..graph.dtype import is_float
from ..graph.template import KernelWriter
from .templates import shared_rows


def after(dtype: str, descending: bool, a: str, i: str, b: str, j: str) -> str:
    """The text of: element a at place i comes after element b at place j."""
    high, low = (b, a) if descending else (a, b)
    if not is_float(dtype):
        return f"({high} > {low} or ({a} == {b} and {i} > {j}))"
    above = f"{high} > {low} or ({high} != {high} and {low} == {low})"
    same = f"{a} == {b} or ({a} != {a} and {b} != {b})"
    return f"({above} or (({same}) and {i} > {j}))"


def sorted_indices(k: KernelWriter) -> None:
    """Each row's places of the first ``count`` elements, in order."""
    (x,), y, axis = k.inputs, k.output, k.attrs["axis"]
    for name, operand in (("x", x), ("y", y)):
        k.array(name, operand)
        k.argument(f"{name}_s", operand.strides[axis])
    n, m = k.argument("n", x.shape[axis]), k.argument("m", y.shape[axis])
    rows = [1 if a == axis else s for a, s in enumerate(x.shape)]
    bases = shared_rows(k, axis, rows, {"x": x.strides, "y": y.strides})
    k.line(f"x_at = {bases['x']}")
    k.line(f"y_at = {bases['y']}")
    k.line(f"for i in range({m}):")
    k.line("    y[y_at + i * y_s] = int32(i)")
    k.line(f"for s in range({m} // 2):")
    k.depth += 1
    k.line(f"hole = {m} // 2 - 1 - s")
    k.line("item = int64(y[y_at + hole * y_s])")
    _sift(k, m)
    k.depth -= 1
    k.line(f"for c in range({m}, {n}):")
    k.depth += 1
    k.line("root = int64(y[y_at])")
    k.line(f"if {_after(k, 'x[x_at + root * x_s]', 'root', 'x[x_at + c * x_s]', 'c')}:")
    k.depth += 1
    k.line("hole = int64(0)")
    k.line("item = int64(c)")
    _sift(k, m)
    k.depth -= 2
    k.line(f"for e in range({m} - 1):")
    k.depth += 1
    k.line(f"end = {m} - 1 - e")
    k.line("item = int64(y[y_at + end * y_s])")
    k.line("y[y_at + end * y_s] = y[y_at]")
    k.line("hole = int64(0)")
    _sift(k, "end")
    k.depth -= 1


def _after(k: KernelWriter, a: str, i: str, b: str, j: str) -> str:
    return after(k.inputs[0].dtype, k.attrs["descending"], a, i, b, j)


def _sift(k: KernelWriter, end: str) -> None:
    """Puts ``item`` into the heap below ``hole``, whose root comes last of all before ``end``."""
    for text in (
        "value = x[x_at + item * x_s]",
        "child = int64(2 * hole + 1)",
        f"while child < {end}:",
        "    which = int64(y[y_at + child * y_s])",
        "    other = x[x_at + which * x_s]",
        f"    if child + 1 < {end}:",
        "        next_one = int64(y[y_at + (child + 1) * y_s])",
        "        next_value = x[x_at + next_one * x_s]",
        f"        if {_after(k, 'next_value', 'next_one', 'other', 'which')}:",
        "            child += 1",
        "            which = next_one",
        "            other = next_value",
        f"    if not {_after(k, 'other', 'which', 'value', 'item')}:",
        "        break",
        "    y[y_at + hole * y_s] = int32(which)",
        "    hole = child",
        "    child = int64(2 * hole + 1)",
        "y[y_at + hole * y_s] = int32(item)",
    ):
        k.line(text)
