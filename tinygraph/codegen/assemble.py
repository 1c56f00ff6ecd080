"""From a plan to a program: kernels without repetition, and their argument blocks."""

from __future__ import annotations

import re

import numpy as np

from ..plan.contraction import FIELDS
from ..plan.plan import Access, Emitted, Launch, Nest, Plan, Record, Special, Tile
from ..plan.winograd_kernel import WinogradTile
from . import nest, special
from .nest import Address, Kernel
from .program import Argument, Call, Code, KernelCode, Place, Work


def assemble(plan: Plan) -> Code:
    """The code of a plan."""
    table: dict[str, int] = {}
    kernels: list[KernelCode] = []

    def work(launch: Launch) -> Work:
        made = kernel(launch)
        if made.text not in table:
            table[made.text] = len(kernels)
            name = f"{re.sub(r'[^a-z0-9_]', '_', launch.name)}_{len(kernels)}"
            kernels.append(KernelCode(name, made.text.replace("NAME", name, 1), record(launch)))
        return Work(table[made.text], tuple(resolve(a) for a in made.arguments), launch.parts)

    def call(launch: Launch) -> Call:
        return Call(tuple(work(m) for m in launch.members), launch.waits, launch.name)

    prepare = tuple(call(x) for x in plan.prepare)
    calls = tuple(call(x) for x in plan.launches)
    return Code(plan.name, tuple(kernels), prepare, calls, plan.arena, plan.prepared, plan.scratch)


def record(launch: Launch) -> Record | None:
    """What the kernel of a launch is emitted from, if not from its text."""
    if isinstance(launch.work, Tile):
        return launch.work.contraction
    return launch.work.record if isinstance(launch.work, Emitted) else None


def kernel(launch: Launch) -> Kernel:
    work = launch.work
    if isinstance(work, Emitted):
        return emitted(work)
    if isinstance(work, Nest):
        return nest.emit(work, launch.parts)
    if isinstance(work, Tile):
        return tile(work)
    assert isinstance(work, Special)
    return special.emit(work, launch.parts)


def tile(work: Tile) -> Kernel:
    """A contraction's text, which runs its Python twin, and its argument block."""
    sizes = dict(work.sizes)
    partial = Address(work.partial) if work.partial else 0
    first = {"a": Address(work.a), "b": Address(work.b), "partial": partial}
    arguments = [first[f] if f in first else sizes[f] for f in FIELDS]
    for operand in work.operands:
        arguments += [Address(operand), *operand.strides[:4]]
    text = f"def NAME(part, tid, args):\n    contraction(part, tid, args, {work.contraction!r})\n"
    return Kernel(text, tuple(arguments))


def emitted(work: Emitted) -> Kernel:
    """The text runs the record's Python twin."""
    arguments: list[int | Address] = [value for _, value in work.fields]
    if work.scratch is not None:
        arguments += [Address(Access(work.scratch, 0, (), "uint8")), work.scratch.bytes]
    for operand in work.operands:
        arguments += [Address(operand), *operand.strides]
    twin = "winograd_tile" if isinstance(work.record, WinogradTile) else "winograd_weights"
    text = f"def NAME(part, tid, args):\n    {twin}(part, tid, args, {work.record!r})\n"
    return Kernel(text, tuple(arguments))


def resolve(argument: int | Address) -> Argument:
    return place(argument.access) if isinstance(argument, Address) else argument


def place(access: Access) -> Place:
    """Where an access begins: buffers of the arena share one block, prepared ones another."""
    buffer = access.buffer
    shared = buffer.home in ("arena", "prepared")
    offset = access.offset * np.dtype(access.dtype).itemsize + (buffer.offset if shared else 0)
    return (buffer.home, 0 if shared else buffer.number, offset)
