"""The kernel of argsort: places are sorted in place, or the first ones are chosen by a heap.

The order has no two equal elements, since places break ties; so every algorithm finds the same
places, and none needs memory but the result. All of a row is sorted as introsort does (Musser,
1997): parts around a pivot (Hoare, 1961; the loop without branches is Lomuto's), short ones by
their ranks. If pivots are bad, what is left goes through a heap, whose time is n log n for any
input.
"""

from __future__ import annotations

from ..graph.dtype import is_float
from ..graph.template import KernelWriter
from .templates import shared_rows

SHORT = 32  # elements that are sorted by their ranks, which takes vectors and no branches
DEEP = 64  # parts that wait at a time: of two, the longer waits, so these are more than log n
FACTOR = 1103515245  # of the numbers that pivots are drawn by, as in the C standard
BAD = 4  # times n log n steps until pivots count as bad


def after(
    dtype: str, descending: bool, a: str, i: str, b: str, j: str, branches: bool = True
) -> str:
    """The text of: element a at place i comes after element b at place j; without ``branches`` all
    of it is computed, which is faster where the answer cannot be guessed.
    """
    high, low = (b, a) if descending else (a, b)
    both, either = ("and", "or") if branches else ("&", "|")
    if not is_float(dtype):
        return f"(({high} > {low}) {either} (({a} == {b}) {both} ({i} > {j})))"
    above = f"({high} > {low}) {either} (({high} != {high}) {both} ({low} == {low}))"
    same = f"({a} == {b}) {either} (({a} != {a}) {both} ({b} != {b}))"
    return f"({above} {either} (({same}) {both} ({i} > {j})))"


def sorted_indices(k: KernelWriter) -> None:
    """Each row's places of the first ``count`` elements, in order."""
    (x,), y, axis = k.inputs, k.output, k.attrs["axis"]
    for name, operand in (("x", x), ("y", y)):
        k.array(name, operand)
        k.argument(f"{name}_s", operand.strides[axis])
    size, count = x.shape[axis], y.shape[axis]
    n, m = k.argument("n", size), k.argument("m", count)
    rows = [1 if a == axis else s for a, s in enumerate(x.shape)]
    bases = shared_rows(k, axis, rows, {"x": x.strides, "y": y.strides})
    k.line(f"x_at = {bases['x']}")
    k.line(f"y_at = {bases['y']}")
    k.line(f"for i in range({m}):")
    k.line("    y[y_at + i * y_s] = int32(i)")
    if count == size:
        _sorted_by_parts(k, n, k.argument("steps", BAD * size * size.bit_length()))
        return
    _heap(k, m)
    k.line(f"for c in range({m}, {n}):")
    k.depth += 1
    k.line("root = int64(y[y_at])")
    k.line(f"if {_after(k, 'x[x_at + root * x_s]', 'root', 'x[x_at + c * x_s]', 'c')}:")
    k.depth += 1
    k.line("hole = int64(0)")
    k.line("item = int64(c)")
    _sift(k, m)
    k.depth -= 2
    _sorted_heap(k, m)


def _after(k: KernelWriter, a: str, i: str, b: str, j: str, branches: bool = True) -> str:
    return after(k.inputs[0].dtype, k.attrs["descending"], a, i, b, j, branches)


def _lines(k: KernelWriter, text: str) -> None:
    """Adds lines that are written with their own indentation."""
    for line in text.strip("\n").splitlines():
        k.line(line)


def _sorted_by_parts(k: KernelWriter, n: str, steps: str) -> None:
    """Sorts the places of a row; ``y_at`` moves to the part that is worked on."""
    _lines(k, f"""
values = stack_{k.inputs[0].dtype}({SHORT})
places = stack_int32({SHORT})
begins = stack_int64({DEEP})
ends = stack_int64({DEEP})
row_at = y_at
steps_left = int64({steps})
chance = int64(1)
waiting = int64(1)
begins[0] = int64(0)
ends[0] = int64({n})
while waiting > 0:
    waiting -= 1
    first = begins[waiting]
    size = ends[waiting] - first
    y_at = row_at + first * y_s
    steps_left -= size
    if size <= {SHORT}:""")
    k.depth += 2
    _ranked(k)
    k.depth -= 1
    k.line("elif steps_left < 0:")
    k.depth += 1
    _heap(k, "size")
    _sorted_heap(k, "size")
    k.depth -= 1
    k.line("else:")
    k.depth += 1
    _parted(k)
    k.depth -= 2


def _ranked(k: KernelWriter) -> None:
    """Puts each of the ``size`` places from ``y_at`` on where as many come before it as do."""
    later = _after(k, "value", "own", "values[o]", "places[o]", False)
    _lines(k, f"""
for e in range(size):
    places[e] = y[y_at + e * y_s]
    values[e] = x[x_at + int64(places[e]) * x_s]
for e in range(size):
    value = values[e]
    own = places[e]
    rank = int32(0)
    for o in range({SHORT}):
        rank = int32(rank + int32({later} & (o < size)))
    y[y_at + int64(rank) * y_s] = own""")


def _parted(k: KernelWriter) -> None:
    """Parts the ``size`` places from ``y_at`` on around the median of three, drawn so that no order
    of elements is bad; both parts wait, the longer one below the other.
    """
    for name in "abc":
        k.line(f"chance = (chance * {FACTOR} + 1) & {2**31 - 1}")
        k.line(f"{name}_place = (chance >> 8) % size")
        k.line(f"{name} = int64(y[y_at + {name}_place * y_s])")
    for name, other in (("a", "b"), ("a", "c"), ("b", "c")):
        values = f"x[x_at + {name} * x_s]", f"x[x_at + {other} * x_s]"
        k.line(f"{name}_{other} = {_after(k, values[0], name, values[1], other)}")
    _lines(k, f"""
place = c_place
if a_b == b_c:
    place = b_place
elif a_b != a_c:
    place = a_place
middle = int64(y[y_at + place * y_s])
y[y_at + place * y_s] = y[y_at]
value = x[x_at + middle * x_s]
hole = int64(0)
for e in range(1, size):
    item = int64(y[y_at + e * y_s])
    other = x[x_at + item * x_s]
    y[y_at + e * y_s] = y[y_at + (hole + 1) * y_s]
    y[y_at + (hole + 1) * y_s] = int32(item)
    hole += int64({_after(k, 'value', 'middle', 'other', 'item', False)})
y[y_at] = y[y_at + hole * y_s]
y[y_at + hole * y_s] = int32(middle)
left_next = int64(hole + hole < size)
begins[waiting + left_next] = first
ends[waiting + left_next] = first + hole
begins[waiting + 1 - left_next] = first + hole + 1
ends[waiting + 1 - left_next] = first + size
waiting += 2""")


def _heap(k: KernelWriter, end: str) -> None:
    """Makes a heap of the places before ``end``."""
    _lines(k, f"""
for s in range({end} // 2):
    hole = {end} // 2 - 1 - s
    item = int64(y[y_at + hole * y_s])""")
    k.depth += 1
    _sift(k, end)
    k.depth -= 1


def _sorted_heap(k: KernelWriter, end: str) -> None:
    """Sorts a heap."""
    _lines(k, f"""
for e in range({end} - 1):
    last = {end} - 1 - e
    item = int64(y[y_at + last * y_s])
    y[y_at + last * y_s] = y[y_at]
    hole = int64(0)""")
    k.depth += 1
    _sift(k, "last")
    k.depth -= 1


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
