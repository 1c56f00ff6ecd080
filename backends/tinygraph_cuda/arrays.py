"""Arrays in a device's memory: a program's results there, and those of other libraries."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any
from weakref import finalize

import numpy as np

from tinygraph.compiler.backend import BackendError
from tinygraph.graph.convert import as_array
from tinygraph.graph.dtype import DTYPES, name_of
from tinygraph.graph.types import Type

from . import dlpack
from .runtimes import Runtime

ALIGN = 16  # bytes: kernels read as many at a time


class DeviceArray:
    """An array in a device's memory, C-contiguous, which nobody writes to.

    Its values may still be on their way: whoever reads it through ``__dlpack__`` or
    ``__cuda_array_interface__`` is ordered after them without waiting, ``numpy()`` waits. In the
    emulator there is no device: only programs there, and ``numpy()``, can read it.
    """

    def __init__(self, runtime: Runtime, type: Type, address: int):
        self.runtime, self.type, self.address = runtime, type, address
        self._readers: list[int] = []  # other streams that were told to wait for it
        finalize(self, runtime.free_after, address, self._readers)

    @classmethod
    def fresh(cls, runtime: Runtime, type: Type) -> DeviceArray:
        return cls(runtime, type, runtime.alloc(max(type.bytes, 1), "an array of a call"))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> np.dtype:
        """NumPy's, as of the array that ``numpy()`` gives."""
        return DTYPES[self.type.dtype].numpy

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<array on a device, {self.type}>"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without axes has no length")
        return self.shape[0]

    def numpy(self) -> np.ndarray:
        """A copy in the host's memory; waits for the values."""
        found = np.empty(self.shape, self.dtype)
        self.runtime.download(found, self.address)
        self.runtime.sync()
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array on a device is copied to the host, which copy=False forbids")
        found = self.numpy()
        return found if dtype is None else found.astype(dtype)

    # ------------------------------------------------------------------ for other libraries

    def _on_device(self) -> int:
        """The number of the device.

        Raises:
            BufferError: it is in the emulator.
        """
        if self.runtime.number is None:
            raise BufferError("an array of the emulator is in no device's memory: take numpy()")
        return self.runtime.number

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self._on_device()

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule, as the array API standard has it; work of ``stream`` comes after the values.

        Raises:
            BufferError: a copy, or another device, is asked for.
        """
        number = self._on_device()
        if copy or dl_device not in (None, (dlpack.CUDA, number)):
            raise BufferError("a program's array is handed on as it is, where it is")
        if stream != -1:  # without a number it is the legacy default stream
            self.runtime.lead(stream or 1)
            self._readers.append(stream or 1)
        return dlpack.lend(self, self.address, self.shape, DTYPES[self.type.dtype], number)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        record = DTYPES[self.type.dtype]
        if self.runtime.number is None or record.carrier:
            raise AttributeError(f"__cuda_array_interface__ cannot express {self!r}: use DLPack")
        return {
            "shape": self.shape,
            "typestr": record.numpy.str,
            "data": (self.address, False),
            "strides": None,
            "stream": self.runtime.handle,
            "version": 3,
        }


def to_device(array: Any, runtime: str = "") -> DeviceArray:
    """A copy of an array in the memory of the device that ``backend="cuda"`` means.

    Args:
        array: NumPy's, or what NumPy makes one of.
        runtime: "device" or "emulate", as in ``backend="cuda:device"``.

    Raises:
        BackendError: there is no such runtime, or no device.
    """
    from importlib import import_module

    from .choice import choose

    chosen = choose(runtime).runtime
    if chosen == "ptx":
        raise BackendError("backend 'cuda:ptx' has no memory: take 'device' or 'emulate'")
    where: Runtime = import_module(f".runtimes.{chosen}", __package__).runtime()
    values = np.ascontiguousarray(as_array(array)).reshape(np.shape(array))
    made = DeviceArray.fresh(where, Type(values.shape, name_of(values.dtype)))
    where.upload(made.address, values)
    return made


# ---------------------------------------------------------------------- of other libraries


def is_on_device(value: Any) -> bool:
    """Whether an array is in a GPU's memory, or in the emulator's."""
    if isinstance(value, DeviceArray):
        return True
    if isinstance(value, np.ndarray | np.generic | int | float | list | tuple):
        return False
    if hasattr(value, "__dlpack_device__"):
        return value.__dlpack_device__()[0] in (dlpack.CUDA, dlpack.CUDA_MANAGED)
    return hasattr(value, "__cuda_array_interface__")


class Borrowed:
    """An array of any library, as a program reads it.

    Attributes:
        shape, dtype: of it; the dtype by name.
        held: what must live until the program's launches are on their way.
    """

    def __init__(self, value: Any, runtime: Runtime):
        if isinstance(value, DeviceArray):
            if value.runtime is not runtime:
                raise ValueError(f"{value!r} is of another runtime: take numpy() of it")
            self.address, self.held = value.address, value
            self.shape, self.dtype = value.shape, value.type.dtype
            return
        if runtime.number is None:
            raise BackendError("the emulator cannot read a GPU's memory: give NumPy's arrays")
        found, self.held = borrow(value, runtime)
        if found.number != runtime.number:
            raise ValueError(
                f"got an array on GPU {found.number}; programs run on {runtime.number}"
            )
        if found.strides is not None and not is_contiguous(found.shape, found.strides):
            raise ValueError(
                f"got an array of shape {found.shape} with strides {found.strides} on a device, "
                "which is not C-contiguous: make it so there"
            )
        if found.address % ALIGN and prod(found.shape):
            raise ValueError(
                f"got an array on a device that begins at {found.address:#x}, not at a multiple of "
                f"{ALIGN} bytes: copy it there"
            )
        self.address, self.shape, self.dtype = found.address, found.shape, found.dtype


def borrow(value: Any, runtime: Runtime) -> tuple[dlpack.Description, Any]:
    """Where another library's array is, ordered before what the runtime does next; and what keeps
    it alive.
    """
    if hasattr(value, "__dlpack__"):
        capsule = value.__dlpack__(stream=runtime.handle)
        return dlpack.describe(capsule), (value, capsule)
    given = value.__cuda_array_interface__
    kind = np.dtype(given["typestr"])
    strides = given.get("strides")
    if strides is not None:
        strides = tuple(s // kind.itemsize for s in strides)
    if (stream := given.get("stream")) is not None:
        runtime.follow(stream)
    shape, address = tuple(given["shape"]), given["data"][0]
    return dlpack.Description(address, shape, kind.name, strides, runtime.number or 0), value


def is_contiguous(shape: Sequence[int], strides: Sequence[int]) -> bool:
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != step:
            return False
        step *= size
    return True
