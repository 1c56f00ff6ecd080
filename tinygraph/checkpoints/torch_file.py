"""PyTorch's files of tensors, read without executing what is in them.

A file of ``torch.save`` is a pickle, which can name any function to be called. Here only those can
be named that put tensors together, and they are this module's own; any other name is refused. Both
of PyTorch's formats are read: an archive with the storages as members (since 1.6), and the older
stream of pickles with the storages at its end.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

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
DAMAGE = (pickle.UnpicklingError, BadZipFile, EOFError, LookupError, TypeError, AttributeError)
KEYS = ("state_dict", "model_state_dict", "model")  # where training scripts put a net's tensors
Arrays = dict[str, np.ndarray]
Elements = Callable[["Storage"], np.ndarray]


@dataclass(frozen=True, slots=True)
class Storage:
    """The elements of one or several tensors: their name in the file, and their type."""

    key: str
    dtype: str

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

    def read(self, elements: np.ndarray) -> np.ndarray:
        """A copy of what the tensor shows of the storage's elements, in native order."""
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if min(self.offset, 0, *self.shape, *self.strides) < 0 or (
            0 not in self.shape and last >= len(elements)
        ):
            raise ValueError(f"a tensor {self.shape} reaches beyond its storage")
        steps = [s * elements.itemsize for s in self.strides]
        view = np.lib.stride_tricks.as_strided(elements[self.offset :], self.shape, steps)
        return view.astype(elements.dtype.newbyteorder("="))


class Unpickler(pickle.Unpickler):
    """Knows dictionaries, numbers, text and tensors; collects the storages that these name."""

    def __init__(self, file: BytesIO):
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The object for a name in the file.

        Raises:
            ValueError: the name belongs to nothing that a file of tensors needs.
        """
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) in NAMES:
            return NAMES[module, name]
        raise ValueError(
            f"it names {module}.{name}, which is not executed: only files of tensors are read, "
            "such as torch.save(net.state_dict(), path) writes"
        )

    def persistent_load(self, pid: Any) -> Storage:
        """A storage, by ('storage', type, key, device, count), and None in the older format."""
        match pid:
            case (
                ("storage", str(dtype), str(key), _, int())
                | ("storage", str(dtype), str(key), _, int(), None)
            ) if dtype in DTYPES.values():
                return self.storages.setdefault(key, Storage(key, dtype))
        raise ValueError(f"it refers to {pid!r}, which is not a storage")


def _tensor(storage: Storage, offset: int, shape: Any, strides: Any, *_: Any) -> Tensor:
    return Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _parameter(tensor: Tensor, *_: Any) -> Tensor:
    return tensor


# What a file may name in addition to the types of storages.
NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}


def read_torch(data: bytes) -> Arrays:
    """The named arrays of a file that ``torch.save`` wrote; bfloat16 becomes float32.

    They are the file's dictionary itself, or what stands in it under one of ``KEYS``.

    Raises:
        ValueError: it is not such a file, is damaged, or names what is not a tensor.
    """
    try:
        found, elements = _stream(data) if data[2:].startswith(LEGACY) else _archive(data)
        return {
            name: tensor.read(elements(tensor.storage)) for name, tensor in _tensors(found).items()
        }
    except DAMAGE as error:
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
    named = f"{root}byteorder" in archive.namelist()
    order = archive.read(f"{root}byteorder").decode() if named else "little"

    @cache
    def elements(storage: Storage) -> np.ndarray:
        return storage.decode(archive.read(f"{root}data/{storage.key}"), order)

    return Unpickler(BytesIO(archive.read(f"{root}data.pkl"))).load(), elements


def _stream(data: bytes) -> tuple[Any, Elements]:
    """Magic number, version, system, content, keys; then each storage's count and elements."""
    file = BytesIO(data)
    _, _, system = (Unpickler(file).load() for _ in range(3))
    order = "little" if system["little_endian"] else "big"
    unpickler = Unpickler(file)
    found = unpickler.load()
    decoded = {}
    for key in Unpickler(file).load():
        storage = unpickler.storages[key]
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
