"""Instructions as Python functions over the lanes of a block, and blocks as lists of them.

A step is ``step(values, frame)``: ``values[number]`` holds a register, an array with one value for each
lane of the frame, or a scalar that all lanes share. Constants, special registers, kernel parameters
and addresses of variables are registers too, filled when a launch begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from . import atomics
from .access import Request
from .faults import Trap, UnsupportedInstruction
from .flatten import Flat, live_registers, slot
from .instructions import TABLE, Pure, carrying, uses_carry
from .memory import LOCAL_BASE, SHARED_BASE
from .parse import NAME, Instruction, split
from .types import DTYPES, Lanes, immediate, register_dtype, reinterpret
from .warp import FULL

if TYPE_CHECKING:
    from .launch import Frame

Values = list[Lanes]
Step = Callable[[Values, "Frame"], None]
Reader = Callable[[Values], Lanes]
Writer = Callable[[Values, Lanes], None]

IGNORED = ("membar", "fence", "nanosleep", "prefetch", "prefetchu", "discard", "pmevent")
CARRY = "%carry"
SPACES = ("global", "shared", "local", "const", "param")


@dataclass(slots=True)
class CompiledBlock:
    """A basic block.

    Attributes:
        uses, keeps: registers that it reads before it writes them, and that later blocks want of it.
        condition: of its branch or exit; None where that is always taken.
        vote: for a barrier that reduces: (kind, operand, destination).
    """

    steps: list[Step]
    end: Instruction | None
    next: int
    target: int
    uses: tuple[int, ...] = ()
    keeps: tuple[int, ...] = ()
    condition: Reader | None = None
    vote: tuple[str, Reader, Writer] | None = None


@dataclass(slots=True)
class Translator:
    """Compiles the blocks of a kernel.

    Attributes:
        addresses: of shared variables, by name.
        numbers: of registers by name; `inputs` are those that a launch fills.
        instructions: all, by the number that faults and counters use.
    """

    flat: Flat
    addresses: dict[str, int]
    variables: set[str]
    numbers: dict[str, int] = field(default_factory=dict)
    dtypes: list[np.dtype] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)
    uses: list[int] = field(default_factory=list)
    defines: list[int] = field(default_factory=list)

    def blocks(self) -> list[CompiledBlock]:
        compiled, uses, defines = [], [], []
        for block in self.flat.blocks:
            self.uses, self.defines = [], []
            steps = [s for i in block.body if (s := self.step(i)) is not None]
            made = CompiledBlock(steps, block.end, block.next, block.target)
            if block.end is not None:
                self.finish(made, block.end)
            compiled.append(made)
            uses.append(set(self.uses))
            defines.append(set(self.defines))
        last = len(compiled)
        follows = [[f for f in (b.next, b.target) if 0 <= f < last] for b in compiled]
        after = live_registers(uses, defines, follows)
        for made, used, defined, wanted in zip(compiled, uses, defines, after, strict=True):
            made.uses, made.keeps = tuple(sorted(used)), tuple(sorted(defined & wanted))
        return compiled

    def finish(self, made: CompiledBlock, end: Instruction) -> None:
        self.instructions.append(end)
        if end.predicate:
            made.condition = self.predicate(end)
        if end.opcode in ("bar", "barrier") and "red" in end.modifiers:
            kind = next(m for m in end.modifiers if m in ("popc", "and", "or"))
            operand = self.read(end.operands[-1], "pred")
            made.vote = (
                kind,
                operand,
                self.write(end.operands[0], "u32" if kind == "popc" else "pred"),
            )

    # ------------------------------------------------------------------ operands

    def number(self, name: str, dtype: np.dtype) -> int:
        if name not in self.numbers:
            self.numbers[name] = len(self.dtypes)
            self.dtypes.append(dtype)
        return self.numbers[name]

    def used(self, number: int) -> int:
        if number not in self.defines:
            self.uses.append(number)
        return number

    def input(self, name: str, dtype: np.dtype) -> int:
        """A register that each launch fills."""
        self.inputs[name] = self.number(name, dtype)
        return self.used(self.inputs[name])

    def read(self, text: str, kind: str) -> Reader:
        """How an operand is read as a type: register, special register, variable or literal."""
        dtype = DTYPES[kind]
        if text.startswith("!"):
            inner = self.read(text[1:], kind)
            return lambda values: ~inner(values)
        if text in self.flat.registers:
            held = register_dtype(self.flat.registers[text])
            get = itemgetter(self.used(self.number(text, held)))
            return get if held == dtype else lambda values: reinterpret(get(values), dtype)
        name, _, offset = text.partition("+")
        known = self.addresses.get(name, self.flat.local.get(name))
        if known is not None:
            address = dtype.type(known + int(offset or 0))
            return lambda values: address
        if name in self.variables or text.startswith("%"):
            held = (
                np.dtype(np.uint64)
                if name in self.variables or text == "%clock64"
                else np.dtype(np.uint32)
            )
            get, plus = itemgetter(self.input(name, held)), held.type(int(offset or 0))
            return lambda values: reinterpret(get(values) + plus, dtype)
        value = immediate("32" if text == "WARP_SZ" else text, dtype)
        return lambda values: value

    def write(self, text: str, kind: str) -> Writer:
        if text == "_":
            return lambda values, result: None
        held = register_dtype(self.flat.registers[text])
        number = self.number(text, held)
        self.defines.append(number)

        def store(values: Values, result: Lanes) -> None:
            values[number] = result if result.dtype == held else reinterpret(result, held)

        return store

    def address(self, text: str) -> Reader:
        """``[register+offset]`` as int64."""
        place = re.sub(r"\s|[][]", "", text)
        match = re.fullmatch(rf"({NAME})?(?:\+?(-?\d+))?", place)
        if match is None:
            raise UnsupportedInstruction(f"the address {text}")
        offset = np.int64(int(match[2] or 0))
        if match[1] is None:
            return lambda values: offset
        base = self.read(
            match[1], "s64" if self.flat.registers.get(match[1], "b64")[1:] == "64" else "u32"
        )
        if not offset:
            return lambda values: base(values).astype(np.int64)
        return lambda values: base(values).astype(np.int64) + offset

    def predicate(self, i: Instruction) -> Reader:
        return self.read(f"{'!' if i.negated else ''}{i.predicate}", "pred")

    # ------------------------------------------------------------------ steps

    def step(self, i: Instruction) -> Step | None:
        self.instructions.append(i)
        number = len(self.instructions) - 1
        if i.opcode in IGNORED:
            return None
        if i.opcode in ("ld", "ldu", "st") and "param" in i.modifiers:
            return self.compute(i, self.parameter(i))
        special = getattr(self, f"step_{i.opcode}", None)
        if special is not None:
            made: Step = special(i, number)
            return made
        if uses_carry(i):
            self.flat.registers[CARRY] = "u32"
            return self.compute(
                i, (carrying(i), f"{i.operands[0]}|{CARRY}", (*i.operands[1:], CARRY))
            )
        if i.opcode not in TABLE:
            raise UnsupportedInstruction(f"line {i.line}: {i.text}")
        return self.compute(i, (TABLE[i.opcode](i), i.operands[0], i.operands[1:]))

    def compute(self, i: Instruction, parts: tuple[Pure, str, tuple[str, ...]]) -> Step:
        """A step that reads operands, applies a function and writes the results."""
        pure, destination, sources = parts
        if sources and sources[0].startswith("{"):
            sources = tuple(split(sources[0][1:-1]))
        reads = [self.read(s, k) for s, k in zip(sources, pure.operands, strict=False)]
        function = pure.function
        names = split(destination.strip("{}").replace("|", ","))
        write = self.writer(i, names, pure.results)
        if len(reads) == 1:
            (first,) = reads
            return lambda values, frame: write(values, function(first(values)))
        if len(reads) == 2:
            first, second = reads
            return lambda values, frame: write(values, function(first(values), second(values)))
        return lambda values, frame: write(values, function(*[r(values) for r in reads]))

    def writer(self, i: Instruction, names: list[str], kinds: tuple[str, ...]) -> Writer:
        """Writes one result, or a tuple of them; where a predicate is false, registers keep their values."""
        guard = self.predicate(i) if i.predicate else None
        old = [
            self.read(n, k) if guard and n != "_" else None
            for n, k in zip(names, kinds, strict=True)
        ]
        writes = [self.write(n, k) for n, k in zip(names, kinds, strict=True)]
        if guard is None and len(writes) == 1:
            return writes[0]

        def write(values: Values, results: Lanes) -> None:
            each = results if isinstance(results, tuple) else (results,)
            chosen = guard(values) if guard else None
            kept = [k(values) if k else None for k in old]
            for one, result, before in zip(writes, each, kept, strict=True):
                one(values, result if before is None else np.where(chosen, result, before)[()])

        return write

    def parameter(self, i: Instruction) -> tuple[Pure, str, tuple[str, ...]]:
        """ld.param of the kernel's parameters; those of calls are registers."""
        at = 0 if i.opcode == "st" else 1
        place = slot(i.operands[at])
        kind = i.type()
        count = i.operands[1 - at].count(",") + 1
        if i.opcode == "st" or place in self.flat.registers:
            return Pure((kind,), (kind,), lambda x: x), *(
                (place, (i.operands[1],)) if at == 0 else (i.operands[0], (place,))
            )
        name, _, offset = place.partition("+")
        first, size = int(offset), DTYPES[kind].itemsize
        inputs = tuple(f"param {name} {first + k * size} {kind}" for k in range(count))
        for each in inputs:
            self.flat.registers[each] = kind
            self.input(each, register_dtype(kind))
        if count == 1:
            return Pure((kind,), (kind,), lambda x: x), i.operands[0], inputs
        return Pure((kind,) * count, (kind,) * count, lambda *x: x), i.operands[0], inputs

    def step_cvta(self, i: Instruction, number: int) -> Step:
        """Between the addresses of a space and generic ones."""
        space = next(m for m in i.modifiers if m in SPACES)
        base = np.uint64({"shared": SHARED_BASE, "local": LOCAL_BASE}.get(space, 0))
        function = (lambda x: x - base) if "to" in i.modifiers else (lambda x: x + base)
        return self.compute(i, (Pure(("u64",), ("u64",), function), i.operands[0], i.operands[1:]))

    def request(self, i: Instruction, number: int) -> Request:
        space = next((s for m in i.modifiers if (s := m.split("::")[0]) in SPACES), "")
        count = next((int(m[1]) for m in i.modifiers if m in ("v2", "v4", "v8")), 1)
        return Request(number, space, DTYPES[i.type()], count)

    def guarded(self, i: Instruction) -> Callable[[Values, Frame], np.ndarray | None]:
        """Which of the frame's lanes an instruction applies to; None for all."""
        if not i.predicate:
            return lambda values, frame: None
        read = self.predicate(i)
        return lambda values, frame: np.flatnonzero(
            np.broadcast_to(read(values), frame.lanes.shape)
        )

    def step_ld(self, i: Instruction, number: int) -> Step:
        request, guard, address = (
            self.request(i, number),
            self.guarded(i),
            self.address(i.operands[1]),
        )
        names = split(i.operands[0].strip("{}"))
        write = self.writer(i, names, (i.type(),) * len(names))

        def load(values: Values, frame: Frame) -> None:
            chosen, places = guard(values, frame), address(values)
            if chosen is None:
                found = frame.access.load(frame.lanes, places, request)
            else:
                found = np.zeros(
                    (frame.lanes.size, *[request.count] * (request.count > 1)), request.dtype
                )
                found[chosen] = frame.access.load(
                    frame.lanes[chosen], pick(places, chosen), request
                )
            write(
                values,
                tuple(np.ascontiguousarray(found[:, k]) for k in range(request.count))
                if found.ndim == 2
                else found,
            )

        return load

    step_ldu = step_ld

    def step_st(self, i: Instruction, number: int) -> Step:
        request, guard, address = (
            self.request(i, number),
            self.guarded(i),
            self.address(i.operands[0]),
        )
        reads = [self.read(s, i.type()) for s in split(i.operands[1].strip("{}"))]

        def store(values: Values, frame: Frame) -> None:
            chosen, places = guard(values, frame), address(values)
            parts = [np.broadcast_to(r(values), frame.lanes.shape) for r in reads]
            data = parts[0] if request.count == 1 else np.stack(parts, axis=1)
            if chosen is None:
                frame.access.store(frame.lanes, places, data, request)
            else:
                frame.access.store(frame.lanes[chosen], pick(places, chosen), data[chosen], request)

        return store

    def step_atom(self, i: Instruction, number: int) -> Step:
        """atom gives the old value, red does not."""
        operands = i.operands if i.opcode == "atom" else ("_", *i.operands)
        kind, change = atomics.operation(i)
        request, guard, address = (
            self.request(i, number),
            self.guarded(i),
            self.address(operands[1]),
        )
        reads = [self.read(o, kind) for o in operands[2:]]
        write = self.writer(i, [operands[0]], (kind,))

        def update(values: Values, frame: Frame) -> None:
            chosen, places = guard(values, frame), address(values)
            parts = [np.broadcast_to(r(values), frame.lanes.shape) for r in reads]
            if chosen is None:
                write(values, frame.access.update(frame.lanes, places, change, parts, request))
                return
            old = np.zeros(frame.lanes.shape, request.dtype)
            some = [p[chosen] for p in parts]
            old[chosen] = frame.access.update(
                frame.lanes[chosen], pick(places, chosen), change, some, request
            )
            write(values, old)

        return update

    step_red = step_atom

    def unguarded(self, i: Instruction) -> None:
        if i.predicate:
            raise UnsupportedInstruction(f"line {i.line}: a predicated warp operation: {i.text}")

    def step_shfl(self, i: Instruction, number: int) -> Step:
        self.unguarded(i)
        mode = next(m for m in i.modifiers if m in ("up", "down", "bfly", "idx"))
        reads = [self.read(o, "b32") for o in i.operands[1:5]]
        names = i.operands[0].split("|")
        write = self.writer(i, names, ("b32", "pred")[: len(names)])

        def shuffle(values: Values, frame: Frame) -> None:
            operands = [np.broadcast_to(r(values), frame.lanes.shape) for r in reads]
            results = frame.warps.shuffle(mode, frame.lanes, *operands, instruction=number)
            write(values, results[: len(names)])

        return shuffle

    def step_vote(self, i: Instruction, number: int) -> Step:
        self.unguarded(i)
        mode = next(m for m in i.modifiers if m in ("all", "any", "uni", "ballot"))
        predicate, members = self.read(i.operands[1], "pred"), self.read(i.operands[2], "b32")
        write = self.write(i.operands[0], "b32" if mode == "ballot" else "pred")

        def vote(values: Values, frame: Frame) -> None:
            yes, mask = (
                np.broadcast_to(r(values), frame.lanes.shape) for r in (predicate, members)
            )
            write(values, frame.warps.vote(mode, frame.lanes, yes, mask, number))

        return vote

    def step_activemask(self, i: Instruction, number: int) -> Step:
        write = self.write(i.operands[0], "b32")
        return lambda values, frame: write(
            values,
            frame.warps.vote(
                "ballot",
                frame.lanes,
                np.True_,
                np.zeros(frame.lanes.size, np.uint32) | FULL,
                number,
            ),
        )

    def step_bar(self, i: Instruction, number: int) -> Step:
        """bar.warp.sync: orders the memory accesses of a warp."""
        self.unguarded(i)
        members = self.read(i.operands[0], "b32")

        def synchronize(values: Values, frame: Frame) -> None:
            frame.warps.active(
                frame.lanes, np.broadcast_to(members(values), frame.lanes.shape), number
            )
            frame.access.pass_warp_barrier(frame.lanes)

        return synchronize

    def step_trap(self, i: Instruction, number: int) -> Step:
        guard = self.guarded(i)

        def trap(values: Values, frame: Frame) -> None:
            chosen = guard(values, frame)
            lanes = frame.lanes if chosen is None else frame.lanes[chosen]
            if lanes.size:
                raise frame.access.fail(Trap, int(lanes[0]), "stops the kernel", number)

        return trap


def pick(values: Lanes, chosen: np.ndarray) -> Lanes:
    """The chosen lanes of a register that may be a scalar."""
    return values[chosen] if values.ndim else values
