"""Copies whose results are words of two floats of 16 bits, which processors multiply as one.

The two are made together and stored as an integer of 32 bits: where they come from different rows
they would be stored one by one.
"""

from __future__ import annotations

from dataclasses import replace

from ...graph.dtype import DTYPES
from ..records.body import Statement
from ..records.work import Access, Load, Nest, NestStatement, Put, Stage
from .arrange import arrange, copy_nest

WORD = 2
# float32 rounded to bfloat16, whose bits are the upper ones; float32 that were read two at a time
ROUNDED = "float_bits(float32(bfloat16({0})))"
LOWER, UPPER = "bits_float(int32({0}))", "bits_float(int32(shift_right({0}, int64(32))))"


def word_nest(axes: tuple[int, ...], source: Access, target: Access) -> Nest:
    """A copy, element by element in its meaning; float32 is rounded if the target is bfloat16."""
    pairs = pair_axis(axes, source, target)
    if pairs is None:
        return copy_nest(axes, source, target)
    axes = tuple(n // WORD if a == pairs else n for a, n in enumerate(axes))
    words = as_words(target, pairs, WORD, "int32")
    rounds, apart = source.dtype != target.dtype, source.strides[pairs]
    if apart == 1 and is_whole(source, pairs, WORD):
        whole = as_words(source, pairs, WORD, "int64" if rounds else "int32")
        return side_by_side(axes, whole, words) if rounds else copy_nest(axes, whole, words)
    strides = tuple(s * WORD if a == pairs else s for a, s in enumerate(source.strides))
    first = replace(source, strides=strides, dtype="float32" if rounds else "uint16")
    second = replace(first, offset=first.offset + apart)
    loads = (Load("a", 0, first.dtype), Load("b", 1, first.dtype))
    return joined(axes, (first, second, words), loads, rounds)


def pair_axis(axes: tuple[int, ...], source: Access, target: Access) -> int | None:
    """The axis along which the copy's elements are side by side; None if they make no words."""
    record = DTYPES[target.dtype]
    found = [a for a, n in enumerate(axes) if target.strides[a] == 1 and n > 1]
    if not record.is_float or record.bits != 16 or len(found) != 1:
        return None
    (axis,) = found
    guarded = any(a == axis for g in source.guards for a, _ in g.index.terms)
    whole = axes[axis] % WORD == 0 and is_whole(target, axis, WORD) and not source.step
    return axis if whole and not guarded and not target.step else None


def is_whole(access: Access, axis: int, word: int) -> bool:
    """True if words of so many elements begin at each index along the other axes."""
    steps = (*(s for a, s in enumerate(access.strides) if a != axis), access.offset)
    return all(step % word == 0 for step in (*steps, *(g.stride for g in access.guards)))


def as_words(access: Access, axis: int, word: int, dtype: str) -> Access:
    """An access whose elements along an axis are side by side, a word of them at a time."""
    strides = tuple(s if a == axis else s // word for a, s in enumerate(access.strides))
    guards = tuple(replace(g, stride=g.stride // word) for g in access.guards)
    offset = access.offset // word
    return replace(access, offset=offset, strides=strides, guards=guards, dtype=dtype)


def side_by_side(axes: tuple[int, ...], both: Access, words: Access) -> Nest:
    """Two float32 at a time, read as one integer."""
    steps = (
        Load("x", 0, "int64"),
        Statement("a", LOWER, ("x",), "float32"),
        Statement("b", UPPER, ("x",), "float32"),
    )
    return joined(axes, (both, words), steps, True)


def joined(
    axes: tuple[int, ...],
    operands: tuple[Access, ...],
    steps: tuple[NestStatement, ...],
    rounds: bool,
) -> Nest:
    """Stores words of a and b."""
    text = "int32({0}) | shift_left(int32({1}), int32(16))"
    if rounds:
        low, high = ROUNDED, ROUNDED.replace("{0}", "{1}")
        text = f"shift_right({low}, int32(16)) & int32(65535) | {high}"
    made = Statement("w", text, ("a", "b"), "int32")
    stage = Stage((*steps, made, Put(len(operands) - 1, "w")), ())
    return arrange(Nest(axes, (), operands, (stage,)))
