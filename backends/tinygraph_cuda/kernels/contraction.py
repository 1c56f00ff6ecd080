"""Contractions as CUDA kernels: C = epilogue(A B), an SGEMM whose operands are affine accesses.

A block of threads computes a tile of C. It goes through the reduction in steps of 8 or 16: both
tiles of a step are copied to shared memory, where k is outermost and rows (columns) are contiguous,
and multiplied from there into registers, while the next ones are on their way (double buffering: V.
Volkov, J. Demmel, Benchmarking GPUs to Tune Dense Linear Algebra, SC 2008; CUTLASS). Rows and
columns beyond the edge are read in place of the last one, and never stored.

A reduction that is split has one block of threads for each tile and split; their sums are added up
by a loop nest, which has the epilogue too.
"""

from __future__ import annotations

from dataclasses import replace

from tinygraph.plan.nests.arrange import arrange
from tinygraph.plan.nests.shape import shaped
from tinygraph.plan.records.body import Body
from tinygraph.plan.records.work import Access, Fold, Load, Nest, NestStatement, Put, Stage, Tile

from . import nest
from .blocking import ALL, NARROW, PAD, SHAPING, Sizes, choose
from .kernel import CudaKernel, KernelText, require_32_bits, require_reach
from .reader import VECTOR, aligned, reader


def emit(work: Tile) -> tuple[CudaKernel, ...]:
    """The kernel, and where the reduction is split the one that adds up and has the epilogue.

    Raises:
        BackendError: sizes or strides beyond 32 bits.
    """
    if work.splits == 1:
        return (SgemmWriter(work).kernel(),)
    assert work.partial is not None
    s = work.sizes
    box = [s[axis] for axis in "gzymn"]
    sums = replace(work.partial, strides=dense(box))
    store = replace(work.contraction, body=Body(stores=((0, "acc"),)))
    parts = replace(work, contraction=store, operands=(sums,))
    return SgemmWriter(parts).kernel(), nest.emit(combine(work))


