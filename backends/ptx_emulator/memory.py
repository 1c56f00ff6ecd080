"""Memory as kernels address it: global allocations, and the shared and local memory of a launch."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from .races import Shadow

GLOBAL_BASE = 0x7000_0000_0000  # generic addresses below are windows onto shared and local memory
SHARED_BASE = 0x6000_0000_0000
LOCAL_BASE = 0x5000_0000_0000
ALIGN = 256  # of allocations, as of cudaMalloc
GAP = 1 << 20  # unused addresses between allocations
VECTOR = 16  # bytes of the widest access
PATTERN = 0xA5  # fresh memory, so that what is read before it is written shows


class Region:
    """Bytes that kernels access, with the record of which threads touched them.

    Attributes:
        bytes: the size that counts for bounds; the storage is padded for vector accesses.
        shadow: for races; None where no two threads can meet.
    """

    def __init__(self, name: str, size: int, start: int = 0):
        self.name, self.bytes, self.start = name, size, start
        self.storage = np.full(-(-size // VECTOR) * VECTOR + VECTOR, PATTERN, np.uint8)
        self.shadow: Shadow | None = None
        self.views: dict[tuple[np.dtype, int], np.ndarray] = {}

    def view(self, dtype: np.dtype, count: int = 1) -> np.ndarray:
        """All of the storage as numbers, or as rows of `count` numbers."""
        key = (dtype, count)
        if key not in self.views:
            whole = self.storage[
                : self.storage.size // (dtype.itemsize * count) * dtype.itemsize * count
            ]
            self.views[key] = (
                whole.view(dtype) if count == 1 else whole.view(dtype).reshape(-1, count)
            )
        return self.views[key]

    def load(self, offsets: np.ndarray, dtype: np.dtype, count: int) -> np.ndarray:
        """Values at byte offsets, which must be aligned: (n,) or (n, count)."""
        shift = (dtype.itemsize * count).bit_length() - 1
        return self.view(dtype, count).take(offsets >> shift, axis=0)

    def store(self, offsets: np.ndarray, values: np.ndarray, dtype: np.dtype, count: int) -> None:
        shift = (dtype.itemsize * count).bit_length() - 1
        self.view(dtype, count)[offsets >> shift] = values


class Memory:
    """A device's global memory: allocations with unused addresses between them.

    ``allocate`` gives the address that kernels are passed; ``write`` and ``read`` copy to and from
    it.
    """

    def __init__(self) -> None:
        self.regions: list[Region] = []
        self.starts: list[int] = []
        self.top = GLOBAL_BASE
        self.first_thread = 1  # of the next launch; numbers of threads are never used twice

    def allocate(self, size: int, name: str = "") -> int:
        """The address of `size` fresh bytes; `name` appears in faults."""
        region = Region(name or f"allocation {len(self.regions)}", size, self.top)
        self.regions.append(region)
        self.starts.append(self.top)
        self.top += -(-(size + GAP) // ALIGN) * ALIGN
        return region.start

    def upload(self, array: np.ndarray, name: str = "") -> int:
        """Allocates a copy of an array and returns its address."""
        address = self.allocate(array.nbytes, name)
        self.write(address, array)
        return address

    def write(self, address: int, array: np.ndarray) -> None:
        region, offset = self.inside(address, array.nbytes)
        region.storage[offset : offset + array.nbytes] = (
            np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        )

    def read(self, address: int, shape: tuple[int, ...] | int, dtype: str | np.dtype) -> np.ndarray:
        """A copy of the array at an address."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        region, offset = self.inside(address, size)
        return region.storage[offset : offset + size].view(kind).reshape(shape).copy()

    def free(self, address: int) -> None:
        """Later accesses to the allocation are out of bounds."""
        number = self.starts.index(address)
        del self.starts[number], self.regions[number]

    def find(self, address: int) -> Region | None:
        """The allocation at or before an address."""
        number = bisect_right(self.starts, address) - 1
        return self.regions[number] if number >= 0 else None

    def inside(self, address: int, size: int) -> tuple[Region, int]:
        region = self.find(address)
        if region is None or address + size > region.start + region.bytes:
            raise IndexError(f"{size} bytes at {address:#x} are not within one allocation")
        return region, address - region.start
