"""The register tile: rows x vectors accumulators that stay in registers over the whole reduction.

Every function emits at the builder's position. Pointers are opaque; strides are in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from llvmlite import ir

from tinygraph.graph.dtype import DTYPES
from tinygraph_scalar.arithmetic import declare, suffix

from ..machine.features import Features

i1, i8, i16, i32, i64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
f32 = ir.FloatType()
pointer = ir.PointerType()
PREFETCH_BYTES = 8192  # how far ahead B is fetched: far enough for the latency of memory


def tiles(features: Features) -> tuple[tuple[int, int], ...]:
    """Tiles (rows, vectors) that fit the registers, best first; the last is for a vector's product.

    GFLOP/s of one Zen 5 core, operands in L1 or L2, against 248 (AVX-512) and 123 (AVX2) of
    multiply-adds on registers alone: 14x2 245, 9x3 246, 6x4 244, 28x1 230 (loads bound it: two a
    cycle, and a broadcast is one); AVX2 6x2 121, 4x3 121, 12x1 105. A tile with no register left,
    7x4, does 145.
    """
    if features.registers >= 32:
        return ((14, 2), (9, 3), (6, 4), (28, 1), (1, 8))
    return ((6, 2), (4, 3), (12, 1), (1, 8))


@dataclass(frozen=True, slots=True)
class Shape:
    """The accumulators of one tile; `masked`: the last vector of each row is used in part only."""

    rows: int
    vectors: int
    lanes: int
    masked: bool = False
    lanes_along: str = "columns"  # as in Contraction
    factors: tuple[str, str] = ("float32", "float32")  # likewise
    dot: str = ""  # as in Features
    group: int = 1  # as in Contraction
    width: int = 0  # columns of a row of B, of which this tile may have the first only

    @property
    def vector(self) -> ir.VectorType:
        """Of sums."""
        return ir.VectorType(f32 if DTYPES[self.factors[1]].is_float else i32, self.lanes)

    @property
    def words(self) -> ir.VectorType:
        """Of A and B."""
        return ir.VectorType(f32 if self.factors[1] == "float32" else i32, self.lanes)


@dataclass(frozen=True, slots=True)
class Reduction:
    """Trip counts (at least 1) and strides in bytes of the three loops, outermost first.

    Attributes:
        a_rows: what row_offsets gives for A's row stride.
        rest: lanes of the last step of the innermost loop where that goes in vectors; 0: all.
        columns: where each column of B begins then, in bytes.
    """

    counts: Sequence[ir.Value]
    a_strides: Sequence[ir.Value]
    b_strides: Sequence[ir.Value]
    a_rows: Sequence[ir.Value]
    rest: ir.Value | None = None
    columns: Sequence[ir.Value] = ()

    def steps(self, b: ir.IRBuilder) -> ir.Value:
        return reduce(b.mul, self.counts)


@dataclass(frozen=True, slots=True)
class Walk:
    """Memory to fetch meanwhile: an address, bytes between steps, and the cache that it is fetched
    into, as ``prefetch`` has it.
    """

    start: ir.Value
    step: ir.Value
    locality: int = 3


@dataclass(frozen=True, slots=True)
class PrefetchRows:
    """Rows of tensors to fetch meanwhile, a line at a step. Asked for all at once, they would take
    all buffers that a core has for misses, and the reduction's own reads would wait for memory.

    Attributes:
        starts, rows: of each tensor its address, and bytes from one row to the next.
        segments: into how many the innermost loop is cut; in each of them a row is fetched.
        step: bytes between steps.
    """

    starts: Sequence[ir.Value]
    rows: Sequence[ir.Value]
    segments: ir.Value
    step: ir.Value

    @staticmethod
    def begin(
        b: ir.IRBuilder,
        starts: Sequence[ir.Value],
        rows: Sequence[ir.Value],
        size: tuple[int, int],
        counts: Sequence[ir.Value],
        short: ir.Value,
    ) -> PrefetchRows:
        """``size`` = (rows, bytes of each), for a reduction with these trip counts; it stays whole
        if it is `short`.
        """
        (count, width), (r, s, k) = size, counts
        loops = b.mul(r, s)
        wanted = b.udiv(b.add(loops, i64(count - 1)), loops)
        segments = b.select(b.icmp_signed("<", wanted, k), wanted, k)
        segments = b.select(short, i64(1), segments)
        steps = b.udiv(k, segments)
        return PrefetchRows(starts, rows, segments, b.udiv(b.add(steps, i64(width - 1)), steps))


def offset(b: ir.IRBuilder, base: ir.Value, byte_offset: ir.Value) -> ir.Value:
    return b.gep(base, [byte_offset], source_etype=i8)


@dataclass(frozen=True, slots=True)
class PartPrefetch:
    """The memory that a part fetches for later launches: ``place`` is where its address is kept
    from one register tile to the next, ``step`` how many bytes it moves at a step of the reduction.
    """

    place: ir.Value
    step: ir.Value

    @staticmethod
    def begin(
        b: ir.IRBuilder, fields: Mapping[str, ir.Value], part: ir.Value, steps: ir.Value
    ) -> PartPrefetch:
        """The prefetch of a part with this number of steps, see AHEAD in
        tinygraph/plan/records/contraction.py; emitted in a function's first block.
        """
        place, start, bytes = b.alloca(pointer), fields["ahead"], fields["ahead_part"]
        b.store(offset(b, b.inttoptr(start, pointer), b.mul(part, bytes)), place)
        some = b.select(b.icmp_signed(">", steps, i64(0)), steps, i64(1))
        return PartPrefetch(place, b.udiv(b.add(bytes, b.sub(some, i64(1))), some))

    def walk(self, b: ir.IRBuilder) -> Walk:
        """The walk of the next tile's reduction.

        Into the second cache: the first is full of what the tile multiplies, and a core has few
        buffers for what it fetches there.
        """
        return Walk(b.load(self.place, typ=pointer), self.step, locality=2)

    def advance(self, b: ir.IRBuilder, reduction: Reduction) -> None:
        """Moves on by the steps of a reduction."""
        moved = b.mul(self.step, reduction.steps(b))
        b.store(offset(b, b.load(self.place, typ=pointer), moved), self.place)


def repeat(
    b: ir.IRBuilder,
    count: ir.Value,
    start: Sequence[ir.Value],
    body: Callable[..., Sequence[ir.Value]],
) -> list[ir.Value]:
    """`values = body(*values)`, `count` times, at least once; returns the last values."""
    entry, head = b.block, b.append_basic_block("loop")
    b.branch(head)
    b.position_at_end(head)
    left, phis = b.phi(i64), [b.phi(x.type) for x in start]
    after = list(body(*phis))
    left_after = b.sub(left, i64(1))
    for phi, first, then in zip([left, *phis], [count, *start], [left_after, *after], strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(then, b.block)
    done = b.append_basic_block("done")
    b.cbranch(b.icmp_signed("!=", left_after, i64(0)), head, done)
    b.position_at_end(done)
    return after


def opaque(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """`x`, of which LLVM knows nothing any more: an empty piece of assembly."""
    return b.call(ir.InlineAsm(ir.FunctionType(x.type, [x.type]), "", "=r,0"), [x])


def row_offsets(b: ir.IRBuilder, stride: ir.Value) -> list[ir.Value]:
    """The distances of rows 0 to 7 and 8 from a base pointer.

    An x86 address is base + register * (1, 2, 4 or 8), so four registers reach eight rows. Without
    `opaque`, LLVM
    sees that rows are equally far apart and reaches each from the one before: a chain of additions
        longer than the multiply-adds take, or one pointer for each row, more than there are
        registers.
    """
    odd = {m: opaque(b, b.mul(stride, i64(m))) for m in (1, 3, 5, 7)}
    return [i64(0)] + [b.mul(odd[m // (m & -m)], i64(m & -m)) for m in range(1, 9)]


def prefetch(b: ir.IRBuilder, there: ir.Value, write: bool = False, locality: int = 3) -> None:
    """Asks for a cache line; locality 3: into the first-level cache, 2: into the second."""
    kinds = [pointer, i32, i32, i32]
    function = declare(b.module, "llvm.prefetch.p0", ir.VoidType(), kinds)
    b.call(function, [there, i32(int(write)), i32(locality), i32(1)])


def claim(b: ir.IRBuilder, there: ir.Value) -> None:
    """Asks for a cache line that will be written."""
    prefetch(b, there, write=True)


def splat(b: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    vector = ir.VectorType(scalar.type, lanes)
    first = b.insert_element(ir.Constant(vector, ir.Undefined), scalar, i32(0))
    zeros = ir.Constant(ir.VectorType(i32, lanes), [0] * lanes)
    return b.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def masked_load(
    b: ir.IRBuilder, there: ir.Value, kind: ir.VectorType, dtype: str, mask: ir.Value
) -> ir.Value:
    """A vector of `kind`, elements of ``dtype``; lanes that the mask lacks are 0, and not read."""
    name = f"llvm.masked.load.v{kind.count}{suffix(dtype)}.p0"
    load = declare(b.module, name, kind, [pointer, i32, mask.type, kind])
    return b.call(load, [there, i32(DTYPES[dtype].bytes), mask, ir.Constant(kind, None)])


def zeros(shape: Shape) -> list[ir.Value]:
    """Accumulators before the first product."""
    return [ir.Constant(shape.vector, None)] * (shape.rows * shape.vectors)
