"""The contraction: one affine description of every matrix product and convolution.

    C[g,z,y,m,n] = epilogue(sum over r,s,k of  A[g,z,y,m, r,s,k] * B[g,n, r,s,k])

``g`` is in A, B and C (batch, groups, Winograd points); ``z``, ``y`` and ``m`` are rows (A and C),
``n`` is columns (B and C), ``r``, ``s`` and ``k`` are the reduction, outermost first. Every operand
is affine in these indices, so a convolution is an implicit GEMM: r and s walk over the kernel,
nothing is stored. B is in column blocks of ``width`` elements: element n of row k is at ``(n
// width) * b_j + k * b_k + n % width``; a packed B has ``b_k = width``, an unpacked one ``b_j =
width``. Strides and sizes are int64 at run time, counted in elements.

Steps of k are words of 32 bits: a float32, or four bytes of A and as many of each column of B,
whose products are added up in int32. B is then packed, four bytes of a column side by side, and A
has them side by side as it is; their strides count bytes.

A tile of words may be in matrix registers instead of vectors (``matrix``): one instruction adds to
16 x 16 sums the products of 16 words of each of 16 rows with 16 words of each of 16 columns. The
operands are stored in the same way, and sums of integers are the same.

A vector's lanes hold columns, as above: B is loaded, an element of A broadcast. Where there are no
columns, as in a depthwise convolution, they hold the batch (``lanes_along``): n stands for an axis
that is contiguous in A and in C, and A is loaded, too. If its columns are those of small groups, of
``group`` each, a step multiplies each lane with all channels of its group, one after the other.
Such an A may be bytes, next to a B of float32: they are converted as they are loaded, and the
sums, which float32 holds exactly, to int32. Where there are few columns, and rows of A are
contiguous along k, lanes may hold steps of k (``lanes_along`` is "reduction"): a column of B is
contiguous along k, too, ``b_j`` elements before the one that is ``width`` columns after it; vectors
of both are loaded, and the lanes of each sum are added up in the end. An A of these two kinds may
be read beyond its edges, where it counts as zero (``Edge``).
"""

from __future__ import annotations

from dataclasses import dataclass

from ...graph.dtype import DTYPES
from .body import Body

LONG = 16_384  # steps from which on a reduction is blocked
SQUARE = 16  # rows of a matrix register, and 32-bit words of each of them
BLOCK = 4096  # steps of "k" that one running sum takes


def blocked(r: int, s: int, k: int) -> str:
    """Where a reduction of these sizes puts its running sums aside: as rarely as it may."""
    if r * s * k <= LONG:
        return ""
    return "r" if s * k <= LONG else "s" if k <= LONG else "k"


def word_of(factors: tuple[str, str]) -> int:
    """Elements of B in 32 bits, and as many of A are multiplied with them."""
    return 4 // DTYPES[factors[1]].bytes


def is_exact_in_floats(depth: int) -> bool:
    """True if float32 holds all sums of so many products of bytes."""
    return depth * 255 * 255 < 2**24


@dataclass(frozen=True, slots=True)
class TileOperand:
    """A tensor that the epilogue reads or writes: affine in g, z, y, m; 1 or 0 along n.

    Attributes:
        unit: whether it is 1 along n.
        rows: whether it changes along m; a bias does not.
    """

    unit: bool = True
    dtype: str = "float32"
    rows: bool = True


@dataclass(frozen=True, slots=True)
class Edge:
    """An axis of A that is read beyond its edges, at ``at + row * row_step + tap * tap_step``.

    Attributes:
        row: "m", or "y" or "z", along which all rows of a tile are at one position; "" if the
            position depends on the tap only.
        tap: "r", "s" or "k"; if row is "m" the innermost whose steps are not across the lanes.
        row_step, tap_step: not negative, and positive.
    """

    row: str
    tap: str
    row_step: int
    tap_step: int


