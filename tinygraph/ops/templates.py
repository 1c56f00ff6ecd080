"""Kernels that are not loop nests: prefix sums and scatter-adds carry values from step to step."""

from __future__ import annotations

from math import prod

from ..graph.ir import Node
from ..graph.template import KernelWriter

ROW = 128  # elements of a row that are worth a part of their own


def running_sum(k: KernelWriter) -> None:
    """One running sum for each position of the other axes."""
    (x,), y = k.inputs, k.output
    axis = k.attrs["axis"]
    k.argument("n", x.shape[axis])
    views = [k.array(name, o) for name, o in (("x", x), ("y", y))]
    steps = [k.argument(f"{v}_s", o.strides[axis]) for v, o in zip(views, (x, y), strict=True)]
    others = [a for a in range(len(x.shape)) if a != axis]
    bases = k.loops(others, x.shape, {"x": x.strides, "y": y.strides})
    value = f"{views[0]}[{bases['x']} + i * {steps[0]}]"
    k.line(f"acc = {x.dtype}(0)")
    k.line("for k in range(n):")
    k.line(f"    i = {'n - 1 - k' if k.attrs['reverse'] else 'k'}")
    k.line(f"    acc = {x.dtype}(acc + {value})")
    k.line(f"    {views[1]}[{bases['y']} + i * {steps[1]}] = acc")


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
    k.line(f"for i in range({k.argument('n', shape[axis])}):")
    k.line(f"    y_at = {bases['y']} + i * {k.argument('y_s', y.strides[axis])}")
    k.line("    for c in range(first, last):")
    k.line(f"        {target} = {y.dtype}(0)")
    place, source = "0", bases["u"]
    for a, stride in enumerate(index.strides):
        k.line(f"for k{a} in range({k.argument(f'm{a}', index.shape[a])}):")
        k.depth += 1
        place += f" + k{a} * {k.argument(f'i_m{a}', stride)}"
        source += f" + k{a} * {k.argument(f'u_m{a}', u.strides[axis + a])}"
    k.line(f"y_at = {bases['y']} + min(max(int64(index[{place}]), 0), n - 1) * y_s")
    k.line(f"u_at = {source}")
    k.line("for c in range(first, last):")
    k.line(f"    {target} = {target} + {update}")


def scattered_parts(n: Node) -> int:
    """A scatter-add is cut along the rows that it adds."""
    rows = [s for a, s in enumerate(n.shape) if a != n.attr("axis")]
    return max(1, rows[-1] // ROW) if rows else 1


def _in_row(k: KernelWriter, name: str, strides: list[int]) -> str:
    """Element c of the row that begins at ``name``_at; a step of 1 stays a vector."""
    steps = (" + c" if s == 1 else f" + c * {k.argument(f'{name}_c', s)}" for s in strides)
    return f"{name}[{name}_at{''.join(steps)}]"