def dense(sizes: list[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(sizes):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def combine(work: Tile) -> Nest:
    """Adds up the splits of a reduction, one after the other, then the epilogue."""
    s, body, record = work.sizes, work.contraction.body, work.contraction
    axes = (*(s[axis] for axis in "gzymn"), work.splits)
    assert work.partial is not None
    strides = dense([work.splits, *axes[:5]])
    sums = replace(work.partial, strides=(*strides[1:], strides[0]))
    operands = (*(replace(o, strides=(*o.strides, 0)) for o in work.operands), sums)
    steps: list[NestStatement] = [Load(name, o, record.operands[o].dtype) for name, o in body.loads]
    steps += body.statements
    steps += [Put(operand, value) for operand, value in body.stores]
    inner = (Load("sum", len(operands) - 1), Fold("acc", "sum", "sum", "float32"))
    nest = Nest(axes, (5,), operands, (Stage((), inner), Stage(tuple(steps), ())))
    return shaped(arrange(nest), SHAPING)


class SgemmWriter(KernelText):
    """Writes the kernel of a contraction; of one that is split, all but its end."""

    def __init__(self, work: Tile):
        super().__init__()
        self.work, self.body = work, work.contraction.body
        self.size = s = work.sizes
        sizes = Sizes(s["g"], s["z"] * s["y"] * s["m"], s["n"], s["r"], s["s"], s["k"])
        self.sizes, (self.way, _) = sizes, choose(sizes)
        if self.way.columns == 128 and reader("b", work, 128, self.way).along == "k":
            self.way = NARROW  # B's addresses in the tile take registers that 8x8 sums need
        self.splits = work.splits
        self.readers = {
            "a": reader("a", work, self.way.rows, self.way),
            "b": reader("b", work, self.way.columns, self.way),
        }
        self.buffer = self.way.depth * (self.way.rows + self.way.columns + 2 * PAD)
        self.nested = s["r"] * s["s"] > 1
        self.tail = s["k"] % self.way.depth != 0

    def byte_count(self, name: str, elements: int) -> str:
        """A parameter that moves a pointer by a number of elements."""
        self.parameters[name] = ("int64", 4 * elements)
        return name

    def kernel(self) -> CudaKernel:
        way, sizes = self.way, self.sizes
        self.pointer("a", self.work.a)
        self.pointer("b", self.work.b)
        self.block()
        self.offsets("a")
        self.offsets("b")
        self.reduction()
        self.epilogue()
        blocks = sizes.tiles(way) * self.splits
        require_32_bits(blocks)
        s = self.size
        require_reach([s[x] for x in "gzymrsk"], self.work.a.strides)
        require_reach([s[x] for x in "gnrsk"], self.work.b.strides)
        for operand in self.work.operands:
            require_reach([s[x] for x in "gzymn"], operand.strides)
        resident = 2 if way.threads == 256 else 1
        return self.made(blocks, way.threads, resident)

    # ------------------------------------------------------------------ where this block works

    def block(self) -> None:
        way = self.way
        self.line(f"# {way.rows}x{way.columns} of the result, {way.m}x{way.n} for each thread")
        self.line(f"tile = cuda.shared.array({2 * self.buffer}, float32)  # for A and B, twice")
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

    def offsets(self, name: str) -> None:
        """The elements that this thread reads, from where the reduction is, and where it stores in
        the tile.
        """
        r, s = self.readers[name], self.size
        line, count = ("row", "rows") if name == "a" else ("column", "columns")
        self.line(f"across = quotient(thread, {r.lanes})")
        self.line(f"along = uint32(remainder(thread, {r.lanes}) * uint32({r.width}))")
        k = self.argument(f"{name}_k", s[f"{name}_k"])
        end = f"uint32(uint32({count}) - uint32({r.width if r.along == 'line' else 1}))"
        first = f"uint32({line} + {'along' if r.along == 'line' else 'across'})"
        if name == "b":
            rows = f"(), ({self.argument('b_n', s['b_j'])},)"
        elif self.evenly(*(s[f"a_{x}"] for x in "zym")):
            rows = f"(), ({self.argument('a_m', s['a_m'])},)"
        else:
            strides = ", ".join(self.argument(f"a_{x}", s[f"a_{x}"]) for x in "zym")
            rows = f"({self.line_sizes()}), ({strides})"
        if r.along == "k":
            self.line(f"{name}_from = row_offsets({first}, {end}, {rows}, {r.count}, {r.step})")
            start, to = f"int32(along) * {k}", f"along * uint32({r.lines + PAD}) + across"
        else:
            self.line(f"{name}_line = row_offsets({first}, {end}, {rows}, 1, 0)")
            self.line(
                f"{name}_from = spaced({name}_line[0], int32({k} * int32({r.step})), {r.count})"
            )
            start, to = f"int32(across) * {k}", f"across * uint32({r.lines + PAD}) + along"
        g = self.argument(f"{name}_g", s[f"{name}_g"])
        self.line(f"{name} = moved({name}, int64(4) * int64(int32(group * {g} + {start})))")
        below = "" if name == "a" else f"uint32({self.way.depth * (self.way.rows + PAD)}) + "
        self.line(f"{name}_to = uint32({below}{to})")
        if self.tail:
            self.line(f"{name}_k0 = int32({'along' if r.along == 'k' else 'across'})")

    def evenly(self, z: int, y: int, m: int) -> bool:
        """True if rows are evenly spaced, with these strides along z, y and m."""
        s = self.size
        return (s["y"] == 1 or y == s["m"] * m) and (s["z"] == 1 or z == s["y"] * s["m"] * m)

    def line_sizes(self) -> str:
        return f"{self.argument('y', self.size['y'])}, {self.argument('m', self.size['m'])}"

    # ------------------------------------------------------------------ the reduction

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
                self.line(f"{name} = moved({name}, int64(4) * int64(int32(start * {name}_k)))")
            return
        self.line(f"steps_k = quotient(uint32(k + {each - 1}), {each})")
        self.line(f"k_at = int32(remainder(first, steps_k) * uint32({each}))")
        self.line("rest = quotient(first, steps_k)")
        self.line("s_at = int32(remainder(rest, s))")
        self.line("r_at = int32(quotient(rest, s))")
        for name in "ab":
            r, s = (self.argument(f"{name}_{x}", self.size[f"{name}_{x}"]) for x in "rs")
            at = f"int32(r_at * {r} + s_at * {s} + k_at * {name}_k)"
            self.line(f"{name} = moved({name}, int64(4) * int64({at}))")

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

    def read(self) -> None:
        for name, r in self.readers.items():
            left, step = "0", ALL
            if self.tail:
                left = f"int32(k - k_at - {name}_k0)"
                step = 0 if r.along == "k" else r.step
            self.line(f"{name}_next = gather({name}, {name}_from, {left}, {r.width}, {step})")

    def store(self, now: str) -> None:
        for name, r in self.readers.items():
            at = f"uint32(now + {name}_to)" if now else f"{name}_to"
            step, stride = r.stash
            self.line(f"stash(tile, {at}, {name}_next, {r.width}, {step}, {stride})")

    # ------------------------------------------------------------------ the epilogue

    def epilogue(self) -> None:
        way, body, operands = self.way, self.body, self.work.operands
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
        self.line(
            f"finish(acc, uint32(row + a_row), rows, uint32(column + b_column), columns, {lines}, "
            f"({tensors},), body, {way.m}, {way.n}, {way.rows}, {way.columns}, {self.together})"
        )

    def statement(self, text: str) -> None:
        self.line(repr(text + "\n"), 1)

    @property
    def together(self) -> int:
        """Neighbouring columns of which all or none are there."""
        return VECTOR if self.size["n"] % VECTOR == 0 else 1

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
            even = all(x % VECTOR == 0 for x in (g, z, y, m)) and aligned(access)
            index.append("n4" if self.together == VECTOR and even else "n")
        return f"({', '.join([name, f'int32({start})', *rows])})", ", ".join(index) or "all"
