"""What the machine code of a Winograd convolution depends on, and its argument blocks.

One launch does everything. A part is a run of tile rows (of one or several images) and a share of
the column blocks: it transforms its tiles into the scratch memory of its thread,
V[point][tile][channel]; then for each column block it multiplies, M[point][tile][column] = V[point]
U[point], and transforms M back, the epilogue on the vectors. The transformed weights lie as
U[group][column block][point][channel][column of the block]. Strides and sizes are int64 at run
time, counted in elements.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinygraph.plan.records.body import Body
from tinygraph.plan.records.contraction import TileOperand

TWINS = "tinygraph_cpu.winograd.twins"  # the module that does the same in Python


@dataclass(frozen=True, slots=True)
class Products:
    """The common part of the kernels of a convolution and of its gradient.

    Attributes:
        vector_tail: vectors of the last column block if they are fewer; 0 otherwise.
        masked: whether the last vector of the columns is used in part.
        operands: of the epilogue, numbered as in ``body``.
    """

    m: int
    r: int
    rows: int
    vectors: int
    vector_tail: int
    masked: bool
    body: Body
    operands: tuple[TileOperand, ...]
    lanes: int

    @property
    def width(self) -> int:
        return self.vectors * self.lanes

    @property
    def points(self) -> int:
        return (self.m + self.r - 1) ** 2


@dataclass(frozen=True, slots=True)
class WinogradTile(Products):
    """The kernel of a convolution by F(m x m, r x r).

    Attributes:
        m, r: size of an output tile and of the filter.
        rows, vectors: the register tile of the products: ``rows`` tiles times ``vectors * lanes``
            columns.
        body: the epilogue; it reads an output pixel's vector as ``acc``.
    """


@dataclass(frozen=True, slots=True)
class WinogradGradient(Products):
    """The kernel of a convolution's gradient to its weights, by the transpose of F(m x m, r x r).

    A part is a share of the channels, a share of the column blocks and a piece of all the tiles. It
    takes some tiles after the other: transforms their windows and their gradients into the scratch
    memory of its thread, V[point][tile][channel] and Q[point][tile][column], and adds V^T Q to
    M[point][column block][channel][column of the block]; at the end it transforms M to r x r taps,
    the epilogue on the vectors.

    Attributes:
        m, r: size of a tile of the gradient and of the filter.
        rows, vectors: the register tile of the products: ``rows`` channels times ``vectors *
            lanes`` columns.
        body: the epilogue; it reads a tap's vector as ``acc``.
    """


@dataclass(frozen=True, slots=True)
class WinogradWeights:
    """The kernel that transforms weights, one channel of one column block after the other.

    ``unit``: columns of the weights are contiguous.
    """

    m: int
    r: int
    unit: bool
    lanes: int


# The argument blocks. Part p of a convolution takes share p % column_parts of the column blocks,
# share p // column_parts % row_parts of the z * tiles_y tile rows, and of the groups number p //
# column_parts // row_parts. Pixel (y, x) of the window of tile (i, j) is pixel (i * m + y - top, j
# * m + x - left) of the image, zero outside of it. In a thread's scratch V begins at 0, M at
# m_offset; v_row and v_point are V's strides, m_point is M's by point.
TILE_FIELDS = (
    *("row_parts", "column_parts", "z", "tiles_y", "tiles_x", "height", "width", "n", "k"),
    *("image_height", "image_width", "top", "left", "v_row", "v_point", "m_offset", "m_point"),
)
SCRATCH = ("scratch", "scratch_stride")  # follows: address and, by thread, its stride in bytes
# then what is fetched ahead (AHEAD of contraction.py); then the address and the strides of each
# operand: image, transformed weights (e: element of a block), epilogue
TILE_STRIDES = (("g", "z", "y", "x", "k"), ("g", "j", "e"))
EPILOGUE_STRIDES = ("g", "z", "y", "x", "n")

# Part p transforms share p of the groups * blocks * k rows of U, which have ``vectors`` vectors.
WEIGHT_FIELDS = ("parts", "groups", "blocks", "n", "k", "vectors")
WEIGHT_STRIDES = (("g", "n", "k", "i", "j"), ("g", "j", "p", "k", "n"))

# Part p of a gradient takes share p % column_parts of the column blocks, share p // column_parts %
# channel_parts of the vectors of channels, then a piece of the z * tiles_y * tiles_x tiles, then a
# group. It takes at most ``tiles`` tiles at once. Windows are those of a convolution. In a thread's
# scratch V begins at 0, Q at q_offset, M at m_offset.
GRADIENT_FIELDS = (
    *("column_parts", "channel_parts", "pieces", "tiles", "z", "tiles_y", "tiles_x"),
    *("height", "width", "n", "k", "k1", "k2", "image_height", "image_width", "top", "left"),
    *("v_row", "v_point", "q_offset", "q_row", "q_point", "m_offset", "m_block", "m_point"),
)
# image, gradient, epilogue (s: the piece; a channel is k0 * k1 * k2, of sizes k / k1 / k2, k1, k2)
GRADIENT_STRIDES = (("g", "z", "y", "x", "k"), ("g", "z", "y", "x", "n"))
TAP_STRIDES = ("s", "g", "k0", "k1", "k2", "y", "x", "n")
