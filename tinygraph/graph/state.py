"""Values of parameters: where they are stored, which memory has the newest, how they change."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from weakref import WeakSet, finalize

import numpy as np

from .convert import as_array
from .dtype import DTYPES, astype, is_similar, name_of
from .locks import PROGRAMS, Locks, SharedLock
from .types import Type


class DeviceMemory(Protocol):
    """Memory other than the host's that can hold values of parameters, by address."""

    def alloc(self, size: int, name: str) -> int: ...

    def free(self, address: int) -> None: ...

    def upload(self, address: int, array: np.ndarray) -> None: ...

    def download(self, array: np.ndarray, address: int) -> None: ...


class OtherForm(Protocol):
    """A value in another order, in memory that a program has."""

    def copy(self, array: np.ndarray) -> None:
        """Writes it to an array as it is stored."""

    def take(self, array: np.ndarray) -> Generator[int, None, None]:
        """Makes it from an array as it is stored, a piece after the other; after each, how many of
        the array's bytes are no longer needed. Closed before its end, it writes those again.
        """


class LostValueError(RuntimeError):
    """A parameter has no value: a program that failed midway had begun to change it, or one that
    was compiled with ``keep_parameters=False`` has released it, or it is on other ranks.
    """


class Spread(Protocol):
    """Where a value is that not every rank has.

    Attributes:
        where: in words, as in "on rank 1".
        here: whether this rank has it, too.
    """

    @property
    def where(self) -> str: ...

    @property
    def here(self) -> bool: ...

    def collect(self, state: ParameterState) -> None:
        """Brings the value to all ranks, all of which call this."""


