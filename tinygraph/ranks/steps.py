"""The steps of a sum over shards, and the messages among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

OWN, TOTAL = -1, -2  # the shard's array, where the sum goes
LARGEST = 1 << 30  # bytes of a message: MPI counts them in 32 bits


@dataclass(frozen=True, slots=True)
class Span:
    """So many elements of OWN, of TOTAL or of one of the sum's own memories."""

    memory: int
    first: int
    count: int

    def of(self, part: slice) -> Span:
        return Span(self.memory, self.first + part.start, part.stop - part.start)


@dataclass(frozen=True, slots=True)
class AddSpans:
    """target = left + right; the target may be one of them. ``rounds``: all three to bfloat16."""

    target: Span
    left: Span
    right: Span
    rounds: bool = False


@dataclass(frozen=True, slots=True)
class CopySpan:
    target: Span
    source: Span
    rounds: bool = False


@dataclass(frozen=True, slots=True)
class Narrow:
    """Rounds floats of 32 bits to bfloat16, as words of 16 bits."""

    target: Span
    source: Span


@dataclass(frozen=True, slots=True)
class Widen:
    """The floats of 32 bits that such words stand for."""

    target: Span
    source: Span


@dataclass(frozen=True, slots=True)
class Send:
    """Begins to send; those to one rank arrive in their order."""

    source: Span
    rank: int


@dataclass(frozen=True, slots=True)
class Receive:
    """Begins to receive."""

    target: Span
    rank: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Until all messages that were begun are complete."""


SumStep = AddSpans | CopySpan | Narrow | Widen | Send | Receive | Wait


def messages(span: Span) -> Iterator[Span]:
    """A span as messages; none if it is empty."""
    most = LARGEST // 8
    for first in range(0, span.count, most):
        yield span.of(slice(first, min(first + most, span.count)))


class PeerMessages:
    """Messages that are waited for together."""

    def send(self, span: Span, rank: int) -> Iterator[SumStep]:
        yield from (Send(part, rank) for part in messages(span))

    def receive(self, span: Span, rank: int) -> Iterator[SumStep]:
        yield from (Receive(part, rank) for part in messages(span))

    def wait(self) -> Iterator[SumStep]:
        yield Wait()


class NarrowMessages(PeerMessages):
    """Messages that are sent as bfloat16, from and to memory of their own."""

    def __init__(self, new: Callable[[int, str], Span]) -> None:
        self.new, self.received = new, list[tuple[Span, Span]]()
        self.sent: dict[Span, Span] = {}

    def send(self, span: Span, rank: int) -> Iterator[SumStep]:
        if span not in self.sent:
            self.sent[span] = self.new(span.count, "uint16")
            yield Narrow(self.sent[span], span)
        yield from super().send(self.sent[span], rank)

    def receive(self, span: Span, rank: int) -> Iterator[SumStep]:
        self.received.append((span, self.new(span.count, "uint16")))
        yield from super().receive(self.received[-1][1], rank)

    def wait(self) -> Iterator[SumStep]:
        yield Wait()
        yield from (Widen(*pair) for pair in self.received)
        self.received, self.sent = [], {}
