"""Attention in one pass as machine code: `void name(i64 part, i64 tid, i64* args)`, emitted whole.

See records.py for what a part does and for its argument block.
"""

from __future__ import annotations

from llvmlite import ir

from ..gemm import tile
from ..gemm.arguments import define_kernel, minimum, share
from ..gemm.tile import i64
from .blocks import at, counted
from .kernel import AttentionEmitter, Values
from .records import FORWARD, STATS, AttentionForward


def emit_forward(module: ir.Module, name: str, spec: AttentionForward) -> ir.Function:
    """Adds the function `name` to `module`."""
    return define_kernel(module, name, _AttentionForwardEmitter, spec)


class _AttentionForwardEmitter(AttentionEmitter):
    def __init__(self, b: ir.IRBuilder, spec: AttentionForward, function: ir.Function) -> None:
        names = (*FORWARD, *(STATS if spec.stats else ()), *(["mask"] if spec.mask else []))
        super().__init__(b, spec, function, names)
        self.with_stats = spec.stats

    def emit(self) -> None:
        """The blocks of queries of the part; of each batch index the last ones first, for which
        causality leaves most to do.
        """
        b, f, width = self.b, self.f, self.spec.width
        blocks = b.udiv(b.add(f["l"], i64(width - 1)), i64(width))
        first, end = share(b, b.mul(self.batch_size(), blocks), self.part, f["parts"])
        with counted(b, b.sub(end, first)) as i:
            flat = b.add(first, i)
            self.enter(b.udiv(flat, blocks))
            turn = b.sub(b.sub(blocks, i64(1)), b.urem(flat, blocks))
            self.block(b.mul(turn, i64(width)))

    def block(self, row: ir.Value) -> None:
        """The queries from ``row`` on."""
        b, f, spec = self.b, self.f, self.spec
        count = minimum(b, b.sub(f["l"], row), i64(spec.width))
        q = self.matrix("q").moved(b, row)
        self.blocks.gather_turned(q, count, f["d"], self.place("qt"), self.step, self.scale)
        self.fill(self.place("ot"), f["e"], 0.0)
        self.fill(self.stats(0), i64(1), float("-inf"))  # the maximum so far
        self.fill(self.stats(1), i64(1), 0.0)  # the sum so far
        keys = minimum(b, f["s"], b.add(row, count)) if spec.causal else f["s"]
        with counted(b, b.udiv(b.add(keys, i64(spec.keys - 1)), i64(spec.keys))) as i:
            key = b.mul(i, i64(spec.keys))
            some = minimum(b, b.sub(keys, key), i64(spec.keys))
            with self.unless_hidden(row, count, key, some, None):
                self.scores(count, key, some)
                self.adjust(row, key, some)
                self.softmax(some)
                v = self.matrix("v").moved(b, key)
                self.products.narrow(
                    self.vectors(count), v.base, self.place("st"), self.place("ot"), f["e"], some,
                    v.column, v.row, i64(self.step), i64(self.step), tile.i1(0),
                )  # fmt: skip
        self.finish(row, count)

    def softmax(self, some: ir.Value) -> None:
        """Scores to weights, less the maximum; what there is so far is scaled to the new one."""
        b, spec = self.b, self.spec
        vectors = range(spec.vectors)
        start = self.place("st")
        old = [self.load_row(self.stats(0), v) for v in vectors]

        def higher(there: ir.Value, *top: ir.Value) -> Values:
            row = [self.load_row(there, v) for v in vectors]
            pairs = zip(row, top, strict=True)
            best = [b.select(b.fcmp_ordered(">", x, m), x, m) for x, m in pairs]
            return [tile.offset(b, there, i64(self.step)), *best]

        top = tile.repeat(b, some, [start, *old], higher)[1:]
        # where all scores are -inf so far, they are shifted by nothing: the sum stays 0
        none = self.splat(float("-inf"))
        shift = [b.select(b.fcmp_ordered("==", m, none), self.splat(0.0), m) for m in top]

        def weigh(there: ir.Value, *sums: ir.Value) -> Values:
            after = []
            for v, total in zip(vectors, sums, strict=True):
                p = self.exp(b.fsub(self.load_row(there, v), shift[v]))
                self.store_row(there, v, p)
                after.append(b.fadd(total, p))
            return [tile.offset(b, there, i64(self.step)), *after]

        sums = tile.repeat(b, some, [start, *[self.splat(0.0)] * spec.vectors], weigh)[1:]
        factors = [self.exp(b.fsub(m, s)) for m, s in zip(old, shift, strict=True)]
        for v in vectors:
            total = b.fadd(b.fmul(self.load_row(self.stats(1), v), factors[v]), sums[v])
            self.store_row(self.stats(1), v, total)
            self.store_row(self.stats(0), v, top[v])
        with counted(b, self.f["e"]) as row:
            there = at(b, self.place("ot"), (row, self.step))
            for v in vectors:
                self.store_row(there, v, b.fmul(self.load_row(there, v), factors[v]))

    def finish(self, row: ir.Value, count: ir.Value) -> None:
        """The result, and what the gradient needs. The sum of a query without any key is no number,
        as where scores are stored.
        """
        b, one = self.b, self.splat(1.0)
        for v in range(self.spec.vectors):
            total = self.load_row(self.stats(1), v)
            self.store_row(self.stats(2), v, b.fdiv(one, total))
            none = b.fcmp_ordered("==", total, self.splat(0.0))
            self.store_row(self.stats(1), v, b.select(none, self.splat(float("nan")), total))
        out = self.matrix("out").moved(b, row)
        self.blocks.scatter_turned(
            self.place("ot"), self.step, out, count, self.f["e"], self.stats(2)
        )
        for number, name in enumerate(STATS if self.with_stats else ()):
            target = self.matrix(name).moved(b, row)
            with counted(b, count) as i:
                x = b.load(at(b, self.stats(number), (i, 4)), typ=tile.f32)
                b.store(x, at(b, target.base, (i, target.row)))
