"""Kernels that are not loop nests: they carry values from step to step along an axis, or write at
places that are data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from ..graph.dtype import DTYPES
from ..graph.ir import Node
from ..graph.template import KernelWriter

ROW = 128  # elements of a row that are worth a part of their own
WORTH = 32_768  # elements in all that are
MOST_PARTS = 64


def running_sum(k: KernelWriter) -> None:
    """One running sum for each position of the other axes, of which parts share out the last.

    Where that axis is contiguous, it is the innermost loop: a row of sums is the row before it plus
    one of x. Otherwise each sum runs to its end. The order of additions is the same.
    """
    (x,), y = k.inputs, k.output
    axis = k.attrs["axis"]
    others = [a for a in range(len(x.shape)) if a != axis]
    row = others[-1:]
    k.argument("n", x.shape[axis])
    step, begin = (-1, x.shape[axis] - 1) if k.attrs["reverse"] else (1, 0)
    for name, o in (("x", x), ("y", y)):
        k.array(name, o)
        k.argument(f"{name}_s", step * o.strides[axis])
        k.argument(f"{name}_begin", begin * o.strides[axis])
    bases = k.loops(others[:-1], x.shape, {"x": x.strides, "y": y.strides})
    width = k.argument("width", prod(x.shape[a] for a in row))
    k.argument("parts", k.parts)
    k.line(f"first = part * {width} // parts")
    k.line(f"last = (part + 1) * {width} // parts")
    source, sums = (_in_row(k, v, [o.strides[a] for a in row]) for v, o in (("x", x), ("y", y)))
    along = [x.strides[a] for a in row] == [1]
    if not along:
        k.line("for c in range(first, last):")
        k.depth += 1
    k.line(f"x_at = {bases['x']} + x_begin")
    k.line(f"y_at = {bases['y']} + y_begin")
    if along:
        k.line("for c in range(first, last):")
        k.line(f"    {sums} = {x.dtype}({x.dtype}(0) + {source})")
        k.line("for i in range(1, n):")
        k.line("    before_at = y_at")
        k.line("    x_at += x_s")
        k.line("    y_at += y_s")
        k.line("    for c in range(first, last):")
        k.line(f"        {sums} = {x.dtype}({sums.replace('y_at', 'before_at')} + {source})")
    else:
        k.line(f"acc = {x.dtype}(0)")
        k.line("for i in range(n):")
        k.line(f"    acc = {x.dtype}(acc + {source})")
        k.line(f"    {sums} = acc")
        k.line("    x_at += x_s")
        k.line("    y_at += y_s")


def running_parts(n: Node) -> int:
    """Running sums are cut along the last axis that has one for each of its positions."""
    others = [s for a, s in enumerate(n.shape) if a != n.attr("axis")]
    rows = others[-1] if others else 1
    across = n.attr("axis") == len(n.shape) - 1
    return max(1, min(rows if across else rows // ROW, n.type.size // WORTH, MOST_PARTS))


def row_parts(n: Node) -> int:
    """Rows along the node's axis are shared out where their work is worth a part."""
    others = [s for a, s in enumerate(n.inputs[0].shape) if a != n.attr("axis")]
    work = max(i.type.size for i in n.inputs) // ROW
    return max(1, min(max(others, default=1), work, MOST_PARTS))


def shared_rows(
    k: KernelWriter, axis: int, shape: Sequence[int], strides: Mapping[str, Sequence[int]]
) -> dict[str, str]:
    """Opens loops over the rows along ``axis``, of which this part has its share.

    Returns for each array of ``strides`` the text of the place where the row begins. The loops'
    variables are o0, o1, ..., by their axis.
    """
    others = [a for a in range(len(shape)) if a != axis]
    if not others:
        return dict.fromkeys(strides, "0")
    widest = max(others, key=lambda a: shape[a])
    width = k.argument("width", shape[widest])
    k.argument("parts", k.parts)
    k.line(f"first = part * {width} // parts")
    k.line(f"last = (part + 1) * {width} // parts")
    k.line(f"for o{widest} in range(first, last):")
    k.depth += 1
    bases = k.loops([a for a in others if a != widest], shape, strides)
    return {
        name: f"{base} + o{widest} * {k.argument(f'{name}_{widest}', strides[name][widest])}"
        for name, base in bases.items()
    }


