"""Where CUDA kernels run: one small interface, a module for each runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tinygraph.graph.state import DeviceMemory
from tinygraph.plan.records.device import Roofline

from ..compile.compiled import CompiledKernel


@dataclass(frozen=True, slots=True)
class KernelLaunch:
    """A kernel, as its runtime has loaded it, with its arguments."""

    kernel: Any
    blocks: int
    threads: int
    signature: tuple[str, ...]
    arguments: tuple[int, ...]


class Runtime(DeviceMemory, Protocol):
    """The memory of one device, and an order in which it does what it is told.

    Attributes:
        separate: buffers that share the arena are allocations of their own.
        number: of the device whose memory it is; None: no device's, and no other library's.
        handle: of the stream that does everything, for other libraries.
        stopped: the number of the launch beyond which the last replay did not go; None if it did
            all of them, or none.
    """

    separate: bool
    number: int | None
    handle: int
    stopped: int | None

    def collect(self) -> None:
        """Frees what was let go of."""

    def free_after(self, address: int, streams: Sequence[int]) -> None:
        """As ``free``, once other libraries' streams have done what they were asked before."""

    def follow(self, stream: int) -> None:
        """What is asked for from now on comes after what another stream was asked before."""

    def lead(self, stream: int) -> None:
        """What another stream is asked from now on comes after all that was asked for before."""

    def load(self, built: CompiledKernel, name: str) -> Any:
        """A kernel for launches; ``name`` appears in errors."""

    def launch(self, launch: KernelLaunch) -> None:
        """After everything that was asked for before."""

    def capture(self, launches: Sequence[KernelLaunch]) -> Any:
        """Launches as one thing that is replayed."""

    def replay(self, captured: Any) -> None: ...

    def sync(self) -> None:
        """Waits until all that was asked for is done.

        Raises:
            BackendError: some of it failed.
        """

    def time(self, captured: Sequence[Any]) -> list[float]:
        """Replays all of them, one after the other, and returns the seconds that each took."""

    def roofline(self) -> Roofline:
        """The rates that the device reaches at best."""
