"""PyTorch's files of tensors, read without executing what is in them.

A file of ``torch.save`` is a pickle, which can name any function to be called. Here only those can
be named that put tensors together, and they are this module's own; any other name is refused, and
what a file shows is bounded by its size. Both of PyTorch's formats are read: an archive with the
storages as members (since 1.6), and the older stream of pickles with the storages at its end.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np

from .pickle_reader import PickleReader, paired

LEGACY = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")  # its magic number, pickled, after two bytes
DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
REPEATED, SHOWN = 64 << 20, 4  # bytes, and times its size, that a file's tensors may take
MOST_AXES = 32
KEYS = ("state_dict", "model_state_dict", "model")  # where training scripts put a net's tensors
Arrays = dict[str, np.ndarray]
Elements = Callable[["Storage"], np.ndarray]


@dataclass(frozen=True, slots=True)
class Storage:
    """The elements of one or several tensors: their name in the file, and their type."""

    key: str
    dtype: str

    @property
    def carrier(self) -> str:
        """NumPy's dtype for the elements."""
        return "f4" if self.dtype == "bfloat16" else self.dtype

    def decode(self, raw: bytes, order: str) -> np.ndarray:
        """The elements of bytes in little or big endian order."""
        sign = "<" if order == "little" else ">"
        if self.dtype != "bfloat16":
            return np.frombuffer(raw, sign + self.dtype)
        return (np.frombuffer(raw, sign + "u2").astype(np.uint32) << 16).view(np.float32)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that waits for its elements; offset and strides count them."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    def read(self, elements: np.ndarray) -> np.ndarray:
        """A copy of what the tensor shows of the storage's elements, in native order."""
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if min(self.offset, 0, *self.shape, *self.strides) < 0 or (
            0 not in self.shape and last >= len(elements)
        ):
            raise ValueError(f"a tensor {self.shape} reaches beyond its storage")
        native = elements.dtype.newbyteorder("=")
        if 0 in self.shape:
            return np.empty(self.shape, native)
        axes = zip(self.shape, self.strides, strict=True)
        steps = [s * elements.itemsize if n > 1 else 0 for n, s in axes]  # one may be any number
        view = np.lib.stride_tricks.as_strided(elements[self.offset :], self.shape, steps)
        return view.astype(native)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    shape, strides = tuple(shape), tuple(strides)
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or not all(type(n) is int for n in numbers):
        raise ValueError("it has a tensor without a storage or numbers")
    if len(shape) != len(strides) or len(shape) > MOST_AXES:
        raise ValueError(f"a tensor has {len(shape)} axes and {len(strides)} strides")
    if max(map(abs, numbers)) > sys.maxsize:
        raise ValueError("a tensor has numbers beyond all memory")
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return paired([x for key, value in pairs for x in (key, value)])


# What a file may name.
NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
}


class Content(PickleReader):
    """Reads what stands around the elements, and collects the storages that it names."""

    def __init__(self, file: BytesIO):
        super().__init__(file, NAMES, self.storage)
        self.storages: dict[str, Storage] = {}

    def storage(self, pid: Any) -> Storage:
        """A storage, by ('storage', type, key, device, count), and None in the older format."""
        match pid:
            case ("storage", str(dtype), str(key), _, int()) | (
                "storage",
                str(dtype),
                str(key),
                _,
                int(),
                None,
            ) if dtype in DTYPES.values():
                return self.storages.setdefault(key, Storage(key, dtype))
        raise ValueError("it refers to what is not a storage")


def read_torch(data: bytes) -> Arrays:
    """The named arrays of a file that ``torch.save`` wrote; bfloat16 becomes float32.

    They are the file's dictionary itself, or what it has under one of ``KEYS``.

    Raises:
        ValueError: it is not such a file, is damaged, or names what is not a tensor. Reading takes
            time and memory in proportion to the size of the file.
    """
    try:
        found, elements = _stream(data) if data[2:].startswith(LEGACY) else _archive(data)
        tensors = _tensors(found)
        size = sum(t.elements * np.dtype(t.storage.carrier).itemsize for t in tensors.values())
        if size > REPEATED + SHOWN * len(data):
            raise ValueError(f"{len(data):,} bytes would become tensors of {size:,}")
        return {name: tensor.read(elements(tensor.storage)) for name, tensor in tensors.items()}
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # whatever damaged bytes lead to
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _archive(data: bytes) -> tuple[Any, Elements]:
    """The content of an archive, and where its storages are."""
    try:
        archive = ZipFile(BytesIO(data))
    except BadZipFile:
        raise ValueError("it is neither an archive nor a stream of torch.save") from None
    roots = [n.removesuffix("data.pkl") for n in archive.namelist() if n.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ValueError("it is an archive without data.pkl, not one of torch.save")
    (root,) = roots
    left = len(data)

    def read(name: str) -> bytes:
        nonlocal left
        info = archive.getinfo(root + name)
        if info.compress_type != ZIP_STORED or info.file_size != info.compress_size:
            raise ValueError(f"{name} is compressed, which torch.save never does")
        left -= info.file_size
        if left < 0:
            raise ValueError("its members overlap")
        return archive.read(info)

    order = read("byteorder").decode() if f"{root}byteorder" in archive.namelist() else "little"

    @cache
    def elements(storage: Storage) -> np.ndarray:
        return storage.decode(read(f"data/{storage.key}"), order)

    return Content(BytesIO(read("data.pkl"))).load(), elements


def _stream(data: bytes) -> tuple[Any, Elements]:
    """Magic number, version, system, content, keys; then each storage's count and elements."""
    file = BytesIO(data)
    _, _, system = (Content(file).load() for _ in range(3))
    order = "little" if system["little_endian"] else "big"
    content = Content(file)
    found = content.load()
    decoded = {}
    for key in Content(file).load():
        storage = content.storages[key]
        count = int.from_bytes(file.read(8), "little")
        size = 2 if storage.dtype == "bfloat16" else np.dtype(storage.dtype).itemsize
        decoded[storage] = storage.decode(file.read(count * size), order)
    return found, decoded.__getitem__


def _tensors(found: Any) -> Mapping[str, Tensor]:
    for key in KEYS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise ValueError(f"it holds {type(found).__name__}, not tensors by name")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"under {name!r} it holds {type(value).__name__}, no tensor")
    return found
