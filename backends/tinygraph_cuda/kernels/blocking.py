"""How a GPU cuts a contraction: tiles of the result, chunks of the reduction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from tinygraph.plan.records.target import Shaping

MULTIPROCESSORS = 108  # of the GPU that is planned for; results must not depend on the one at hand
MOST_CHUNKS = 32
SHAPING = Shaping(unrolled=32, blocks=(64, 32, 16))
PAD = 4  # floats between the rows of a tile in shared memory
ALL = 99  # in place of a step of the reduction: none of its reads goes beyond the end
# in multiply-adds that a multiprocessor does in the same time, some 100 a nanosecond:
SECOND_LAUNCH = 250_000
COMBINED = 0.5  # for each number of the result and each chunk, to write and read it


@dataclass(frozen=True, slots=True)
class Blocking:
    """A block of threads computes rows x columns of the result, a thread m x n of them, going
    through the reduction in steps of ``depth``."""

    rows: int
    columns: int
    m: int
    n: int
    depth: int

    @property
    def threads(self) -> int:
        return self.rows // self.m * (self.columns // self.n)

    @property
    def effort(self) -> float:
        """The cost of one multiply-add, with the reads of shared memory that it needs."""
        return 1 + 2 / self.m + 2 / self.n + 2 / self.depth


NARROW = Blocking(128, 64, 8, 4, 16)
BLOCKINGS = (  # few, since each is a kernel of its own for every kind of operands and epilogue
    Blocking(128, 128, 8, 8, 16),
    NARROW,
    Blocking(64, 64, 8, 4, 16),
    Blocking(64, 64, 8, 4, 8),
    Blocking(32, 32, 4, 4, 16),
)


STAGES = 3  # of a pipeline of asynchronous copies
TENSOR_RATE = 16  # multiply-adds of tensor cores for one of the other units


@dataclass(frozen=True, slots=True)
class TensorBlocking:
    """A block of threads computes rows x columns of the result by tensor cores, a warp m x n of
    them, going through the reduction in steps of ``depth``.
    """

    rows: int
    columns: int
    m: int
    n: int
    depth: int

    @property
    def threads(self) -> int:
        return 32 * (self.rows // self.m) * (self.columns // self.n)

    @property
    def effort(self) -> float:
        """As ``Blocking.effort``. For 16 steps of the reduction, a warp's matrices come from shared
        memory in m / 16 + n / 16 loads of 512 bytes.
        """
        return (1 + 16 / self.m + 16 / self.n + 2 / self.depth) / TENSOR_RATE


SMALL = TensorBlocking(64, 64, 32, 32, 32)
TENSOR_BLOCKINGS = (
    TensorBlocking(128, 128, 64, 64, 32),
    TensorBlocking(128, 64, 64, 32, 32),
    SMALL,
    TensorBlocking(64, 64, 32, 32, 16),
    TensorBlocking(32, 32, 16, 16, 32),
)
BY_TENSOR_CORES = ("bfloat16", "float16")  # factors
AnyBlocking = Blocking | TensorBlocking
AnyWay = TypeVar("AnyWay", Blocking, TensorBlocking)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a contraction: batch, rows, columns, and the reduction."""

    groups: int
    rows: int
    columns: int
    r: int
    s: int
    k: int

    def tiles(self, way: AnyBlocking) -> int:
        """Number of tiles in the result."""
        return self.groups * -(-self.rows // way.rows) * -(-self.columns // way.columns)

    def steps(self, way: AnyBlocking) -> int:
        """Through the reduction; a step never goes beyond k."""
        return self.r * self.s * -(-self.k // way.depth)


def choose(sizes: Sizes) -> tuple[Blocking, int]:
    """The blocking, and the chunks of the reduction, with the least estimated time."""
    return min(ways(sizes, BLOCKINGS), key=lambda way: cost(sizes, *way))


def choose_tensor(sizes: Sizes) -> tuple[TensorBlocking, int]:
    """The same for tensor cores."""
    return min(ways(sizes, TENSOR_BLOCKINGS), key=lambda way: cost(sizes, *way))


def ways(sizes: Sizes, blockings: Sequence[AnyWay]) -> Iterator[tuple[AnyWay, int]]:
    """Every blocking; a reduction is split where there are too few tiles to fill a GPU."""
    plain = sizes.r * sizes.s == 1 and sizes.k % 16 == 0
    for way in blockings:
        if isinstance(way, Blocking) and way.columns == 128 and not plain:
            continue  # what looks after edges takes registers that 8x8 sums need
        chunks = 1
        while chunks == 1 or (
            chunks <= MOST_CHUNKS
            and sizes.tiles(way) * chunks <= 2 * MULTIPROCESSORS
            and 2 * chunks <= sizes.steps(way)
        ):
            yield way, chunks
            chunks *= 2


def cost(sizes: Sizes, way: AnyBlocking, chunks: int) -> float:
    """Multiply-adds' time on the busiest multiprocessor."""
    turns = ceil(2 * sizes.tiles(way) * chunks / MULTIPROCESSORS) / 2  # two blocks run at a time
    steps = ceil(sizes.steps(way) / chunks)
    begun = 1 if isinstance(way, Blocking) else STAGES - 1  # steps before the first product
    time = max(turns, 1) * (steps + begun) * way.rows * way.columns * way.depth * way.effort
    if chunks > 1:
        written = chunks * sizes.groups * sizes.rows * sizes.columns
        time += SECOND_LAUNCH + COMBINED * written / MULTIPROCESSORS
    return time
