"""The steps of sums over shards and of messages between ranks as words in memory, which native code
reads (see sums.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygraph.codegen.program import MessageCode
from tinygraph.ranks.shard_sum import GatheredSlices, ShardSum, ShardSums
from tinygraph.ranks.steps import (
    OWN,
    TOTAL,
    AddSpans,
    CopySpan,
    Narrow,
    Receive,
    Send,
    Span,
    Wait,
    Widen,
)
from tinygraph.ranks.world import Messages, Pending

from .launch_table import words

# Words of a port, after those of kernels: where the next sum's steps are; MPI; whether others
# compute meanwhile; where the steps of each message are.
PORT_CURSOR, PORT_MESSAGES, PORT_PATIENT, PORT_TABLE = 3, 4, 5, 6
ISEND, IRECV, TEST, GET_COUNT, COMM, BYTE, WATCH, FAILED = range(8)  # ``Messages.functions``
# Words of a step; an operand is a base and an offset in bytes. A wait has its messages at A:
# requests, their states and how many bytes are due, a word for each.
KIND, A, A_AT, B, B_AT, C, C_AT, COUNT, NUMBER, REQUEST, TAG = range(11)
STATUSES, DONE, DUE = B, C, C_AT
STEP = 12
END, ADD32, ADD64, ADD16, COPY, ROUND, NARROW, WIDEN, SEND, RECEIVE, WAIT = range(11)
BASES = {OWN: 1, TOTAL: 2}  # of an operand; 0: its offset is an address
SUM_TAG = 4  # of the messages of sums; those of plans have tags from MESSAGE_TAG on
MESSAGE_TAG = 16
STATUS = 16  # words of room for an MPI_Status, which take 3
LONGEST = 1 << 30  # bytes of a message: MPI counts them in 32 bits


Peer = tuple[str, int, int]  # "from" or "to", the rank, bytes
Begun = list[tuple[list[int], Peer]]  # messages that were begun: their rows, and what they are


def row_of(kind: int) -> list[int]:
    return [kind] + [0] * (STEP - 1)


def table_of(rows: Sequence[Sequence[int]]) -> np.ndarray:
    table = words(len(rows) * STEP)
    table[:] = np.array(rows, np.int64).reshape(-1)
    return table


def waiting(begun: Begun, messages: Messages, kept: list[np.ndarray]) -> list[int]:
    """A wait for messages, each of which gets its request; ``kept`` is its memory."""
    n = len(begun)
    requests, done, due, statuses = words(n), words(n), words(n), words(n * STATUS)
    kept += [requests, done, due, statuses]
    for i, (message, (way, _, bytes)) in enumerate(begun):
        message[REQUEST] = requests.ctypes.data + 8 * i
        due[i] = bytes if way == "from" else -1
    number = messages.expect(Pending([peer for _, peer in begun], done))
    made = row_of(WAIT)
    made[A], made[STATUSES] = requests.ctypes.data, statuses.ctypes.data
    made[DONE], made[DUE] = done.ctypes.data, due.ctypes.data
    made[COUNT], made[NUMBER] = n, number
    return made


class EncodedMessages:
    """The messages of one rank in a program: by number the steps that send or receive it, and those
    that wait, at the end of a run, until all have left.

    Args:
        arena: the address of the program's intermediate values, where the messages are.
    """

    def __init__(
        self, codes: Sequence[MessageCode], rank: int, arena: int, messages: Messages
    ) -> None:
        self.kept: list[np.ndarray] = []
        self.addresses = words(max(len(codes), 1))
        tables: dict[int, list[list[int]]] = {}
        left: Begun = []
        for number, code in enumerate(codes):
            if rank == code.source:
                rows = self._begin(SEND, "to", code.target, code, number, arena)
                left += rows
                tables[number] = [*(row for row, _ in rows), row_of(END)]
            elif rank == code.target:
                rows = self._begin(RECEIVE, "from", code.source, code, number, arena)
                wait = waiting(rows, messages, self.kept)
                tables[number] = [*(row for row, _ in rows), wait, row_of(END)]
        self.sends = len(left)
        end = table_of([waiting(left, messages, self.kept), row_of(END)])
        for number, found in tables.items():  # requests are known by now
            self.kept.append(table_of(found))
            self.addresses[number] = self.kept[-1].ctypes.data
        self.kept.append(end)
        self.end = end.ctypes.data

    def _begin(
        self, kind: int, way: str, rank: int, code: MessageCode, number: int, arena: int
    ) -> Begun:
        rows: Begun = []
        for first in range(0, code.bytes, LONGEST):
            row, bytes = row_of(kind), min(code.bytes - first, LONGEST)
            row[A_AT] = arena + code.memory[2] + first
            row[COUNT], row[NUMBER], row[TAG] = bytes, rank, MESSAGE_TAG + number
            rows.append((row, (way, rank, bytes)))
        return rows


class EncodedSum:
    """Steps of a shard's sums, one after the other, as the native code reads them."""

    def __init__(self, sums: ShardSums, shard: int, empty: bool) -> None:
        self.kept: list[np.ndarray] = []
        rows: list[list[int]] = []
        for each in sums.of(shard):
            pending: Begun = []
            for step in each.steps(shard, empty):
                if isinstance(step, Wait):
                    assert sums.messages is not None
                    rows.append(waiting(pending, sums.messages, self.kept))
                    pending = []
                    continue
                made, peer = _Row(each).of(step)
                rows.append(made)
                if peer is not None:
                    pending.append((made, peer))
            rows.append(row_of(END))
        self.table = table_of(rows)
        self.address = self.table.ctypes.data


class _Row:
    """The words of one step of a sum."""

    def __init__(self, sum: ShardSum | GatheredSlices) -> None:
        self.sum, self.size = sum, sum.itemsize

    def of(
        self, step: AddSpans | CopySpan | Narrow | Widen | Send | Receive
    ) -> tuple[list[int], tuple | None]:
        """The words, and of a message what it is."""
        match step:
            case AddSpans(target, left, right, rounds):
                kind = ADD16 if rounds else ADD32 if self.size == 4 else ADD64
                return self._filled(kind, target, left, right), None
            case CopySpan(target, source, rounds):
                row = self._filled(ROUND if rounds else COPY, target, source)
                row[COUNT] *= 1 if rounds else self.size
                return row, None
            case Narrow(target, source):
                return self._filled(NARROW, target, source), None
            case Widen(target, source):
                return self._filled(WIDEN, target, source), None
            case Send(span, rank):
                return self._message(SEND, "to", span, rank)
            case Receive(span, rank):
                return self._message(RECEIVE, "from", span, rank)

    def _message(self, kind: int, way: str, span: Span, rank: int) -> tuple[list[int], tuple]:
        row, bytes = self._filled(kind, span), span.count * self._size(span)
        row[COUNT], row[NUMBER], row[TAG] = bytes, rank, SUM_TAG
        return row, (way, rank, bytes)

    def _size(self, span: Span) -> int:
        """Bytes of an element."""
        own = span.memory in BASES
        return self.size if own else self.sum.memories[span.memory].itemsize

    def _filled(self, kind: int, *spans: Span) -> list[int]:
        row = row_of(kind)
        row[COUNT] = spans[0].count
        for word, span in zip((A, B, C), spans, strict=False):
            at = span.first * self._size(span)
            if span.memory in BASES:
                row[word], row[word + 1] = BASES[span.memory], at
            else:
                row[word + 1] = self.sum.memories[span.memory].ctypes.data + at
        return row
