"""Kernels with templates of their own: prefix sums and scatter-adds, whose loops carry values from
step to step.
"""

from __future__ import annotations

from math import prod

from ..plan.plan import Special
from .writer import Address, Kernel, Writer


def emit(work: Special, parts: int) -> Kernel:
    return TEMPLATES[work.template](work, parts)


def _cumsum(work: Special, parts: int) -> Kernel:
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


def _scatter_add(work: Special, parts: int) -> Kernel:
    """Zeros, then every update in the order of the indices: the sum's order is fixed."""
    out, sizes = Writer(), dict(work.sizes)
    indices, updates, y = work.operands
    axis, rank, inner = sizes["axis"], len(y.strides), len(indices.strides)
    shape = [sizes[f"n2_{a}"] for a in range(rank)]
    views = {
        "index": out.argument("index", Address(indices), indices.dtype),
        "u": out.argument("u", Address(updates), updates.dtype),
        "y": out.argument("y", Address(y), y.dtype),
    }
    positions = [sizes[f"n0_{a}"] for a in range(inner)]
    out.argument("n", shape[axis])
    out.argument("count", prod(positions))
    out.argument("y_s", y.strides[axis])
    rest = [a for a in range(rank) if a != axis]
    # axes of the updates that belong to the index array, outermost first
    names = [out.argument(f"m{a}", n) for a, n in enumerate(positions)]
    u_steps = [out.argument(f"u_m{a}", updates.strides[axis + a]) for a in range(inner)]
    i_steps = [out.argument(f"i_m{a}", s) for a, s in enumerate(indices.strides)]
    u_strides = [
        updates.strides[a if a < axis else a + inner - 1] if a != axis else 0 for a in range(rank)
    ]
    bases = _outer_loops(out, rest, shape, {"y": y.strides, "u": u_strides})
    out.line("for i in range(n):")
    out.line(f"    y[{bases['y']} + i * y_s] = {y.dtype}(0)")
    for a, name in enumerate(names):
        out.line(f"for k{a} in range({name}):")
        out.depth += 1
    at = " + ".join(f"k{a} * {s}" for a, s in enumerate(i_steps)) or "0"
    of = " + ".join([bases["u"], *(f"k{a} * {s}" for a, s in enumerate(u_steps))])
    out.line(f"j = min(max(int64({views['index']}[{at}]), 0), n - 1)")
    out.line(f"y[{bases['y']} + j * y_s] = y[{bases['y']} + j * y_s] + u[{of}]")
    return _kernel(out)


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


def _kernel(out: Writer) -> Kernel:
    return Kernel(
        "\n".join(["def NAME(part, tid, args):", *out.prologue, *out.lines, ""]),
        tuple(out.arguments),
    )


TEMPLATES = {"cumsum": _cumsum, "scatter_add": _scatter_add}
