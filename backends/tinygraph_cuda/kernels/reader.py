"""How a block of threads copies tiles of A and B to shared memory."""

from __future__ import annotations

from dataclasses import dataclass

from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.records.work import Access, Tile

from .blocking import PAD, AnyBlocking

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


def reader(
    name: str, work: Tile, lines: int, way: AnyBlocking, widths: tuple[int, ...] = (4,)
) -> Reader:
    """Along whichever of both is contiguous, as many elements at a time, of ``widths``, as
    addresses allow.
    """
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
    for width in widths:
        for along, (stride, length, other, count) in ways.items():
            steps = [length, *(x for x, n in (*outer, (other, count)) if n > 1)]
            if stride == 1 and aligned(access, width) and all(x % width == 0 for x in steps):
                return Reader(name, lines, way.depth, way.threads, along, width)
    along = "k" if s[f"{name}_k"] == 1 and s["k"] > 1 else "line"
    return Reader(name, lines, way.depth, way.threads, along, 1)


def aligned(access: Access, count: int = VECTOR) -> bool:
    """True if an access begins at a multiple of what ``count`` elements take."""
    size = count * DTYPES[access.dtype].bytes
    if access.step % count:
        return False  # in the next step of a loop it begins elsewhere
    return (access.offset * DTYPES[access.dtype].bytes + access.buffer.offset) % size == 0
