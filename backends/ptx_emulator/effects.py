"""Instructions that touch memory or other lanes, as steps: ``EFFECTS[opcode](operands, i,
number)``.

``number`` is the instruction's, by which faults and counters know it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import atomics, matrices
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


def asynchronous_copy(o: Operands, i: Instruction, number: int) -> Step:
    """cp.async: the copy, the end of a group, and waiting for all groups but the last few."""
    if "commit_group" in i.modifiers or "wait_group" in i.modifiers or "wait_all" in i.modifiers:
        refuse_predicate(i)
        return group_of_copies(i)
    sizes = [int(m) for m in i.operands[2:3]]
    if i.modifiers[0] != "async" or sizes[:1] not in ([4], [8], [16]) or len(i.operands) > 4:
        raise UnsupportedInstruction(f"line {i.line}: {i.text}")
    choose, to, source = o.chooser(i), o.address(i.operands[0]), o.address(i.operands[1])
    given = o.read(i.operands[3] if len(i.operands) > 3 else i.operands[2], "u32")
    request = Request(number, "shared", DTYPES["b32"], sizes[0] // 4)

    def step(values: Values, frame: Frame) -> None:
        chosen = choose(values, frame.lanes)
        there, here, size = (spread(x(values), frame.lanes) for x in (to, source, given))
        if chosen is None:
            frame.access.begin_copy(frame.lanes, there, here, size, request)
        elif chosen.size:
            lanes = frame.lanes[chosen]
            frame.access.begin_copy(lanes, there[chosen], here[chosen], size[chosen], request)

    return step


def group_of_copies(i: Instruction) -> Step:
    every, commits = "wait_all" in i.modifiers, "wait_group" not in i.modifiers
    keep = 0 if every or commits else int(i.operands[0])

    def step(values: Values, frame: Frame) -> None:
        if commits:
            frame.access.copies.commit(frame.lanes)
        if every or not commits:
            frame.access.await_copies(frame.lanes, keep)

    return step


def load_matrix(o: Operands, i: Instruction, number: int) -> Step:
    """ldmatrix: eight rows of 16 bytes a square, the addresses of square s from lanes 8 s on."""
    refuse_predicate(i)
    count = next((int(m[1]) for m in i.modifiers if m in ("x1", "x2", "x4")), 0)
    if not count or "m8n8" not in i.modifiers or "b16" not in i.modifiers:
        raise UnsupportedInstruction(f"line {i.line}: {i.text}")
    address, names = o.address(i.operands[1]), split(i.operands[0].strip("{}"))
    write = o.write_all(i, names, ("b32",) * count)
    space = "shared" if any(m.startswith("shared") for m in i.modifiers) else ""
    request = Request(number, space, DTYPES["b32"], 4)

    def step(values: Values, frame: Frame) -> None:
        warps = frame.warps.whole(frame.lanes, number)
        giving = warps[:, : 8 * count].reshape(-1)
        places = spread(address(values), frame.lanes)[giving]
        rows = frame.access.load(frame.lanes[giving], places, request)
        rows = np.ascontiguousarray(rows).view(np.uint16).reshape(-1, count, 8, 8)
        results = []
        for s in range(count):
            result = np.empty(frame.lanes.size, np.uint32)
            result[warps] = matrices.squares(rows[:, s], "trans" in i.modifiers)
            results.append(result)
        write(values, tuple(results))

    return step


MULTIPLICANDS = {  # of mma: the types of A and B, and k, with C's type
    ("bf16", "f32"): ("m16n8k8", "m16n8k16"),
    ("f16", "f32"): ("m16n8k8", "m16n8k16"),
    ("tf32", "f32"): ("m16n8k4", "m16n8k8"),
    ("s8", "s32"): ("m16n8k16", "m16n8k32"),
    ("u8", "s32"): ("m16n8k16", "m16n8k32"),
}


def multiply_matrices(o: Operands, i: Instruction, number: int) -> Step:
    """mma.sync of a warp: D = A B + C."""
    refuse_predicate(i)
    shape, (result, *kinds, added) = i.modifiers[2], i.modifiers[-4:]
    known = all(shape in MULTIPLICANDS.get((kind, added), ()) for kind in kinds)
    if not known or result != added or i.modifiers[3:5] != ("row", "col") or "satfinite" in i.text:
        raise UnsupportedInstruction(f"line {i.line}: {i.text}")
    groups = [split(x.strip("{}")) for x in i.operands]
    reads = [
        [o.read(x, k) for x in g] for g, k in zip(groups[1:], ("b32", "b32", added), strict=True)
    ]
    write = o.write_all(i, groups[0], (added,) * 4)

    def step(values: Values, frame: Frame) -> None:
        warps = frame.warps.whole(frame.lanes, number)
        a, b, c = (np.stack([spread(r(values), frame.lanes)[warps] for r in g]) for g in reads)
        found = matrices.spread_sums(matrices.multiply(a, b, c, (kinds[0], kinds[1])))
        results = []
        for each in found:
            one = np.empty(frame.lanes.size, each.dtype)
            one[warps] = each
            results.append(one)
        write(values, tuple(results))

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
    "cp": asynchronous_copy,
    "ldmatrix": load_matrix,
    "mma": multiply_matrices,
}
