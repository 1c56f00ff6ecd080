"""Sums over shards and messages between ranks in native code, which makes the steps of encoded.py.

A kernel calls ``sum(port, own, total, bytes)``, which makes the steps at the port's cursor and
moves the cursor to the next sum's; or ``message(port, number)``, which makes those of a message, if
there are other ranks. Messages are MPI's, whose functions are called at their
addresses; so nothing waits for the interpreter. While it waits, a thread looks at its messages in
bursts with naps in between: MPI would spin, which takes the core from a rank that computes, and one
look between two naps moves only a few pieces of a long message (28 MB: 362 ms; with 64 looks 25 ms,
as fast as spinning). Python is called a few times a second, to see whether a rank is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import llvmlite.binding as llvm
from llvmlite import ir

from tinygraph.ranks.world import CHECK

from .emitter import I32, I64, VOID, WORDS, WordBuilder
from .encoded import (
    ADD16,
    ADD32,
    ADD64,
    BYTE,
    COMM,
    COPY,
    COUNT,
    DONE,
    DUE,
    FAILED,
    GET_COUNT,
    IRECV,
    ISEND,
    KIND,
    NARROW,
    NUMBER,
    PORT_CURSOR,
    PORT_MESSAGES,
    PORT_PATIENT,
    PORT_TABLE,
    RECEIVE,
    REQUEST,
    ROUND,
    SEND,
    STATUS,
    STATUSES,
    STEP,
    TAG,
    TEST,
    WAIT,
    WATCH,
    WIDEN,
    A,
    B,
    C,
)

I16, F32, F64 = ir.IntType(16), ir.FloatType(), ir.DoubleType()
BYTES = {I16: 2, F32: 4, F64: 8}
ADDITIONS = (ADD32, ADD64, ADD16)
LANES = 16
LOOKS = 64  # at messages between two naps
NAPS = (0, 20, 50, 200, 1000)  # microseconds, the longer the wait, the longer
ROUNDS = 20  # of each
PATIENT = 1000  # rounds of naps before the longest, of a thread that others need its core for


# ---------------------------------------------------------------------- native code


def _operand(b: WordBuilder, bases: ir.Value, step: ir.Value, word: int) -> ir.Value:
    return b.add(b.word(bases, b.word(step, word)), b.word(step, word + 1))


def _call(b: WordBuilder, address: ir.Value, result: ir.Type, *arguments: ir.Value) -> ir.Value:
    """Calls a function of C; ints and handles of 32 bits are the low halves of words."""
    kind = ir.FunctionType(result, [a.type for a in arguments]).as_pointer()
    return b.call(b.inttoptr(address, kind), arguments)


Compute = Callable[[WordBuilder, Sequence[ir.Value]], ir.Value]


def _emit_elements(
    module: ir.Module, kind: int, compute: Compute, target: ir.Type, *sources: ir.Type
) -> ir.Function:
    """elements(target, source, ..., count): in vectors, then the rest."""
    arrays = (target, *sources)
    signature = ir.FunctionType(VOID, [I64] * (len(arrays) + 1))
    function = ir.Function(module, signature, f"tinygraph_elements{kind}")
    function.linkage = "internal"
    b = WordBuilder(function.append_basic_block("entry"))
    *addresses, count = function.args
    whole = b.udiv(count, I64(LANES))

    def body(i: ir.Value, width: int) -> None:
        pointers = []
        for address, element in zip(addresses, arrays, strict=True):
            kind = ir.VectorType(element, width) if width > 1 else element
            at = b.add(address, b.mul(i, I64(width * BYTES[element])))
            pointers.append(b.inttoptr(at, kind.as_pointer()))
        aligns = [BYTES[e] for e in arrays]
        read = [b.load(p, align=a) for p, a in zip(pointers[1:], aligns[1:], strict=True)]
        b.store(compute(b, read), pointers[0], align=aligns[0])

    with b.count(I64(0), whole) as i:
        body(i, LANES)
    with b.count(b.mul(whole, I64(LANES)), count) as i:
        body(i, 1)
    b.ret_void()
    return function


def _like(x: ir.Value, element: ir.Type) -> ir.Type:
    """An element's type, or a vector of as many as x has."""
    return ir.VectorType(element, x.type.count) if isinstance(x.type, ir.VectorType) else element


