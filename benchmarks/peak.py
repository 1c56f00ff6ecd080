"""The processor's peak: fused multiply-adds a cycle, from registers only."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm

from tinygraph_cpu.machine.features import detect

CHAINS, ROUNDS = 12, 500_000  # independent accumulators hide the latency of four cycles, twice


@dataclass(frozen=True)
class Peak:
    """One core's FLOP a second, FLOP a cycle of the counter that launches are timed by."""

    flops: float
    flops_per_cycle: float


@cache
def measure() -> Peak:
    """The best of many short runs of a loop that only multiplies and adds."""
    lanes = detect().lanes
    function = _compile(_loop(lanes))
    work = 2 * lanes * CHAINS * ROUNDS
    best, fewest = float("inf"), float("inf")
    for _ in range(50):
        start = time.perf_counter()
        cycles = function(ROUNDS)
        best, fewest = min(best, time.perf_counter() - start), min(fewest, cycles)
    return Peak(work / best, work / fewest)


def _loop(lanes: int) -> str:
    """LLVM text of cycles(n): n rounds of CHAINS multiply-adds, and the cycles that they took."""
    vector = f"<{lanes} x float>"
    chains = range(CHAINS)
    phi = "\n".join(
        f"  %a{i} = phi {vector} [ zeroinitializer, %entry ], [ %b{i}, %loop ]" for i in chains
    )
    step = "\n".join(
        f"  %b{i} = call {vector} @llvm.fma.v{lanes}f32({vector} %a{i}, {vector} %x, {vector} %x)"
        for i in chains
    )
    total = "\n".join(
        f"  %s{i} = fadd {vector} {f'%s{i - 1}' if i else 'zeroinitializer'}, %b{i}" for i in chains
    )
    return f"""
declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})
declare i64 @llvm.readcyclecounter()
@source = global {vector} zeroinitializer
@sink = global {vector} zeroinitializer
define i64 @cycles(i64 %n) {{
entry:
  %x = load volatile {vector}, {vector}* @source
  %start = call i64 @llvm.readcyclecounter()
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
{phi}
{step}
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
{total}
  store volatile {vector} %s{CHAINS - 1}, {vector}* @sink
  %end = call i64 @llvm.readcyclecounter()
  %spent = sub i64 %end, %start
  ret i64 %spent
}}
"""


_ENGINES: list[llvm.ExecutionEngine] = []  # keep compiled code alive


def _compile(text: str) -> ctypes._CFuncPtr:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = detect()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=features.cpu, features=features.features, opt=2, jit=True
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    _ENGINES.append(engine)
    address = engine.get_function_address("cycles")
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)


if __name__ == "__main__":
    peak = measure()
    print(f"{peak.flops / 1e9:.1f} GFLOP/s a core, {peak.flops_per_cycle:.1f} FLOP a counted cycle")
