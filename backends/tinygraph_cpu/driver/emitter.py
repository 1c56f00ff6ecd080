"""An LLVM builder that speaks in words, waits and counts: what the driver is written with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llvmlite import ir

I32, I64, VOID = ir.IntType(32), ir.IntType(64), ir.VoidType()
WORDS = I64.as_pointer()
PATIENCE = 1 << 14  # pauses before a waiting thread offers its core to others
NAP, LONGEST_NAP = 50, 1000  # microseconds of one that may wait for another process


class WordBuilder(ir.IRBuilder):
    """A builder that speaks in words: base pointers are int64*, values int64."""

    def at(self, base: ir.Value, index: int | ir.Value) -> ir.Value:
        if isinstance(index, int):
            index = I64(index)
        return self.gep(base, [index])

    def word(self, base: ir.Value, index: int | ir.Value) -> ir.Value:
        return self.load(self.at(base, index))

    def pointer(self, base: ir.Value, index: int | ir.Value) -> ir.Value:
        return self.inttoptr(self.word(base, index), WORDS)

    def acquire(self, base: ir.Value, index: int | ir.Value) -> ir.Value:
        return self.load_atomic(self.at(base, index), "acquire", 8)

    def intrinsic(self, name: str, result: ir.Type, *args: ir.Value) -> ir.Value:
        kind = ir.FunctionType(result, [a.type for a in args])
        function = self.module.globals.get(name) or ir.Function(self.module, kind, name)
        return self.call(function, args)

    def cycles(self) -> ir.Value:
        return self.intrinsic("llvm.readcyclecounter", I64)

    def pause(self) -> None:
        """Tells the core that this thread only waits."""
        if self.module.triple.startswith(("x86_64", "i686")):
            self.intrinsic("llvm.x86.sse2.pause", VOID)
        elif self.module.triple.startswith(("aarch64", "arm64")):  # ``yield`` is a nop on most
            self.intrinsic("llvm.aarch64.isb", VOID, I32(15))

    def this_thread(self) -> ir.Value:
        """What Python calls the identifier of this thread."""
        if os.name == "posix":
            return self.intrinsic("pthread_self", I64)
        return self.zext(self.intrinsic("GetCurrentThreadId", I32), I64)

    def offer_core(self) -> None:
        if os.name == "posix":
            self.intrinsic("sched_yield", I32)
        else:
            self.intrinsic("SwitchToThread", I32)

    def sleep(self, microseconds: ir.Value) -> None:
        if os.name == "posix":
            self.intrinsic("usleep", I32, self.trunc(microseconds, I32))
        else:
            milliseconds = self.udiv(self.add(microseconds, I64(999)), I64(1000))
            self.intrinsic("Sleep", VOID, self.trunc(milliseconds, I32))

    @contextmanager
    def count(self, begin: ir.Value, end: ir.Value) -> Iterator[ir.Value]:
        """A loop over begin <= i < end."""
        head, body, done = (self.append_basic_block(n) for n in ("head", "body", "done"))
        entry = self.block
        self.branch(head)
        self.position_at_end(head)
        i = self.phi(I64)
        i.add_incoming(begin, entry)
        self.cbranch(self.icmp_signed("<", i, end), body, done)
        self.position_at_end(body)
        yield i
        i.add_incoming(self.add(i, I64(1)), self.block)
        self.branch(head)
        self.position_at_end(done)

    def spin(self, ready: Callable[[], ir.Value], naps: ir.Value | None = None) -> None:
        """Waits until ready() holds: pauses, later offers the core with every further pause; where
        ``naps`` is not 0, it sleeps instead, the longer the more it has waited: a core that is idle
        for half a millisecond gets what waits for another core, one that is woken sooner does not.
        """
        head, wait, offer, done = (
            self.append_basic_block(n) for n in ("spin", "pause", "offer", "ready")
        )
        entry = self.block
        self.branch(head)
        self.position_at_end(head)
        spins = self.phi(I64)
        spins.add_incoming(I64(0), entry)
        self.cbranch(ready(), done, wait)
        self.position_at_end(wait)
        self.pause()
        more = self.add(spins, I64(1))
        spins.add_incoming(more, wait)
        self.cbranch(self.icmp_signed("<", more, I64(PATIENCE)), head, offer)
        self.position_at_end(offer)
        if naps is None:
            self.offer_core()
        else:
            with self.if_else(self.icmp_signed("!=", naps, I64(0))) as (long, short):
                with long:
                    times = self.sub(more, I64(PATIENCE))
                    nap = self.add(I64(NAP), self.mul(times, I64(NAP // 8)))
                    short_enough = self.icmp_unsigned("<", nap, I64(LONGEST_NAP))
                    self.sleep(self.select(short_enough, nap, I64(LONGEST_NAP)))
                with short:
                    self.offer_core()
        spins.add_incoming(more, self.block)
        self.branch(head)
        self.position_at_end(done)
