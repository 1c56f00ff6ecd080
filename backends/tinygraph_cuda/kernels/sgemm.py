"""Contractions of float32: an SGEMM on the ordinary units.

A block of threads computes a tile of C. It goes through the reduction in steps of 8 or 16: both
tiles of a step are copied to shared memory, where k is outermost and rows (columns) are contiguous,
and multiplied from there into registers, while the next ones are on their way (double buffering: V.
Volkov, J. Demmel, Benchmarking GPUs to Tune Dense Linear Algebra, SC 2008; CUTLASS).
"""

from __future__ import annotations

from tinygraph.plan.records.work import Tile

from .blocking import NARROW, PAD, Blocking, choose
from .reader import VECTOR, Reader, reader
from .writer import ContractionWriter, sizes_of


class SgemmWriter(ContractionWriter):
    """Writes the kernel of a contraction of float32."""

    way: Blocking
    together = VECTOR

    def __init__(self, work: Tile):
        way, _ = choose(sizes_of(work))
        assert isinstance(way, Blocking)
        if way.columns == 128 and reader("b", work, 128, way).along == "k":
            way = NARROW  # B's addresses in the tile take registers that 8x8 sums need
        super().__init__(work, way)
        self.buffer = way.depth * (way.rows + way.columns + 2 * PAD)
        self.resident = 2 if way.threads == 256 else 1

    def reading(self) -> dict[str, Reader]:
        lines = {"a": self.way.rows, "b": self.way.columns}
        return {name: reader(name, self.work, count, self.way) for name, count in lines.items()}

    def prepare(self) -> None:
        way = self.way
        self.line(f"# {way.rows}x{way.columns} of the result, {way.m}x{way.n} for each thread")
        self.line(f"tile = cuda.shared.array({2 * self.buffer}, float32)  # for A and B, twice")

    def offsets(self, name: str) -> None:
        """Also where this thread stores in the tile."""
        super().offsets(name)
        r, across, along = self.readers[name], f"{name}_across", f"{name}_along"
        outer, inner = (along, across) if r.along == "k" else (across, along)
        below = "" if name == "a" else f"uint32({self.way.depth * (self.way.rows + PAD)}) + "
        self.line(f"{name}_to = uint32({below}{outer} * uint32({r.lines + PAD}) + {inner})")

    def reduction(self) -> None:
        way = self.way
        self.start()
        self.read()
        self.store("")
        self.line("cuda.syncthreads()")
        self.line(f"acc = zeros({way.m * way.n})")
        across = way.columns // way.n
        self.line(f"a_row = uint32(quotient(thread, {across}) * uint32({VECTOR}))")
        self.line(f"b_column = uint32(remainder(thread, {across}) * uint32({VECTOR}))")
        self.line(f"b_start = uint32(b_column + uint32({way.depth * (way.rows + PAD)}))")
        self.line("now = uint32(0)")
        self.line("step = uint32(first + uint32(1))")
        self.line("while step <= last:")
        self.depth = 2
        self.line("if step < last:")
        self.depth = 3
        self.advance()
        self.read()
        self.depth = 2
        self.line(
            "acc = multiply(acc, tile, uint32(now + a_row), uint32(now + b_start), "
            f"{way.m}, {way.n}, {way.depth}, {way.rows}, {way.columns})"
        )
        self.line(f"now = uint32(uint32({self.buffer}) - now)")
        self.store("now")
        self.line("cuda.syncthreads()")
        self.line("step = uint32(step + uint32(1))")
        self.depth = 1

    def read(self) -> None:
        for name, r in self.readers.items():
            left, step = self.left(name)
            self.line(f"{name}_next = gather({name}, {name}_from, {left}, {r.width}, {step})")

    def store(self, now: str) -> None:
        for name, r in self.readers.items():
            at = f"uint32(now + {name}_to)" if now else f"{name}_to"
            step, stride = r.stash
            self.line(f"stash(tile, {at}, {name}_next, {r.width}, {step}, {stride})")

    def places(self) -> tuple[str, str, str]:
        way = self.way
        gaps = (count * VECTOR // each for count, each in ((way.rows, way.m), (way.columns, way.n)))
        high, broad = gaps
        pattern = f"{way.m}, {VECTOR}, {high}, {way.n}, {VECTOR}, {broad}"
        return "uint32(row + a_row)", "uint32(column + b_column)", pattern
