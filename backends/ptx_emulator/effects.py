"""Instructions that touch memory or other lanes, as steps: ``EFFECTS[opcode](operands, i,
number)``.

``number`` is the instruction's, by which faults and counters know it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import atomics
from .access import Access, Request
from .faults import Trap, UnsupportedInstruction
from .operands import Operands, Values, pick, spread
from .parse import Instruction, split
from .types import DTYPES
from .warp import Warps

SPACES = ("global", "shared", "local", "const", "param")


@dataclass(slots=True)
class Frame:
    """The lanes that run a basic block, and what they can reach."""

    lanes: np.ndarray
    access: Access
    warps: Warps


Step = Callable[[Values, Frame], None]


def request_of(i: Instruction, number: int) -> Request:
    space = next((s for m in i.modifiers if (s := m.split("::")[0]) in SPACES), "")
    count = next((int(m[1]) for m in i.modifiers if m in ("v2", "v4", "v8")), 1)
    return Request(number, space, DTYPES[i.type()], count)


def load(o: Operands, i: Instruction, number: int) -> Step:
    request, choose, address = request_of(i, number), o.chooser(i), o.address(i.operands[1])
    names = split(i.operands[0].strip("{}"))
    write = o.write_all(i, names, (i.type(),) * len(names))

    def step(values: Values, frame: Frame) -> None:
        chosen, places = choose(values, frame.lanes), address(values)
        if chosen is None:
            found = frame.access.load(frame.lanes, places, request)
        else:
            some = frame.access.load(frame.lanes[chosen], pick(places, chosen), request)
            found = np.zeros((frame.lanes.size, *some.shape[1:]), request.dtype)
            found[chosen] = some
        write(values, tuple(np.ascontiguousarray(found.T)) if found.ndim == 2 else found)

    return step


def store(o: Operands, i: Instruction, number: int) -> Step:
    request, choose, address = request_of(i, number), o.chooser(i), o.address(i.operands[0])
    reads = [o.read(s, i.type()) for s in split(i.operands[1].strip("{}"))]

    def step(values: Values, frame: Frame) -> None:
        chosen, places = choose(values, frame.lanes), address(values)
        parts = [spread(r(values), frame.lanes) for r in reads]
        data = parts[0] if request.count == 1 else np.stack(parts, axis=1)
        if chosen is None:
            frame.access.store(frame.lanes, places, data, request)
        else:
            frame.access.store(frame.lanes[chosen], pick(places, chosen), data[chosen], request)

    return step


def atomic(o: Operands, i: Instruction, number: int) -> Step:
    """atom gives the old value, red does not."""
    operands = i.operands if i.opcode == "atom" else ("_", *i.operands)
    kind, change = atomics.operation(i)
    request, choose, address = request_of(i, number), o.chooser(i), o.address(operands[1])
    reads = [o.read(text, kind) for text in operands[2:]]
    write = o.write_all(i, [operands[0]], (kind,))

    def step(values: Values, frame: Frame) -> None:
        chosen, places = choose(values, frame.lanes), address(values)
        lanes = frame.lanes if chosen is None else frame.lanes[chosen]
        parts = [spread(r(values), frame.lanes) for r in reads]
        if chosen is not None:
            places, parts = pick(places, chosen), [p[chosen] for p in parts]
        old = frame.access.update(lanes, places, change, parts, request)
        if chosen is not None:
            some, old = old, np.zeros(frame.lanes.shape, request.dtype)
            old[chosen] = some
        write(values, old)

    return step


def shuffle(o: Operands, i: Instruction, number: int) -> Step:
    refuse_predicate(i)
    mode = next(m for m in i.modifiers if m in ("up", "down", "bfly", "idx"))
    reads = [o.read(text, "b32") for text in i.operands[1:5]]
    names = i.operands[0].split("|")
    write = o.write_all(i, names, ("b32", "pred")[: len(names)])

    def step(values: Values, frame: Frame) -> None:
        value, distance, control, members = (spread(r(values), frame.lanes) for r in reads)
        results = frame.warps.shuffle(
            mode, frame.lanes, value, distance, control, members, instruction=number
        )
        write(values, results[: len(names)])

    return step


def vote(o: Operands, i: Instruction, number: int) -> Step:
    refuse_predicate(i)
    mode = next(m for m in i.modifiers if m in ("all", "any", "uni", "ballot"))
    predicate, members = o.read(i.operands[1], "pred"), o.read(i.operands[2], "b32")
    write = o.write(i.operands[0], "b32" if mode == "ballot" else "pred")

    def step(values: Values, frame: Frame) -> None:
        yes, mask = spread(predicate(values), frame.lanes), spread(members(values), frame.lanes)
        write(values, frame.warps.vote(mode, frame.lanes, yes, mask, number))

    return step


def active_mask(o: Operands, i: Instruction, number: int) -> Step:
    """The lanes that run here now; on a GPU they may be fewer."""
    write = o.write(i.operands[0], "b32")
    return lambda values, frame: write(values, frame.warps.together(frame.lanes))


def warp_barrier(o: Operands, i: Instruction, number: int) -> Step:
    """bar.warp.sync: orders the memory accesses of a warp."""
    refuse_predicate(i)
    members = o.read(i.operands[0], "b32")

    def step(values: Values, frame: Frame) -> None:
        frame.warps.active(frame.lanes, spread(members(values), frame.lanes), number)
        frame.access.pass_warp_barrier(frame.lanes)

    return step


def trap(o: Operands, i: Instruction, number: int) -> Step:
    choose = o.chooser(i)

    def step(values: Values, frame: Frame) -> None:
        chosen = choose(values, frame.lanes)
        lanes = frame.lanes if chosen is None else frame.lanes[chosen]
        if lanes.size:
            raise frame.access.fail(Trap, int(lanes[0]), "stops the kernel", number)

    return step


def refuse_predicate(i: Instruction) -> None:
    if i.predicate:
        raise UnsupportedInstruction(f"line {i.line}: a predicated warp operation: {i.text}")


EFFECTS: dict[str, Callable[[Operands, Instruction, int], Step]] = {
    "ld": load,
    "ldu": load,
    "st": store,
    "atom": atomic,
    "red": atomic,
    "shfl": shuffle,
    "vote": vote,
    "activemask": active_mask,
    "bar": warp_barrier,
    "trap": trap,
}
