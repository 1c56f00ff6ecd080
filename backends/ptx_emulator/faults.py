"""What the emulator finds wrong with a kernel, and where: generated line, thread and block."""

from __future__ import annotations

Triple = tuple[int, int, int]


class UnsupportedInstruction(NotImplementedError):
    """PTX that the emulator does not know; never skipped in silence."""


class Fault(RuntimeError):
    """An error that a kernel makes while it runs.

    Attributes:
        kernel: its name.
        line: of the generated source, 0 where the PTX has no line information.
        thread, block: coordinates of the (first) thread that it happens to.
        instruction: the PTX instruction.
        detail: what happened, in words.
    """

    kind = "fault"

    def __init__(
        self,
        detail: str,
        kernel: str,
        line: int,
        thread: Triple,
        block: Triple,
        instruction: str,
        source: str = "",
    ):
        self.detail, self.kernel, self.line = detail, kernel, line
        self.thread, self.block, self.instruction = thread, block, instruction
        shown = f"\n    {line} | {source.strip()}" if source else ""
        super().__init__(
            f"{self.kind} in kernel {kernel}, line {line}: "
            f"thread {thread} of block {block} {detail} [{instruction}]{shown}"
        )


class OutOfBounds(Fault):
    """An address outside of every allocation, or beyond the one that it begins in."""

    kind = "access out of bounds"


class Misaligned(Fault):
    """An address that is not a multiple of the access' size; a GPU would stop the program."""

    kind = "misaligned access"


class Race(Fault):
    """Two threads touch the same bytes, one of them writes, and no barrier orders them."""

    kind = "race"


class Unfinished(Fault):
    """Shared memory that an asynchronous copy is still on its way to is read or written."""

    kind = "unfinished copy"


class Uninitialized(Fault):
    """A read of shared memory that no thread has written."""

    kind = "uninitialized shared memory"


class DivergentBarrier(Fault):
    """Threads of one block that wait at different barriers, or have ended while others wait."""

    kind = "divergent barrier"


class DivergentWarp(Fault):
    """A shuffle, vote or warp barrier whose member mask names threads that are not there."""

    kind = "divergent warp operation"


class Trap(Fault):
    """The kernel stopped itself."""

    kind = "trap"