def _constant(kind: ir.Type, number: int) -> ir.Constant:
    vector = isinstance(kind, ir.VectorType)
    return ir.Constant(kind, [number] * kind.count if vector else number)


def _rounded(b: WordBuilder, x: ir.Value) -> ir.Value:
    """The bits of the nearest bfloat16, as a float of 32 bits; of two the even one."""
    word = _like(x, I32)
    bits, of = b.bitcast(x, word), lambda number: _constant(word, number)
    odd = b.and_(b.lshr(bits, of(16)), of(1))
    nearest = b.add(b.add(bits, of(0x7FFF)), odd)
    number = b.fcmp_ordered("ord", x, x)  # a NaN stays one
    return b.and_(b.select(number, nearest, b.or_(bits, of(0x400000))), of(-0x10000))


def _round(b: WordBuilder, x: ir.Value) -> ir.Value:
    return b.bitcast(_rounded(b, x), x.type)


def _narrow(b: WordBuilder, x: ir.Value) -> ir.Value:
    bits = _rounded(b, x)
    return b.trunc(b.lshr(bits, _constant(bits.type, 16)), _like(x, I16))


def _widen(b: WordBuilder, x: ir.Value) -> ir.Value:
    bits = b.zext(x, _like(x, I32))
    return b.bitcast(b.shl(bits, _constant(bits.type, 16)), _like(x, F32))


def _sum_rounded(b: WordBuilder, values: Sequence[ir.Value]) -> ir.Value:
    left, right = (_round(b, x) for x in values)
    return _round(b, b.fadd(left, right))


ELEMENTS: dict[int, tuple[Compute, ir.Type, ir.Type]] = {  # target = of its sources
    ADD32: (lambda b, x: b.fadd(*x), F32, F32),
    ADD64: (lambda b, x: b.fadd(*x), F64, F64),
    ADD16: (_sum_rounded, F32, F32),
    ROUND: (lambda b, x: _round(b, *x), F32, F32),
    NARROW: (lambda b, x: _narrow(b, *x), I16, F32),
    WIDEN: (lambda b, x: _widen(b, *x), F32, I16),
}


def _nap(b: WordBuilder, rounds: ir.Value, patient: ir.Value) -> ir.Value:
    """Sleeps for as long as this round's nap; returns the microseconds."""
    stage = b.udiv(rounds, I64(ROUNDS))
    nap: ir.Value = I64(NAPS[-1])
    for k, length in reversed([*enumerate(NAPS[:-1])]):
        nap = b.select(b.icmp_unsigned("==", stage, I64(k)), I64(length), nap)
    long = b.icmp_unsigned(">", rounds, I64(PATIENT))
    even = b.select(long, I64(NAPS[-1]), I64(NAPS[-2]))
    nap = b.select(b.icmp_signed("!=", patient, I64(0)), even, nap)
    with b.if_then(b.icmp_signed("!=", nap, I64(0))):
        b.sleep(nap)
    return nap


def _emit_test(module: ir.Module) -> ir.Function:
    """test(step, functions) -> how many messages of a step are not complete."""
    function = ir.Function(module, ir.FunctionType(I64, [WORDS, WORDS]), "tinygraph_test")
    function.linkage = "internal"
    b = WordBuilder(function.append_basic_block("entry"))
    step, functions = function.args
    requests, statuses = b.pointer(step, A), b.pointer(step, STATUSES)
    done, due = b.pointer(step, DONE), b.pointer(step, DUE)
    open, got = b.alloca(I64), b.alloca(I64)
    b.store(I64(0), open)
    zero = lambda x: b.icmp_signed("==", x, I64(0))  # noqa: E731
    with b.count(I64(0), b.word(step, COUNT)) as i, b.if_then(zero(b.word(done, i))):
        status = b.at(statuses, b.mul(i, I64(STATUS)))
        error = _call(b, b.word(functions, TEST), I32, b.at(requests, i), b.at(done, i), status)
        with b.if_then(b.icmp_signed("!=", error, I32(0)), likely=False):
            _watch(b, step, functions, b.sext(error, I64))
            b.ret(I64(1))  # where a rank is lost, that is all
        with b.if_else(zero(b.word(done, i))) as (waits, complete):
            with waits:
                b.store(b.add(b.load(open), I64(1)), open)
            with complete, b.if_then(b.icmp_signed(">=", b.word(due, i), I64(0))):
                b.store(I64(0), got)
                _call(b, b.word(functions, GET_COUNT), I32, status, b.word(functions, BYTE), got)
                wrong = b.icmp_signed("!=", b.load(got), b.word(due, i))
                with b.if_then(wrong, likely=False):
                    _watch(b, step, functions, I64(-1))
    b.ret(b.load(open))
    return function


