"""Lines of kernels with templates of their own: how elements and rows are shared out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .kernel import MOST_BLOCKS, THREADS, WARP, KernelText


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
