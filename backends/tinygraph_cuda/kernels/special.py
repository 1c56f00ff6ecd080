"""CUDA kernels with templates of their own: prefix sums and scatter-adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

from tinygraph.compiler.backend import BackendError
from tinygraph.graph.op import Op
from tinygraph.ops.gather import CUMSUM, SCATTER_ADD
from tinygraph.plan.records.plan import Special

from .kernel import MOST_BLOCKS, THREADS, WARP, CudaKernel, KernelText, require_reach


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


class SpecialText(KernelText):
    """Lines that share elements out among threads, or among warps."""

    def each(self, total: int, warps: bool = False) -> int:
        """Opens a loop over ``flat`` below ``total``; returns the blocks that it wants."""
        self.line("flat = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)")
        self.line("step = uint32(cuda.gridDim.x * cuda.blockDim.x)")
        if warps:
            self.line(f"lane = remainder(flat, {WARP})")
            self.line(f"flat = quotient(flat, {WARP})")
            self.line(f"step = quotient(step, {WARP})")
        self.line(f"while flat < uint32({self.argument('total', total)}):")
        self.depth += 1
        return min(MOST_BLOCKS, max(1, -(-total * (WARP if warps else 1) // THREADS)))

    def offset(
        self, name: str, flat: str, sizes: Sequence[int], strides: Mapping[str, Sequence[int]]
    ) -> None:
        """Defines x_at for each x of ``strides``: the element of x at index ``flat`` of axes of
        these sizes, the last one fastest; ``name`` tells the axes of one kernel apart."""
        self.line(f"rest = uint32({flat})")
        terms: dict[str, list[str]] = {x: [] for x in strides}
        for axis in reversed(range(len(sizes))):
            size = self.argument(f"{name}{axis}_n", sizes[axis])
            self.line(f"{name}{axis} = int32(remainder(rest, {size}))")
            self.line(f"rest = quotient(rest, {size})")
            for x, steps in strides.items():
                stride = self.argument(f"{x}_{name}{axis}", steps[axis])
                terms[x].append(f"{name}{axis} * {stride}")
        for x, found in terms.items():
            self.line(f"{x}_{name} = int32({' + '.join(found) or '0'})")


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


TEMPLATES: dict[Op, Callable[[Special], CudaKernel]] = {CUMSUM: cumsum, SCATTER_ADD: scatter_add}
