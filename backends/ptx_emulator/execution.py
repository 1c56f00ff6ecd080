"""Runs a kernel: all threads of many blocks at once, one basic block at a time.

Where threads diverge, the lowest basic block that lanes wait for runs first, with all lanes that
wait for it; compilers lay code out so that lanes meet again after a branch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .access import Access, Window
from .copies import CopyQueue
from .counters import Counters
from .effects import Frame
from .faults import DivergentBarrier, Fault, UnsupportedInstruction
from .memory import Memory
from .operands import Values, pick, spread
from .races import BLOCK_FIELD, Numbering
from .translate import CompiledBlock
from .types import Lanes
from .warp import WARP, Warps

if TYPE_CHECKING:
    from .kernel import Kernel


@dataclass(frozen=True, slots=True)
class Shape:
    grid: tuple[int, int, int]
    block: tuple[int, int, int]

    @property
    def blocks(self) -> int:
        return prod(self.grid)

    @property
    def threads(self) -> int:
        return prod(self.block)


@dataclass(slots=True)
class Waiting:
    """Lanes at barriers: for each, the basic block of its barrier, or -1."""

    at: np.ndarray
    missing: np.ndarray  # for each block, threads that have not arrived
    lanes: int = 0


@dataclass(frozen=True, slots=True)
class Grid:
    """The part that all blocks of a launch have in common.

    Attributes:
        inputs: registers that are the same in every thread, by name.
        shared_valid: which bytes of a block's shared memory belong to an array.
    """

    kernel: Kernel
    memory: Memory
    shape: Shape
    numbering: Numbering
    inputs: dict[str, Any]
    shared_valid: np.ndarray
    check: bool
    counters: Counters | None


class Group:
    """Blocks that run together; a lane is a thread of one of them."""

    def __init__(self, launch: Grid, blocks: np.ndarray):
        self.kernel, self.shape, self.blocks = launch.kernel, launch.shape, blocks
        self.inputs = launch.inputs
        threads = self.shape.threads
        self.size = threads * blocks.size
        self.everyone = np.arange(self.size)
        self.block_of, self.thread_of = np.divmod(self.everyone, threads)
        self.warps = self.make_warps()
        self.access = self.make_access(launch)
        self.registers: Values = [dtype.type(0) for dtype in self.kernel.dtypes]
        self.scratch: Values = [None] * len(self.kernel.dtypes)
        self.pending: dict[int, list[np.ndarray]] = {0: [self.everyone]}
        self.waiting = Waiting(np.full(self.size, -1), np.full(blocks.size, threads))

    def make_warps(self) -> Warps:
        per_block = -(-self.shape.threads // WARP) * WARP
        slots = self.block_of * per_block + self.thread_of
        alive = np.zeros(self.blocks.size * per_block, bool)
        alive[slots] = True
        return Warps(slots, alive, self.fault)

    def make_access(self, launch: Grid) -> Access:
        blocks = self.blocks[self.block_of]
        local_valid = np.ones(self.kernel.flat.local_bytes, bool)
        return Access(
            memory=launch.memory,
            windows={
                "shared": Window.of("shared", self.blocks.size, launch.shared_valid),
                "local": Window.of("local", self.size, local_valid),
            },
            owners={"shared": self.block_of, "local": self.everyone},
            numbering=launch.numbering,
            threads=launch.numbering.number(blocks, self.thread_of),
            times=blocks << BLOCK_FIELD,
            grain=self.kernel.grain,
            lines=self.kernel.lines,
            fail=self.fault,
            copies=CopyQueue(self.size),
            check=launch.check,
            counters=launch.counters,
        )

    def run(self) -> None:
        for name, number in self.kernel.inputs.items():
            given = self.inputs.get(name)
            self.registers[number] = self.special(name) if given is None else given
        blocks = self.kernel.blocks
        while self.pending:
            number = min(self.pending)
            parts = self.pending.pop(number)
            lanes = parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts), kind="stable")
            if number < len(blocks):
                self.execute(number, blocks[number], lanes)
            else:
                self.warps.alive[self.warps.slots[lanes]] = False
        if self.waiting.lanes:
            raise self.deadlock()

    def special(self, name: str) -> np.ndarray:
        """Registers that differ from thread to thread."""
        base, _, axis = name[1:].partition(".")
        lane = (self.thread_of % WARP).astype(np.uint32)
        if base in ("tid", "ctaid"):
            sizes = self.shape.block if base == "tid" else self.shape.grid
            linear = self.thread_of if base == "tid" else self.blocks[self.block_of]
            return coordinates(linear, sizes)["xyz".index(axis)].astype(np.uint32)
        known = {
            "laneid": lane,
            "warpid": (self.thread_of // WARP).astype(np.uint32),
            "lanemask_eq": np.uint32(1) << lane,
            "lanemask_lt": (np.uint32(1) << lane) - np.uint32(1),
            "lanemask_le": (np.uint32(2) << lane) - np.uint32(1),
        }
        if base not in known:
            raise UnsupportedInstruction(f"the special register {name}")
        return known[base]

    def execute(self, number: int, block: CompiledBlock, lanes: np.ndarray) -> None:
        """Runs a basic block and sends its lanes on."""
        frame = Frame(lanes, self.access, self.warps)
        everyone = lanes.size == self.size
        values = self.registers if everyone else self.gather(block, lanes)
        for step in block.steps:
            step(values, frame)
        if block.vote is not None:
            self.barrier_vote(block, values, lanes)
        if not everyone:
            self.scatter(block, lanes)
        if block.end is None:
            self.send(block.next, lanes)
        elif block.end.opcode in ("bar", "barrier"):
            self.arrive(number, lanes)
        else:
            taken = np.True_ if block.condition is None else block.condition(values)
            self.part(lanes, taken, block)

    def gather(self, block: CompiledBlock, lanes: np.ndarray) -> Values:
        for k in block.uses:
            self.scratch[k] = pick(self.registers[k], lanes)
        return self.scratch

    def scatter(self, block: CompiledBlock, lanes: np.ndarray) -> None:
        for k in block.keeps:
            merged = np.empty(self.size, self.kernel.dtypes[k])  # registers may share an array
            merged[:] = self.registers[k]
            merged[lanes] = self.scratch[k]
            self.registers[k] = merged

    def send(self, number: int, lanes: np.ndarray) -> None:
        if lanes.size:
            self.pending.setdefault(number, []).append(lanes)

    def part(self, lanes: np.ndarray, taken: Lanes, block: CompiledBlock) -> None:
        """A branch, or an end of the thread, which is a branch past the last block."""
        ends = block.end is not None and block.end.opcode != "bra"
        target = len(self.kernel.blocks) if ends else block.target
        if taken.ndim == 0:
            self.send(target if taken else block.next, lanes)
        else:
            self.send(target, lanes[taken])
            self.send(block.next, lanes[~taken])

    # ------------------------------------------------------------------ barriers

    def arrive(self, number: int, lanes: np.ndarray) -> None:
        """Lanes at a block barrier; they continue when all threads of their block have arrived."""
        waiting = self.waiting
        waiting.at[lanes] = number
        waiting.lanes += lanes.size
        waiting.missing -= np.bincount(self.block_of[lanes], minlength=self.blocks.size)
        complete = np.flatnonzero(waiting.missing == 0)
        if complete.size == 0:
            return
        freed = np.flatnonzero(waiting.missing[self.block_of] == 0)
        places = waiting.at[freed].reshape(complete.size, -1)
        different = np.flatnonzero((places != places[:, :1]).any(axis=1))
        if different.size:
            raise self.two_barriers(freed.reshape(complete.size, -1)[different[0]])
        for place in np.unique(places[:, 0]):
            self.send(self.kernel.blocks[place].next, freed[(places == place).reshape(-1)])
        waiting.at[freed] = -1
        waiting.lanes -= freed.size
        waiting.missing[complete] = self.shape.threads
        self.access.pass_barrier(freed)

    def barrier_vote(self, block: CompiledBlock, values: Values, lanes: np.ndarray) -> None:
        """bar.red: the threads of each block count or combine a predicate."""
        assert block.vote is not None
        kind, operand, write = block.vote
        blocks, count = self.block_of[lanes], self.blocks.size
        present = np.bincount(blocks, minlength=count)
        absent = np.flatnonzero(present[blocks] != self.shape.threads)
        if absent.size:
            detail = "waits at a barrier that not all threads of its block reach"
            raise self.fault(DivergentBarrier, int(lanes[absent[0]]), detail, block.end_number)
        yes = np.bincount(blocks, weights=spread(operand(values), lanes), minlength=count)
        answers = {"popc": yes.astype(np.uint32), "and": yes == self.shape.threads, "or": yes > 0}
        write(values, answers[kind][blocks])

    def deadlock(self) -> Fault:
        """Some threads wait, and no other can run: the rest of their block has ended."""
        lane = int(np.flatnonzero(self.waiting.at >= 0)[0])
        mates = (self.block_of == self.block_of[lane]) & (self.waiting.at < 0)
        ended = self.thread(int(np.flatnonzero(mates)[0]))
        detail = f"waits at a barrier, and thread {ended} of its block has ended"
        number = self.kernel.blocks[self.waiting.at[lane]].end_number
        return self.fault(DivergentBarrier, lane, detail, number)

    def two_barriers(self, lanes: np.ndarray) -> Fault:
        """The threads of a block wait at two barriers."""
        at = self.waiting.at[lanes]
        other = int(np.flatnonzero(at != at[0])[0])
        line = self.kernel.lines[self.kernel.blocks[at[other]].end_number]
        who = self.thread(int(lanes[other]))
        detail = f"waits at a barrier, and thread {who} of its block at that of line {line}"
        number = self.kernel.blocks[at[0]].end_number
        return self.fault(DivergentBarrier, int(lanes[0]), detail, number)

    # ------------------------------------------------------------------ faults

    def thread(self, lane: int) -> tuple[int, int, int]:
        x, y, z = coordinates(self.thread_of[lane], self.shape.block)
        return int(x), int(y), int(z)

    def fault(self, kind: type[Fault], lane: int, detail: str, instruction: int) -> Fault:
        x, y, z = coordinates(self.blocks[self.block_of[lane]], self.shape.grid)
        what = self.kernel.instructions[instruction]
        lines = self.kernel.source
        shown = lines[what.line - 1] if 0 < what.line <= len(lines) else ""
        place = (int(x), int(y), int(z))
        return kind(detail, self.kernel.name, what.line, self.thread(lane), place, what.text, shown)


def coordinates(linear: Any, sizes: tuple[int, int, int]) -> tuple[Any, Any, Any]:
    """x, y and z of a linear index; x is the fastest."""
    return linear % sizes[0], linear // sizes[0] % sizes[1], linear // (sizes[0] * sizes[1])