@dataclass(frozen=True, slots=True)
class Contraction:
    """All that a contraction's machine code depends on; the rest is in its argument block.

    Attributes:
        rows, vectors: the register tile: ``rows`` x ``vectors`` vectors of accumulators, each of
            ``lanes`` columns, or of one whose reduction is across them.
        row_tail: rows of the last tile along m (m % rows) if that has code of its own; 0 if rows
            divides m, or one code serves all tiles.
        vector_tail: vectors of the last column block if that has code of its own; 0 if one code
            serves all blocks.
        masked: whether the last vector of the last column block is used in part (n % lanes != 0).
        body: the epilogue; it reads the accumulator as ``acc`` and the operands that it names.
        operands: of the epilogue, numbered as in ``body``; those that ``body.stores`` names are
            outputs.
        lanes_along: "columns", "batch" or "reduction".
        blocked: where the running sums of a long reduction are put aside, so that they lose no
            digits: "" nowhere, after each iteration of "r" or "s", or every BLOCK steps of "k".
        packed: whether B has all of the last column block; otherwise its memory may end with n.
        edges: of A, beyond which it is zero.
        factors: the dtypes of A and B: float32, bfloat16, bytes, or bytes and float32.
        matrix: whether the tile is in matrix registers.
        group: channels, and columns, of each group whose columns are across the lanes with those of
            others; a step has so many rows of B, one for each channel.
        lines: of y, all of m each, that a tile in matrix registers has.
        pitch: rows from one line to the next in A: so many more are multiplied than are used.
    """

    rows: int
    vectors: int
    row_tail: int
    vector_tail: int
    masked: bool
    body: Body
    operands: tuple[TileOperand, ...]
    lanes: int
    chunked: bool = False
    lanes_along: str = "columns"
    blocked: str = ""
    packed: bool = False
    edges: tuple[Edge, ...] = ()
    factors: tuple[str, str] = ("float32", "float32")
    matrix: bool = False
    group: int = 1
    lines: int = 1
    pitch: int = 0

    @staticmethod
    def tiled(
        tile: tuple[int, int],
        m: int,
        n: int,
        body: Body,
        operands: tuple[TileOperand, ...],
        lanes: int,
        chunked: bool = False,
        lanes_along: str = "columns",
        blocked: str = "",
        packed: bool = False,
        edges: tuple[Edge, ...] = (),
        factors: tuple[str, str] = ("float32", "float32"),
        matrix: bool = False,
        group: int = 1,
        lines: int = 1,
        pitch: int = 0,
        tails: bool = True,
    ) -> Contraction:
        """The record for these sizes: the tile is cut down to them, tails and masks follow.

        Without ``tails``, the code of a whole tile serves all of them.
        """
        across = 1 if lanes_along == "reduction" else lanes
        rows, columns = min(tile[0], m), -(-n // across)
        vectors = min(tile[1], columns)
        tail, masked = columns % vectors, n % across != 0
        if masked and not tail and columns > vectors:
            tail = vectors  # full blocks keep unmasked stores
        whole = not tails and lanes_along != "reduction"  # whose columns are never padded
        shape = rows, vectors, m % rows if tails else 0, 0 if whole else tail
        return Contraction(
            *shape, masked, body, operands, lanes, chunked, lanes_along, blocked, packed, edges,
            factors, matrix, group, lines, pitch,
        )  # fmt: skip

    @property
    def height(self) -> int:
        """Rows of A from the first to the last of a tile."""
        return (self.lines - 1) * self.pitch + self.rows

    @property
    def width(self) -> int:
        """Columns of a block."""
        return self.vectors if self.lanes_along == "reduction" else self.vectors * self.lanes

    @property
    def step(self) -> int:
        """Of how many k an instruction takes the products."""
        along = self.lanes if self.lanes_along == "reduction" else 1
        return SQUARE if self.matrix else along

    @property
    def word(self) -> int:
        """Elements of A, and of a column of B, in a step of k; one where B is not packed."""
        return word_of(self.factors) if self.packed else 1

    @property
    def accumulator(self) -> str:
        """The dtype of sums."""
        return "float32" if DTYPES[self.factors[0]].is_float else "int32"


# The argument block of a contraction, one int64 each; a, b and the operands are addresses, strides
# count elements. The work is cut into row_parts * column_parts parts: part p takes row tiles of
# share p // column_parts and column blocks of share p % column_parts, for row_group row tiles
# after the other.
SIZES = ("row_parts", "column_parts", "row_group", "g", "z", "y", "m", "n", "r", "s", "k")
OPERAND_A = ("a", "a_g", "a_z", "a_y", "a_m", "a_r", "a_s", "a_k")
OPERAND_B = ("b", "b_g", "b_j", "b_r", "b_s", "b_k")
CHUNKS = ("s_chunk", "partial")
# Every part fetches ahead_part bytes, from address ahead + part * ahead_part on, into the cache for
# later launches, some at each step of its reductions.
AHEAD = ("ahead", "ahead_part")
FIELDS = SIZES + OPERAND_A + OPERAND_B + CHUNKS + AHEAD
TILE_OPERAND = ("p", "p_g", "p_z", "p_y", "p_m")  # for each of Contraction.operands, in order
# For each of Contraction.edges, after the operands: the position of the first row at the first tap,
# the size of the axis, and its stride. "a" is where position 0 is.
EDGE = ("at", "size", "stride")