def _watch(b: WordBuilder, step: ir.Value, functions: ir.Value, error: ir.Value) -> None:
    _call(b, b.word(functions, WATCH), VOID, b.word(step, NUMBER), error)


def _failed(b: WordBuilder, functions: ir.Value) -> ir.Value:
    """Whether a rank is lost, so that no message counts any more."""
    return b.icmp_signed("!=", b.acquire(functions, FAILED), I64(0))


def _emit_wait(module: ir.Module, test: ir.Function) -> ir.Function:
    """wait(step, functions, patient): until all messages of a step are complete."""
    function = ir.Function(module, ir.FunctionType(VOID, [WORDS, WORDS, I64]), "tinygraph_wait")
    function.linkage = "internal"
    b = WordBuilder(function.append_basic_block("entry"))
    step, functions, patient = function.args
    done, rounds, since = b.pointer(step, DONE), b.alloca(I64), b.alloca(I64)
    with b.count(I64(0), b.word(step, COUNT)) as i:
        b.store(I64(0), b.at(done, i))
    others = b.icmp_signed("!=", patient, I64(0))
    b.store(b.select(others, I64(2 * ROUNDS), I64(0)), rounds)
    b.store(I64(0), since)
    burst = b.append_basic_block("burst")
    b.branch(burst)
    b.position_at_end(burst)
    with b.count(I64(0), I64(LOOKS)):
        complete = b.icmp_signed("==", b.call(test, [step, functions]), I64(0))
        with b.if_then(complete):
            b.ret_void()
    slept = b.add(b.load(since), _nap(b, b.load(rounds), patient))
    b.store(b.add(b.load(rounds), I64(1)), rounds)
    overdue = b.icmp_signed(">=", slept, I64(round(CHECK * 1e6)))
    b.store(b.select(overdue, I64(0), slept), since)
    with b.if_then(overdue, likely=False):
        _watch(b, step, functions, I64(0))
    with b.if_then(_failed(b, functions), likely=False):
        b.ret_void()
    b.branch(burst)
    return function


def _emit_steps(module: ir.Module, wait: ir.Function) -> ir.Function:
    """steps(port, bases, cursor) -> cursor: makes steps to their end; returns what follows."""
    elements = {
        kind: _emit_elements(module, kind, f, to, *[of] * (2 if kind in ADDITIONS else 1))
        for kind, (f, to, of) in ELEMENTS.items()
    }
    function = ir.Function(module, ir.FunctionType(I64, [WORDS, WORDS, I64]), "tinygraph_steps")
    function.linkage = "internal"
    b = WordBuilder(function.append_basic_block("entry"))
    port, bases, first = function.args
    functions, cursor = b.pointer(port, PORT_MESSAGES), b.alloca(I64)
    b.store(first, cursor)
    head, end = (b.append_basic_block(n) for n in ("step", "end"))
    b.branch(head)
    b.position_at_end(head)
    step = b.inttoptr(b.load(cursor), WORDS)
    b.store(b.ptrtoint(b.at(step, STEP), I64), cursor)
    count, at = b.word(step, COUNT), lambda word: _operand(b, bases, step, word)
    choice = b.switch(b.word(step, KIND), end)

    def handle(s: int) -> None:
        block = b.append_basic_block(f"kind{s}")
        choice.add_case(I64(s), block)
        b.position_at_end(block)
        if s in elements:
            operands = (A, B, C) if s in ADDITIONS else (A, B)
            b.call(elements[s], [*map(at, operands), count])
        elif s == COPY:
            _copy(b, at(A), at(B), count)
        elif s == WAIT:
            b.call(wait, [step, functions, b.word(port, PORT_PATIENT)])
        else:
            name = ISEND if s == SEND else IRECV
            error = _call(
                b, b.word(functions, name), I32, at(A), count, b.word(functions, BYTE),
                b.word(step, NUMBER), b.word(step, TAG), b.word(functions, COMM),
                b.word(step, REQUEST),
            )  # fmt: skip
            with b.if_then(b.icmp_signed("!=", error, I32(0)), likely=False):
                _call(b, b.word(functions, WATCH), VOID, I64(-1), b.sext(error, I64))
        if s in (WAIT, SEND, RECEIVE):
            with b.if_then(_failed(b, functions), likely=False):
                b.ret(b.load(cursor))
        b.branch(head)

    for kind in (*elements, COPY, SEND, RECEIVE, WAIT):
        handle(kind)
    b.position_at_end(end)
    b.ret(b.load(cursor))
    return function


