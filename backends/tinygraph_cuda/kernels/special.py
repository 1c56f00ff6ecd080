"""CUDA kernels with templates of their own: prefix sums and scatter-adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from tinygraph.plan.records.plan import Special

from .kernel import MOST_BLOCKS, THREADS, WARP, CudaKernel, KernelText, require_reach


def emit(work: Special) -> CudaKernel:
    """
    Raises:
        BackendError: sizes or strides beyond 32 bits.
    """
    sizes = dict(work.sizes)
    for i, operand in enumerate(work.operands):
        axes = range(len(operand.strides))
        require_reach([sizes[f"n{i}_{a}"] for a in axes], operand.strides)
    return TEMPLATES[work.template](work)


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
    out, sizes = SpecialText(), dict(work.sizes)
    x, y = work.operands
    rank, axis = len(x.strides), sizes["axis"]
    others = [a for a in range(rank) if a != axis]
    shape = [sizes[f"n0_{a}"] for a in others]
    out.pointer("x", x)
    out.pointer("y", y)
    blocks = out.each(prod(shape))
    out.offset(
        "o", "flat", shape, {v: [o.strides[a] for a in others] for v, o in (("x", x), ("y", y))}
    )
    n = out.argument("n", sizes[f"n0_{axis}"])
    steps = [out.argument(f"{v}_s", o.strides[axis]) for v, o in (("x", x), ("y", y))]
    out.line(f"acc = {x.dtype}(0)")
    out.line(f"for k in range({n}):")
    out.line(f"i = int32({f'{n} - 1 - k' if sizes['reverse'] else 'k'})", 1)
    out.line(f"acc = {x.dtype}(acc + x[int32(x_o + i * {steps[0]})])", 1)
    out.line(f"y[int32(y_o + i * {steps[1]})] = acc", 1)
    out.line("flat = uint32(flat + step)")
    return out.made(blocks)


def scatter_add(work: Special) -> CudaKernel:
    """A warp for 32 neighbouring elements of one destination: its lanes look through the indices,
    32 at a time, and add what belongs there in the order of the indices."""
    out, sizes = SpecialText(), dict(work.sizes)
    index, u, y = work.operands
    axis, inner = sizes["axis"], len(index.strides)
    others = [a for a in range(len(y.strides)) if a != axis]
    rest = prod(sizes[f"n2_{a}"] for a in others)
    positions = [sizes[f"n0_{a}"] for a in range(inner)]
    for name, operand in (("index", index), ("u", u), ("y", y)):
        out.pointer(name, operand)
    n, width = out.argument("n", sizes[f"n2_{axis}"]), -(-rest // WARP)
    count, across = out.argument("count", prod(positions)), out.argument("across", width)
    blocks = out.each(sizes[f"n2_{axis}"] * width, warps=True)
    out.line(f"target = int32(quotient(flat, {across}))")
    out.line(f"element = uint32(remainder(flat, {across}) * uint32({WARP}) + lane)")
    behind = [a if a < axis else a + inner - 1 for a in others]
    strides = {"y": [y.strides[a] for a in others], "u": [u.strides[a] for a in behind]}
    out.offset("o", "element", [sizes[f"n2_{a}"] for a in others], strides)
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


TEMPLATES = {"cumsum": cumsum, "scatter_add": scatter_add}
