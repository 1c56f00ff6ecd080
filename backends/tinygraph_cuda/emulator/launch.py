"""Runs a kernel: all threads of many blocks at once, one basic block at a time.

Where threads diverge, the lowest basic block that lanes wait for runs first, with all lanes that wait
for it; compilers lay code out so that lanes meet again behind a branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .access import Access, Window
from .counters import Counters
from .faults import DivergentBarrier, Fault, UnsupportedInstruction
from .flatten import flatten
from .memory import Memory
from .parse import Function, parse
from .races import BLOCK_FIELD, Numbering
from .translate import CompiledBlock, Translator, Values, pick
from .types import DTYPES, Lanes, register_dtype
from .warp import WARP, Warps

CHUNK = 8192  # lanes that run together: enough to hide Python's part, few enough for the caches
BANK_ROW = 128  # bytes; gaps between shared arrays keep the banks as they are

Size = int | Sequence[int]


class Kernel:
    """A kernel of a PTX text, ready to be launched.

    Args:
        ptx: the text.
        name: of the kernel; may be left out where there is only one.
        source: the generated text that line numbers refer to, shown in faults.
    """

    def __init__(self, ptx: str, name: str | None = None, source: str = ""):
        module = parse(ptx)
        entries = {f.name: f for f in module.functions.values() if f.entry}
        self.function: Function = entries[name] if name else next(iter(entries.values()))
        self.name = self.function.name
        self.source = source.splitlines()
        self.flat = flatten(module, self.function)
        shared = {k: v for k, v in module.variables.items() if v.space == "shared"}
        self.variables = {
            k: v for k, v in module.variables.items() if v.space in ("global", "const")
        }
        self.shared_valid, self.shared_addresses = lay_out(
            [(k, v.bytes, v.align) for k, v in shared.items()]
        )
        translator = Translator(self.flat, self.shared_addresses, set(self.variables))
        self.blocks = translator.blocks()
        self.dtypes, self.inputs = translator.dtypes, translator.inputs
        self.instructions = translator.instructions
        self.lines = [i.line for i in self.instructions]
        self.grain = min(
            (
                DTYPES[i.type()].itemsize
                for i in self.instructions
                if touches_memory(i.opcode, i.modifiers)
            ),
            default=4,
        )
        self.placed: WeakKeyDictionary[Memory, dict[str, int]] = WeakKeyDictionary()

    def __call__(
        self,
        memory: Memory,
        grid: Size,
        block: Size,
        arguments: Sequence[int | float],
        *,
        dynamic_shared: int = 0,
        check: bool = True,
        counters: Counters | None = None,
    ) -> None:
        """Runs the kernel.

        Args:
            memory: what its pointers point into.
            grid, block: blocks, and threads of a block, along x, y and z.
            arguments: one number for each parameter, addresses as `memory` gave them.
            dynamic_shared: bytes of shared memory that is sized by the launch.
            check: whether races and uninitialized shared memory are looked for; bounds, alignment and
                barriers always are.
            counters: where memory traffic is counted.

        Raises:
            Fault: the first error of a thread.
        """
        shape = Shape(triple(grid), triple(block))
        if len(arguments) != len(self.function.parameters):
            raise TypeError(
                f"kernel {self.name} takes {len(self.function.parameters)} arguments, not {len(arguments)}"
            )
        inputs = self.constant_inputs(memory, shape, arguments, dynamic_shared)
        numbering = Numbering(memory.first_thread, shape.blocks, shape.threads)
        memory.first_thread = numbering.several_blocks + 1
        valid = np.concatenate([self.shared_valid, np.ones(dynamic_shared, bool)])
        together = max(1, CHUNK // shape.threads)
        for first in range(0, shape.blocks, together):
            blocks = np.arange(first, min(first + together, shape.blocks))
            group = Group(self, memory, shape, blocks, numbering, valid, check, counters)
            with np.errstate(all="ignore"):
                group.run(inputs)

    def constant_inputs(
        self, memory: Memory, shape: Shape, arguments: Sequence[int | float], dynamic_shared: int
    ) -> dict[str, Any]:
        """Registers that are the same in every thread: sizes, parameters, addresses of variables."""
        values: dict[str, Any] = {
            "%dynamic_smem_size": np.uint32(dynamic_shared),
            "%clock": np.uint32(0),
        }
        values["%clock64"] = np.uint64(0)
        for axis, name in enumerate("xyz"):
            values[f"%ntid.{name}"] = np.uint32(shape.block[axis])
            values[f"%nctaid.{name}"] = np.uint32(shape.grid[axis])
        given = {}
        for parameter, value in zip(self.function.parameters, arguments, strict=True):
            dtype = DTYPES[parameter.type]
            number = (
                dtype.type(value)
                if dtype.kind == "f"
                else np.array(int(value) & (2 ** (8 * dtype.itemsize) - 1), f"u{dtype.itemsize}")
            )
            given[parameter.name] = np.atleast_1d(number).view(np.uint8)
        for name in self.inputs:
            if name.startswith("param "):
                _, parameter_name, offset, kind = name.split(" ")
                data = given[parameter_name][int(offset) : int(offset) + DTYPES[kind].itemsize]
                values[name] = data.view(register_dtype(kind))[0]
        placed = self.placed.setdefault(memory, {})
        for name in set(self.inputs) & set(self.variables):
            if name not in placed:
                placed[name] = memory.upload(self.variables[name].data, name)
            values[name] = np.uint64(placed[name])
        return values


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
class Frame:
    """The lanes that run a basic block now."""

    lanes: np.ndarray
    access: Access
    warps: Warps


@dataclass(slots=True)
class Waiting:
    """Lanes at barriers: for each, the basic block of its barrier, or -1."""

    at: np.ndarray
    missing: np.ndarray  # for each block, threads that have not arrived
    lanes: int = 0


class Group:
    """Blocks that run together."""

    def __init__(
        self,
        kernel: Kernel,
        memory: Memory,
        shape: Shape,
        blocks: np.ndarray,
        numbering: Numbering,
        shared_valid: np.ndarray,
        check: bool,
        counters: Counters | None,
    ):
        self.kernel, self.shape, self.blocks = kernel, shape, blocks
        count = shape.threads
        self.size = count * blocks.size
        self.block_of, self.thread_of = np.divmod(np.arange(self.size), count)
        self.everyone = np.arange(self.size)
        threads = numbering.number(blocks[self.block_of], self.thread_of)
        warps = -(-count // WARP)
        slots = self.block_of * warps * WARP + self.thread_of
        alive = np.zeros(blocks.size * warps * WARP, bool)
        alive[slots] = True
        self.warps = Warps(slots, alive, self.fault)
        windows = {"shared": Window.of("shared", blocks.size, shared_valid)}
        windows["local"] = Window.of("local", self.size, np.ones(kernel.flat.local_bytes, bool))
        owners = {"shared": self.block_of, "local": self.everyone}
        self.access = Access(
            memory, windows, owners, numbering, threads, blocks[self.block_of] << BLOCK_FIELD, kernel.grain, kernel.lines,
            self.fault, check, counters,
        )  # fmt: skip
        self.registers: Values = [None] * len(kernel.dtypes)
        self.scratch: Values = [None] * len(kernel.dtypes)
        self.pending: dict[int, list[np.ndarray]] = {0: [self.everyone]}
        self.waiting = Waiting(np.full(self.size, -1), np.full(blocks.size, count))

    def run(self, inputs: dict[str, Any]) -> None:
        for name, number in self.kernel.inputs.items():
            self.registers[number] = inputs[name] if name in inputs else self.special(name)
        blocks = self.kernel.blocks
        while self.pending:
            number = min(self.pending)
            groups = self.pending.pop(number)
            lanes = (
                groups[0] if len(groups) == 1 else np.sort(np.concatenate(groups), kind="stable")
            )
            if number < len(blocks):
                self.execute(number, blocks[number], lanes)
            else:
                self.leave(lanes)
        if self.waiting.lanes:
            self.deadlock()

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
        end = block.end.opcode if block.end is not None else ""
        if end == "bra" or end in ("ret", "exit"):
            taken = True if block.condition is None else block.condition(values)
            self.part(
                lanes, taken, block.target if end == "bra" else len(self.kernel.blocks), block.next
            )
        elif end:
            self.arrive(number, block, lanes)
        else:
            self.send(block.next, lanes)

    def gather(self, block: CompiledBlock, lanes: np.ndarray) -> Values:
        for k in block.uses:
            held = self.registers[k]
            if held is None:  # read only where a predicate is false
                held = self.kernel.dtypes[k].type(0)
            self.scratch[k] = pick(held, lanes)
        return self.scratch

    def scatter(self, block: CompiledBlock, lanes: np.ndarray) -> None:
        for k in block.keeps:
            held = self.registers[k]
            merged = np.empty(
                self.size, self.kernel.dtypes[k]
            )  # the array may be another register's too
            merged[:] = 0 if held is None else held
            merged[lanes] = self.scratch[k]
            self.registers[k] = merged

    def send(self, number: int, lanes: np.ndarray) -> None:
        if lanes.size:
            self.pending.setdefault(number, []).append(lanes)

    def part(self, lanes: np.ndarray, taken: Lanes, target: int, otherwise: int) -> None:
        if np.ndim(taken) == 0:
            self.send(target if taken else otherwise, lanes)
        else:
            self.send(target, lanes[taken])
            self.send(otherwise, lanes[~taken])

    def leave(self, lanes: np.ndarray) -> None:
        self.warps.alive[self.warps.slots[lanes]] = False

    # ------------------------------------------------------------------ barriers

    def arrive(self, number: int, block: CompiledBlock, lanes: np.ndarray) -> None:
        """Lanes at a block barrier; they go on when all threads of their block are there."""
        assert block.end is not None
        if (
            block.condition is not None
            or len(block.end.operands) > 1
            and "red" not in block.end.modifiers
        ):
            raise UnsupportedInstruction(f"line {block.end.line}: {block.end.text}")
        waiting = self.waiting
        waiting.at[lanes] = number
        waiting.lanes += lanes.size
        waiting.missing -= np.bincount(self.block_of[lanes], minlength=self.blocks.size)
        complete = np.flatnonzero(waiting.missing == 0)
        if complete.size == 0:
            return
        freed = (
            self.everyone
            if complete.size == self.blocks.size
            else np.flatnonzero(waiting.missing[self.block_of] == 0)
        )
        places = waiting.at[freed].reshape(complete.size, -1)
        different = np.flatnonzero((places != places[:, :1]).any(axis=1))
        if different.size:
            self.two_barriers(freed.reshape(complete.size, -1)[different[0]])
        for place in np.unique(places[:, 0]):
            self.send(self.kernel.blocks[place].next, freed[(places == place).reshape(-1)])
        waiting.at[freed] = -1
        waiting.lanes -= freed.size
        waiting.missing[complete] = self.shape.threads
        self.access.pass_barrier(freed)

    def barrier_vote(self, block: CompiledBlock, values: Values, lanes: np.ndarray) -> None:
        """bar.red: the threads of each block count or combine a predicate."""
        assert block.vote is not None and block.end is not None
        kind, operand, write = block.vote
        blocks = self.block_of[lanes]
        present = np.bincount(blocks, minlength=self.blocks.size)
        if ((present != 0) & (present != self.shape.threads)).any():
            lane = int(lanes[np.flatnonzero(present[blocks] != self.shape.threads)[0]])
            raise self.divergent(
                lane, "waits at a barrier that other threads of its block do not reach", block
            )
        yes = np.bincount(
            blocks,
            weights=np.broadcast_to(operand(values), lanes.shape),
            minlength=self.blocks.size,
        )
        answers = {"popc": yes.astype(np.uint32), "and": yes == self.shape.threads, "or": yes > 0}
        write(values, answers[kind][blocks])

    def deadlock(self) -> None:
        """Some threads wait, and no other can run: the rest of their block has ended."""
        lane = int(np.flatnonzero(self.waiting.at >= 0)[0])
        mates = np.flatnonzero((self.block_of == self.block_of[lane]) & (self.waiting.at < 0))
        ended = self.thread(int(mates[0]))
        raise self.divergent(
            lane,
            f"waits at a barrier, and thread {ended} of its block has ended",
            self.kernel.blocks[self.waiting.at[lane]],
        )

    def two_barriers(self, lanes: np.ndarray) -> None:
        """The threads of a block wait at barriers in two lines."""
        at = self.waiting.at[lanes]
        other = int(np.flatnonzero(at != at[0])[0])
        end = self.kernel.blocks[at[other]].end
        assert end is not None
        detail = f"waits at a barrier, and thread {self.thread(int(lanes[other]))} of its block at that of line {end.line}"
        raise self.divergent(int(lanes[0]), detail, self.kernel.blocks[at[0]])

    def divergent(self, lane: int, detail: str, block: CompiledBlock) -> Fault:
        assert block.end is not None
        return self.fault(DivergentBarrier, lane, detail, self.kernel.instructions.index(block.end))

    # ------------------------------------------------------------------ faults

    def thread(self, lane: int) -> tuple[int, int, int]:
        x, y, z = coordinates(self.thread_of[lane], self.shape.block)
        return int(x), int(y), int(z)

    def fault(self, kind: type[Fault], lane: int, detail: str, instruction: int) -> Fault:
        x, y, z = coordinates(self.blocks[self.block_of[lane]], self.shape.grid)
        what = self.kernel.instructions[instruction]
        source = (
            self.kernel.source[what.line - 1] if 0 < what.line <= len(self.kernel.source) else ""
        )
        return kind(
            detail,
            self.kernel.name,
            what.line,
            self.thread(lane),
            (int(x), int(y), int(z)),
            what.text,
            source,
        )


def coordinates(linear: Any, sizes: tuple[int, int, int]) -> tuple[Any, Any, Any]:
    """x, y and z of a linear index; x is the fastest."""
    return linear % sizes[0], linear // sizes[0] % sizes[1], linear // (sizes[0] * sizes[1])


def triple(size: Size) -> tuple[int, int, int]:
    given = (size,) if isinstance(size, int) else tuple(size)
    x, y, z = (*given, 1, 1)[:3]
    return x, y, z


def lay_out(arrays: list[tuple[str, int, int]]) -> tuple[np.ndarray, dict[str, int]]:
    """Shared arrays (name, bytes, align) in memory: which bytes are theirs, and where each begins.

    A gap of at least a row of banks stands behind each, so that leaving one array is seen. Arrays of
    no size, the launch's own, come last and share one place.
    """
    pieces, places, top = [], {}, 0
    for name, size, _ in sorted(arrays, key=lambda a: a[1] == 0):
        places[name] = top
        if size:
            room = -(-size // BANK_ROW) * BANK_ROW + BANK_ROW
            pieces.append(np.arange(room) < size)
            top += room
    return np.concatenate(pieces) if pieces else np.zeros(0, bool), places


def touches_memory(opcode: str, modifiers: tuple[str, ...]) -> bool:
    return opcode in ("ld", "ldu", "st", "atom", "red") and "param" not in modifiers
