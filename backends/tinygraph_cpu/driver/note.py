"""The driver's part of a log: see log.py."""

from __future__ import annotations

from llvmlite import ir

from tinygraph_cpu.driver.emitter import I64, VOID, WORDS, WordBuilder
from tinygraph_cpu.driver.launch_table import ENTRY, LOG, LOG_WORDS


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
