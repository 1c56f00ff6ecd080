"""The NumPy meaning of PTX arithmetic, on lanes: arrays of one value a thread, or scalars.

Integers wrap; their dtype says whether they are signed. Shift counts and bit positions are uint32.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .types import Lanes, unsigned


def field_at(x: Lanes, place: int, bits: int, signed: bool) -> Lanes:
    """So many bits of each word, from a place on, as int32."""
    low = (x.astype(np.int64) >> place) & ((1 << bits) - 1)
    return (low - (signed * (low >> (bits - 1)) << bits)).astype(np.int32)


def fma32(x: Lanes, y: Lanes, z: Lanes) -> Lanes:
    """x * y + z. The product is exact; the sum is rounded to float64, then to float32.

    The second rounding changes the result only where the first lands exactly between two floats.
    """
    return (np.multiply(x, y, dtype=np.float64) + z).astype(np.float32)


def fma64(x: Lanes, y: Lanes, z: Lanes) -> Lanes:
    """x * y + z with the errors of product and sum put back (Dekker's product, Knuth's sum)."""
    product = x * y
    total = product + z
    x_high, y_high = upper_half(x), upper_half(y)
    x_low, y_low = x - x_high, y - y_high
    product_error = ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low
    back = total - product
    sum_error = (product - (total - back)) + (z - back)
    corrected = total + (product_error + sum_error)
    return np.where(np.isfinite(corrected), corrected, total)[()]


def upper_half(x: Lanes) -> Lanes:
    """The upper 26 bits of a float64's significand (Veltkamp)."""
    scaled = x * 134217729.0
    return scaled - (scaled - x)


def round_down(x: Lanes) -> Lanes:
    """A float64 as the next float32 that is not above it."""
    nearest = x.astype(np.float32)
    return np.where(nearest > x, np.nextafter(nearest, np.float32(-np.inf)), nearest)[()]


def round_up(x: Lanes) -> Lanes:
    nearest = x.astype(np.float32)
    return np.where(nearest < x, np.nextafter(nearest, np.float32(np.inf)), nearest)[()]


def round_to_zero(x: Lanes) -> Lanes:
    return select(round_down(x), round_up(x), x > 0)


ROUNDED: dict[str, Callable[[Lanes], Lanes]] = {
    "rm": round_down,
    "rp": round_up,
    "rz": round_to_zero,
}


def flush_denormals(x: Lanes) -> Lanes:
    """Zero, with the sign, for numbers below the smallest normal float."""
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, np.copysign(x.dtype.type(0), x), x)[()]


def divide(x: Lanes, y: Lanes) -> Lanes:
    """Integer quotient, cut towards zero; all ones where y is 0."""
    zero = y == 0
    safe = np.where(zero, y.dtype.type(1), y)
    quotient = np.floor_divide(x, safe)
    if quotient.dtype.kind == "i":
        quotient = quotient + ((quotient * safe != x) & ((x < 0) != (safe < 0)))
    return select(~quotient.dtype.type(0), quotient, zero)


def remainder(x: Lanes, y: Lanes) -> Lanes:
    """The remainder of integer division, with the sign of x; x where y is 0."""
    return np.where(y == 0, x, x - divide(x, y) * y)[()]


def multiply_high(x: Lanes, y: Lanes) -> Lanes:
    """The upper half of the product."""
    dtype, bits = x.dtype, 8 * x.dtype.itemsize
    if bits < 64:
        wide = np.dtype(f"{dtype.kind}{2 * dtype.itemsize}")
        return (x.astype(wide) * y.astype(wide) >> wide.type(bits)).astype(dtype)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b = x.view(np.uint64), y.view(np.uint64)
    a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
    middle = (a0 * b0 >> half) + (a1 * b0 & low) + (a0 * b1 & low)
    high = a1 * b1 + (a1 * b0 >> half) + (a0 * b1 >> half) + (middle >> half)
    if dtype.kind == "i":
        high = high - np.where(x < 0, b, np.uint64(0)) - np.where(y < 0, a, np.uint64(0))
    return high.view(dtype)[()]


