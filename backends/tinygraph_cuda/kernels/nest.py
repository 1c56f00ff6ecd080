"""Loop nests as CUDA kernels: the CPU's steps, with threads in place of the outer loops.

A thread computes one element at a time, or four neighbouring ones with 128-bit accesses, in a
grid-stride loop over all output axes; where a reduction is long, a team of threads shares it out
and combines what its members have, in a tree whose shape never changes. Parameters are pointers and
int32.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from math import prod

from tinygraph.codegen.nest import NestWriter
from tinygraph.codegen.steps import initial
from tinygraph.codegen.writer import Address
from tinygraph.plan.records.work import Fold, Load, Nest, NestStatement, Put

from .kernel import MOST_BLOCKS, THREADS, CudaKernel, require_32_bits
from .lifted import lift_prologue
from .reader import VECTOR
from .team import COLUMNS, THREAD, WARP_TEAM, choose, combine
from .wide import WideWriter, is_wide

MOST_LOADS = 64  # of an unrolled reduction


def emit(nest: Nest) -> CudaKernel:
    """The kernel of a nest, and its launch.

    Raises:
        BackendError: sizes or strides beyond 32 bits.
    """
    writer = CudaNestWriter(modest(nest))
    made = writer.kernel()
    function = ast.parse(made.text).body[0]
    assert isinstance(function, ast.FunctionDef)
    parameters, module = lift_prologue(function)
    body = module.body[0]
    assert isinstance(body, ast.FunctionDef)
    read = {n.id for n in ast.walk(body) if isinstance(n, ast.Name)}
    kept = list({p.name: p for p in parameters if p.name in read}.values())  # some are named twice
    body.args.args = [ast.arg(p.name) for p in kept]
    signature = (f"{p.dtype}*" if p.dtype else "int32" for p in kept)
    arguments = tuple(made.arguments[p.slot] for p in kept)
    require_32_bits(*(a for a in arguments if not isinstance(a, Address)))
    elements = THREADS // writer.team.lanes * (VECTOR if writer.wide else 1)
    blocks = min(MOST_BLOCKS, max(1, -(-writer.total // elements)))
    return CudaKernel(ast.unparse(module) + "\n", tuple(signature), arguments, blocks)


def modest(nest: Nest) -> Nest:
    """A reduction is a loop where too many loads would be on their way at a time if it were
    unrolled: the compiler does them all first, and each takes a register.
    """
    loads = sum(isinstance(s, Load) for stage in nest.stages for s in stage.inner)
    unrolled = nest.style == "literal"
    if unrolled and loads * prod(nest.axes[a] for a in nest.reduce) > MOST_LOADS:
        return replace(nest, style="column")
    return nest


class CudaNestWriter(WideWriter, NestWriter):
    """Writes the loops over output axes as a grid-stride loop over `total` elements."""

    def __init__(self, nest: Nest):
        super().__init__(nest, 1)
        self.total = prod(nest.axes[a] for a in self.outputs)
        self.team = choose(nest, self.total)
        self.reads: set[int] = set()  # buffers that a team has read since its last barrier
        self.wide = self.team is THREAD and is_wide(nest, self.total)

    def column(self) -> None:
        self.rows()  # neighbouring threads take neighbouring columns, which is what blocks are for

    def slides(self) -> bool:
        return False  # neighbouring threads take neighbouring elements

    def hoistable(self) -> bool:
        return False  # tests of windows' edges are predicates here

    def rows(self) -> None:
        out = self.out
        folds = [s for stage in self.nest.stages for s in stage.inner if isinstance(s, Fold)]
        for fold in folds if self.team.shared else ():
            size = THREADS if self.team is COLUMNS else THREADS // 32
            out.line(f"{fold.name}_shared = cuda.shared.array({size}, {fold.dtype})")
        self.open_elements()
        for stage in self.nest.stages:
            for step in stage.outer:
                self.by_one_lane(step)
            for fold in (s for s in stage.inner if isinstance(s, Fold)):
                out.line(f"{fold.name} = {self.fours(fold.name, initial(fold))}")
            depth = out.depth
            if stage.inner:
                self.open_reduction()
            for step in stage.inner:
                self.step(step)
            out.depth = depth
            for fold in (s for s in stage.inner if isinstance(s, Fold)):
                for line in combine(self.team, fold):
                    out.line(line)
        out.line("start = uint32(start + step)")

    # ------------------------------------------------------------------ elements

    def open_elements(self) -> None:
        """The loop over `start`, and the axes of the element that this thread works on."""
        out, team = self.out, self.team
        total = out.argument("total", self.total // (VECTOR if self.wide else 1))
        thread = "uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)"
        step = "uint32(cuda.gridDim.x * cuda.blockDim.x)"
        if team is THREAD:
            out.line(f"start = {thread}")
            out.line(f"step = {step}")
        elif team is WARP_TEAM:
            out.line(f"start = quotient({thread}, {team.lanes})")
            out.line(f"step = quotient({step}, {team.lanes})")
        else:
            out.line(f"start = uint32(cuda.blockIdx.x * uint32({team.elements}))")
            out.line(f"step = uint32(cuda.gridDim.x * uint32({team.elements}))")
        if team is not THREAD:
            out.line(f"lane = {team.lane}")
        if team is COLUMNS:
            out.line(f"column = remainder(cuda.threadIdx.x, {team.elements})")
        out.line(f"while start < uint32({total}):")
        out.depth += 1
        if team is COLUMNS:  # all threads go on to the barriers
            out.line(f"flat = min(uint32(start + column), uint32({total} - 1))")
            out.line(f"busy = uint32(start + column) < uint32({total})")
            out.line("stores = lane == uint32(0) and busy")
        elif team is not THREAD:
            out.line("stores = lane == uint32(0)")
        self.decompose("flat" if team is COLUMNS else "start", "rest", self.outputs, self.wide)

    def decompose(self, flat: str, rest: str, axes: list[int], wide: bool = False) -> None:
        """Axes from their linear index, the last one fastest; ``wide`` counts it in fours."""
        out = self.out
        for axis in reversed(axes[1:]):
            last = wide and axis == axes[-1]
            size = out.argument("fours", self.nest.axes[axis] // 4) if last else self.sizes[axis]
            times = f" * uint32({VECTOR})" if last else ""
            out.line(f"i{axis} = int32(remainder({flat}, {size}){times})")
            out.line(f"{rest} = quotient({flat}, {size})")
            flat = rest
        if axes:
            times = f" * uint32({VECTOR})" if wide and len(axes) == 1 else ""
            out.line(f"i{axes[0]} = int32({flat}{times})")

    # ------------------------------------------------------------------ the reduction

    def open_reduction(self) -> None:
        """The reduction axes; each lane of a team takes every n-th of their elements."""
        out, lanes = self.out, self.team.lanes
        if self.team is THREAD:
            for axis in self.nest.reduce:
                out.line(f"for i{axis} in range({self.sizes[axis]}):")
                out.depth += 1
            return
        length = out.argument("length", prod(self.nest.axes[a] for a in self.nest.reduce))
        end = f"uint32({length})"
        if self.team is COLUMNS:  # the last columns may have no element
            out.line(f"end = {end} if busy else uint32(0)")
            end = "end"
        out.line(f"for flat_r in range(lane, {end}, uint32({lanes})):")
        out.depth += 1
        self.decompose("flat_r", "left", list(self.nest.reduce))

    def by_one_lane(self, step: NestStatement) -> None:
        """All of a team know what they have computed; one of them stores it, after a barrier where
        it replaces what the others have read.
        """
        if isinstance(step, Load):
            self.reads.add(id(self.nest.operands[step.operand].buffer))
        if self.team is THREAD or not isinstance(step, Put):
            self.step(step)
            return
        if id(self.nest.operands[step.operand].buffer) in self.reads:
            self.out.line(self.team.barrier)
            self.reads.clear()
        self.out.line("if stores:")
        self.out.depth += 1
        self.step(step)
        self.out.depth -= 1
