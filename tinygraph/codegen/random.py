"""The counter-based random generator of generated code: straight-line uint32 arithmetic.

Threefry-2x32 with 20 rounds: Salmon, Moraes, Dror and Shaw, Parallel Random Numbers: As Easy as 1,
2, 3 (SC 2011), section 4.2. Every call is independent of every other: no state, so results do not
depend on threads or order. The functions take and give uint32, ``random_uniform`` gives float32;
Every operation is wrapped in ``uint32(...)``, because compilers widen integers.
"""

from __future__ import annotations

from numpy import float32, uint32

from .intrinsics import Number


def rotate_left(x: Number, left: Number, right: Number) -> Number:
    """The bits of x moved up by ``left`` places and round; right = 32 - left."""
    return uint32(uint32(x << left) | uint32(x >> right))


def random_bits(k0: Number, k1: Number, c0: Number, c1: Number) -> Number:
    """The first word of Threefry-2x32-20 with key (k0, k1) and counter (c0, c1)."""
    k2 = uint32(uint32(k0 ^ k1) ^ uint32(0x1BD11BDA))
    x0 = uint32(c0 + k0)
    x1 = uint32(c1 + k1)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(13), uint32(19)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(15), uint32(17)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(26), uint32(6)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(6), uint32(26)) ^ x0)
    x0 = uint32(x0 + k1)
    x1 = uint32(uint32(x1 + k2) + uint32(1))
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(17), uint32(15)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(29), uint32(3)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(16), uint32(16)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(24), uint32(8)) ^ x0)
    x0 = uint32(x0 + k2)
    x1 = uint32(uint32(x1 + k0) + uint32(2))
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(13), uint32(19)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(15), uint32(17)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(26), uint32(6)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(6), uint32(26)) ^ x0)
    x0 = uint32(x0 + k0)
    x1 = uint32(uint32(x1 + k1) + uint32(3))
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(17), uint32(15)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(29), uint32(3)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(16), uint32(16)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(24), uint32(8)) ^ x0)
    x0 = uint32(x0 + k1)
    x1 = uint32(uint32(x1 + k2) + uint32(4))
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(13), uint32(19)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(15), uint32(17)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(26), uint32(6)) ^ x0)
    x0 = uint32(x0 + x1)
    x1 = uint32(rotate_left(x1, uint32(6), uint32(26)) ^ x0)
    x0 = uint32(x0 + k2)
    x1 = uint32(uint32(x1 + k0) + uint32(5))
    return x0


def random_uniform(k0: Number, k1: Number, c0: Number, c1: Number) -> Number:
    """A float32 in [0, 1): the upper 24 of 32 random bits, so that every value is exact."""
    bits = random_bits(k0, k1, c0, c1)
    return float32(uint32(bits >> uint32(8))) * float32(5.9604644775390625e-08)