def _emit_sum(module: ir.Module, steps: ir.Function) -> None:
    """sum(port, own, total, bytes): the steps at the port's cursor; without any it copies."""
    function = ir.Function(module, ir.FunctionType(VOID, [I64] * 4), "tinygraph_sum")
    b = WordBuilder(function.append_basic_block("entry"))
    port, own, total, bytes = function.args
    port = b.inttoptr(port, WORDS)
    bases = _bases(b, own, total)
    with b.if_then(b.icmp_signed("==", b.word(port, PORT_CURSOR), I64(0))):
        _copy(b, total, own, bytes)
        b.ret_void()
    after = b.call(steps, [port, bases, b.word(port, PORT_CURSOR)])
    b.store(after, b.at(port, PORT_CURSOR))
    b.ret_void()


def _emit_message(module: ir.Module, steps: ir.Function) -> None:
    """message(port, number): the steps of a message, if the port has some."""
    function = ir.Function(module, ir.FunctionType(VOID, [I64] * 2), "tinygraph_message")
    b = WordBuilder(function.append_basic_block("entry"))
    port, number = b.inttoptr(function.args[0], WORDS), function.args[1]
    with b.if_then(b.icmp_signed("!=", b.word(port, PORT_TABLE), I64(0))):
        first = b.word(b.pointer(port, PORT_TABLE), number)
        b.call(steps, [port, _bases(b, I64(0), I64(0)), first])
    b.ret_void()


def _emit_left(module: ir.Module, steps: ir.Function) -> None:
    """left(part, tid, args): a kernel that makes steps. args: the port, the first step."""
    function = ir.Function(module, ir.FunctionType(VOID, [I64, I64, WORDS]), "tinygraph_left")
    b = WordBuilder(function.append_basic_block("entry"))
    args = function.args[2]
    b.call(steps, [b.pointer(args, 0), _bases(b, I64(0), I64(0)), b.word(args, 1)])
    b.ret_void()


def _bases(b: WordBuilder, own: ir.Value, total: ir.Value) -> ir.Value:
    """What operands are counted from."""
    bases = b.alloca(I64, 3)
    for k, base in enumerate((I64(0), own, total)):
        b.store(base, b.at(bases, k))
    return bases


def _copy(b: WordBuilder, target: ir.Value, source: ir.Value, bytes: ir.Value) -> None:
    byte = ir.IntType(8).as_pointer()
    memcpy = b.module.declare_intrinsic("llvm.memcpy", [byte, byte, I64])
    pointers = [b.inttoptr(x, byte) for x in (target, source)]
    b.call(memcpy, [*pointers, bytes, ir.Constant(ir.IntType(1), 0)])


def sum_module() -> str:
    """The text of the LLVM module."""
    module = ir.Module("tinygraph_sums")
    module.triple = llvm.get_process_triple()
    steps = _emit_steps(module, _emit_wait(module, _emit_test(module)))
    for emit in (_emit_sum, _emit_message, _emit_left):
        emit(module, steps)
    return str(module)
