"""PTX types as NumPy dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

# values of a register: one for each lane, or a scalar where all lanes have the same
Lanes = Any

DTYPES: dict[str, np.dtype] = {
    "f64": np.dtype("f8"), "f32": np.dtype("f4"), "f16": np.dtype("f2"),
    "s64": np.dtype("i8"), "s32": np.dtype("i4"), "s16": np.dtype("i2"), "s8": np.dtype("i1"),
    "u64": np.dtype("u8"), "u32": np.dtype("u4"), "u16": np.dtype("u2"), "u8": np.dtype("u1"),
    "b64": np.dtype("u8"), "b32": np.dtype("u4"), "b16": np.dtype("u2"), "b8": np.dtype("u1"),
    "pred": np.dtype("?"),
}  # fmt: skip


def register_dtype(kind: str) -> np.dtype:
    """How a register is kept: floats and predicates as such, the rest as unsigned bits."""
    dtype = DTYPES[kind]
    if kind in ("f32", "f64", "pred"):
        return dtype
    return np.dtype(f"u{dtype.itemsize}")


def unsigned(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"u{dtype.itemsize}")


def reinterpret(values: Lanes, dtype: np.dtype) -> Lanes:
    """The bits of `values` as `dtype`, cut off, or with zeros (signed: signs) in front."""
    if values.dtype == dtype:
        return values
    if values.dtype.itemsize == dtype.itemsize:
        return values.view(dtype)
    if values.dtype.kind == "f":
        values = values.view(unsigned(values.dtype))
    kind = "i" if values.dtype.kind == "i" else "u"
    return values.astype(f"{kind}{dtype.itemsize}").view(dtype)


def immediate(text: str, dtype: np.dtype) -> Any:
    """The scalar that a literal of PTX means as `dtype`: 12, -1, 0x1F, 0f3F800000, 0d..., 1.5."""
    text = text.strip()
    if text[:2] in ("0f", "0F"):
        return reinterpret(np.uint32(int(text[2:], 16)).view(np.float32), dtype)
    if text[:2] in ("0d", "0D"):
        return reinterpret(np.uint64(int(text[2:], 16)).view(np.float64), dtype)
    if any(c in text for c in ".") or (dtype.kind == "f" and not text.lower().startswith("0x")):
        return dtype.type(float(text))
    value = int(text.rstrip("U"), 0)
    if dtype.kind == "b":
        return np.bool_(value != 0)
    bits = value & ((1 << 8 * dtype.itemsize) - 1)
    return unsigned(dtype).type(bits).view(dtype)
