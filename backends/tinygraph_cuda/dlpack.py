"""DLPack, the protocol by which libraries hand each other arrays without a copy.

The structures are those of dlpack.h, version 0.8 (https://github.com/dmlc/dlpack), which every
later version still takes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_int32, c_int64, c_uint8, c_uint16, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

from tinygraph.graph.dtype import DTYPES, DType

CUDA, CUDA_MANAGED = 2, 13  # DLDeviceType
NAME = b"dltensor"  # of a capsule that nobody has consumed
CODES = {"int": 0, "uint": 1, "float": 2, "bool": 6}  # DLDataTypeCode, by DType.kind
BFLOAT = 4


class DLDevice(ctypes.Structure):
    _fields_ = (("kind", c_int32), ("number", c_int32))


class DLDataType(ctypes.Structure):
    _fields_ = (("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16))


class DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", c_void_p),
        ("device", DLDevice),
        ("ndim", c_int32),
        ("dtype", DLDataType),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("offset", c_uint64),
    )


class DLManagedTensor(ctypes.Structure):
    _fields_ = (("tensor", DLTensor), ("context", c_void_p), ("deleter", c_void_p))


Deleter = ctypes.CFUNCTYPE(None, c_void_p)
Destructor = ctypes.PYFUNCTYPE(None, c_void_p)
_api = ctypes.pythonapi
_new = ctypes.PYFUNCTYPE(ctypes.py_object, c_void_p, c_void_p, Destructor)(("PyCapsule_New", _api))
_pointer = ctypes.PYFUNCTYPE(c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_dying = ctypes.PYFUNCTYPE(c_void_p, c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))

_lent: dict[int, tuple[Any, ...]] = {}  # what consumers still hold, by address of the structure
_name = ctypes.create_string_buffer(NAME)


@Deleter
def _delete(address: int) -> None:
    _lent.pop(address, None)


@Destructor
def _destroy(capsule: int) -> None:
    if _is_valid(capsule, NAME):  # else its consumer calls the deleter
        _lent.pop(_dying(capsule, NAME), None)


@dataclass(frozen=True, slots=True)
class Description:
    """An array of another library: address, shape, name of its dtype, strides in elements or None
    where it is C-contiguous, number of the device.
    """

    address: int
    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] | None
    number: int


def code_of(dtype: DType) -> int:
    return BFLOAT if dtype.carrier else CODES[dtype.kind]


def lend(owner: Any, address: int, shape: Sequence[int], dtype: DType, number: int) -> Any:
    """A capsule for an array on the device ``number``; ``owner`` lives as long as it is used."""
    made = DLManagedTensor()
    sizes = (c_int64 * max(1, len(shape)))(*shape)
    made.tensor.data, made.tensor.ndim = address, len(shape)
    made.tensor.device = DLDevice(CUDA, number)
    made.tensor.dtype = DLDataType(code_of(dtype), dtype.bits, 1)
    made.tensor.shape = ctypes.cast(sizes, POINTER(c_int64))
    made.deleter = ctypes.cast(_delete, c_void_p).value
    place = ctypes.addressof(made)
    _lent[place] = (made, sizes, owner)
    return _new(place, ctypes.addressof(_name), _destroy)


def describe(capsule: Any) -> Description:
    """What a capsule holds; it must live as long as the memory is used."""
    tensor = DLManagedTensor.from_address(_pointer(capsule, NAME)).tensor
    kind = tensor.dtype
    found = [d for d in DTYPES.values() if (code_of(d), d.bits) == (kind.code, kind.bits)]
    name = found[0].name if found and kind.lanes == 1 else f"code {kind.code}, {kind.bits} bits"
    rank = range(tensor.ndim)
    strides = tuple(tensor.strides[i] for i in rank) if tensor.strides else None
    shape = tuple(tensor.shape[i] for i in rank)
    address = (tensor.data or 0) + tensor.offset
    return Description(address, shape, name, strides, tensor.device.number)
