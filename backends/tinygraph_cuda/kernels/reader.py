"""How a block of threads copies tiles of A and B to shared memory."""

from __future__ import annotations

from dataclasses import dataclass

from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.records.work import Access, Tile

from .blocking import PAD, Blocking

VECTOR = 4  # elements of a 128-bit access


@dataclass(frozen=True, slots=True)
class Reader:
    """How a block of threads copies a tile of A or B to shared memory.

    Attributes:
        name: 'a' or 'b'.
        lines: rows of A's tile, columns of B's.
        along: 'k' where neighbouring threads read along the reduction, 'line' where across.
        width: elements of one access.
    """

    name: str
    lines: int
    depth: int
    threads: int
    along: str
    width: int

    @property
    def lanes(self) -> int:
        """Threads that read one row of the tile."""
        return (self.depth if self.along == "k" else self.lines) // self.width

    @property
    def step(self) -> int:
        """From one access of a thread to its next, across."""
        return self.threads // self.lanes

    @property
    def count(self) -> int:
        return self.lines * self.depth // self.width // self.threads

    @property
    def stash(self) -> tuple[int, int]:
        """Strides in shared memory, of accesses and of their elements."""
        pitch = self.lines + PAD
        return (self.step, pitch) if self.along == "k" else (self.step * pitch, 1)


def reader(name: str, work: Tile, lines: int, way: Blocking) -> Reader:
    """Along whichever of both is contiguous, 128 bits at a time where addresses allow it."""
    s = work.sizes
    access = work.a if name == "a" else work.b
    if name == "a":
        inner, size = s["a_m"], s["m"]
        others = [(s["a_g"], s["g"]), (s["a_z"], s["z"]), (s["a_y"], s["y"])]
    else:
        inner, size, others = s["b_j"], s["n"], [(s["b_g"], s["g"])]
    outer = [*others, (s[f"{name}_r"], s["r"]), (s[f"{name}_s"], s["s"])]
    ways = {
        "k": (s[f"{name}_k"], s["k"], inner, size),
        "line": (inner, size, s[f"{name}_k"], s["k"]),
    }
    for along, (stride, length, other, count) in ways.items():
        steps = [*outer, (other, count)]
        even = length % VECTOR == 0 and all(x % VECTOR == 0 for x, n in steps if n > 1)
        if stride == 1 and even and aligned(access):
            return Reader(name, lines, way.depth, way.threads, along, VECTOR)
    along = "k" if s[f"{name}_k"] == 1 and s["k"] > 1 else "line"
    return Reader(name, lines, way.depth, way.threads, along, 1)


def aligned(access: Access) -> bool:
    """True if an access begins at a multiple of what VECTOR elements take."""
    size = VECTOR * DTYPES[access.dtype].bytes
    if access.step % VECTOR:
        return False  # in the next step of a loop it begins elsewhere
    return (access.offset * DTYPES[access.dtype].bytes + access.buffer.offset) % size == 0
