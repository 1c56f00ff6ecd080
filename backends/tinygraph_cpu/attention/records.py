"""What the machine code of attention in one pass depends on, and its argument blocks.

Scores are kept transposed, S^T[key][query]: queries are the lanes of vectors, so that maximum and
sum of a query's scores need no reduction across lanes, keys and values are read in place with any
strides, and only the queries of a block are copied. A forward part takes blocks of ``vectors *
lanes`` queries, one after the other; for each it goes through the keys in blocks of ``keys``:

    S^T = K Q^T            m' = max(m, max over keys S^T)     P^T = exp(S^T - m')
    l = l exp(m - m') + sum over keys P^T                     O^T = O^T exp(m - m') + V^T P^T

and at the end the result is O / l (M. Milakov and N.
Gimelshein, Online normalizer calculation for softmax, 2018; M. Rabe and C. Staats, Self-attention
does not need O(n^2) memory, 2021). A gradient's part takes the whole of one batch index: for each
block of queries and of keys it computes P^T = exp(S^T - m) / l anew and adds to the
gradients of the block's queries, and of the keys and values (T. Dao, FlashAttention-2, 2023,
section 3.1, with the loops exchanged: the gradients to the queries stay in cache).

Strides and sizes are int64 at run time, counted in elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TWINS = "tinygraph_cpu.attention.twins"  # the module that does the same in Python
BATCH = 4  # axes of the batch


@dataclass(frozen=True, slots=True)
class Attention:
    """The common part of both kernels.

    Attributes:
        lanes: float32 elements of a vector.
        vectors: of a block of queries.
        rows: of a register tile; it has ``rows * vectors`` accumulators.
        keys: of a block.
        mask: dtype of the mask; "" without one.
        causal: whether query i sees keys 0 to i only.
        unit: operands whose columns are side by side in memory.
    """

    lanes: int
    vectors: int
    rows: int
    keys: int
    mask: str
    causal: bool
    unit: tuple[str, ...]

    @property
    def width(self) -> int:
        """Queries of a block."""
        return self.vectors * self.lanes


@dataclass(frozen=True, slots=True)
class AttentionForward(Attention):
    """The result, and where ``stats`` each query's greatest score and sum."""

    stats: bool = False


@dataclass(frozen=True, slots=True)
class AttentionGradient(Attention):
    """The gradients to queries, keys and values."""


BATCH_SIZES = ("n0", "n1", "n2", "n3")
BATCH_STRIDES = ("b0", "b1", "b2", "b3")

# The argument blocks. Sizes: queries l, keys s, features d of both, e of the values. ``scale`` and
# ``fill``, what a boolean mask makes of scores, are the bits of a float32. Part p of ``parts``
# takes a share of the blocks of queries (forward), or of the batch (gradient).
FIELDS = ("parts", *BATCH_SIZES, "l", "s", "d", "e", "scale", "fill")
SCRATCH = ("scratch", "scratch_stride")  # address and, by thread, its stride in bytes
# then the address and the strides of each operand: (batch, row, column), all float32 but a mask
STRIDES = (*BATCH_STRIDES, "row", "column")
STATS = ("tops", "totals")
FORWARD = ("q", "k", "v", "out")  # then those of STATS and mask, where there are any
GRADIENT = ("g", "out", "tops", "totals", "q", "k", "v", "dq", "dk", "dv")  # then mask

# Where values are in a thread's scratch memory, as (name, rows, columns): rows and columns are
# fields, "keys" of a block, or "queries", the width of a block. Features are rounded up to whole
# vectors. ``stats`` are rows of numbers for each query.
FORWARD_PLACES = (
    ("qt", "d", "queries"), ("st", "keys", "queries"), ("ot", "e", "queries"),
    ("stats", "stats", "queries"), ("bias", "keys", "queries"),
)  # fmt: skip
GRADIENT_PLACES = (
    ("qt", "d", "queries"), ("gt", "e", "queries"), ("ot", "e", "queries"),
    ("qr", "queries", "d"), ("gr", "queries", "e"),
    ("st", "keys", "queries"), ("pt", "keys", "queries"), ("dqt", "d", "queries"),
    ("stats", "stats", "queries"), ("bias", "keys", "queries"), ("dk", "s", "d"), ("dv", "s", "e"),
)  # fmt: skip
ROWS_OF_STATS = 4


def place_names(spec: Attention) -> tuple[str, ...]:
    """The fields that say where values are in the scratch memory; they follow FIELDS."""
    table = FORWARD_PLACES if isinstance(spec, AttentionForward) else GRADIENT_PLACES
    return tuple(f"at_{name}" for name, *_ in table)


def places(spec: Attention, sizes: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Where each value begins in the scratch memory, in elements, and how many elements it has."""
    lanes = spec.lanes
    known = {"keys": spec.keys, "queries": spec.width, "stats": ROWS_OF_STATS, "s": sizes["s"]}
    known |= {x: -(-sizes[x] // lanes) * lanes for x in "de"}
    table = FORWARD_PLACES if isinstance(spec, AttentionForward) else GRADIENT_PLACES
    found, end = {}, 0
    for name, rows, columns in table:
        found[f"at_{name}"] = end
        end += known[rows] * known[columns]
    return found, end
