"""Generated modules as plain Python: what their kernels call, and memory with addresses and bounds.

A debugger steps through a kernel, a NaN can be hunted in it, and generated code is tested without
being compiled:

    with AddressSpace(blocks) as memory:
        module.main(launch, memory.address)
"""

from __future__ import annotations

import math as _math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..graph.dtype import DTYPES, astype, name_of
from ..plan.records.body import Body, Statement  # noqa: F401  (generated modules write records)
from ..plan.records.contraction import Contraction, Edge, TileOperand  # noqa: F401  (records name it)
from ..ranks.collectives import KINDS as _KINDS
from ..ranks.collectives import collective as _collective
from ..ranks.world import world as _world
from . import intrinsics as _intrinsics
from . import library as _library
from .contraction import MemoryView
from .contraction import contraction as _contraction
from .program import Code

inf, nan = _math.inf, _math.nan
maximum, minimum = np.maximum, np.minimum


def accumulate(acc: Any, value: Any) -> Any:
    """``acc + value``; compiled code may add in another, fixed order."""
    return acc + value


class Flat:
    """Memory around an address, as kernels index it: flat, and an error beyond either end of its
    block.
    """

    __slots__ = ("block", "start")

    def __init__(self, block: np.ndarray, start: int):
        self.block, self.start = block, start

    def __getitem__(self, i: int) -> Any:
        return self.block[self.inside(i)]

    def __setitem__(self, i: int, value: Any) -> None:
        self.block[self.inside(i)] = value

    def inside(self, i: int) -> int:
        if self.start + i < 0:
            raise IndexError(f"element {i} is before the block")
        return self.start + i


class Carried(Flat):
    """Memory of a format that NumPy lacks; its values are float32."""

    __slots__ = ()

    def __getitem__(self, i: int) -> Any:
        return astype(self.block[self.inside(i)], "float32")[()]

    def __setitem__(self, i: int, value: Any) -> None:
        self.block[self.inside(i)] = astype(value, name_of(self.block.dtype))


class AddressSpace:
    """Blocks of memory by home and number; within ``with memory:`` kernels see it."""

    active: ClassVar[list[AddressSpace]] = []

    def __init__(self, blocks: Mapping[tuple[str, int], np.ndarray]):
        self.blocks = [np.asarray(b).reshape(-1).view(np.uint8) for b in blocks.values()]
        self.starts = {key: (number + 1) << 40 for number, key in enumerate(blocks)}

    def __enter__(self) -> AddressSpace:
        self.active.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.active.pop()

    def address(self, home: str, number: int, offset: int) -> int:
        key = ("arena", 0) if home == "temporary" else (home, number)
        return self.starts[key] + offset

    def flat(self, address: int, dtype: str) -> Flat:
        """The block that contains an address, indexed from there."""
        number, offset = (address >> 40) - 1, address & ((1 << 40) - 1)
        if not 0 <= number < len(self.blocks) or offset > len(self.blocks[number]):
            raise IndexError(f"no memory at {address:#x}")
        size = DTYPES[dtype].bytes
        block = self.blocks[number][offset % size :]
        kind = Carried if DTYPES[dtype].carrier else Flat
        return kind(block[: len(block) // size * size].view(DTYPES[dtype].numpy), offset // size)

    def view(self, address: int, dtype: str) -> np.ndarray:
        """The rest of the block, from an address on."""
        flat = self.flat(address, dtype)
        return flat.block[flat.start :]


def active_memory() -> MemoryView:
    """The memory that the generated module which runs now sees; for twins of other kernels."""
    return AddressSpace.active[-1].view


def communicate(
    port: Any, memory: Flat, kind: int, size: int, dtype: int, root: int, ranks: int
) -> None:
    """What all ranks compute together, in place."""
    part = memory.block[memory.start : memory.start + size]
    _collective(_world(), _KINDS[kind], part, root)


def sum_shards(port: Any, own: Flat, total: Flat, bytes: int) -> None:
    """The sum over all shards, of which a module by itself knows one."""
    size = bytes // own.block.itemsize
    total.block[total.start : total.start + size] = own.block[own.start : own.start + size]


def pass_message(port: Any, number: int) -> None:
    """A message between ranks, whose memory a module by itself has at both ends."""


def contraction(part: int, tid: int, args: Sequence[int], spec: Contraction) -> None:
    """The contraction of the compiled code, by NumPy."""
    _contraction(part, tid, args, spec, active_memory())


def _views() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for dtype in DTYPES:
        names[f"view_{dtype}"] = lambda address, d=dtype: AddressSpace.active[-1].flat(
            int(address), d
        )
        names[f"stack_{dtype}"] = lambda n, d=dtype: np.zeros(n, DTYPES[d].numpy)
    return names


for _module in (_intrinsics, *_library.MODULES):
    globals().update({k: v for k, v in vars(_module).items() if not k.startswith("_")})
globals().update(_views())


def execute(text: str, code: Code, blocks: Mapping[tuple[str, int], np.ndarray]) -> None:
    """Runs a generated module on the given inputs, outputs, parameters and constants.

    The arena and the prepared memory begin filled with a pattern, so that what is read before it is
    written shows.
    """
    memory = AddressSpace({
        **blocks,
        ("arena", 0): np.full(code.arena + 64, 0xA5, np.uint8),
        ("prepared", 0): np.full(code.prepared + 64, 0xA5, np.uint8),
        ("scratch", 0): np.full(code.scratch, 0xA5, np.uint8),
        ("port", 0): np.zeros(64, np.uint8),
    })  # fmt: skip
    module: dict[str, Any] = {}
    exec(compile(text, f"<{code.name}>", "exec"), module)  # our own text
    with memory, np.errstate(all="ignore"):
        module["main"](_launch, memory.address)


def _launch(
    kernel: Callable[[int, int, Sequence[int]], None], parts: int, args: Sequence[int]
) -> None:
    for part in range(parts):
        kernel(part, 0, args)


__all__ = [
    n
    for n in globals()
    if not n.startswith("_") and n not in ("annotations", "Mapping", "Sequence", "Callable")
]
