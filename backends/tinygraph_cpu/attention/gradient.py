"""The gradient of attention in one pass as machine code; see records.py."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from tinygraph_scalar.arithmetic import declare

from ..gemm import tile
from ..gemm.arguments import define_kernel, minimum, share
from ..gemm.tile import f32, i1, i64
from .blocks import Matrix, at, counted
from .kernel import AttentionEmitter
from .records import GRADIENT, STATS, AttentionGradient


def emit_gradient(module: ir.Module, name: str, spec: AttentionGradient) -> ir.Function:
    """Adds the function `name` to `module`."""
    return define_kernel(module, name, _AttentionGradientEmitter, spec)


class _AttentionGradientEmitter(AttentionEmitter):
    def __init__(self, b: ir.IRBuilder, spec: AttentionGradient, function: ir.Function) -> None:
        super().__init__(b, spec, function, (*GRADIENT, *(["mask"] if spec.mask else [])))
        self.wide = {x: b.mul(self.vectors(self.f[x]), i64(4 * spec.lanes)) for x in "de"}
        with b.goto_entry_block():
            self.unclear = b.alloca(i1)

    def emit(self) -> None:
        """The batch indices of the part."""
        b, f = self.b, self.f
        first, end = share(b, self.batch_size(), self.part, f["parts"])
        with counted(b, b.sub(end, first)) as i:
            self.enter(b.add(first, i))
            self.clear("dk", "d")
            self.clear("dv", "e")
            width = self.spec.width
            with counted(b, b.udiv(b.add(f["l"], i64(width - 1)), i64(width))) as j:
                self.block(b.mul(j, i64(width)))
            for name, size in (("dk", "d"), ("dv", "e")):
                source = self.rows_of(name, size)
                self.blocks.copy(source, self.matrix(name), f["s"], f[size])

    def clear(self, name: str, size: str) -> None:
        b = self.b
        with counted(b, b.mul(self.f["s"], self.vectors(self.f[size]))) as i:
            there = at(b, self.place(name), (i, 4 * self.spec.lanes))
            b.store(self.splat(0.0), there, align=4)

    def rows_of(self, name: str, size: str) -> Matrix:
        """A value in the scratch memory whose rows are ``size`` elements, in whole vectors."""
        return Matrix(self.place(name), self.wide[size], i64(4), True)

    # -- a block of queries ------------------------------------------------------------------------

    def block(self, row: ir.Value) -> None:
        """The queries from ``row`` on, with all keys."""
        b, f, spec, blocks = self.b, self.f, self.spec, self.blocks
        count = minimum(b, b.sub(f["l"], row), i64(spec.width))
        q, g, out = (self.matrix(x).moved(b, row) for x in ("q", "g", "out"))
        blocks.gather_turned(q, count, f["d"], self.place("qt"), self.step, self.scale)
        blocks.gather_turned(g, count, f["e"], self.place("gt"), self.step)
        blocks.gather_turned(out, count, f["e"], self.place("ot"), self.step)
        blocks.copy(q, self.rows_of("qr", "d"), count, f["d"], self.scale, whole=True)
        blocks.copy(g, self.rows_of("gr", "e"), count, f["e"], whole=True)
        self.fill(self.place("dqt"), f["d"], 0.0)
        self.query_stats(row, count)
        keys = f["s"]
        if spec.causal:
            seen = minimum(b, keys, b.add(row, count))
            keys = b.select(b.load(self.unclear, typ=i1), keys, seen)
        with counted(b, b.udiv(b.add(keys, i64(spec.keys - 1)), i64(spec.keys))) as i:
            key = b.mul(i, i64(spec.keys))
            some = minimum(b, b.sub(keys, key), i64(spec.keys))
            unclear = b.load(self.unclear, typ=i1)
            with self.unless_hidden(row, count, key, some, unclear):
                self.keys_block(row, count, key, some)
        for v in range(spec.vectors):
            self.store_row(self.stats(2), v, self.scale)
        dq = self.matrix("dq").moved(b, row)
        blocks.scatter_turned(self.place("dqt"), self.step, dq, count, f["d"], self.stats(2))

    def query_stats(self, row: ir.Value, count: ir.Value) -> None:
        """Greatest scores, reciprocals of sums, and the products of results with their gradients. A
        query without any key has no sum: its NaN goes to all keys, so none may be left out then.

        The products are added up as those of values with gradients are: where one weight is 1, both
        are the same number, and the gradient to the scores is 0 as it should be.
        """
        b = self.b
        tops, totals = (self.matrix(x).moved(b, row) for x in STATS)
        b.store(i1(0), self.unclear)
        with counted(b, count) as i:
            x, total = (b.load(at(b, m.base, (i, m.row)), typ=f32) for m in (tops, totals))
            b.store(x, at(b, self.stats(0), (i, 4)))
            b.store(b.fdiv(ir.Constant(f32, 1.0), total), at(b, self.stats(3), (i, 4)))
            none = b.fcmp_unordered("!=", total, total)
            b.store(b.or_(b.load(self.unclear, typ=i1), none), self.unclear)

        start, kind = [self.splat(0.0)] * self.spec.vectors, self.blocks.vector
        fma = declare(b.module, f"llvm.fmuladd.v{self.spec.lanes}f32", kind, [kind] * 3)

        def product(e: ir.Value, *sums: ir.Value) -> list[ir.Value]:
            at_row = [at(b, self.place(x), (e, self.step)) for x in ("gt", "ot")]
            rows = [[self.load_row(x, v) for x in at_row] for v in range(self.spec.vectors)]
            more = [b.call(fma, [*pair, s]) for s, pair in zip(sums, rows, strict=True)]
            return [b.add(e, i64(1)), *more]

        found = tile.repeat(b, self.f["e"], [i64(0), *start], product)[1:]
        for v, x in enumerate(found):
            self.store_row(self.stats(1), v, x)

    # -- a block of queries and of keys ------------------------------------------------------------

    def keys_block(self, row: ir.Value, count: ir.Value, key: ir.Value, some: ir.Value) -> None:
        b, f, step = self.b, self.f, i64(self.step)
        self.scores(count, key, some)
        self.adjust(row, key, some)
        k, v = (self.matrix(x).moved(b, key) for x in "kv")
        vectors, four = self.vectors(count), i64(4)
        pt, st = self.place("pt"), self.place("st")
        self.products.narrow(
            vectors, v.base, self.place("gt"), pt, some, f["e"], v.row, v.column, step, step, i1(1)
        )
        self.slopes(some)
        self.products.narrow(
            vectors, k.base, st, self.place("dqt"), f["d"], some, k.column, k.row, step, step, i1(0)
        )
        for weights, rows, name, size in ((st, "qr", "dk", "d"), (pt, "gr", "dv", "e")):
            wide = self.wide[size]
            self.products.wide(
                self.vectors(f[size]), weights, self.place(rows),
                at(b, self.place(name), (key, wide)), some, count, step, four, wide, wide, i1(0),
            )  # fmt: skip

    def slopes(self, some: ir.Value) -> None:
        """From scores in ``st`` and the gradients to weights in ``pt``: there, the gradients to the
        scores, here, the weights.
        """
        b, vectors = self.b, range(self.spec.vectors)
        top, along, inverse = (
            [self.load_row(self.stats(i), v) for v in vectors] for i in (0, 1, 3)
        )
        with counted(b, some) as i:
            at_s, at_p = (at(b, self.place(x), (i, self.step)) for x in ("st", "pt"))
            for v in vectors:
                s, slope = self.load_row(at_s, v), self.load_row(at_p, v)
                p = b.fmul(self.exp(b.fsub(s, top[v])), inverse[v])
                slope = b.fmul(p, b.fsub(slope, along[v]))
                for hidden in self.hidden_scores():
                    same = b.fcmp_ordered("==", s, hidden)
                    slope = b.select(same, self.splat(0.0), slope)
                self.store_row(at_s, v, slope)
                self.store_row(at_p, v, p)

    def hidden_scores(self) -> Sequence[ir.Value]:
        """What scores are that a boolean mask or causality hides: they have no gradient."""
        found = [self.filled] if self.spec.mask == "bool" else []
        return [*found, self.splat(float("-inf"))] if self.spec.causal else found
