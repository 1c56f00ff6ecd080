"""A contraction as machine code: `void name(i64 part, i64 tid, i64* args)`, emitted whole.

The argument block and the division into parts are those of tinygraph/plan/records/contraction.py.
For each group of row tiles, column blocks are the outer loop: the group's share of A stays in cache
while all of B passes, and a block of B while the row tiles of the group do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

from llvmlite import ir

from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.records.contraction import FIELDS, TILE_OPERAND, Contraction
from tinygraph_scalar.scalar import calls_function

from . import tile
from .arguments import ceil_divide, define_kernel, lane_mask, minimum, share
from .aside import Aside
from .edges import Edges, Rim, unless_empty
from .epilogue import Epilogue, OperandAtTile, read_by_row
from .lanes import add_lanes
from .matrix import MatrixRegisters
from .reduce import accumulate
from .tile import PartPrefetch, Reduction, Shape, Walk, f32, i1, i32, i64, offset, pointer


def emit_contraction(
    module: ir.Module, name: str, contraction: Contraction, dot: str = "", plain: bool = False
) -> ir.Function:
    """Adds the function `name` to `module`.

    Args:
        dot: the processor's, as in ``Features``.
        plain: one code serves all tiles, with the epilogue of one row, and nothing is fetched
            ahead: a fifth of the instructions.
    """
    return define_kernel(module, name, partial(_TileEmitter, dot=dot, plain=plain), contraction)


def is_tight(contraction: Contraction) -> bool:
    """True if instructions must keep their order. LLVM would move a tile's loads so far up that
    accumulators leave their registers: where it fetches, line by line, what its epilogue reads, and
    where accumulators pass through the stack (a GELU made a product take 1.9 times as long).
    """
    body = contraction.body
    fetches = not contraction.chunked and bool(read_by_row(body, contraction.operands))
    return fetches or any(calls_function(s.text()) for s in body.statements)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A share of the reduction: one r, `count` of s from `s` on; whether it is first, or last."""

    r: ir.Value
    s: ir.Value
    count: ir.Value
    first: ir.Value
    last: ir.Value


@dataclass(frozen=True, slots=True)
class LoadedWhereRead(Mapping[str, ir.Value]):
    """The fields of an argument block, each loaded where it is read: if all are from the start,
    there are more than registers, and LLVM takes longer to share those out.
    """

    load: Callable[[int], ir.Value]

    def __getitem__(self, field: str) -> ir.Value:
        return self.load(FIELDS.index(field))

    def __iter__(self) -> Iterator[str]:
        return iter(FIELDS)

    def __len__(self) -> int:
        return len(FIELDS)


