"""PTX's instructions that move a value: from one type to another, or between widths."""

from __future__ import annotations

import numpy as np

from . import arithmetic as a
from .matrices import round_tensor_float32
from .parse import Instruction
from .pure import Pure, flushing, unsupported
from .types import DTYPES, Lanes

ROUND_WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def convert(i: Instruction) -> Pure:
    """cvt: between the widths of integers, of floats, and between them."""
    if i.modifiers[-3:] == ("rna", "tf32", "f32"):
        return Pure(("b32",), ("f32",), round_tensor_float32)
    kinds = [m for m in i.modifiers if m in DTYPES]
    if len(kinds) != 2:
        raise unsupported(i)
    to, of = kinds
    target = DTYPES[to]
    whole = next((ROUND_WHOLE[m] for m in i.modifiers if m in ROUND_WHOLE), None)
    directed = next((a.ROUNDED[m] for m in i.modifiers if m in a.ROUNDED), None)

    def converted(x: Lanes) -> Lanes:
        if whole is not None:
            x = whole(x)
        if target.kind in "iu" and of[0] == "f":
            return a.to_integer(x, target)
        if directed is not None and to == "f32":
            return directed(x.astype(np.float64))
        if "sat" not in i.modifiers:
            return x.astype(target)
        if target.kind == "f":
            return a.saturate(x.astype(target))
        limits = np.iinfo(target)
        low, high = max(limits.min, np.iinfo(x.dtype).min), min(limits.max, np.iinfo(x.dtype).max)
        return np.clip(x, x.dtype.type(low), x.dtype.type(high)).astype(target)

    return Pure((to,), (of,), flushing(i, converted))


def move(i: Instruction) -> Pure:
    """mov: also packs narrow registers into a wide one, and takes a wide one apart."""
    kind = i.type()
    result, source = i.operands
    if result.startswith("{"):
        return unpack(DTYPES[kind].itemsize, result.count(",") + 1)
    if source.startswith("{"):
        return pack(DTYPES[kind].itemsize, source.count(",") + 1)
    return Pure((kind,), (kind,), lambda x: x)


def pack(size: int, count: int) -> Pure:
    """`count` registers side by side in one of `size` bytes, the first lowest."""
    wide, bits = np.dtype(f"u{size}"), 8 * size // count

    def joined(*parts: Lanes) -> Lanes:
        whole = parts[0].astype(wide)
        for k, part in enumerate(parts[1:], 1):
            whole = whole | part.astype(wide) << wide.type(k * bits)
        return whole

    return Pure((f"b{8 * size}",), (f"b{bits}",) * count, joined)


def unpack(size: int, count: int) -> Pure:
    wide, bits = np.dtype(f"u{size}"), 8 * size // count
    narrow = np.dtype(f"u{size // count}")

    def parts(x: Lanes) -> tuple[Lanes, ...]:
        return tuple((x >> wide.type(k * bits)).astype(narrow) for k in range(count))

    return Pure((f"b{bits}",) * count, (f"b{8 * size}",), parts)
