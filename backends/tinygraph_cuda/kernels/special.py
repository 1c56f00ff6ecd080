"""CUDA kernels with templates of their own: they go along rows, or write at places of data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from tinygraph.compiler.backend import BackendError
from tinygraph.graph.dtype import DTYPES
from tinygraph.graph.op import Op
from tinygraph.ops.along import RECURRENCE, SCATTER
from tinygraph.ops.gather import CUMSUM, SCATTER_ADD
from tinygraph.ops.order import ARGSORT
from tinygraph.ops.resample import RESAMPLE
from tinygraph.ops.resample_template import taken, weighed
from tinygraph.ops.templates import COMBINED
from tinygraph.plan.records.work import Special

from .kernel import WARP, CudaKernel, require_reach
from .sorting import argsort
from .special_text import SpecialText


def emit(work: Special) -> CudaKernel:
    """
    Raises:
        BackendError: no template for CUDA, or sizes or strides beyond 32 bits.
    """
    template = work.op.backend_templates.get("cuda") or TEMPLATES.get(work.op)
    if template is None:
        raise BackendError(
            f"backend 'cuda' has no kernel for {work.op.name} ({work.op.defined}): "
            "its record has no backend_templates['cuda']"
        )
    for operand, shape in zip(work.operands, work.shapes, strict=True):
        require_reach(shape, operand.strides)
    return template(work)


def cumsum(work: Special) -> CudaKernel:
    """A thread for each running sum."""
    out, attrs = SpecialText(), dict(work.attrs)
    x, y = work.operands
    axis, sizes = attrs["axis"], work.shapes[0]
    others = [a for a in range(len(sizes)) if a != axis]
    shape = [sizes[a] for a in others]
    out.pointer("x", x)
    out.pointer("y", y)
    blocks = out.each(prod(shape))
    out.offset(
        "o", "flat", shape, {v: [o.strides[a] for a in others] for v, o in (("x", x), ("y", y))}
    )
    n = out.argument("n", sizes[axis])
    steps = [out.argument(f"{v}_s", o.strides[axis]) for v, o in (("x", x), ("y", y))]
    out.line(f"acc = {x.dtype}(0)")
    out.line(f"for k in range({n}):")
    out.line(f"i = int32({f'{n} - 1 - k' if attrs['reverse'] else 'k'})", 1)
    out.line(f"acc = {x.dtype}(acc + x[int32(x_o + i * {steps[0]})])", 1)
    out.line(f"y[int32(y_o + i * {steps[1]})] = acc", 1)
    out.line("flat = uint32(flat + step)")
    return out.made(blocks)


def scatter_add(work: Special) -> CudaKernel:
    """A warp for 32 neighbouring elements of one destination: its lanes look through the indices,
    32 at a time, and add what belongs there in the order of the indices."""
    out, axis = SpecialText(), dict(work.attrs)["axis"]
    index, u, y = work.operands
    positions, _, sizes = work.shapes
    inner = len(positions)
    others = [a for a in range(len(sizes)) if a != axis]
    rest = prod(sizes[a] for a in others)
    for name, operand in (("index", index), ("u", u), ("y", y)):
        out.pointer(name, operand)
    n, width = out.argument("n", sizes[axis]), -(-rest // WARP)
    count, across = out.argument("count", prod(positions)), out.argument("across", width)
    blocks = out.each(sizes[axis] * width, warps=True)
    out.line(f"target = int32(quotient(flat, {across}))")
    out.line(f"element = uint32(remainder(flat, {across}) * uint32({WARP}) + lane)")
    behind = [a if a < axis else a + inner - 1 for a in others]
    strides = {"y": [y.strides[a] for a in others], "u": [u.strides[a] for a in behind]}
    out.offset("o", "element", [sizes[a] for a in others], strides)
    inside = f"element < uint32({out.argument('rest_n', rest)})"
    out.line(f"acc = {y.dtype}(0)")
    out.line("base = uint32(0)")
    out.line(f"while base < uint32({count}):")
    out.depth += 1
    out.line("mine = uint32(base + lane)")
    out.line("hit = False")
    out.line(f"if mine < uint32({count}):")
    out.depth += 1
    out.offset("k", "mine", positions, {"index": index.strides})
    out.line(f"hit = min(max(int64(index[index_k]), int64(0)), int64({n} - 1)) == int64(target)")
    out.depth -= 1
    out.line("votes = uint32(cuda.ballot_sync(0xFFFFFFFF, hit))")
    out.line("while votes != uint32(0):")
    out.depth += 1
    out.line("which = uint32(base + uint32(cuda.ffs(votes)) - uint32(1))")
    out.line("votes = uint32(votes & uint32(votes - uint32(1)))")
    out.offset("m", "which", positions, {"u": u.strides[axis : axis + inner]})
    out.line(f"if {inside}:")
    out.line(f"acc = {y.dtype}(acc + u[int32(u_o + u_m)])", 1)
    out.depth -= 1
    out.line(f"base = uint32(base + uint32({WARP}))")
    out.depth -= 1
    out.line(f"if {inside}:")
    out.line(f"y[int32(y_o + target * {out.argument('y_s', y.strides[axis])})] = acc", 1)
    out.line("flat = uint32(flat + step)")
    return out.made(blocks)


def rows(out: SpecialText, work: Special, names: Sequence[str]) -> int:
    """A thread for each row along the attribute ``axis``: binds the operands to these names, the
    begin of their rows to x_o and the step within to x_s; returns the blocks that it wants.
    """
    axis, shape = dict(work.attrs)["axis"], work.shapes[-1]
    others = [a for a in range(len(shape)) if a != axis]
    strides = {}
    for name, operand in zip(names, work.operands, strict=True):
        out.pointer(name, operand)
        out.argument(f"{name}_s", operand.strides[axis])
        strides[name] = [operand.strides[a] for a in others]
    blocks = out.each(prod(shape[a] for a in others))
    out.offset("o", "flat", [shape[a] for a in others], strides)
    return blocks


def recurrence(work: Special) -> CudaKernel:
    """A thread for each row."""
    out, dtype = SpecialText(), work.operands[-1].dtype
    blocks = rows(out, work, "aby")
    attrs = dict(work.attrs)
    n = out.argument("n", work.shapes[-1][attrs["axis"]])
    out.line(f"state = {dtype}(0)")
    out.line(f"for t in range({n}):")
    out.line(f"i = int32({f'{n} - 1 - t' if attrs['reverse'] else 't'})", 1)
    out.line(f"state = {dtype}({dtype}(a[int32(a_o + i * a_s)] * state)"
             " + b[int32(b_o + i * b_s)])", 1)  # fmt: skip
    out.line("y[int32(y_o + i * y_s)] = state", 1)
    out.line("flat = uint32(flat + step)")
    return out.made(blocks)


def scatter(work: Special) -> CudaKernel:
    """A thread for each row: a copy, and then the updates in their order."""
    out, y = SpecialText(), work.operands[-1]
    blocks = rows(out, work, ("x", "index", "u", "y"))
    axis, shape, given = dict(work.attrs)["axis"], work.shapes[0], work.shapes[1]
    n, m = out.argument("n", shape[axis]), out.argument("m", given[axis])
    out.line(f"for i in range({n}):")
    out.line("y[int32(y_o + i * y_s)] = x[int32(x_o + i * x_s)]", 1)
    others = [a for a in range(len(shape)) if a != axis]
    short = [(k, given[a]) for k, a in enumerate(others) if given[a] < shape[a]]
    limits = [f"o{k} < {out.argument(f'limit{k}', size)}" for k, size in short]
    if limits:
        out.line(f"if {' and '.join(limits)}:")
        out.depth += 1
    out.line(f"for j in range({m}):")
    out.line("at = int64(index[int32(index_o + j * index_s)])", 1)
    out.line(f"i = int32(min(max(at, int64(0)), int64({n}) - 1))", 1)
    out.line("place = int32(y_o + i * y_s)", 1)
    constructor = DTYPES[y.dtype].constructor
    values = [f"{constructor}({text})" for text in ("y[place]", "u[int32(u_o + j * u_s)]")]
    combined = COMBINED[dict(work.attrs)["reduce"]].format(*values)
    out.line(f"y[place] = {constructor}({combined})", 1)
    out.depth -= bool(limits)
    out.line("flat = uint32(flat + step)")
    return out.made(blocks)


def resample(work: Special) -> CudaKernel:
    """A thread for each result."""
    out, axes = SpecialText(), dict(work.attrs)["axes"]
    (x, *tables, y), shape = work.operands, work.shapes[-1]
    taps = [s[1] for s in work.shapes[1:-1:2]]
    for name, operand in (("x", x), ("y", y)):
        out.pointer(name, operand)
    for number, table in enumerate(tables):
        out.pointer(f"table{number}", table)
    for axis in axes:
        out.argument(f"x_{axis}_s", x.strides[axis])
    blocks = out.each(prod(shape))
    kept = [0 if a in axes else s for a, s in enumerate(x.strides)]
    out.offset("o", "flat", shape, {"x": kept, "y": list(y.strides)})
    out.line("x_at = int64(x_o)")
    out.line("y_at = int64(y_o)")
    for number, axis in enumerate(axes):
        for line in taken(taps, number, axis, f"o{axis}"):
            out.line(line)
    for line in weighed(y.dtype, taps, axes):
        out.line(line)
    out.line("flat = uint32(flat + step)")
    return out.made(blocks)


TEMPLATES: dict[Op, Callable[[Special], CudaKernel]] = {
    CUMSUM: cumsum,
    SCATTER_ADD: scatter_add,
    RECURRENCE: recurrence,
    SCATTER: scatter,
    ARGSORT: argsort,
    RESAMPLE: resample,
}