def recurrence(k: KernelWriter) -> None:
    """y[t] = a[t] * y[t - 1] + b[t] for each row."""
    (a, b), y, axis = k.inputs, k.output, k.attrs["axis"]
    operands = {"a": a, "b": b, "y": y}
    for name, operand in operands.items():
        k.array(name, operand)
        k.argument(f"{name}_s", operand.strides[axis])
    n = k.argument("n", y.shape[axis])
    bases = shared_rows(k, axis, y.shape, {name: o.strides for name, o in operands.items()})
    at = {name: f"{name}[{bases[name]} + i * {name}_s]" for name in operands}
    k.line(f"state = {y.dtype}(0)")
    k.line(f"for t in range({n}):")
    k.line(f"    i = {f'{n} - 1 - t' if k.attrs['reverse'] else 't'}")
    k.line(f"    state = {y.dtype}({y.dtype}({at['a']} * state) + {at['b']})")
    k.line(f"    {at['y']} = state")


COMBINED = {
    "set": "{1}",
    "add": "{0} + {1}",
    "mul": "{0} * {1}",
    "max": "maximum({0}, {1})",
    "min": "minimum({0}, {1})",
}


def scattered(k: KernelWriter) -> None:
    """Each row is copied, and then takes its updates in their order."""
    (x, index, u), y, axis = k.inputs, k.output, k.attrs["axis"]
    operands = {"x": x, "index": index, "u": u, "y": y}
    for name, operand in operands.items():
        k.array(name, operand)
        k.argument(f"{name}_s", operand.strides[axis])
    n, m = k.argument("n", y.shape[axis]), k.argument("m", index.shape[axis])
    bases = shared_rows(k, axis, y.shape, {name: o.strides for name, o in operands.items()})
    at = {name: f"{name}[{bases[name]} + {{}} * {name}_s]" for name in operands}
    k.line(f"for i in range({n}):")
    k.line(f"    {at['y'].format('i')} = {at['x'].format('i')}")
    short = [a for a, size in enumerate(index.shape) if a != axis and size < y.shape[a]]
    limits = [f"o{a} < {k.argument(f'limit{a}', index.shape[a])}" for a in short]
    if limits:
        k.line(f"if {' and '.join(limits)}:")
        k.depth += 1
    k.line(f"for j in range({m}):")
    k.line(f"    i = min(max(int64({at['index'].format('j')}), 0), {n} - 1)")
    old, new = at["y"].format("i"), at["u"].format("j")
    combined = COMBINED[k.attrs["reduce"]].format(old, new)
    k.line(f"    {old} = {DTYPES[y.dtype].constructor}({combined})")


def scattered_sum(k: KernelWriter) -> None:
    """Zeros, then every update in the order of the indices: the sum's order is fixed.

    The last axis other than the indexed one is the innermost loop, which the parts share out.
    """
    (index, u), y = k.inputs, k.output
    axis, inner = k.attrs["axis"], len(index.strides)
    shape = y.shape
    others = [a for a in range(len(shape)) if a != axis]
    row = others[-1:]
    for name, operand in (("index", index), ("u", u), ("y", y)):
        k.array(name, operand)
    strides = {"y": y.strides, "u": (*u.strides[:axis], 0, *u.strides[axis + inner :])}
    bases = k.loops(others[:-1], shape, strides)
    width = k.argument("width", prod(shape[a] for a in row))
    k.argument("parts", k.parts)
    k.line(f"first = part * {width} // parts")
    k.line(f"last = (part + 1) * {width} // parts")
    target, update = (_in_row(k, x, [s[a] for a in row]) for x, s in strides.items())
    each = "for c in range(first, last): " if row else ""  # numbers have no loop of one step
    k.line(f"for i in range({k.argument('n', shape[axis])}):")
    k.line(f"    y_at = {bases['y']} + i * {k.argument('y_s', y.strides[axis])}")
    k.line(f"    {each}{target} = {y.dtype}(0)")
    place, source = "0", bases["u"]
    for a, stride in enumerate(index.strides):
        k.line(f"for k{a} in range({k.argument(f'm{a}', index.shape[a])}):")
        k.depth += 1
        place += f" + k{a} * {k.argument(f'i_m{a}', stride)}"
        source += f" + k{a} * {k.argument(f'u_m{a}', u.strides[axis + a])}"
    k.line(f"y_at = {bases['y']} + min(max(int64(index[{place}]), 0), n - 1) * y_s")
    k.line(f"u_at = {source}")
    k.line(f"{each}{target} = {target} + {update}")


def scattered_parts(n: Node) -> int:
    """A scatter-add is cut along the rows that it adds."""
    rows = [s for a, s in enumerate(n.shape) if a != n.attr("axis")]
    return max(1, rows[-1] // ROW) if rows else 1


def _in_row(k: KernelWriter, name: str, strides: list[int]) -> str:
    """Element c of the row that begins at ``name``_at; a step of 1 stays a vector."""
    steps = (" + c" if s == 1 else f" + c * {k.argument(f'{name}_c', s)}" for s in strides)
    return f"{name}[{name}_at{''.join(steps)}]"
