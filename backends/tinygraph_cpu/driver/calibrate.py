"""What this processor does at best: multiply-adds in registers, and reading memory.

Both are loops that the team runs as it runs programs, so that the figures are those of as many
threads as a program has. Measured at most once a process, in a tenth of a second.
"""

from __future__ import annotations

import time
from functools import cache

import numpy as np
from llvmlite import ir

from tinygraph.compiler.store import default_store
from tinygraph.plan.records.contraction import SQUARE
from tinygraph.plan.records.device import Roofline

from ..machine.features import Features, detect
from ..machine.loading import load_for_good, stored_module
from .launch_table import LaunchTable, TableEntry, words
from .team import team

I64, F32 = ir.IntType(64), ir.FloatType()
CHAINS = 12  # independent accumulators: more than latency times throughput of any processor
STEPS = 1 << 15  # loop rounds of a part
BLOCK = 6 << 20  # bytes that a part reads
PARTS = 16  # all parts together read 96 MiB, more than the caches hold
TRIES = 20


@cache
def measured_roofline(threads: int) -> Roofline:
    """The best of a few short runs on this many threads."""
    lanes = detect().lanes
    arithmetic = 2 * lanes * CHAINS * STEPS * PARTS
    flops = arithmetic / fastest(_table("tinygraph_peak"), threads)
    memory = np.ones(PARTS * BLOCK // 8)
    table = _table("tinygraph_stream", memory.ctypes.data)
    return Roofline(threads, flops, memory.nbytes / fastest(table, threads), times(detect()))


def times(features: Features) -> dict[str, float]:
    """How many times as many products of narrow operands a core computes as of float32, by their
    dtype: words have two or four, matrix registers take 256 words a cycle instead of 2 vectors.
    """
    words = SQUARE * SQUARE / (2 * features.lanes) if features.matrix else 1.0
    found = {"bfloat16": 2 * words} if features.dot_bfloat16 else {}
    if features.dot == "vpdpbusd":
        found |= dict.fromkeys(("uint8", "int8"), 4 * words)
    return found


@cache
def cycles_per_second() -> float:
    """The rate of the counter that launches are timed with; it is not that of the core."""
    table = _table("tinygraph_peak")
    team().run(table, 1)
    table.count_cycles(True)
    start = time.perf_counter()
    for _ in range(TRIES):
        team().run(table, 1)
    seconds = time.perf_counter() - start
    cycles, _ = table.cycles()
    return float(cycles.sum()) / seconds


def fastest(table: LaunchTable, threads: int) -> float:
    """Seconds of the fastest of a few runs."""
    seconds = []
    for _ in range(TRIES):
        start = time.perf_counter()
        team().run(table, threads)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


_SINK = words(PARTS)  # where results go, so that nothing is left out
_blocks: list[np.ndarray] = []  # argument blocks of the tables


def _table(name: str, memory: int = 0) -> LaunchTable:
    code = stored_module(str(_module(detect())), detect(), default_store())
    symbols = ("tinygraph_peak", "tinygraph_stream")
    address = load_for_good(dict.fromkeys(symbols, code))[name]
    _blocks.append(np.array([memory, _SINK.ctypes.data], np.int64))
    return LaunchTable([TableEntry(address, _blocks[-1].ctypes.data, PARTS)])


def _module(features: Features) -> ir.Module:
    module = ir.Module("tinygraph_calibrate", context=ir.Context())
    vector = ir.VectorType(F32, features.lanes)
    fma = ir.Function(
        module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{features.lanes}f32"
    )
    for name, reads in (("tinygraph_peak", False), ("tinygraph_stream", True)):
        _emit(module, name, features, reads, fma)
    return module


def _emit(module: ir.Module, name: str, features: Features, reads: bool, fma: ir.Function) -> None:
    """name(part, tid, args): CHAINS vectors of multiply-adds, or of sums over the part's block.

    args[0] is the memory, args[1] a word a part for the result.
    """
    vector = ir.VectorType(F32, features.lanes)
    kind = ir.FunctionType(ir.VoidType(), [I64, I64, I64.as_pointer()])
    function = ir.Function(module, kind, name)
    part, _, args = function.args
    entry, loop, done = (function.append_basic_block(n) for n in ("entry", "loop", "done"))
    b = ir.IRBuilder(entry)
    base, sink = (b.load(b.gep(args, [I64(i)])) for i in range(2))
    step = CHAINS * features.lanes * 4
    count = I64(BLOCK // step if reads else STEPS)
    start = b.add(base, b.mul(part, I64(BLOCK)))
    b.branch(loop)

    b.position_at_end(loop)
    index = b.phi(I64)
    index.add_incoming(I64(0), entry)
    chains = [b.phi(vector) for _ in range(CHAINS)]
    factor = ir.Constant(vector, [0.999] * features.lanes)
    following = []
    for k, chain in enumerate(chains):
        chain.add_incoming(ir.Constant(vector, [float(k)] * features.lanes), entry)
        if reads:
            address = b.add(start, b.add(b.mul(index, I64(step)), I64(k * features.lanes * 4)))
            loaded = b.load(b.inttoptr(address, vector.as_pointer()), align=4)
            following.append(b.fadd(chain, loaded))
        elif features.fma:
            following.append(b.call(fma, [chain, factor, factor]))
        else:
            following.append(b.fadd(b.fmul(chain, factor), factor))
    for chain, value in zip(chains, following, strict=True):
        chain.add_incoming(value, loop)
    index_after = b.add(index, I64(1))
    index.add_incoming(index_after, loop)
    b.cbranch(b.icmp_signed("<", index_after, count), loop, done)

    b.position_at_end(done)
    total = following[0]
    for value in following[1:]:
        total = b.fadd(total, value)
    result = b.inttoptr(b.add(sink, b.mul(part, I64(8))), F32.as_pointer())
    b.store(b.extract_element(total, ir.IntType(32)(0)), result)
    b.ret_void()
