"""Sums over shards in native code: the steps of ``tinygraph.ranks.shard_sum`` as words in memory.

A kernel calls ``sum(port, own, total, bytes)``, which makes the steps at the port's cursor and
moves the cursor to the next sum's. Messages are MPI's, whose functions are called at their
addresses; so nothing waits for the interpreter. While it waits, a thread looks at its messages in
bursts with naps in between: MPI would spin, which takes the core from a rank that computes, and one
look between two naps moves only a few pieces of a long message (28 MB: 362 ms; with 64 looks 25 ms,
as fast as spinning). Python is called a few times a second, to see whether a rank is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tinygraph.compiler.store import default_store
from tinygraph.ranks.shard_sum import (
    OWN,
    TOTAL,
    AddSpans,
    CopySpan,
    Receive,
    Send,
    ShardSum,
    ShardSums,
    Span,
    Wait,
)
from tinygraph.ranks.world import CHECK, Messages, Pending

from ..machine import objects
from ..machine.features import detect
from .emitter import I32, I64, VOID, WORDS, WordBuilder
from .launch_table import words

# Words of a port: where the next sum's steps are; MPI; whether others compute meanwhile.
PORT_CURSOR, PORT_MESSAGES, PORT_PATIENT = 2, 3, 4
ISEND, IRECV, TEST, GET_COUNT, COMM, BYTE, WATCH = range(7)  # words of ``Messages.functions``
# Words of a step; an operand is a base and an offset in bytes. A wait has its messages at A:
# requests, their states and how many bytes are due, a word for each.
KIND, A, A_AT, B, B_AT, C, C_AT, COUNT, NUMBER, REQUEST = range(10)
STATUSES, DONE, DUE = B, C, C_AT
STEP = 12
END, ADD32, ADD64, COPY, SEND, RECEIVE, WAIT = range(7)
BASES = {OWN: 1, TOTAL: 2}  # of an operand; 0: its offset is an address
LANES = 16
TAG = 4  # of messages
STATUS = 16  # words of room for an MPI_Status, which take 3
LOOKS = 64  # at messages between two naps
NAPS = (0, 20, 50, 200, 1000)  # microseconds, the longer the wait, the longer
ROUNDS = 20  # of each
PATIENT = 1000  # rounds of naps before the longest, of a thread that others need its core for


# ---------------------------------------------------------------------- steps as words


class EncodedSum:
    """Steps of a shard's sums, one after the other, as the native code reads them."""

    def __init__(self, sums: ShardSums, shard: int, empty: bool) -> None:
        self.kept: list[np.ndarray] = []
        rows: list[list[int]] = []
        for each in sums.sums:
            pending: list[tuple[list[int], tuple[str, int, int]]] = []
            for step in each.steps(shard, empty):
                row = _Row(each)
                if isinstance(step, Wait):
                    assert sums.messages is not None
                    rows.append(self._wait(row, pending, sums.messages))
                    pending = []
                    continue
                made, peer = row.of(step)
                rows.append(made)
                if peer is not None:
                    pending.append((made, peer))
            rows.append([END] * STEP)
        self.table = words(len(rows) * STEP)
        self.table[:] = np.array(rows, np.int64).reshape(-1)
        self.address = self.table.ctypes.data

    def _wait(
        self,
        row: _Row,
        pending: Sequence[tuple[list[int], tuple[str, int, int]]],
        messages: Messages,
    ) -> list[int]:
        """A wait for messages, each of which gets its request."""
        n = len(pending)
        requests, done, due, statuses = words(n), words(n), words(n), words(n * STATUS)
        self.kept += [requests, done, due, statuses]
        for i, (message, (way, _, bytes)) in enumerate(pending):
            message[REQUEST] = requests.ctypes.data + 8 * i
            due[i] = bytes if way == "from" else -1
        number = messages.expect(Pending([peer for _, peer in pending], done))
        made = row.empty(WAIT)
        made[A], made[STATUSES] = requests.ctypes.data, statuses.ctypes.data
        made[DONE], made[DUE] = done.ctypes.data, due.ctypes.data
        made[COUNT], made[NUMBER] = n, number
        return made


class _Row:
    """The words of one step of a sum."""

    def __init__(self, sum: ShardSum) -> None:
        self.sum, self.size = sum, sum.itemsize

    @staticmethod
    def empty(kind: int) -> list[int]:
        return [kind] + [0] * (STEP - 1)

    def of(self, step: AddSpans | CopySpan | Send | Receive) -> tuple[list[int], tuple | None]:
        """The words, and of a message what it is."""
        match step:
            case AddSpans(target, left, right):
                row = self._filled(ADD32 if self.size == 4 else ADD64, target, left, right)
                row[COUNT] = target.count
                return row, None
            case CopySpan(target, source):
                row = self._filled(COPY, target, source)
                row[COUNT] = target.count * self.size
                return row, None
            case Send(span, rank):
                return self._message(SEND, "to", span, rank)
            case Receive(span, rank):
                return self._message(RECEIVE, "from", span, rank)

    def _message(self, kind: int, way: str, span: Span, rank: int) -> tuple[list[int], tuple]:
        row, bytes = self._filled(kind, span), span.count * self.size
        row[COUNT], row[NUMBER] = bytes, rank
        return row, (way, rank, bytes)

    def _filled(self, kind: int, *spans: Span) -> list[int]:
        row = self.empty(kind)
        for word, span in zip((A, B, C), spans, strict=False):
            at = span.first * self.size
            if span.memory in BASES:
                row[word], row[word + 1] = BASES[span.memory], at
            else:
                row[word + 1] = self.sum.memories[span.memory].ctypes.data + at
        return row


# ---------------------------------------------------------------------- native code


