"""Basic blocks as lists of steps, ``step(values, frame)``: an instruction on many lanes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .effects import EFFECTS, SPACES, Step
from .faults import UnsupportedInstruction
from .flatten import Block, Flat, live_registers, slot
from .instructions import TABLE, Pure, carrying, uses_carry
from .memory import LOCAL_BASE, SHARED_BASE
from .operands import Operands, Reader, Writer
from .parse import Instruction, split
from .types import DTYPES, Lanes, register_dtype

IGNORED = ("membar", "fence", "nanosleep", "prefetch", "prefetchu", "discard", "pmevent")
CARRY = "%carry"


@dataclass(slots=True)
class CompiledBlock:
    """A basic block.

    Attributes:
        uses, keeps: registers that it reads before it writes them, and that later blocks want of
        it. end_number: of the last instruction, if it has one.
        condition: of its branch or exit; None where that is always taken.
        vote: for a barrier that reduces: (kind, operand, destination).
    """

    steps: list[Step]
    end: Instruction | None
    next: int
    target: int
    uses: tuple[int, ...] = ()
    keeps: tuple[int, ...] = ()
    end_number: int = -1
    condition: Reader | None = None
    vote: tuple[str, Reader, Writer] | None = None


class Translator:
    """Compiles the blocks of a kernel.

    Attributes:
        instructions: all, by the number that faults and counters use.
    """

    def __init__(self, flat: Flat, operands: Operands):
        self.flat, self.operands = flat, operands
        self.instructions: list[Instruction] = []

    def blocks(self) -> list[CompiledBlock]:
        compiled, uses, defines = [], [], []
        for block in self.flat.blocks:
            self.operands.begin_block()
            compiled.append(self.block(block))
            uses.append(self.operands.uses)
            defines.append(self.operands.defines)
        follows = [[f for f in (b.next, b.target) if 0 <= f < len(compiled)] for b in compiled]
        wanted = live_registers(uses, defines, follows)
        for made, used, defined, after in zip(compiled, uses, defines, wanted, strict=True):
            made.uses, made.keeps = tuple(sorted(used)), tuple(sorted(defined & after))
        return compiled

    def block(self, block: Block) -> CompiledBlock:
        steps = [s for i in block.body if (s := self.step(i)) is not None]
        made = CompiledBlock(steps, block.end, block.next, block.target)
        end = block.end
        if end is None:
            return made
        made.end_number = len(self.instructions)
        self.instructions.append(end)
        if end.predicate:
            made.condition = self.operands.predicate(end)
        if end.opcode in ("bar", "barrier"):
            self.barrier(made, end)
        return made

    def barrier(self, made: CompiledBlock, end: Instruction) -> None:
        """bar.sync 0 and bar.red.op.type result, 0, predicate: all threads of the block."""
        reduces = "red" in end.modifiers
        count = 3 if reduces else 1
        if end.predicate or len(end.operands) != count or not {"sync", "red"} & {*end.modifiers}:
            raise UnsupportedInstruction(f"line {end.line}: {end.text}")
        if reduces:
            kind = next(m for m in end.modifiers if m in ("popc", "and", "or"))
            operand = self.operands.read(end.operands[-1], "pred")
            write = self.operands.write(end.operands[0], "u32" if kind == "popc" else "pred")
            made.vote = kind, operand, write

    def step(self, i: Instruction) -> Step | None:
        self.instructions.append(i)
        if i.opcode in IGNORED:
            return None
        if i.opcode in ("ld", "ldu", "st") and "param" in i.modifiers:
            return self.parameter(i)
        if i.opcode in EFFECTS:
            return EFFECTS[i.opcode](self.operands, i, len(self.instructions) - 1)
        result, sources = i.operands[0], i.operands[1:]
        if i.opcode == "cvta":
            return self.compute(i, convert_address(i), result, sources)
        if uses_carry(i):
            self.operands.types[CARRY] = "u32"
            return self.compute(i, carrying(i), f"{result}|{CARRY}", (*sources, CARRY))
        if i.opcode not in TABLE:
            raise UnsupportedInstruction(f"line {i.line}: {i.text}")
        return self.compute(i, TABLE[i.opcode](i), result, sources)

    def compute(self, i: Instruction, pure: Pure, result: str, sources: tuple[str, ...]) -> Step:
        """A step that reads operands, applies a function and writes the results."""
        if sources[0].startswith("{"):
            sources = tuple(split(sources[0][1:-1]))
        reads = [self.operands.read(s, k) for s, k in zip(sources, pure.operands, strict=False)]
        function = pure.function
        names = split(result.strip("{}").replace("|", ","))
        write = self.operands.write_all(i, names, pure.results)
        if len(reads) == 1:
            (first,) = reads
            return lambda values, frame: write(values, function(first(values)))
        if len(reads) == 2:
            first, second = reads
            return lambda values, frame: write(values, function(first(values), second(values)))
        return lambda values, frame: write(values, function(*[r(values) for r in reads]))

    def parameter(self, i: Instruction) -> Step:
        """The kernel's parameters, filled by the launch; those of calls are registers."""
        kind = i.type()
        copy = Pure((kind,), (kind,), same)
        if i.opcode == "st":
            return self.compute(i, copy, slot(i.operands[0]), (i.operands[1],))
        place = slot(i.operands[1])
        if place in self.operands.types:
            return self.compute(i, copy, i.operands[0], (place,))
        name, _, offset = place.partition("+")
        count = i.operands[0].count(",") + 1
        places = [int(offset) + k * DTYPES[kind].itemsize for k in range(count)]
        inputs = tuple(f"param {name} {p} {kind}" for p in places)
        for each in inputs:
            self.operands.types[each] = kind
            self.operands.input(each, register_dtype(kind))
        if count > 1:
            copy = Pure((kind,) * count, (kind,) * count, lambda *x: x)
        return self.compute(i, copy, i.operands[0], inputs)


def same(x: Lanes) -> Lanes:
    return x


def convert_address(i: Instruction) -> Pure:
    """cvta: between the addresses of a space and generic ones."""
    space = next(m for m in i.modifiers if m in SPACES)
    base = np.uint64({"shared": SHARED_BASE, "local": LOCAL_BASE}.get(space, 0))
    if "to" in i.modifiers:
        return Pure(("u64",), ("u64",), lambda x: x - base)
    return Pure(("u64",), ("u64",), lambda x: x + base)
