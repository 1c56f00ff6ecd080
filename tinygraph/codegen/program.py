"""From a plan to code: kernels without repetition, and the calls that make up a program.

What leaves here is independent of any device and can be written to a file: texts, records and integers.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np

from ..plan.contraction import FIELDS, Contraction
from ..plan.plan import Access, Emitted, Launch, Nest, Plan, Special, Tile
from ..plan.winograd_kernel import WinogradTile, WinogradWeights
from . import nest, special
from .nest import Address, Kernel

Place = tuple[str, int, int]  # home, number, byte offset: resolved when a program is bound to memory
Argument = int | Place
Record = Contraction | WinogradTile | WinogradWeights


@dataclass(frozen=True, slots=True)
class KernelCode:
    """One compiled function: the text of a Python function, and the record if it is emitted from one."""

    name: str
    text: str
    record: Record | None = None
    known_key: str = ""  # of a kernel that comes from the store, without its text

    @property
    def key(self) -> str:
        """What its machine code depends on; its name does not count."""
        if self.known_key:
            return self.known_key
        content = repr(self.record) if self.record else self.text.replace(self.name, "NAME", 1)
        return hashlib.sha256(content.encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Work:
    """A kernel with its arguments, in so many parts."""

    kernel: int
    arguments: tuple[Argument, ...]
    parts: int


@dataclass(frozen=True, slots=True)
class Call:
    """A launch: its work (several where launches are bundled), the calls it waits for, its name in profiles."""

    work: tuple[Work, ...]
    waits: tuple[int, ...]
    name: str

    @property
    def parts(self) -> int:
        return sum(w.parts for w in self.work)


@dataclass(frozen=True, slots=True)
class Code:
    """A program: kernels, calls, and the sizes in bytes of the memory that it needs."""

    name: str
    kernels: tuple[KernelCode, ...]
    prepare: tuple[Call, ...]
    calls: tuple[Call, ...]
    arena: int
    prepared: int
    scratch: int = 0  # for each thread


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
    first = {"a": Address(work.a), "b": Address(work.b), "partial": Address(work.partial) if work.partial else 0}
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
    """Where an access begins: buffers of the arena and of the prepared memory share one block each."""
    buffer = access.buffer
    shared = buffer.home in ("arena", "prepared")
    offset = access.offset * np.dtype(access.dtype).itemsize + (buffer.offset if shared else 0)
    return (buffer.home, 0 if shared else buffer.number, offset)
