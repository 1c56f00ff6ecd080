"""What each thread did when in one run: a log that the driver writes while it counts cycles.

A table has none by default; then nothing of this runs. A thread's log begins with the number of its
entries; an entry is the word that the queue has for it (launch, part), and the counter's values
when the thread took the part, when all that the part waits for was complete, and at its end.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from llvmlite import ir

from tinygraph_cpu.driver.emitter import I64, VOID, WORDS, WordBuilder
from tinygraph_cpu.driver.launch_table import LOG, LOG_WORDS, words

ENTRY = 4  # words


def emit_note(module: ir.Module) -> ir.Function:
    """note(table, tid, launch, part, taken, begun): an entry, if there is a log."""
    function = ir.Function(module, ir.FunctionType(VOID, [WORDS, *[I64] * 5]), "tinygraph_note")
    function.linkage = "internal"
    b = WordBuilder(function.append_basic_block("entry"))
    table, tid, launch, part, taken, begun = function.args
    now = b.cycles()
    with b.if_then(b.icmp_signed("!=", b.word(table, LOG), I64(0))):
        log = b.at(b.pointer(table, LOG), b.mul(tid, b.word(table, LOG_WORDS)))
        count = b.word(log, 0)
        entry = b.at(log, b.add(I64(1), b.mul(count, I64(ENTRY))))
        item = b.or_(b.shl(launch, I64(32)), part)
        for k, value in enumerate((item, taken, begun, now)):
            b.store(value, b.at(entry, k))
        b.store(b.add(count, I64(1)), log)
    b.ret_void()
    return function


class Log:
    """Memory for the entries of a run of ``items`` parts by up to so many threads."""

    def __init__(self, items: int, threads: int):
        self.row = 1 + ENTRY * items
        self.words = words(self.row * threads)
        self.threads = threads

    def entries(self) -> Iterator[tuple[int, np.ndarray]]:
        """For each thread its number, and its entries [n, 4] in order."""
        for tid in range(self.threads):
            row = self.words[tid * self.row : (tid + 1) * self.row]
            yield tid, row[1 : 1 + ENTRY * int(row[0])].reshape(-1, ENTRY)
