"""An attention as work: when it pays, its record, its argument block, its parts."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from tinygraph.graph.ir import Node
from tinygraph.ops.blockwise_attention import ATTENTION, batch_of
from tinygraph.plan.records.work import Access, Buffer, Emitted

from .records import (
    BATCH,
    BATCH_SIZES,
    STATS,
    TWINS,
    Attention,
    AttentionForward,
    AttentionGradient,
    places,
)

KEYS = 96  # of a block: with the queries of a block, its scores stay in the first cache
VECTORS = {16: 4, 8: 2}  # of a block of queries, by the lanes of a vector

# From here on one pass is faster. Time of stored scores = 1 at 32, 64, 128, 256, 512, 1024 keys and
# as many queries of 64 features, one Intel core with AVX-512: forward 0.9, 0.7, 0.7, 0.7, 0.6, 0.7,
# causal 0.5 to 0.3; with the gradient 1.25, 1.0, 1.1, 1.0, 0.7, 0.4, causal 0.7 at 128.
FEW = 32  # queries, below which vectors would be empty, and keys
LEAST = {False: 384, True: 128}  # keys for a gradient, whether it is causal
TEAM = 4  # indices of the batch for a gradient, which are its parts
LARGE = 2**24  # scores, from which on their memory counts more than that
MOST_PARTS = 256

Operand = tuple[str, Access, tuple[int, int]]  # name, where it is, rows and columns


@dataclass(frozen=True, slots=True)
class AttentionKernel:
    """How this backend computes the operators ``attention`` and ``attention_gradient``; see
    ``OperatorKernel`` in tinygraph/plan/records/target.py.
    """

    lanes: int
    registers: int

    def refusal(self, n: Node) -> str:
        """Why scores are better stored; "" if they are not."""
        q, k, v, *_ = attended(n)
        batch, queries, keys = batch_of(q.type, k.type, v.type), q.shape[-2], k.shape[-2]
        if q.dtype != "float32":
            return f"they are {q.dtype}"
        if len(batch) > BATCH:
            return f"there are {len(batch)} axes before theirs"
        if not prod((*batch, queries, q.shape[-1], v.shape[-1])):
            return "there are none"
        if min(queries, keys) < FEW:
            return f"{queries} queries and {keys} keys are few"
        if n.op is ATTENTION:
            return ""
        if keys < LEAST[n.attr("causal")]:
            return f"{queries} queries and {keys} keys are few for a gradient"
        few = prod(batch) < TEAM and prod(batch) * queries * keys < LARGE
        return f"a gradient of {prod(batch)} heads has too few parts" if few else ""

    def work(self, n: Node, operands: Sequence[Access], scratch: Buffer) -> tuple[Emitted, int]:
        """The kernel's launch, and its parts; ``operands`` are the node's inputs, then its result.
        ``scratch`` grows to what a thread needs.
        """
        q, k, v, *mask = attended(n)
        batch, forward = batch_of(q.type, k.type, v.type), n.op is ATTENTION
        sizes = dict(zip(BATCH_SIZES, (1,) * (BATCH - len(batch)) + batch, strict=True))
        sizes |= {"l": q.shape[-2], "s": k.shape[-2], "d": q.shape[-1], "e": v.shape[-1]}
        found = forward_operands(n, operands, sizes) if forward else gradient_operands(
            n, operands, sizes
        )  # fmt: skip
        written = ("out", *STATS) if forward else ("dq", "dk", "dv")
        record = self.record(n, mask, tuple(x for x, at, _ in found if at.strides[-1] == 1))
        memory, elements = places(record, sizes)
        scratch.bytes = max(scratch.bytes, -(-4 * elements // 64) * 64)
        blocks = prod(batch) * (-(-q.shape[-2] // record.width) if forward else 1)
        fields = {"parts": min(blocks, MOST_PARTS)} | sizes
        fields |= {x: float_bits(n.attr(x)) for x in ("scale", "fill")} | memory
        full = tuple(sizes[x] for x in BATCH_SIZES)
        made = Emitted(
            record,
            "attention_forward" if forward else "attention_gradient",
            TWINS,
            fields,
            tuple(at for _, at, _ in found),
            tuple((*full, *box) for *_, box in found),
            frozenset(i for i, (name, *_) in enumerate(found) if name in written),
            scratch,
        )
        return made, fields["parts"]

    def record(self, n: Node, mask: Sequence[Node], unit: tuple[str, ...]) -> Attention:
        vectors = VECTORS.get(self.lanes, 1)
        rows = (self.registers - 1) // vectors - 1
        dtype = mask[0].dtype if mask else ""
        common = self.lanes, vectors, rows, KEYS, dtype, n.attr("causal"), unit
        if n.op is ATTENTION:
            return AttentionForward(*common, stats=n.attr("stats"))
        return AttentionGradient(*common)


def attended(n: Node) -> tuple[Node, ...]:
    """Queries, keys, values, and the mask if there is one."""
    return n.inputs if n.op is ATTENTION else n.inputs[3:]


def float_bits(value: float) -> int:
    return int(struct.unpack("<i", struct.pack("<f", value))[0])


def forward_operands(n: Node, operands: Sequence[Access], sizes: dict[str, int]) -> list[Operand]:
    """Queries, keys, values; the result; its stats; the mask."""
    q, k, v, *mask = inputs(n, operands)
    rows, e, result = sizes["l"], sizes["e"], operands[-1]
    if not n.attr("stats"):
        made = [("out", matrix(result, n.shape), (rows, e))]
    else:
        made = [piece("out", result, 0, (rows, e))]
        made += stats_of(result, rows * e, rows)
    shapes = (rows, sizes["d"]), (sizes["s"], sizes["d"]), (sizes["s"], e)
    given = [(name, x, box) for name, x, box in zip("qkv", (q, k, v), shapes, strict=True)]
    return [*given, *made, *(("mask", x, (rows, sizes["s"])) for x in mask)]


def gradient_operands(n: Node, operands: Sequence[Access], sizes: dict[str, int]) -> list[Operand]:
    """Those of GRADIENT, and the mask."""
    rows, s, d, e = (sizes[x] for x in "lsde")
    g, out, _, q, k, v, *mask = inputs(n, operands)
    result, end = operands[-1], rows * d
    return [
        ("g", g, (rows, e)), ("out", out, (rows, e)), *stats_of(operands[2], 0, rows),
        ("q", q, (rows, d)), ("k", k, (s, d)), ("v", v, (s, e)),
        piece("dq", result, 0, (rows, d)),
        piece("dk", result, end, (s, d)),
        piece("dv", result, end + s * d, (s, e)),
        *(("mask", x, (rows, s)) for x in mask),
    ]  # fmt: skip


def stats_of(at: Access, first: int, rows: int) -> list[Operand]:
    """Greatest scores, and sums, which are one after the other from ``first`` on."""
    return [piece(name, at, first + i * rows, (rows, 1)) for i, name in enumerate(STATS)]


def inputs(n: Node, operands: Sequence[Access]) -> list[Access]:
    """The inputs as matrices."""
    return [matrix(at, x.shape) for x, at in zip(n.inputs, operands[:-1], strict=True)]


def matrix(at: Access, shape: Sequence[int]) -> Access:
    """An array [..., rows, columns] over the four axes of the batch, rows and columns; axes of size
    1 are repeated.
    """
    strides = [0 if size == 1 else step for size, step in zip(shape, at.strides, strict=True)]
    return replace(at, strides=(*[0] * (BATCH + 2 - len(strides)), *strides))


def piece(name: str, at: Access, first: int, box: tuple[int, int]) -> Operand:
    """A matrix whose elements are one after the other in the last axis, from ``first`` on."""
    *batch, step = at.strides
    strides = (*[0] * (BATCH - len(batch)), *batch, box[1] * step, step)
    return name, replace(at, offset=at.offset + first * step, strides=strides), box