def shift_left(x: Lanes, count: Lanes) -> Lanes:
    """x << count; 0 where count is not below the width."""
    width = 8 * x.dtype.itemsize
    moved = x << (count & np.uint32(width - 1)).astype(x.dtype)
    return np.where(count < width, moved, x.dtype.type(0))[()]


def shift_right(x: Lanes, count: Lanes) -> Lanes:
    """x >> count; zeros, for signed x signs, come in, whatever count is."""
    width = 8 * x.dtype.itemsize
    moved = x >> np.minimum(count, np.uint32(width - 1)).astype(x.dtype)
    return moved if x.dtype.kind == "i" else np.where(count < width, moved, x.dtype.type(0))[()]


def funnel_left(low: Lanes, high: Lanes, count: Lanes) -> Lanes:
    """The upper word of high:low << count, count at most 32."""
    pair = (high.astype(np.uint64) << np.uint64(32)) | low
    return ((pair << count.astype(np.uint64)) >> np.uint64(32)).astype(np.uint32)


def funnel_right(low: Lanes, high: Lanes, count: Lanes) -> Lanes:
    """The lower word of high:low >> count, count at most 32."""
    pair = (high.astype(np.uint64) << np.uint64(32)) | low
    return (pair >> count.astype(np.uint64)).astype(np.uint32)


def count_leading_zeros(x: Lanes) -> Lanes:
    width = 8 * x.dtype.itemsize
    smeared = x
    for step in (1, 2, 4, 8, 16, 32)[: width.bit_length() - 1]:
        smeared = smeared | (smeared >> x.dtype.type(step))
    return (np.uint32(width) - np.bitwise_count(smeared)).astype(np.uint32)


def count_ones(x: Lanes) -> Lanes:
    return np.bitwise_count(x).astype(np.uint32)


def highest_bit(x: Lanes) -> Lanes:
    """The position of the highest bit that differs from the sign; all ones if there is none."""
    bits = x.view(unsigned(x.dtype))
    if x.dtype.kind == "i":
        bits = np.where(x < 0, ~bits, bits)
    return (np.uint32(8 * x.dtype.itemsize - 1) - count_leading_zeros(bits)).astype(np.uint32)


def shift_to_highest_bit(x: Lanes) -> Lanes:
    """By how much to shift left what highest_bit finds; all ones if there is none."""
    top, found = np.uint32(8 * x.dtype.itemsize - 1), highest_bit(x)
    return np.where(found > top, found, top - found)[()]


