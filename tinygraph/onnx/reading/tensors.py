"""Tensors of a file: dtypes, sizes and bytes are compared before anything is read."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from .errors import OnnxError
from .records import FileTensor

_KIND = onnx.TensorProto.DataType
NARROW = {  # bits of an element, where NumPy lacks the dtype
    "bfloat16": 16, "float8e4m3fn": 8, "float8e4m3fnuz": 8, "float8e5m2": 8, "float8e5m2fnuz": 8,
    "float8e8m0": 8, "int4": 4, "uint4": 4, "float4e2m1": 4, "int2": 2, "uint2": 2,
}  # fmt: skip
NUMPY = {"float": "float32", "double": "float64"}  # where ONNX has other names
FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def dtype_of(code: int, who: str) -> str:
    """NumPy's name of a dtype, else ONNX's in lower case.

    Raises:
        OnnxError: there is no such dtype.
    """
    try:
        name = _KIND.Name(code).lower()
    except ValueError:
        name = "undefined"
    if name == "undefined":
        raise OnnxError(f"{who} has a dtype of number {code}, which ONNX does not have")
    return NUMPY.get(name, name)


def bits(name: str) -> int:
    """Of an element in a file's bytes, by ONNX's name of a dtype or NumPy's."""
    return NARROW.get(name) or 8 * np.dtype(NUMPY.get(name, name)).itemsize


def dtype_code(dtype: str) -> int:
    """The inverse of ``dtype_of``."""
    names = {ours: theirs for theirs, ours in NUMPY.items()}
    return int(_KIND.Value(names.get(dtype, dtype).upper()))


def tensor(proto: Any, folder: Path | None, file: str) -> FileTensor:
    """A tensor, whose bytes are there and as many as its shape says.

    Args:
        folder: where external data may be; None: nowhere.

    Raises:
        OnnxError: its dtype, shape or data is wrong.
    """
    who = f"{file}: the tensor {proto.name!r}"
    dtype = dtype_of(proto.data_type, who)
    shape = tuple(proto.dims)
    if any(n < 0 for n in shape):
        raise OnnxError(f"{who} has a negative size: {list(shape)}")
    if proto.HasField("segment"):
        raise OnnxError(f"{who} is stored in segments, which nothing writes")
    size = math.prod(shape)
    if dtype == "string":
        if len(proto.string_data) != size:
            raise OnnxError(f"{who} has {len(proto.string_data)} strings for shape {list(shape)}")
        return FileTensor(proto.name, shape, dtype, lambda: numpy_helper.to_array(proto))
    onnx_name = next((k for k, v in NUMPY.items() if v == dtype), dtype)
    wanted = -(-size * bits(onnx_name) // 8)
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        return FileTensor(
            proto.name, shape, dtype, _external(proto, dtype, shape, wanted, folder, who)
        )
    if proto.HasField("raw_data"):
        if len(proto.raw_data) != wanted:
            raise OnnxError(
                f"{who} has {len(proto.raw_data)} bytes, its shape {list(shape)} of {dtype} "
                f"requires {wanted}"
            )
    else:
        _check_fields(proto, onnx_name, size, who)
    return FileTensor(
        proto.name, shape, dtype, lambda: _checked(numpy_helper.to_array(proto), shape)
    )


def _checked(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(array).reshape(shape)
    array.setflags(write=False)
    return array


def _check_fields(proto: Any, dtype: str, size: int, who: str) -> None:
    """The numbers of a tensor that is stored as a list of them."""
    packed = {4: 2, 2: 4}.get(bits(dtype), 1)
    parts = 2 if dtype.startswith("complex") else 1
    found = {name: len(getattr(proto, name)) for name in FIELDS if len(getattr(proto, name))}
    wanted = -(-size * parts // packed)
    if (sum(found.values()) != wanted and sum(found.values()) != size) or len(found) > 1:
        raise OnnxError(f"{who} has {sum(found.values())} elements, its shape requires {wanted}")


# -- external data ---------------------------------------------------------------------------------


def _external(
    proto: Any, dtype: str, shape: tuple[int, ...], wanted: int, folder: Path | None, who: str
) -> Callable[[], np.ndarray]:
    """What reads a tensor out of a file next to the model's, which is mapped, not copied, but for
    dtypes that NumPy lacks.
    """
    entries = {e.key: e.value for e in proto.external_data}
    if folder is None:
        raise OnnxError(f"{who} is in another file, but this one has no folder")
    path = external_path(folder, entries.get("location", ""), who)
    offset, length = (_number(entries, key, who) for key in ("offset", "length"))
    size = path.stat().st_size
    if length not in (None, wanted) or (offset or 0) + wanted > size:
        raise OnnxError(
            f"{who} requires {wanted} bytes at {offset or 0} of {path.name}, which has {size}, "
            f"and the length {length} is given"
        )

    def read() -> np.ndarray:
        if not wanted:
            return np.zeros(shape, dtype)
        with open(path, "rb", opener=_no_links) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OnnxError(f"{who} is in {path.name}, which is not a regular file")
            if dtype in NARROW:
                file.seek(offset or 0)
                kept = onnx.TensorProto(data_type=proto.data_type, dims=shape)
                kept.raw_data = file.read(wanted)
                return _checked(numpy_helper.to_array(kept), shape)
            kind = np.dtype(dtype).newbyteorder("<")
            found = np.memmap(file, kind, "r", offset or 0, shape or (1,))
        return found.reshape(shape).astype(dtype, copy=False)

    return read


def _no_links(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _number(entries: dict[str, str], key: str, who: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise OnnxError(f"{who} has the {key} {text!r}, which is not a number from 0 up")
    return int(text)


def external_path(folder: Path, location: str, who: str) -> Path:
    """A regular file in the model's folder or below it, reached through no link.

    Raises:
        OnnxError: it is anything else. Nothing is opened.
    """
    parts = location.replace("\\", "/").split("/")
    if not location or "\0" in location or location.startswith(("/", "\\")) or ":" in location:
        raise OnnxError(f"{who} is in {location!r}, which is not a file name within the folder")
    if ".." in parts:
        raise OnnxError(f"{who} is in {location!r}, outside of the model's folder")
    path = folder
    for part in parts:
        path = path / part
        try:
            mode = path.lstat().st_mode
        except (OSError, ValueError):
            raise OnnxError(f"{who} is in {location!r}, which is not there") from None
        if stat.S_ISLNK(mode):
            raise OnnxError(f"{who} is in {location!r}, which is a link")
    if not stat.S_ISREG(mode):
        raise OnnxError(f"{who} is in {location!r}, which is not a regular file")
    return path