def _operand(b: WordBuilder, bases: ir.Value, step: ir.Value, word: int) -> ir.Value:
    return b.add(b.word(bases, b.word(step, word)), b.word(step, word + 1))


def _call(b: WordBuilder, address: ir.Value, result: ir.Type, *arguments: ir.Value) -> ir.Value:
    """Calls a function of C; ints and handles of 32 bits are the low halves of words."""
    kind = ir.FunctionType(result, [a.type for a in arguments]).as_pointer()
    return b.call(b.inttoptr(address, kind), arguments)


def _emit_add(module: ir.Module, name: str, element: ir.Type) -> ir.Function:
    """name(target, left, right, count): in vectors, then the rest."""
    function = ir.Function(module, ir.FunctionType(VOID, [I64] * 4), name)
    function.linkage = "internal"
    b = WordBuilder(function.append_basic_block("entry"))
    *addresses, count = function.args
    size = 4 if isinstance(element, ir.FloatType) else 8
    whole = b.udiv(count, I64(LANES))

    def body(kind: ir.Type, i: ir.Value, width: int) -> None:
        target, left, right = (
            b.inttoptr(b.add(a, b.mul(i, I64(width * size))), kind.as_pointer()) for a in addresses
        )
        total = b.fadd(b.load(left, align=size), b.load(right, align=size))
        b.store(total, target, align=size)

    with b.count(I64(0), whole) as i:
        body(ir.VectorType(element, LANES), i, LANES)
    with b.count(b.mul(whole, I64(LANES)), count) as i:
        body(element, i, 1)
    b.ret_void()
    return function


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


def _emit_wait(module: ir.Module, test: ir.Function) -> ir.Function:
    """wait(step, functions, patient): until all messages of a step are complete."""
    function = ir.Function(module, ir.FunctionType(VOID, [WORDS, WORDS, I64]), "tinygraph_wait")
    function.linkage = "internal"
    b = WordBuilder(function.append_basic_block("entry"))
    step, functions, patient = function.args
    done, rounds, since = b.pointer(step, DONE), b.alloca(I64), b.alloca(I64)
    with b.count(I64(0), b.word(step, COUNT)) as i:
        b.store(I64(0), b.at(done, i))
    b.store(I64(0), rounds)
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
    b.branch(burst)
    return function


def _emit_sum(module: ir.Module, wait: ir.Function) -> None:
    """sum(port, own, total, bytes): the steps at the port's cursor; without any it copies."""
    add32 = _emit_add(module, "tinygraph_add32", ir.FloatType())
    add64 = _emit_add(module, "tinygraph_add64", ir.DoubleType())
    function = ir.Function(module, ir.FunctionType(VOID, [I64] * 4), "tinygraph_sum")
    b = WordBuilder(function.append_basic_block("entry"))
    port, own, total, bytes = function.args
    port = b.inttoptr(port, WORDS)
    bases = b.alloca(I64, 3)
    for k, base in enumerate((I64(0), own, total)):
        b.store(base, b.at(bases, k))
    with b.if_then(b.icmp_signed("==", b.word(port, PORT_CURSOR), I64(0))):
        _copy(b, total, own, bytes)
        b.ret_void()
    functions = b.pointer(port, PORT_MESSAGES)
    head = b.append_basic_block("step")
    b.branch(head)
    b.position_at_end(head)
    step = b.pointer(port, PORT_CURSOR)
    b.store(b.ptrtoint(b.at(step, STEP), I64), b.at(port, PORT_CURSOR))
    count, at = b.word(step, COUNT), lambda word: _operand(b, bases, step, word)
    end = b.append_basic_block("end")
    choice = b.switch(b.word(step, KIND), end)

    def handle(s: int) -> None:
        block = b.append_basic_block(f"kind{s}")
        choice.add_case(I64(s), block)
        b.position_at_end(block)
        if s in (ADD32, ADD64):
            b.call(add32 if s == ADD32 else add64, [at(A), at(B), at(C), count])
        elif s == COPY:
            _copy(b, at(A), at(B), count)
        elif s == WAIT:
            b.call(wait, [step, functions, b.word(port, PORT_PATIENT)])
        else:
            name = ISEND if s == SEND else IRECV
            error = _call(
                b, b.word(functions, name), I32, at(A), count, b.word(functions, BYTE),
                b.word(step, NUMBER), I64(TAG), b.word(functions, COMM), b.word(step, REQUEST),
            )  # fmt: skip
            with b.if_then(b.icmp_signed("!=", error, I32(0)), likely=False):
                _call(b, b.word(functions, WATCH), VOID, I64(-1), b.sext(error, I64))
        b.branch(head)

    for kind in (ADD32, ADD64, COPY, SEND, RECEIVE, WAIT):
        handle(kind)
    b.position_at_end(end)
    b.ret_void()


def _copy(b: WordBuilder, target: ir.Value, source: ir.Value, bytes: ir.Value) -> None:
    byte = ir.IntType(8).as_pointer()
    memcpy = b.module.declare_intrinsic("llvm.memcpy", [byte, byte, I64])
    pointers = [b.inttoptr(x, byte) for x in (target, source)]
    b.call(memcpy, [*pointers, bytes, ir.Constant(ir.IntType(1), 0)])


def sum_module() -> str:
    """The text of the LLVM module."""
    module = ir.Module("tinygraph_sums")
    module.triple = llvm.get_process_triple()
    _emit_sum(module, _emit_wait(module, _emit_test(module)))
    return str(module)


@cache
def sum_address() -> int:
    """The address of the native function, loaded once a process."""
    code = objects.stored_module(sum_module, detect(), default_store(), sum_module())
    return objects.load_for_good({"tinygraph_sum": code})["tinygraph_sum"]
