"""A program as data: kernels and the calls that make it up, independent of any device.

It can be written to a file: texts, records and integers. ``assemble`` makes it from a plan; nothing
else of the compiler is imported here, since this is what a program that is known starts from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Pointer = tuple[str, int, int]  # home, number, byte offset: an address once there is memory
Argument = int | Pointer


@dataclass(frozen=True, slots=True)
class KernelCode:
    """One compiled function: its Python text, and the record if that alone does not make it.

    Attributes:
        known_key: given by the backend, or of a kernel that comes from the store without its text.
        signature: types of its parameters; empty for those that take an argument block.
        threads: of a block, on devices whose parts are blocks of threads.
    """

    name: str
    text: str
    record: Any = None
    known_key: str = ""
    signature: tuple[str, ...] = ()
    threads: int = 1

    @property
    def key(self) -> str:
        """A digest of all that its machine code depends on; its name does not count."""
        if self.known_key:
            return self.known_key
        content = repr(self.record) if self.record else self.text.replace(self.name, "NAME", 1)
        return hashlib.sha256(content.encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Work:
    """A kernel with its arguments, cut into ``parts`` (blocks, where a kernel has threads).

    ``member`` is the number of the launch, within a bundle, that it belongs to. ``steps`` are the
    arguments that move in a loop: (number, bytes from one step to the next). ``slices`` are those
    in buffers that a chain may slice: (number, bytes of a slice, where the buffer is in a thread's
    own memory, less where it is in the arena).
    """

    kernel: int
    arguments: tuple[Argument, ...]
    parts: int
    member: int = 0
    steps: tuple[tuple[int, int], ...] = ()
    slices: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A launch: its work, in order (several where launches are bundled, or take several kernels),
    the calls that it waits for, and the number of its device.

    ``back``: calls of the same loop that it waits for, one step earlier.
    """

    work: tuple[Work, ...]
    waits: tuple[int, ...]
    name: str
    device: int = 0
    back: tuple[int, ...] = ()

    @property
    def parts(self) -> int:
        return sum(w.parts for w in self.work)


@dataclass(frozen=True, slots=True)
class CallLoop:
    """Calls ``first`` up to ``last``, not included, are made ``length`` times: all of one step,
    then all of the next, whose addresses are ``Work.steps`` bytes further.

    A call after the loop that waits for one of the loop's waits for its last step; a call waits for
    the calls in ``waits`` that belong to its loop in its own step, in the first step not for any
    in ``back``. Loops do not overlap.
    """

    first: int
    last: int
    length: int


@dataclass(frozen=True, slots=True)
class CallChain:
    """Calls ``first`` up to ``last``, not included, may be made slice by slice: of each call share
    s of its parts, of ``slices``, for one s after the other, or for several at once. Then what
    the arguments in ``Work.slices`` point to is in memory of the thread, which has ``own`` bytes.
    """

    first: int
    last: int
    slices: int
    own: int


@dataclass(frozen=True, slots=True)
class Rearranged:
    """A prepared value with all elements of a parameter.

    Attributes:
        parameter: its number.
        offset: bytes at which the value begins in the prepared memory.
        sizes, strides: the value's axes, in elements, in the order of the parameter's memory.
        filled: the sizes of the parameter's own axes in that order; those that are cut into blocks,
            the last of which is filled up, join two axes or more of the value.
        shape: the same without what was filled up.
    """

    parameter: int
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    filled: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def blocks(self) -> int:
        """How many the parameter's first axis is cut into; each is ``rows`` long, the last less."""
        return self.sizes[0]

    @property
    def rows(self) -> int:
        return self.filled[0] // self.sizes[0]

    def copy(self, value: np.ndarray, parameter: np.ndarray, end: int | None = None) -> None:
        """Writes the parameter, as it is stored, from the elements of the prepared value on; of its
        blocks those before ``end``.
        """
        view = self._view(value, slice(end))
        if self.filled != self.shape:
            filled = view.reshape(-1, *self.filled[1:])
            rows = parameter.reshape(self.shape)[: len(filled)]
            rows[...] = filled[tuple(map(slice, rows.shape))]
        else:
            parameter.reshape(self.sizes)[:end] = view

    def fill(self, value: np.ndarray, parameter: np.ndarray, first: int, end: int) -> None:
        """The other way round, from block ``first`` to ``end``, not included."""
        view = self._view(value, slice(first, end))
        rows = parameter.reshape(self.shape)[first * self.rows : end * self.rows]
        if self.filled != self.shape:
            filled = np.zeros((len(view) * self.rows, *self.filled[1:]), value.dtype)
            filled[tuple(map(slice, rows.shape))] = rows
            rows = filled
        view[...] = rows.reshape(view.shape)

    def _view(self, value: np.ndarray, blocks: slice) -> np.ndarray:
        """The value's elements in the order of the parameter's."""
        strides = [s * value.itemsize for s in self.strides]
        return np.lib.stride_tricks.as_strided(value, self.sizes, strides)[blocks]


@dataclass(frozen=True, slots=True)
class MessageCode:
    """What goes from one rank to another: which calls send and receive it, ``bytes`` of where."""

    sends: int
    receives: int
    source: int
    target: int
    memory: Pointer
    bytes: int


@dataclass(frozen=True, slots=True)
class Code:
    """A program: kernels, calls, and the sizes in bytes of the memory that it needs.

    Attributes:
        scratch: for each thread.
        buffers: (home, offset, bytes) in the arena or the prepared memory. Where there are any,
            places of these homes number them; otherwise they count from the beginning of both.
        head: what the generated module begins with.
        devices: names by number; none where all threads share all calls.
        updates: whether a run changes parameters.
        pieces: where values begin in the prepared memory, where places count from its beginning.
        sums: the calls that add up what shards give, in their order.
        rearranged: the prepared values that are a parameter in another order.
        ranks: of each device, where they are of ranks.
        messages: between ranks, by number.
        chains: calls that may be made slice by slice.
        holders: the numbers of the parameters that a run changes, each with the ranks that have its
            new value afterwards, where devices are of ranks.
    """

    name: str
    kernels: tuple[KernelCode, ...]
    prepare: tuple[Call, ...]
    calls: tuple[Call, ...]
    arena: int
    prepared: int
    scratch: int = 0
    buffers: tuple[tuple[str, int, int], ...] = ()
    head: str = ""
    devices: tuple[str, ...] = ()
    loops: tuple[CallLoop, ...] = ()
    chains: tuple[CallChain, ...] = ()
    updates: bool = False
    pieces: tuple[int, ...] = ()
    sums: tuple[int, ...] = ()
    rearranged: tuple[Rearranged, ...] = ()
    ranks: tuple[int, ...] = ()
    messages: tuple[MessageCode, ...] = ()
    holders: tuple[tuple[int, tuple[int, ...]], ...] = ()

    def order(self) -> Iterator[tuple[int, int]]:
        """The calls of a run one after the other: (number, step of its loop, else 0)."""
        return in_order(len(self.calls), self.loops)


def in_order(calls: int, loops: Iterable[CallLoop]) -> Iterator[tuple[int, int]]:
    """So many calls one after the other, loops written out: (number, step of its loop, else 0)."""
    ends = {x.first: x for x in loops}
    number = 0
    while number < calls:
        loop = ends.get(number, CallLoop(number, number + 1, 1))
        for step in range(loop.length):
            yield from ((call, step) for call in range(loop.first, loop.last))
        number = loop.last