class ParameterState:
    """The value of a parameter, drawn at first use, and a version that rises with every change.

    The memory never moves once it exists: compiled programs hold its address. ``order`` is that of
    the axes in memory, outermost first: convolution weights are stored as height, width, input,
    output channels, which is how both the convolution and its weight gradient run through them.

    A program on a device has a copy in the device's memory. The newest value may be in any of
    these memories (None is the host's) and is copied to where it is missing when it is needed
    there: ``read`` and ``write`` for the host, ``bring`` for a program that runs. A value that a
    program left half new is lost: to need it is an error until there is another.

    A program holds the ``lock`` of each parameter while it runs, shared with others that only read,
    so that it never sees a value of which a part is new. Parameters have one lock together until
    ``shared_lock`` gives those of a program one of their own.
    """

    unused = SharedLock(PROGRAMS)  # of the parameters that no program uses

    moved = False  # whether any was ever changed in a memory other than the host's, or lost
    allocated = 0  # how often memory was taken for any

    def __init__(
        self,
        type: Type,
        name: str | None,
        initial: Callable[[], Any],
        order: tuple[int, ...] | None = None,
    ):
        self.type, self.name = type, name
        self._initial: Callable[[], Any] | None = initial  # until there is a value
        rank = len(type.shape)
        self.order = order or ((2, 3, 1, 0) if rank == 4 else tuple(range(rank)))
        self.version = 0
        self.trainable = True
        self._array: np.ndarray | None = None
        self._copies: dict[DeviceMemory, int] = {}  # addresses
        self._newest: set[DeviceMemory | None] = {None}  # where the current value is
        self._lost = ""  # why there is no value
        self._released = ""  # why there is none any more in the host's memory
        self._elsewhere: OtherForm | None = None  # where else it is
        self._spread: Spread | None = None  # where it is, if not on all ranks
        self.readers: WeakSet[object] = WeakSet()  # that have the address of the host's memory
        self.lock = self.unused

    @property
    def drawn(self) -> bool:
        return self._array is not None or self._elsewhere is not None

    @property
    def _away(self) -> bool:
        """Whether the value is on other ranks only."""
        return self._spread is not None and not self._spread.here

    def claim(self) -> None:
        """The value that will be drawn does not depend on which others are drawn before."""
        if not self.drawn and (claim := getattr(self._initial, "claim", None)) is not None:
            claim()

    @property
    def memory(self) -> np.ndarray | None:
        """The host's memory for the value, which need not be the newest there; None before it is
        used.
        """
        return self._array

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else reads or changes the value, and no program that uses it runs meanwhile."""
        while True:
            with (lock := self.lock):
                if lock is self.lock:  # no program was the first to use it while this one waited
                    yield
                    return

    def read(self) -> np.ndarray:
        """The memory of the value, which programs write to."""
        with self.held():
            return self._on_host()

    def copied(self) -> np.ndarray:
        """The value, in memory of its own."""
        with self.held():
            if self._elsewhere is not None and not self._lost and not self._away:
                return np.ascontiguousarray(self._made())
            return self._on_host().copy()

    def _on_host(self) -> np.ndarray:
        if self._lost:
            raise LostValueError(
                f"the value of {self._described()} is lost: {self._lost}. Assign another, or load "
                "a checkpoint with all that this program updates"
            )
        if self._released:
            raise LostValueError(
                f"the value of {self._described()} is released: {self._released}. Assign another, "
                "or load a checkpoint"
            )
        if self._away:
            assert self._spread is not None
            raise LostValueError(
                f"the value of {self._described()} is {self._spread.where}: all ranks can call "
                "distributed.collect, which brings it"
            )
        if self._array is None:
            self._array = self._made()
            self._initial = self._elsewhere = None
        if None not in self._newest:
            memory = next(m for m in self._newest if m is not None)
            memory.download(self._physical(self._array), self._copies[memory])
            self._newest.add(None)
        return self._array

    def _made(self) -> np.ndarray:
        """Memory with the value, which is drawn, or in another form only."""
        array = self._allocate()
        if self._elsewhere is not None:
            self._elsewhere.copy(self._physical(array))
            return array
        assert self._initial is not None
        value = self._initial()
        if isinstance(value, Iterator):
            self._fill(array, value)
        else:
            array[...] = self._checked(value)
        return array

    def _fill(self, array: np.ndarray, parts: Iterator[np.ndarray]) -> None:
        """Rows, or blocks of them, one after the other."""
        at = 0
        for rows in parts:
            array[at : at + len(rows)] = self._converted(rows)
            at += len(rows)

    def _physical(self, array: np.ndarray) -> np.ndarray:
        """The array as it is stored, contiguous."""
        return array.transpose(self.order) if self.order else array

    def address(self, memory: DeviceMemory) -> int:
        """The address of this parameter's copy in a memory."""
        with self.held():
            if memory not in self._copies:
                address = memory.alloc(self.type.bytes, f"parameter {self.name}")
                self._copies[memory] = address
                finalize(self, memory.free, address)
            return self._copies[memory]

    def bring(self, memory: DeviceMemory | None) -> None:
        """Copies the newest value into ``memory``, which must already hold a copy."""
        with self.held():
            if memory in self._newest and not self._lost and not self._away:
                return
            array = self._on_host()
            if memory is not None:
                memory.upload(self._copies[memory], self._physical(array))
            self._newest.add(memory)

    def changed(self, memory: DeviceMemory | None) -> None:
        """A program has written a new value into a memory; other copies are old."""
        self.version += 1
        self._lost, self._spread = "", None
        if self._copies:
            self._newest = {memory}
            ParameterState.moved = ParameterState.moved or memory is not None

    def lose(self, why: str) -> None:
        """A program has left the value half new; ``why`` names it and says where it stopped."""
        self.version += 1
        self._lost = why
        ParameterState.moved = True

    @property
    def spread(self) -> Spread | None:
        """Where the value is, if not on all ranks."""
        return self._spread

    def spread_out(self, spread: Spread) -> None:
        """The value is not on all ranks from now on."""
        self.version += 1
        self._lost, self._spread = "", spread
        ParameterState.moved = True

    def give_away(self, spread: Spread) -> None:
        """As ``spread_out``, and this rank lets go of the value, unless a program reads it."""
        with self.held():
            self.spread_out(spread)
            if not self.readers and not self._copies:
                self._array = self._elsewhere = None

    def release(self, why: str) -> None:
        """Lets go of the value, unless a program reads it in its runs, or in another memory. Who
        needs it afterwards is told why it is gone.
        """
        with self.held():
            if not self.readers and not self._copies and not self._lost:
                self._array = self._elsewhere = None
                self._released = why

    def keep_elsewhere(self, form: OtherForm) -> None:
        """Lets go of the host's memory, unless a program reads it in its runs, or there are copies
        in others: the value is in another form.
        """
        with self.held():
            if self._array is not None and not self.readers and not self._copies:
                self._array, self._elsewhere = None, form

    def move_elsewhere(self, form: OtherForm) -> bool:
        """Makes the other form and lets go of the host's memory meanwhile; False, and nothing is
        done, if that has to stay.
        """
        with self.held():
            if self.readers or self._copies:
                return False
            array = self._physical(self._on_host())
            moving = form.take(array)
            try:
                for gone in moving:
                    forget(array, gone)
            except BaseException:
                moving.close()
                raise
            self._array, self._elsewhere = None, form
            return True

    def _described(self) -> str:
        return f"parameter {self.name or 'without a name'}: {self.type}"

    def _allocate(self) -> np.ndarray:
        type = Type(tuple(self.type.shape[a] for a in self.order), self.type.dtype)
        physical = aligned(type, what=f"{self._described()},")
        ParameterState.allocated += 1
        return physical.transpose(np.argsort(self.order)) if self.order else physical

    def write(self, value: Any) -> None:
        value = self._checked(value)
        with self.held():
            if self._array is None:
                self._array = self._allocate()
            self._array[...] = value
            self._initial = self._elsewhere = None
            self._newest = {None}
            self._lost, self._released, self._spread = "", "", None
            self.version += 1

    def _checked(self, value: Any) -> np.ndarray:
        array = as_array(value)
        if array.shape != self.type.shape:
            raise ValueError(
                f"parameter {self.name} has shape {self.type.shape}, got {array.shape}"
            )
        return self._converted(array)

    def _converted(self, array: np.ndarray) -> np.ndarray:
        found, dtype = name_of(array.dtype), self.type.dtype
        if not is_similar(array.dtype, dtype):
            raise TypeError(f"parameter {self.name} is {dtype}, got {found}")
        return array if found == dtype else astype(array, dtype)