class _TileEmitter:
    def __init__(
        self,
        b: ir.IRBuilder,
        contraction: Contraction,
        function: ir.Function,
        dot: str,
        plain: bool,
    ) -> None:
        self.b, self.dot, self.plain = b, dot, plain
        self.spec = contraction
        self.part, _, self.args = function.args
        fields = LoadedWhereRead(self._load)
        self.fields: Mapping[str, ir.Value] = fields if plain else dict(fields.items())
        words = len(FIELDS) + len(contraction.operands) * len(TILE_OPERAND)
        row = ir.VectorType(f32, max(contraction.width, contraction.lanes))
        self.edges = Edges.begin(b, contraction.edges, lambda i: self._load(words + i), row)

    def _load(self, index: int) -> ir.Value:
        at = self.b.gep(self.args, [i64(index)], source_etype=i64)
        return self.b.load(at, typ=i64)

    def _bytes(self, field: str) -> ir.Value:
        """A stride of A or B in bytes."""
        size = DTYPES[self.spec.factors[field[0] == "b"]].bytes
        return self.b.mul(self.fields[field], i64(size))

    def _columns(self) -> list[ir.Value]:
        """Where each column of a block of B begins, in bytes, if lanes hold the reduction."""
        b, spec = self.b, self.spec
        if spec.lanes_along != "reduction" or spec.vectors == 1:
            return [i64(0)]
        step = b.udiv(self._bytes("b_j"), i64(spec.width))
        return tile.row_offsets(b, step)[: spec.vectors]

    def _pointer(self, address: ir.Value) -> ir.Value:
        return self.b.inttoptr(address, pointer)

    # -- the division of work ------------------------------------------------------------------

    def emit(self) -> None:
        b, f, spec = self.b, self.fields, self.spec
        row_part, column_part = (
            b.udiv(self.part, f["column_parts"]),
            b.urem(self.part, f["column_parts"]),
        )
        self.tiles_m = ceil_divide(b, f["m"], spec.rows)
        self.tiles_y = b.udiv(f["y"], i64(spec.lines))
        rows = b.mul(b.mul(f["g"], f["z"]), b.mul(self.tiles_y, self.tiles_m))
        self.blocks = ceil_divide(b, f["n"], spec.width)
        first_row, end_row = share(b, rows, row_part, f["row_parts"])
        first_block, end_block = share(b, self.blocks, column_part, f["column_parts"])
        start = self._odometer(first_row)
        self.a_rows = tile.row_offsets(b, self._bytes("a_m"))
        self.b_columns = self._columns()
        if spec.matrix:
            self.registers = MatrixRegisters.begin(b, spec, f["k"])
        row_count, block_count = b.sub(end_row, first_row), b.sub(end_block, first_block)
        self.k = ceil_divide(b, f["k"], spec.step)  # steps
        steps = [row_count, block_count, f["r"], f["s"], self.k]
        self.ahead = (
            None if self.plain else PartPrefetch.begin(b, f, self.part, reduce(b.mul, steps))
        )
        some = b.and_(
            b.icmp_signed(">", row_count, i64(0)), b.icmp_signed(">", block_count, i64(0))
        )

        def tiles(chunk: Chunk | None) -> None:
            def group(left: ir.Value, *state: ir.Value) -> list[ir.Value]:
                count = minimum(b, left, f["row_group"])

                def block(j: ir.Value, *_: ir.Value) -> list[ir.Value]:
                    return [b.add(j, i64(1)), *self._column_block(j, count, state, chunk)]

                after = tile.repeat(b, block_count, [first_block, *state], block)[1:]
                return [b.sub(left, count), *after]

            groups = ceil_divide(b, row_count, f["row_group"])
            tile.repeat(b, groups, [row_count, *start, first_row], group)

        with b.if_then(some):
            if spec.chunked:
                self._chunks(tiles)
            else:
                tiles(None)
        if spec.matrix:
            self.registers.end()

    def _chunks(self, tiles: Callable[[Chunk], None]) -> None:
        """All tiles of the part for each r and each share of s, in order."""
        b, f = self.b, self.fields
        shares = ceil_divide(b, f["s"], f["s_chunk"])

        def one(number: ir.Value) -> list[ir.Value]:
            r, turn = b.udiv(number, shares), b.urem(number, shares)
            s = b.mul(turn, f["s_chunk"])
            left = b.sub(f["s"], s)
            count = b.select(b.icmp_signed("<", left, f["s_chunk"]), left, f["s_chunk"])
            last = b.icmp_signed("==", b.add(number, i64(1)), b.mul(f["r"], shares))
            tiles(Chunk(r, s, count, b.icmp_signed("==", number, i64(0)), last))
            return [b.add(number, i64(1))]

        tile.repeat(b, b.mul(f["r"], shares), [i64(0)], one)

    def _odometer(self, flat: ir.Value) -> list[ir.Value]:
        """The indices (g, z, tile along y, tile along m) of a flat row tile."""
        b, digits = self.b, []
        for size in (self.tiles_m, self.tiles_y, self.fields["z"]):
            digits.append(b.urem(flat, size))
            flat = b.udiv(flat, size)
        return [flat, *reversed(digits)]

    def _advance(self, indices: list[ir.Value]) -> list[ir.Value]:
        """The next row tile, without a division."""
        b = self.b
        g, z, y, t = indices
        after, carry = [], i64(1)
        for digit, size in ((t, self.tiles_m), (y, self.tiles_y), (z, self.fields["z"])):
            more = b.add(digit, carry)
            full = b.icmp_signed("==", more, size)
            after.append(b.select(full, i64(0), more))
            carry = b.zext(full, i64)
        return [b.add(g, carry), *reversed(after)]

    def _column_block(
        self, j: ir.Value, count: ir.Value, start: Sequence[ir.Value], chunk: Chunk | None
    ) -> list[ir.Value]:
        """Row tiles from `start` on, which is their indices and flat number; returns the next."""
        b, spec = self.b, self.spec
        column = b.mul(j, i64(spec.width))
        last = b.icmp_signed("==", j, b.sub(self.blocks, i64(1))) if spec.vector_tail else None

        def row_tile(*state: ir.Value) -> list[ir.Value]:
            *indices, flat = state
            self._row_tile(j, column, last, indices, (chunk, flat) if chunk is not None else None)
            return [*self._advance(indices), b.add(flat, i64(1))]

        return tile.repeat(b, count, start, row_tile)

    # -- one tile ------------------------------------------------------------------------------

    def _row_tile(
        self,
        j: ir.Value,
        column: ir.Value,
        last: ir.Value | None,
        indices: list[ir.Value],
        chunk: tuple[Chunk, ir.Value] | None,
    ) -> None:
        b, f, spec = self.b, self.fields, self.spec
        g, z, y, t = indices
        row, skip = b.mul(t, i64(spec.rows)), None
        if self.plain:  # the last tile ends with m, and begins with rows of the one before
            first = minimum(b, row, b.sub(f["m"], i64(spec.rows)))
            row, skip = first, b.sub(row, first)
        at = {"g": g, "z": z, "y": b.mul(y, i64(spec.lines)), "m": row}
        done = [(chunk[0].r, "r"), (chunk[0].s, "s")] if chunk else []
        in_a = [(i, f[f"a_{axis}"]) for axis, i in at.items()]
        in_a += [(i, f[f"a_{axis}"]) for i, axis in done]
        in_a += [(column, i64(1))] if spec.lanes_along == "batch" else []
        in_a += self.edges.corner()
        in_b = [(g, f["b_g"]), (j, f["b_j"]), *((i, f[f"b_{x}"]) for i, x in done)]
        sizes = [DTYPES[dtype].bytes for dtype in spec.factors]
        a, columns = self._element(in_a, sizes[0], f["a"]), self._element(in_b, sizes[1], f["b"])
        operands = [self._operand(number, at, column) for number in range(len(spec.operands))]
        reduction = Reduction(
            [i64(1), chunk[0].count, f["k"]] if chunk else [f["r"], f["s"], self.k],
            [self._bytes("a_r"), self._bytes("a_s"), self._bytes("a_k")],
            [self._bytes("b_r"), self._bytes("b_s"), self._bytes("b_k")],
            self.a_rows,
        )
        dots = spec.lanes_along == "reduction"
        if dots:
            rest = b.urem(f["k"], i64(spec.lanes))
            reduction = replace(reduction, rest=rest, columns=self.b_columns)

        def body(rows: int, vectors: int, masked: bool) -> None:
            shape = Shape(
                rows, vectors, spec.lanes, masked, spec.lanes_along, spec.factors, self.dot,
                spec.group, spec.width,
            )  # fmt: skip
            # of each row's sums, whose lanes have been added up, there is one vector
            result = replace(shape, vectors=1, masked=vectors < spec.lanes) if dots else shape
            mask = self._mask(shape, column)
            epilogue = Epilogue(
                b, spec.body, result, operands, mask, spec.accumulator, skip, spec.lines, spec.pitch
            )
            if spec.edges:
                self._within(shape, epilogue, at, a, columns, reduction)
            elif chunk is None:
                self._whole(shape, epilogue, a, columns, reduction)
            else:
                self._share(epilogue, a, columns, reduction, chunk[0], self._partial(chunk[1], j))

        def by_columns(rows: int) -> None:
            self._choose(
                last,
                lambda: body(rows, spec.vector_tail, spec.masked),
                lambda: body(rows, spec.vectors, spec.masked and not spec.vector_tail),
            )

        last_row = b.icmp_signed("==", t, b.sub(self.tiles_m, i64(1))) if spec.row_tail else None
        self._choose(last_row, lambda: by_columns(spec.row_tail), lambda: by_columns(spec.rows))

    def _whole(
        self,
        shape: Shape,
        epilogue: Epilogue,
        a: ir.Value,
        columns: ir.Value,
        reduction: Reduction,
    ) -> None:
        """A tile with all of its reduction."""
        b = self.b
        if self.spec.matrix:
            epilogue.fetch(i1(1))
            assert self.ahead is not None
            row, ahead = self.a_rows[1], self.ahead.walk(b)
            self.registers.accumulate(shape, a, columns, row, reduction, ahead)
            self.ahead.advance(b, reduction)
            epilogue.loop(self.registers.place)
            return
        walks = [self._next_rows(shape, a), self.ahead.walk(b)] if self.ahead else []
        zeros = tile.zeros(shape)
        mask = self._end(epilogue)
        if loop := self.spec.blocked:
            aside = Aside.begin(b, shape, loop)
            last = accumulate(b, shape, a, columns, reduction, zeros, walks, aside=aside, mask=mask)
            sums = aside.total(b, last)
        else:
            block = epilogue.block(reduction)
            sums = accumulate(b, shape, a, columns, reduction, zeros, walks, block, mask=mask)
        if self.ahead:
            self.ahead.advance(b, reduction)
        self._finish(shape, epilogue, sums)

    def _finish(self, shape: Shape, epilogue: Epilogue, sums: list[ir.Value]) -> None:
        """The epilogue of a tile's sums."""
        across = shape.lanes_along == "reduction"
        epilogue.emit(add_lanes(self.b, shape, sums) if across else self._integers(shape, sums))

    def _within(
        self,
        shape: Shape,
        epilogue: Epilogue,
        at: dict[str, ir.Value],
        a: ir.Value,
        columns: ir.Value,
        reduction: Reduction,
    ) -> None:
        """A tile whose A is read within its edges only."""
        b, spec = self.b, self.spec
        epilogue.fetch(i1(1))
        operands, within = self.edges.skip(b, at, (a, columns), reduction)
        rim = self.edges.rim(b, at["m"], shape.rows, within)
        if rim is not None and shape.lanes_along == "reduction" and spec.blocked != "s":
            within = self._joined(within, rim)
        walks = [self.ahead.walk(b)] if self.ahead else []
        zeros, mask = tile.zeros(shape), self._end(epilogue)
        aside = Aside.begin(b, shape, spec.blocked) if spec.blocked else None

        def taps() -> list[ir.Value]:
            return accumulate(
                b, shape, *operands, within, zeros, walks, aside=aside, mask=mask, rim=rim
            )

        sums = unless_empty(b, within.counts, zeros, taps)
        if self.ahead:
            self.ahead.advance(b, reduction)
        self._finish(shape, epilogue, aside.total(b, sums) if aside else sums)

    def _integers(self, shape: Shape, sums: list[ir.Value]) -> list[ir.Value]:
        """Sums of bytes as int32, if they were added up as floats."""
        if self.spec.accumulator == "float32" or shape.vector.element != f32:
            return sums
        return [self.b.fptosi(x, ir.VectorType(i32, shape.lanes)) for x in sums]

    def _joined(self, reduction: Reduction, rim: Rim) -> Reduction:
        """The reduction with s and k as one, if all taps are inside and both operands allow it: a
        row of a window over a picture's channels is contiguous.
        """
        b, f, spec = self.b, self.fields, self.spec
        r, s, steps = reduction.counts
        whole = b.icmp_signed("==", rim.count, s)
        for stride in (f["a_s"], f["b_s"]):
            whole = b.and_(whole, b.icmp_signed("==", stride, f["k"]))
        all_k = b.mul(s, f["k"])
        together = ceil_divide(b, all_k, spec.step), b.urem(all_k, i64(spec.lanes))
        return replace(
            reduction,
            counts=[r, b.select(whole, i64(1), s), b.select(whole, together[0], steps)],
            rest=b.select(whole, together[1], reduction.rest),
        )

    def _share(
        self,
        epilogue: Epilogue,
        a: ir.Value,
        columns: ir.Value,
        reduction: Reduction,
        chunk: Chunk,
        waiting: ir.Value,
    ) -> None:
        """A tile with a chunk of its reduction; `waiting` is where its sums are in between."""
        b, shape = self.b, epilogue.shape
        epilogue.fetch(chunk.last)
        walks = [] if self.plain else [self._next_chunk(a)]
        zeros, mask = tile.zeros(shape), self._end(epilogue)
        sums = accumulate(b, shape, a, columns, reduction, zeros, walks, mask=mask)
        total = self._added(shape, waiting, chunk.first, sums)
        self._choose(
            chunk.last,
            lambda: epilogue.emit(total),
            lambda: self._suspend(shape, waiting, total),
        )

    def _next_rows(self, shape: Shape, a: ir.Value) -> Walk:
        """The next tile's rows of A, if they are one after the other."""
        after = offset(self.b, a, self.b.mul(self.a_rows[1], i64(shape.rows)))
        return Walk(after, i64(4 * shape.rows))

    def _next_chunk(self, a: ir.Value) -> Walk:
        """The part of A that the tile reads in the next chunk."""
        after = offset(self.b, a, self.b.mul(self.fields["s_chunk"], self._bytes("a_s")))
        return Walk(after, self._bytes("a_k"))

    def _partial(self, flat: ir.Value, j: ir.Value) -> ir.Value:
        """Where a tile's sums wait between chunks."""
        b, spec = self.b, self.spec
        number = b.add(b.mul(flat, self.blocks), j)
        size = i64(4 * spec.rows * spec.width)
        return offset(b, self._pointer(self.fields["partial"]), b.mul(number, size))

    def _added(
        self, shape: Shape, waiting: ir.Value, first: ir.Value, sums: list[ir.Value]
    ) -> list[ir.Value]:
        """A chunk's own sums, added to those of the chunks before it: one running sum over all of a
        long reduction would lose digits.
        """
        b, start = self.b, self.b.block
        more, merged = b.append_basic_block("add"), b.append_basic_block("added")
        b.cbranch(first, merged, more)
        b.position_at_end(more)
        steps = [i64(4 * shape.lanes * i) for i in range(shape.rows * shape.vectors)]
        old = [b.load(offset(b, waiting, at), typ=shape.vector, align=4) for at in steps]
        added = [b.fadd(x, y) for x, y in zip(old, sums, strict=True)]
        b.branch(merged)
        b.position_at_end(merged)
        phis = [b.phi(shape.vector) for _ in sums]
        for phi, alone, both in zip(phis, sums, added, strict=True):
            phi.add_incoming(alone, start)
            phi.add_incoming(both, more)
        return phis

    def _suspend(self, shape: Shape, waiting: ir.Value, sums: list[ir.Value]) -> None:
        for i, x in enumerate(sums):
            self.b.store(x, offset(self.b, waiting, i64(4 * shape.lanes * i)), align=4)

    def _choose(
        self, condition: ir.Value | None, then: Callable[[], None], otherwise: Callable[[], None]
    ) -> None:
        if condition is None:
            otherwise()
            return
        with self.b.if_else(condition) as (if_true, if_false):
            with if_true:
                then()
            with if_false:
                otherwise()

    def _element(
        self, terms: list[tuple[ir.Value, ir.Value]], size: int, base: ir.Value
    ) -> ir.Value:
        """The address base + size * (sum of index * stride)."""
        b, total = self.b, i64(0)
        for index, stride in terms:
            total = b.add(total, b.mul(index, stride))
        return offset(b, self._pointer(base), b.mul(total, i64(size)))

    def _operand(self, number: int, at: dict[str, ir.Value], column: ir.Value) -> OperandAtTile:
        operand = self.spec.operands[number]
        first = len(FIELDS) + number * len(TILE_OPERAND)
        base, *strides = (self._load(first + i) for i in range(len(TILE_OPERAND)))
        size = DTYPES[operand.dtype].bytes
        terms = list(zip(at.values(), strides, strict=True))
        if operand.unit:
            terms.append((column, i64(1)))
        there = self._element(terms, size, base)
        line, row = (self.b.mul(stride, i64(size)) for stride in strides[-2:])
        return OperandAtTile(there, row, line, operand)

    def _mask(self, shape: Shape, column: ir.Value) -> ir.Value | None:
        """Which lanes of a row's last vector hold columns before n, if not all do."""
        if shape.lanes_along == "reduction":
            return lane_mask(self.b, i64(shape.vectors), shape.lanes)
        if not shape.masked:
            return None
        end = self.b.add(column, i64((shape.vectors - 1) * shape.lanes))
        return lane_mask(self.b, self.b.sub(self.fields["n"], end), shape.lanes)

    def _end(self, epilogue: Epilogue) -> ir.Value | None:
        """Which lanes of a row's last vector are in memory, if not all of them are."""
        along = self.spec.lanes_along
        whole = along == "reduction" or (along == "columns" and self.spec.packed)
        return None if whole else epilogue.mask
