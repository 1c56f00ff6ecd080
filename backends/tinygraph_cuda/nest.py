"""Loop nests as CUDA kernels: the CPU's steps, with threads in place of the outer loops.

A thread computes one element at a time, in a grid-stride loop over all output axes; or a warp does,
where a long reduction lies along memory: its lanes share the reduction out and combine what they
have by shuffles, in a tree whose shape never changes. Parameters are pointers and int32.
"""

from __future__ import annotations

import ast
from math import prod

from tinygraph.codegen.nest import NestWriter
from tinygraph.codegen.steps import folded, initial
from tinygraph.codegen.writer import Address
from tinygraph.plan.plan import Fold, Nest, Put, Step
from tinygraph_cpu.numba_kernels import lift_prologue

from .kernel import MOST_BLOCKS, THREADS, WARP, CudaKernel

SHUFFLED = ("float32", "float64", "int32", "int64", "uint32")  # dtypes that lanes can exchange


def emit(nest: Nest) -> CudaKernel:
    """The kernel of a nest, and its launch.

    Raises:
        ValueError: more output elements than 2**31 - 1.
    """
    writer = CudaNestWriter(nest)
    made = writer.kernel()
    function = ast.parse(made.text).body[0]
    assert isinstance(function, ast.FunctionDef)
    parameters, module = lift_prologue(function)
    body = module.body[0]
    assert isinstance(body, ast.FunctionDef)
    read = {n.id for n in ast.walk(body) if isinstance(n, ast.Name)}
    kept = list({p.name: p for p in parameters if p.name in read}.values())  # some are named twice
    body.args.args = [ast.arg(p.name) for p in kept]
    signature = (f"{p.view.removeprefix('view_')}*" if p.view else "int32" for p in kept)
    arguments = tuple(made.arguments[p.slot] for p in kept)
    if any(not isinstance(a, Address) and not -(2**31) <= a < 2**31 for a in arguments):
        raise ValueError("a nest with sizes or strides beyond 32 bits")
    groups = writer.total * (WARP if writer.by_warps else 1)
    blocks = min(MOST_BLOCKS, max(1, -(-groups // THREADS)))
    return CudaKernel(ast.unparse(module) + "\n", tuple(signature), arguments, blocks)


class CudaNestWriter(NestWriter):
    """Writes the loops over output axes as a grid-stride loop over `total` elements."""

    def __init__(self, nest: Nest):
        super().__init__(nest, 1)
        self.total = prod(nest.axes[a] for a in self.outputs)
        self.by_warps = reduces_along_memory(nest)
        self.out.argument("total", self.total)

    def column(self) -> None:
        self.rows()  # neighbouring threads take neighbouring columns, which is what blocks are for

    def hoistable(self) -> bool:
        return False  # tests of windows' edges are predicates here

    def rows(self) -> None:
        if self.by_warps:
            self.warp_rows()
        else:
            super().rows()
        self.out.line("flat = uint32(flat + step)")

    def open_outputs(self, axes: list[int]) -> None:
        """The axes of element `flat` of the outputs."""
        out = self.out
        thread = "uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)"
        step = "uint32(cuda.gridDim.x * cuda.blockDim.x)"
        if self.by_warps:
            out.line(f"lane = uint32(cuda.threadIdx.x % uint32({WARP}))")
            thread, step = (
                f"uint32({thread} // uint32({WARP}))",
                f"uint32({step} // uint32({WARP}))",
            )
        out.line(f"flat = {thread}")
        out.line(f"step = {step}")
        out.line("while flat < uint32(total):")
        out.depth += 1
        self.decompose("flat", "rest", axes)

    def decompose(self, flat: str, rest: str, axes: list[int]) -> None:
        """Axes from their linear index, the last one fastest."""
        out = self.out
        for axis in reversed(axes[1:]):
            out.line(f"i{axis} = int32(remainder({flat}, {self.sizes[axis]}))")
            out.line(f"{rest} = quotient({flat}, {self.sizes[axis]})")
            flat = rest
        if axes:
            out.line(f"i{axes[0]} = int32({flat})")

    # ------------------------------------------------------------------ a warp for each element

    def warp_rows(self) -> None:
        out = self.out
        self.open_outputs(self.outputs)
        out.argument("length", prod(self.nest.axes[a] for a in self.nest.reduce))
        for stage in self.nest.stages:
            for step in stage.outer:
                self.by_one_lane(step)
            folds = [s for s in stage.inner if isinstance(s, Fold)]
            for fold in folds:
                out.line(f"{fold.name} = {initial(fold)}")
            if stage.inner:
                self.lanes_share(stage.inner)
            for fold in folds:
                self.combine(fold)

    def by_one_lane(self, step: Step) -> None:
        """All lanes know what they have computed; one of them stores it."""
        if not isinstance(step, Put):
            self.step(step)
            return
        self.out.line("if lane == uint32(0):")
        self.out.depth += 1
        self.step(step)
        self.out.depth -= 1

    def lanes_share(self, steps: tuple[Step, ...]) -> None:
        """The reduction axes, each lane taking every 32nd of their elements."""
        out = self.out
        depth = out.depth
        out.line("r = uint32(lane)")
        out.line("while r < uint32(length):")
        out.depth += 1
        self.decompose("r", "left", list(self.nest.reduce))
        for step in steps:
            self.step(step)
        out.line(f"r = uint32(r + uint32({WARP}))")
        out.depth = depth

    def combine(self, fold: Fold) -> None:
        """A butterfly: after five exchanges all lanes hold the same bits."""
        other = f"{fold.name}_other"
        distance = WARP // 2
        while distance:
            shuffle = f"cuda.shfl_xor_sync(0xFFFFFFFF, {fold.name}, {distance})"
            self.out.line(f"{other} = {shuffle}")
            combined = Fold(fold.name, fold.fold, other, fold.dtype)
            self.out.line(f"{fold.name} = {folded(combined, fold.name)}")
            distance //= 2


def reduces_along_memory(nest: Nest) -> bool:
    """Whether a warp should share each element's reduction: it is long, and lies along memory."""
    if nest.style != "row" or prod(nest.axes[a] for a in nest.reduce) < WARP:
        return False
    inner = [s for stage in nest.stages for s in stage.inner]
    return bool(nest.reduce) and all(s.dtype in SHUFFLED for s in inner if isinstance(s, Fold))
