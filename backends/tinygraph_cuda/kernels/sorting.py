"""argsort: a block for each row, sorted in place, or its first elements chosen one by one.

No two elements are equal in the order, since places break ties: the result is that of every other
algorithm.
"""

from __future__ import annotations

from math import prod

from tinygraph.ops.sorting_template import after
from tinygraph.plan.records.work import Special

from .kernel import MOST_BLOCKS, THREADS, CudaKernel
from .special_text import SpecialText

PLACE = "int32({0}_o + int32({1}) * {0}_s)"  # of element {1} in a row of {0}


def argsort(work: Special) -> CudaKernel:
    (x, y), attrs = work.operands, dict(work.attrs)
    axis, shape = attrs["axis"], work.shapes[0]
    others = [a for a in range(len(shape)) if a != axis]
    rows = prod(shape[a] for a in others)
    out = SpecialText()
    for name, operand in (("x", x), ("y", y)):
        out.pointer(name, operand)
        out.argument(f"{name}_s", operand.strides[axis])
    out.argument("n", shape[axis])
    out.line("thread = uint32(cuda.threadIdx.x)")
    whole = attrs["count"] == shape[axis]
    if not whole:
        out.line(f"shared = cuda.shared.array({THREADS}, int32)")
    out.line("row = uint32(cuda.blockIdx.x)")
    out.line(f"while row < uint32({out.argument('rows', rows)}):")
    out.depth += 1
    strides = {"x": [x.strides[a] for a in others], "y": [y.strides[a] for a in others]}
    out.offset("o", "row", [shape[a] for a in others], strides)
    if whole:
        _sorted(out, x.dtype, attrs["descending"], shape[axis])
    else:
        _chosen(out, x.dtype, attrs["descending"], attrs["count"])
    out.line("row = uint32(row + uint32(cuda.gridDim.x))")
    return out.made(min(MOST_BLOCKS, max(1, rows)))


def _sorted(out: SpecialText, dtype: str, descending: bool, n: int) -> None:
    """A bitonic network all of whose comparisons ascend (Batcher, AFIPS 1968): places beyond n
    would come last, and stay there.
    """
    out.argument("pairs", 1 << max(0, n - 1).bit_length() >> 1)
    out.line("i = thread")
    out.line("while i < uint32(n):")
    out.line(f"y[{PLACE.format('y', 'i')}] = int32(i)", 1)
    out.line(f"i = uint32(i + uint32({THREADS}))", 1)
    out.line("cuda.syncthreads()")
    out.line("half = uint32(1)")
    out.line("while half < uint32(n):")
    out.depth += 1
    mirrored = "uint32(uint32(2) * half * (block + uint32(1)) - uint32(1) - inside)"
    _exchange(out, dtype, descending, "half", mirrored)
    out.line("stride = uint32(half >> uint32(1))")
    out.line("while stride > uint32(0):")
    out.depth += 1
    _exchange(out, dtype, descending, "stride", "uint32(i + stride)")
    out.line("stride = uint32(stride >> uint32(1))")
    out.depth -= 1
    out.line("half = uint32(half << uint32(1))")
    out.depth -= 1


def _exchange(out: SpecialText, dtype: str, descending: bool, stride: str, partner: str) -> None:
    """Each pair of places in the same block of 2 * stride, in order; all threads wait after it."""
    out.line("t = thread")
    out.line("while t < uint32(pairs):")
    out.depth += 1
    out.line(f"block = quotient(t, {stride})")
    out.line(f"inside = remainder(t, {stride})")
    out.line(f"i = uint32(uint32(2) * {stride} * block + inside)")
    out.line(f"j = {partner}")
    out.line("if j < uint32(n):")
    out.depth += 1
    for name, place in (("first", "i"), ("second", "j")):
        out.line(f"{name} = int32(y[{PLACE.format('y', place)}])")
        out.line(f"{name}_value = x[{PLACE.format('x', name)}]")
    wrong = after(dtype, descending, "first_value", "first", "second_value", "second")
    out.line(f"if {wrong}:")
    out.line(f"y[{PLACE.format('y', 'i')}] = second", 1)
    out.line(f"y[{PLACE.format('y', 'j')}] = first", 1)
    out.depth -= 1
    out.line(f"t = uint32(t + uint32({THREADS}))")
    out.depth -= 1
    out.line("cuda.syncthreads()")


def _chosen(out: SpecialText, dtype: str, descending: bool, count: int) -> None:
    """Again and again the first of the elements after the last one chosen."""

    def earlier(value: str, place: str, best: str, best_place: str) -> str:
        return after(dtype, descending, best, best_place, value, place)

    out.line("last = int32(-1)")
    out.line("last_value = x[x_o]")
    out.line(f"for s in range({out.argument('count', count)}):")
    out.depth += 1
    out.line("best = int32(-1)")
    out.line("best_value = x[x_o]")
    out.line("i = int32(thread)")
    out.line("while i < n:")
    out.depth += 1
    out.line(f"value = x[{PLACE.format('x', 'i')}]")
    out.line(f"if last < 0 or {after(dtype, descending, 'value', 'i', 'last_value', 'last')}:")
    out.line(f"if best < 0 or {earlier('value', 'i', 'best_value', 'best')}:", 1)
    out.line("best = i", 2)
    out.line("best_value = value", 2)
    out.line(f"i = int32(i + {THREADS})")
    out.depth -= 1
    out.line("shared[thread] = best")
    out.line("cuda.syncthreads()")
    out.line(f"half = uint32({THREADS // 2})")
    out.line("while half > uint32(0):")
    out.depth += 1
    out.line("if thread < half:")
    out.depth += 1
    out.line("other = int32(shared[uint32(thread + half)])")
    out.line("if other >= 0:")
    out.line(f"value = x[{PLACE.format('x', 'other')}]", 1)
    out.line(f"if best < 0 or {earlier('value', 'other', 'best_value', 'best')}:", 1)
    out.line("best = other", 2)
    out.line("best_value = value", 2)
    out.line("shared[thread] = best", 2)
    out.depth -= 1
    out.line("cuda.syncthreads()")
    out.line("half = uint32(half >> uint32(1))")
    out.depth -= 1
    out.line("last = int32(shared[uint32(0)])")
    out.line(f"last_value = x[{PLACE.format('x', 'last')}]")
    out.line("if thread == uint32(0):")
    out.line(f"y[{PLACE.format('y', 's')}] = last", 1)
    out.line("cuda.syncthreads()")
    out.depth -= 1