def reverse_bits(x: Lanes) -> Lanes:
    width = 8 * x.dtype.itemsize
    kind = x.dtype.type
    for step in (1, 2, 4, 8, 16, 32)[: width.bit_length() - 1]:
        mask = kind(int(("0" * step + "1" * step) * (width // (2 * step)), 2))
        x = ((x >> kind(step)) & mask) | ((x & mask) << kind(step))
    return x


def low_mask(count: Lanes, dtype: np.dtype) -> Lanes:
    """`count` ones."""
    ones = ~dtype.type(0)
    return np.where(count >= 8 * dtype.itemsize, ones, ~shift_left(ones, count))[()]


def extract_bits(x: Lanes, start: Lanes, count: Lanes) -> Lanes:
    """`count` bits of x from `start` on; their upper one is the sign if x is signed."""
    bits = unsigned(x.dtype)
    width = np.uint32(8 * x.dtype.itemsize)
    start, count = start & np.uint32(255), count & np.uint32(255)
    mask = low_mask(count, bits)
    field = shift_right(x.view(bits), start) & mask
    if x.dtype.kind == "i":
        top = np.minimum(start + count - np.uint32(1), width - np.uint32(1))
        negative = (shift_right(x.view(bits), top) & bits.type(1)) & (count > 0)
        field = np.where(negative != 0, field | ~mask, field)[()]
    return field.view(x.dtype)


def insert_bits(x: Lanes, into: Lanes, start: Lanes, count: Lanes) -> Lanes:
    """`into` with `count` of its bits, from `start` on, replaced by those of x."""
    start, count = start & np.uint32(255), count & np.uint32(255)
    mask = shift_left(low_mask(count, into.dtype), start)
    return (into & ~mask) | (shift_left(x, start) & mask)


def permute_bytes(x: Lanes, y: Lanes, selector: Lanes) -> Lanes:
    """Four of the eight bytes of y:x, chosen by nibbles; a nibble's top bit spreads the sign."""
    pair = (y.astype(np.uint64) << np.uint64(32)) | x
    result: Lanes = np.uint32(0)
    for i in range(4):
        nibble = (selector >> np.uint32(4 * i)) & np.uint32(15)
        byte = (
            (pair >> ((nibble & np.uint32(7)).astype(np.uint64) << np.uint64(3))) & np.uint64(255)
        ).astype(np.uint32)
        sign = np.where(byte & np.uint32(128), np.uint32(255), np.uint32(0))
        result = result | (np.where(nibble & np.uint32(8), sign, byte) << np.uint32(8 * i))
    return result


def logic3(x: Lanes, y: Lanes, z: Lanes, table: int) -> Lanes:
    """The bitwise function of three words whose truth table is `table`."""
    result: Lanes = np.uint32(0)
    for row in range(8):
        if table >> row & 1:
            result = result | (
                (x if row & 4 else ~x) & (y if row & 2 else ~y) & (z if row & 1 else ~z)
            )
    return result


def to_integer(x: Lanes, dtype: np.dtype) -> Lanes:
    """A whole float as an integer, cut to its range; 0 for NaN."""
    limits = np.iinfo(dtype)
    wide = x.astype(np.float64)
    inside = (wide >= float(limits.min)) & (wide < float(limits.max))
    edge = np.where(wide > 0, dtype.type(limits.max), dtype.type(limits.min))
    edge = np.where(np.isnan(wide), dtype.type(0), edge)
    return np.where(inside, np.where(inside, wide, 0).astype(dtype), edge)[()]


def saturate(x: Lanes) -> Lanes:
    """x within [0, 1]; 0 for NaN."""
    return np.fmin(np.fmax(x, x.dtype.type(0)), x.dtype.type(1))


def select(x: Lanes, y: Lanes, condition: Lanes) -> Lanes:
    """x where the condition holds, y elsewhere; a scalar if all three are."""
    chosen: Lanes = np.where(condition, x, y)
    return chosen[()]


LOW_WORD = np.uint64(0xFFFFFFFF)
WORD = np.uint64(32)


def with_carry(total: Lanes) -> tuple[Lanes, Lanes]:
    """The lower word of a uint64, and whether anything was carried (or borrowed) beyond it."""
    return (total & LOW_WORD).astype(np.uint32), (total >> WORD & np.uint64(1)).astype(np.uint32)


def add_carry(x: Lanes, y: Lanes, carry: Lanes) -> tuple[Lanes, Lanes]:
    return with_carry(x.astype(np.uint64) + y + carry)


def subtract_borrow(x: Lanes, y: Lanes, borrow: Lanes) -> tuple[Lanes, Lanes]:
    return with_carry(x.astype(np.uint64) - y - borrow)


def multiply_low_add_carry(x: Lanes, y: Lanes, z: Lanes, carry: Lanes) -> tuple[Lanes, Lanes]:
    return with_carry((x.astype(np.uint64) * y & LOW_WORD) + z + carry)


def multiply_high_add_carry(x: Lanes, y: Lanes, z: Lanes, carry: Lanes) -> tuple[Lanes, Lanes]:
    return with_carry((x.astype(np.uint64) * y >> WORD) + z + carry)
