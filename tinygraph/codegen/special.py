"""Kernels with templates of their own: prefix sums and scatter-adds, whose loops carry values from
step to step.
"""

from __future__ import annotations

from math import prod

from ..plan.records.plan import Special
from .writer import Address, Writer, WrittenKernel


def emit(work: Special, parts: int) -> WrittenKernel:
    return TEMPLATES[work.template](work, parts)


def _cumsum(work: Special, parts: int) -> WrittenKernel:
    """One running sum for each position of the other axes."""
    out, sizes = Writer(), dict(work.sizes)
    x, y = work.operands
    rank, axis = len(x.strides), sizes["axis"]
    shape = [sizes[f"n0_{a}"] for a in range(rank)]
    out.argument("n", shape[axis])
    views = [out.argument(name, Address(o), o.dtype) for name, o in (("x", x), ("y", y))]
    steps = [out.argument(f"{v}_s", o.strides[axis]) for v, o in zip(views, (x, y), strict=True)]
    bases = _outer_loops(
        out, [a for a in range(rank) if a != axis], shape, {"x": x.strides, "y": y.strides}
    )
    value = f"{views[0]}[{bases['x']} + i * {steps[0]}]"
    out.line(f"acc = {x.dtype}(0)")
    out.line("for k in range(n):")
    out.line(f"    i = {'n - 1 - k' if sizes['reverse'] else 'k'}")
    out.line(f"    acc = {x.dtype}(acc + {value})")
    out.line(f"    {views[1]}[{bases['y']} + i * {steps[1]}] = acc")
    return _kernel(out)


def _scatter_add(work: Special, parts: int) -> WrittenKernel:
    """Zeros, then every update in the order of the indices: the sum's order is fixed.

    The last axis beside the indexed one is the innermost loop, which the parts share out.
    """
    out, sizes = Writer(), dict(work.sizes)
    index, u, y = work.operands
    axis, inner = sizes["axis"], len(index.strides)
    shape = [sizes[f"n2_{a}"] for a in range(len(y.strides))]
    others = [a for a in range(len(shape)) if a != axis]
    row = others[-1:]
    for name, operand in (("index", index), ("u", u), ("y", y)):
        out.argument(name, Address(operand), operand.dtype)
    strides = {"y": y.strides, "u": (*u.strides[:axis], 0, *u.strides[axis + inner :])}
    bases = _outer_loops(out, others[:-1], shape, strides)
    width = out.argument("width", prod(shape[a] for a in row))
    out.argument("parts", parts)
    out.line(f"first = part * {width} // parts")
    out.line(f"last = (part + 1) * {width} // parts")
    target, update = (_in_row(out, x, [s[a] for a in row]) for x, s in strides.items())
    out.line(f"for i in range({out.argument('n', shape[axis])}):")
    out.line(f"    y_at = {bases['y']} + i * {out.argument('y_s', y.strides[axis])}")
    out.line("    for c in range(first, last):")
    out.line(f"        {target} = {y.dtype}(0)")
    place, source = "0", bases["u"]
    for a, stride in enumerate(index.strides):
        out.line(f"for k{a} in range({out.argument(f'm{a}', sizes[f'n0_{a}'])}):")
        out.depth += 1
        place += f" + k{a} * {out.argument(f'i_m{a}', stride)}"
        source += f" + k{a} * {out.argument(f'u_m{a}', u.strides[axis + a])}"
    out.line(f"y_at = {bases['y']} + min(max(int64(index[{place}]), 0), n - 1) * y_s")
    out.line(f"u_at = {source}")
    out.line("for c in range(first, last):")
    out.line(f"    {target} = {target} + {update}")
    return _kernel(out)


def _in_row(out: Writer, name: str, strides: list[int]) -> str:
    """Element c of the row that begins at ``name``_at; a step of 1 stays a vector."""
    steps = (" + c" if s == 1 else f" + c * {out.argument(f'{name}_c', s)}" for s in strides)
    return f"{name}[{name}_at{''.join(steps)}]"


def _outer_loops(out: Writer, axes: list[int], shape: list[int], strides: dict) -> dict[str, str]:
    """Loops over the axes; returns, for each operand, the text of its element there."""
    terms: dict[str, list[str]] = {name: [] for name in strides}
    for a in axes:
        size = out.argument(f"n{a}", shape[a])
        for name, steps in strides.items():
            terms[name].append(f"o{a} * {out.argument(f'{name}_{a}', steps[a])}")
        out.line(f"for o{a} in range({size}):")
        out.depth += 1
    return {name: " + ".join(t) or "0" for name, t in terms.items()}


def _kernel(out: Writer) -> WrittenKernel:
    return WrittenKernel(
        "\n".join(["def NAME(part, tid, args):", *out.prologue, *out.lines, ""]),
        tuple(out.arguments),
    )


TEMPLATES = {"cumsum": _cumsum, "scatter_add": _scatter_add}