def shared_lock(states: Iterable[ParameterState]) -> SharedLock | Locks:
    """What a program that uses these parameters holds while it runs: one lock, or several where
    other programs have used some of them apart. Two programs can run at the same time if they have
    no parameter in common, or if they share one lock and change nothing.
    """
    unused, states = ParameterState.unused, list(states)
    with unused:
        found = {s.lock for s in states} - {unused} or {SharedLock(PROGRAMS)}
        for state in states:
            if state.lock is unused:
                state.lock = next(iter(found))
    return Locks(found) if len(found) > 1 else found.pop()


HUGE = 2 << 20  # bytes of a huge page
APART = 128 << 10  # bytes from which on an array gets pages of its own, that go with it


def pages(size: int) -> mmap.mmap:
    """Anonymous memory of this process alone, in huge pages where those can be asked for.

    Memory that is shared with children, mmap's default, hardly ever gets them, and what a child
    writes to it would change the parent's.
    """
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def forget(array: np.ndarray, size: int) -> None:
    """Gives the pages of an array's first bytes back to the system, as far as they have nothing
    else; those are lost. An array that has no pages of its own stays.
    """
    memory: Any = array
    while isinstance(memory, np.ndarray):
        memory = memory.base
    memory = memory.obj if isinstance(memory, memoryview) else memory
    if isinstance(memory, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        start = array.ctypes.data - np.frombuffer(memory, np.uint8).ctypes.data
        pages = (start + min(size, array.nbytes)) // HUGE * HUGE
        if pages:
            memory.madvise(mmap.MADV_DONTNEED, 0, pages)


def aligned(type: Type, what: str = "an array") -> np.ndarray:
    """Zeroed memory on a cache line.

    Large arrays are in huge pages where the system has them: kernels walk over weights in steps of
    many kilobytes, each of which would need a page table entry of its own.

    Raises:
        MemoryError: there is not as much; the message says for what.
    """
    size = type.bytes + 64
    try:
        raw = np.frombuffer(pages(size), np.uint8) if size >= APART else np.zeros(size, np.uint8)
    except (OSError, OverflowError):
        gib = type.bytes / (1 << 30)
        raise MemoryError(f"{what} of {gib:,.1f} GiB does not fit in memory") from None
    start = -raw.ctypes.data % 64
    return raw[start : start + type.bytes].view(DTYPES[type.dtype].numpy).reshape(type.shape)
