"""What all kernels of contractions have in common: where a block of threads works, how it walks
through the reduction, and the epilogue.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.records.work import Access, Tile

from .blocking import ALL, AnyBlocking, Sizes
from .kernel import CudaKernel, KernelText, require_32_bits, require_reach
from .reader import Reader, aligned


def sizes_of(work: Tile) -> Sizes:
    """A contraction's sizes, rows in one."""
    s = work.sizes
    return Sizes(s["g"], s["z"] * s["y"] * s["m"], s["n"], s["r"], s["s"], s["k"])


class ContractionWriter(KernelText, ABC):
    """Writes the kernel of a contraction; of one that is split, all but its end.

    Attributes:
        together: neighbouring columns that a thread stores in one access where it can.
        resident: blocks that a multiprocessor must have registers for at once.
    """

    together = 1
    resident = 1

    def __init__(self, work: Tile, way: AnyBlocking):
        super().__init__()
        self.work, self.body, self.way = work, work.contraction.body, way
        self.size, self.sizes, self.splits = work.sizes, sizes_of(work), work.splits
        self.readers = self.reading()
        self.nested = self.size["r"] * self.size["s"] > 1
        self.tail = self.size["k"] % self.way.depth != 0

    @abstractmethod
    def reading(self) -> dict[str, Reader]:
        """How A and B are copied to shared memory."""

    @abstractmethod
    def prepare(self) -> None:
        """Memory, and what the threads of a block know of their places."""

    @abstractmethod
    def reduction(self) -> None:
        """Lines after which ``acc`` has a thread's sums."""

    @abstractmethod
    def places(self) -> tuple[str, str, str]:
        """A thread's first row and column, and how the others follow, for ``finish``."""

    def byte_count(self, name: str, elements: int) -> str:
        """A parameter that moves the pointer to an operand, the first letter of the parameter's
        name, by a number of its elements.
        """
        self.parameters[name] = ("int64", self.bytes(name[0]) * elements)
        return name

    def bytes(self, name: str) -> int:
        """Of an element of A or B."""
        return DTYPES[(self.work.a if name == "a" else self.work.b).dtype].bytes

    def move(self, name: str, elements: str, deeper: int = 0) -> None:
        """Moves the pointer to an operand by elements, an int32."""
        self.line(f"{name} = moved({name}, int64({self.bytes(name)}) * int64({elements}))", deeper)

    def kernel(self) -> CudaKernel:
        way, sizes, s = self.way, self.sizes, self.size
        self.pointer("a", self.work.a)
        self.pointer("b", self.work.b)
        self.prepare()
        self.block()
        self.offsets("a")
        self.offsets("b")
        self.reduction()
        self.epilogue()
        blocks = sizes.tiles(way) * self.splits
        require_32_bits(blocks)
        require_reach([s[x] for x in "gzymrsk"], self.work.a.strides)
        require_reach([s[x] for x in "gnrsk"], self.work.b.strides)
        for operand in self.work.operands:
            require_reach([s[x] for x in "gzymn"], operand.strides)
        return self.made(blocks, way.threads, self.resident)

    # ------------------------------------------------------------------ where this block works

    def block(self) -> None:
        way = self.way
        self.line("thread = uint32(cuda.threadIdx.x)")
        self.line("block = uint32(cuda.blockIdx.x)")
        for name, count, each in (
            ("column", self.sizes.columns, way.columns),
            ("row", self.sizes.rows, way.rows),
        ):
            self.argument(f"{name}s", count)
            tiles = self.argument(f"{name}_tiles", -(-count // each))
            self.line(f"{name} = uint32(remainder(block, {tiles}) * uint32({each}))")
            self.line(f"block = quotient(block, {tiles})")
        groups = self.argument("groups", self.sizes.groups)
        steps = self.argument("steps", self.sizes.steps(way))
        self.line(f"group = int32(remainder(block, {groups}))")
        if self.splits == 1:
            self.line("first = uint32(0)")
            self.line(f"last = uint32({steps})")
            return
        splits = self.argument("splits", self.splits)
        self.line(f"split = quotient(block, {groups})")
        self.line(f"first = quotient(uint32(split * uint32({steps})), {splits})")
        self.line(f"last = quotient(uint32((split + uint32(1)) * uint32({steps})), {splits})")

    def evenly(self, z: int, y: int, m: int) -> bool:
        """True if rows are evenly spaced, with these strides along z, y and m."""
        s = self.size
        return (s["y"] == 1 or y == s["m"] * m) and (s["z"] == 1 or z == s["y"] * s["m"] * m)

    def line_sizes(self) -> str:
        return f"{self.argument('y', self.size['y'])}, {self.argument('m', self.size['m'])}"

    def offsets(self, name: str) -> None:
        """The elements that this thread reads, from where the reduction is."""
        r, s = self.readers[name], self.size
        line, count = ("row", "rows") if name == "a" else ("column", "columns")
        across, along = f"{name}_across", f"{name}_along"
        self.line(f"{across} = quotient(thread, {r.lanes})")
        self.line(f"{along} = uint32(remainder(thread, {r.lanes}) * uint32({r.width}))")
        k = self.argument(f"{name}_k", s[f"{name}_k"])
        end = f"uint32(uint32({count}) - uint32({r.width if r.along == 'line' else 1}))"
        first = f"uint32({line} + {along if r.along == 'line' else across})"
        if name == "b":
            rows = f"(), ({self.argument('b_n', s['b_j'])},)"
        elif self.evenly(*(s[f"a_{x}"] for x in "zym")):
            rows = f"(), ({self.argument('a_m', s['a_m'])},)"
        else:
            strides = ", ".join(self.argument(f"a_{x}", s[f"a_{x}"]) for x in "zym")
            rows = f"({self.line_sizes()}), ({strides})"
        if r.along == "k":
            self.line(f"{name}_from = row_offsets({first}, {end}, {rows}, {r.count}, {r.step})")
            start = f"int32({along}) * {k}"
        else:
            self.line(f"{name}_line = row_offsets({first}, {end}, {rows}, 1, 0)")
            self.line(
                f"{name}_from = spaced({name}_line[0], int32({k} * int32({r.step})), {r.count})"
            )
            start = f"int32({across}) * {k}"
        g = self.argument(f"{name}_g", s[f"{name}_g"])
        self.move(name, f"int32(group * {g} + {start})")
        if self.tail:
            self.line(f"{name}_k0 = int32({along if r.along == 'k' else across})")

    def start(self) -> None:
        """Moves A and B to the first step of this block's share of the reduction."""
        if self.tail or self.nested:
            self.line("k_at = int32(0)")
            self.argument("k", self.size["k"])
        if self.nested:
            self.line("s_at = int32(0)")
            self.argument("s", self.size["s"])
        if self.splits == 1:
            return
        each = self.way.depth
        if not self.nested:
            self.line(f"start = int32(first * uint32({each}))")
            if self.tail:
                self.line("k_at = int32(start)")
            for name in "ab":
                self.move(name, f"int32(start * {name}_k)")
            return
        self.line(f"steps_k = quotient(uint32(k + {each - 1}), {each})")
        self.line(f"k_at = int32(remainder(first, steps_k) * uint32({each}))")
        self.line("rest = quotient(first, steps_k)")
        self.line("s_at = int32(remainder(rest, s))")
        self.line("r_at = int32(quotient(rest, s))")
        for name in "ab":
            r, s = (self.argument(f"{name}_{x}", self.size[f"{name}_{x}"]) for x in "rs")
            at = f"int32(r_at * {r} + s_at * {s} + k_at * {name}_k)"
            self.move(name, at)

    def advance(self) -> None:
        """The next step's k; at its end, the next s and r."""
        each = self.way.depth
        if self.tail or self.nested:
            self.line(f"k_at = int32(k_at + int32({each}))")
        steps = {
            name: self.byte_count(f"{name}_next_k", each * self.size[f"{name}_k"]) for name in "ab"
        }
        if not self.nested:
            for name, step in steps.items():
                self.line(f"{name} = moved({name}, {step})")
            return
        for name, step in steps.items():
            self.line(f"{name}_step = {step}")
        self.line("if k_at >= k:")
        self.line("k_at = int32(0)", 1)
        self.line("s_at = int32(s_at + int32(1))", 1)
        self.steps_to("s", 1)
        self.line("if s_at == s:", 1)
        self.line("s_at = int32(0)", 2)
        self.steps_to("r", 2)
        for name in "ab":
            self.line(f"{name} = moved({name}, {name}_step)")

    def steps_to(self, axis: str, deeper: int) -> None:
        """From the last step within s, or within r, to the first of the next."""
        s, each = self.size, self.way.depth
        for name in "ab":
            back = (-(-s["k"] // each) - 1) * each * s[f"{name}_k"]
            if axis == "r":
                back += (s["s"] - 1) * s[f"{name}_s"]
            step = self.byte_count(f"{name}_next_{axis}", s[f"{name}_{axis}"] - back)
            self.line(f"{name}_step = {step}", deeper)

    def left(self, name: str) -> tuple[str, int]:
        """How many steps of k are left, and by how many the accesses of a thread differ: for those
        intrinsics that read zeros beyond the end.
        """
        if not self.tail:
            return "0", ALL
        r = self.readers[name]
        return f"int32(k - k_at - {name}_k0)", 0 if r.along == "k" else r.step

    # ------------------------------------------------------------------ the epilogue

    def epilogue(self) -> None:
        body, operands = self.body, self.work.operands
        used = sorted({o for _, o in body.loads} | {o for o, _ in body.stores})
        found = [self.operand(f"p{i}", operands[o]) for i, o in enumerate(used)]
        index = {o: f"p{i}[{at}]" for i, (o, (_, at)) in enumerate(zip(used, found, strict=True))}
        self.line("body = (")
        for name, o in body.loads:
            self.statement(f"{name}: {operands[o].dtype} = {index[o]}")
        for step in body.statements:
            self.statement(f"{step.name}: {step.dtype} = {step.text()}")
        for o, value in body.stores:
            self.statement(f"{index[o]} = {value}")
        self.line(")")
        lines = f"({self.line_sizes()})" if any("z" in at for _, at in found) else "()"
        tensors = ", ".join(tensor for tensor, _ in found)
        row, column, pattern = self.places()
        self.line(
            f"finish(acc, {row}, rows, {column}, columns, {lines}, ({tensors},), body, {pattern}, "
            f"{self.wide})"
        )

    def statement(self, text: str) -> None:
        self.line(repr(text + "\n"), 1)

    @property
    def wide(self) -> int:
        """Neighbouring columns of which all or none are there."""
        return self.together if self.size["n"] % self.together == 0 else 1

    def operand(self, name: str, access: Access) -> tuple[str, str]:
        """(pointer, first element and strides of rows; how the body indexes it), as text."""
        g, z, y, m, n = access.strides
        self.pointer(name, access)
        start = f"group * {self.argument(f'{name}_g', g)}"
        if self.work.splits > 1:
            start += f" + int32(split) * {self.argument(f'{name}_split', self.sizes.groups * g)}"
        rows, index = [self.argument(f"{name}_m", m)], ["row"]
        if not any(x for x, axis in ((z, "z"), (y, "y"), (m, "m")) if self.size[axis] > 1):
            rows, index = [], []
        elif not self.evenly(z, y, m):
            rows = [*(self.argument(f"{name}_{x}", v) for x, v in (("z", z), ("y", y))), *rows]
            index = ["z", "y", "m"]
        if n:
            even = all(x % self.together == 0 for x in (g, z, y, m))
            even = even and aligned(access, self.together)
            index.append("n_wide" if self.wide > 1 and even else "n")
        return f"({', '.join([name, f'int32({start})', *rows])})", ", ".join(index) or "all"
