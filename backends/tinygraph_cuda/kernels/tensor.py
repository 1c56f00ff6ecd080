"""Contractions of bfloat16, added up in float32 by tensor cores.

Tiles of A and B come to shared memory by asynchronous copies, three steps of the reduction at a
time: one is multiplied while two are on their way. A tile is stored as its operand is, k or lines
innermost, in chunks of 16 bytes whose order changes from row to row, so that the eight rows of a
matrix are in different banks (``kernels/matrix.py``). The barrier of a step says that its copies
have come, and that the stage which is filled next has been read by everybody.

What is not contiguous, or begins anywhere, is copied by ordinary loads and stores, element by
element, into the same stages.
"""

from __future__ import annotations

from tinygraph.plan.records.work import Tile

from .blocking import SMALL, STAGES, TensorBlocking, choose_tensor
from .reader import Reader, reader
from .writer import ContractionWriter, sizes_of

WIDTHS = (8, 4, 2)  # elements of an asynchronous copy: 16, 8 and 4 bytes


class TensorWriter(ContractionWriter):
    """Writes the kernel of a contraction of floats of 16 bits."""

    way: TensorBlocking
    together = 2
    resident = 2

    def __init__(self, work: Tile):
        way, _ = choose_tensor(sizes_of(work))
        narrow = [name for name in "ab" if self.read_by(name, work, way).width < WIDTHS[1]]
        if narrow and way.threads * way.rows > SMALL.threads * SMALL.rows:
            way = SMALL  # addresses of single elements take the registers of large tiles
        super().__init__(work, way)
        self.below = 2 * way.rows * way.depth  # bytes of A's tile, before B's
        self.stage = self.below + 2 * way.columns * way.depth

    @staticmethod
    def read_by(name: str, work: Tile, way: TensorBlocking) -> Reader:
        return reader(name, work, way.rows if name == "a" else way.columns, way, WIDTHS)

    def reading(self) -> dict[str, Reader]:
        return {name: self.read_by(name, self.work, self.way) for name in "ab"}

    def prepare(self) -> None:
        way, words = self.way, STAGES * self.stage // 4
        self.line(f"# {way.rows}x{way.columns} of the result, {way.m}x{way.n} for each warp")
        self.line(f"tile = cuda.shared.array({words}, uint32, 128)  # for A and B, {STAGES} times")

    def pitch(self, name: str) -> int:
        """Bytes from a row of a tile in shared memory to the next."""
        r = self.readers[name]
        return 2 * (self.way.depth if r.along == "k" else r.lines)

    # ------------------------------------------------------------------ the reduction

    def reduction(self) -> None:
        way, stages = self.way, STAGES * self.stage
        self.start()
        self.line("lane = remainder(thread, 32)")
        self.line("warp = quotient(thread, 32)")
        across = way.columns // way.n
        self.line(f"warp_row = uint32(quotient(warp, {across}) * uint32({way.m}))")
        self.line(f"warp_column = uint32(remainder(warp, {across}) * uint32({way.n}))")
        for name, first, lines in (("a", "warp_row", way.m), ("b", "warp_column", way.n)):
            r = self.readers[name]
            self.line(
                f"{name}_parts = matrix_places(lane, {first}, {name == 'a':d}, {lines}, "
                f"{r.along == 'k':d}, {way.depth}, {self.pitch(name)})"
            )
        self.line(f"acc = zeros({way.m * way.n // 32})")
        self.line("step = uint32(first)")
        for stage in range(STAGES - 1):
            self.line(f"if step < last:  # stage {stage}")
            self.depth = 2
            self.fetch(str(stage * self.stage))
            self.depth = 1
            self.line("commit_copies()")
            self.line("step = uint32(step + uint32(1))")
        self.line("now = uint32(0)")
        self.line(f"fill = uint32({(STAGES - 1) * self.stage})")
        self.line(f"end = uint32(last + uint32({STAGES - 1}))")
        self.line("while step < end:")
        self.depth = 2
        self.line(f"await_copies({STAGES - 2})")
        self.line("cuda.syncthreads()")
        self.line("if step < last:")
        self.depth = 3
        self.fetch("fill")
        self.depth = 2
        self.line("commit_copies()")
        a, b = (self.readers[name] for name in "ab")
        self.line(
            f"acc = multiply_matrices(acc, tile, now, a_parts, b_parts, {way.m}, {way.n}, "
            f"{way.depth}, {a.along == 'k':d}, {self.pitch('a')}, {b.along == 'k':d}, "
            f"{self.pitch('b')}, {self.below}, {KINDS[self.work.a.dtype]!r})"
        )
        for name in ("now", "fill"):
            self.line(f"{name} = uint32({name} + uint32({self.stage}))")
            self.line(f"{name} = where({name} == uint32({stages}), uint32(0), {name})")
        self.line("step = uint32(step + uint32(1))")
        self.depth = 1

    def fetch(self, stage: str) -> None:
        """Lines that copy the next step's tiles to a stage, and move A and B on."""
        for name, r in self.readers.items():
            left, step = self.left(name)
            at = f"uint32({stage})" if name == "a" else f"uint32({stage} + {self.below})"
            self.line(
                f"copy_tile(tile, {at}, {name}_across, {name}_along, {name}, {name}_from, {left}, "
                f"{r.width}, {r.step}, {self.pitch(name)}, {step})"
            )
        self.advance()

    def places(self) -> tuple[str, str, str]:
        """Of each matrix of 8 x 8 sums a lane has two neighbours of one row."""
        way = self.way
        pattern = f"{way.m // 8}, 1, 8, {way.n // 4}, 2, 8"
        row = "uint32(row + warp_row + quotient(lane, 4))"
        column = "uint32(column + warp_column + remainder(lane, 4) * uint32(2))"
        return row, column, pattern


KINDS = {"bfloat16": "bf16", "float16": "f16"}
