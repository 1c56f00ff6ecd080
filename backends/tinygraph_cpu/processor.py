"""What plans must know of a processor, with this backend's measured numbers.

``CpuTarget(lanes, registers)`` plans for nominal caches, the same on every machine; the backend's
own target has those that the system reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from tinygraph.plan.records.contraction import Contraction
from tinygraph.plan.records.plan import Launch
from tinygraph.plan.records.target import Copying, Cut, Lowering, OperatorKernel, Product, Shaping
from tinygraph.plan.records.work import Emitted, Tile

from .attention.work import AttentionKernel
from .costs.caches import LINE, NOMINAL, Caches
from .costs.matrix import LINES
from .costs.steps import tile_cycles
from .costs.tiles import CHUNK, Core, step_cycles
from .forecast import part_cycles
from .winograd.lower import winograd_launches
from .winograd.records import WinogradTile

GRAIN = 16_384  # elements that are worth a part of their own
LAUNCH = 4096  # the overhead of a launch, in bytes read
OPERATIONS = 8  # that are done while a byte is read

COPYING = Copying(
    heavy=1 << 20,
    few=128,
    many=512,
    turned=512,
    turned_once=192,
    reused=32,
    near=128 * 1024,
    crowded=2048,
    gap=LINE,
    deep=64,
    ways=16,  # more lines than a set of the first cache holds
)

# What plain code goes without: it takes longer than it saves in the first hundred steps. A vision
# transformer's training step is compiled in 0.70 s instead of 0.82, and takes no longer.
SLOW = frozenset(
    {"simplify", "simplify_views", "recompute", "join_siblings", "bundle", "chain"}
)

# one to four vectors of the widest; a tile of each of two float32 operands is in the first cache
SHAPING = Shaping(unrolled=32, blocks=(64, 32, 16), tile=64, apart=3, row=64)


@dataclass(frozen=True, slots=True)
class CpuPrefetch:
    """The weights of later launches that tiles fetch, one line at each step of the reduction.

    Attributes:
        least: bytes of a parameter that is read in place, for it to be fetched.
        limit: bytes that may wait in the last cache, which others use too.
        near: bytes that may wait in a core's own cache.
        rate: bytes that memory gives a core in a cycle without keeping it from its work.
    """

    least: int = 16 * 1024
    limit: int = NOMINAL.last
    near: int = 2 * NOMINAL.second
    rate: float = 4.0

    def capacity(self, launch: Launch) -> float:
        """Bytes that a launch can fetch while it multiplies; 0 if its kernel does not fetch."""
        work = launch.work
        if isinstance(work, Tile) and not work.contraction.chunked:
            s, contraction = work.sizes, work.contraction
            tiles = work.row_tiles
            steps = s["r"] * s["s"] * -(-s["k"] // contraction.step)
            most = LINES * LINE if contraction.matrix else LINE
            cycles = step_cycles(contraction, contraction.rows)
            return self.pace(contraction, tiles, s["n"], steps, cycles, most)
        if isinstance(work, Emitted) and isinstance(work.record, WinogradTile):
            f, record = work.fields, work.record
            tiles = -(-f["z"] * f["tiles_y"] * f["tiles_x"] // record.rows)
            cycles = tile_cycles(record.rows, record.vectors)
            return self.pace(record, tiles, f["n"], record.points * f["k"], cycles, LINE)
        return 0.0

    def pace(
        self, spec: Contraction | WinogradTile, tiles: int, n: int, depth: int, cycles: float,
        most: int,
    ) -> float:  # fmt: skip
        """Bytes that this many row tiles and n columns fetch over a reduction, with so many cycles
        and at ``most`` so many bytes in a step.
        """
        return tiles * -(-n // spec.width) * depth * min(most, self.rate * cycles)


@dataclass(frozen=True, slots=True)
class CpuTarget:
    """A processor with this many float32 lanes in a vector and this many vector registers.

    Attributes:
        devices: how many there are; None: as many as are named.
        winograd: whether Winograd convolutions are considered.
        one_pass: whether attention that does not store its scores is.
        matrix: whether there are matrix registers.
        plain: whether code is preferred that is compiled quickly.
        caches: what blocks must fit in; see ``costs/caches.py``.
        chunk: bytes of the operands in a chunk of a long reduction; the same on every machine,
            since chunks decide the order of sums.
        resident: bytes of temporary values that may be live in any case.
    """

    lanes: int = 16
    registers: int = 32
    devices: int | None = 1
    winograd: bool = True
    one_pass: bool = True
    packs: bool = True
    matrix: bool = False
    plain: bool = False
    caches: Caches = NOMINAL
    chunk: int = CHUNK
    copying: Copying = COPYING
    shaping: Shaping = SHAPING
    prefetch: CpuPrefetch | None = CpuPrefetch()
    resident: int = 2**20

    @property
    def without(self) -> frozenset[str]:
        return SLOW if self.plain else frozenset()

    @property
    def core(self) -> Core:
        return Core(self.lanes, self.registers, self.caches, self.chunk, self.matrix, self.plain)

    @property
    def near(self) -> int:
        return self.caches.second

    @property
    def lowerings(self) -> tuple[Lowering, ...]:
        return (partial(winograd_launches, self.core),) if self.winograd else ()

    @property
    def kernels(self) -> Mapping[str, OperatorKernel]:
        one_pass = AttentionKernel(self.lanes, self.registers)
        return {"attention": one_pass, "attention_gradient": one_pass} if self.one_pass else {}

    def cut(self, product: Product) -> Cut:
        return self.core.cut(product)

    def across(self, columns: Product, reduction: Product) -> bool:
        return self.core.across(columns, reduction)

    def parts(self, work: int) -> int:
        """Small counts are rounded up to even, so that two threads share evenly."""
        count = round(work / GRAIN)
        return count + count % 2 if 1 < count < 8 else min(count, 64)

    def part_times(self, launch: Launch) -> list[float]:
        """In cycles of a core."""
        return part_cycles(launch, self.core)

    def duration(self, operations: int, bytes: int) -> float:
        """In bytes read."""
        return LAUNCH + bytes + operations / OPERATIONS
