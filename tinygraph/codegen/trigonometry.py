"""Sines, tangents and their inverses: see ``math.py``, whose rules hold here too."""

from __future__ import annotations

from numpy import float32, float64, int32

from .intrinsics import Number, float_bits, fma, isnan, rint, sqrt, where

HALF_PI = 1.5707963267948966
PI = 3.141592653589793
NAN = float("nan")


def _quarters(x: Number, whole: Number) -> Number:
    """x / (pi / 2) less a multiple of 4, as float64: its nearest integer, or the rest next to it.

    2 / pi is cut into pieces of 29 bits, so that products with x are exact, and all but their
    remainder by 4 is dropped: no argument is too large (Payne and Hanek, SIGNUM Newsletter, 1983).
    """
    y = float64(x)
    p = y * 0.636619770899415
    p = p - 4.0 * rint(p * 0.25)
    n = rint(p)
    t = p - n
    p = y * 1.4681663246252086e-09
    t = t + (p - 4.0 * rint(p * 0.25))
    m = rint(t)
    n = n + m
    t = t - m
    p = y * 2.2760100671971816e-18
    t = t + (p - 4.0 * rint(p * 0.25))
    m = rint(t)
    n = n + m
    t = t - m
    p = y * 5.8812147387730434e-27
    t = t + (p - 4.0 * rint(p * 0.25))
    m = rint(t)
    n = n + m
    t = t - m
    p = y * 1.0346868700836215e-35
    t = t + (p - 4.0 * rint(p * 0.25))
    m = rint(t)
    n = n + m
    t = t - m
    p = y * 3.783256351091319e-45
    t = t + (p - 4.0 * rint(p * 0.25))
    m = rint(t)
    n = n + m
    t = t - m
    p = y * 3.720474878517739e-53
    t = t + (p - 4.0 * rint(p * 0.25))
    m = rint(t)
    return where(whole, n + m, t - m)


def _quadrant(x: Number) -> Number:
    """The number of the quarter turn that is nearest to x, as int32."""
    return int32(_quarters(x, True))


def _angle(x: Number) -> Number:
    """x less that number of quarter turns: within pi / 4 of 0."""
    return float32(_quarters(x, False) * HALF_PI)


def _sin_near(r: Number) -> Number:
    """The sine of an angle within pi / 4 of 0."""
    z = r * r
    p = fma(z, -0.00019515281019266695, 0.00833216030150652)
    p = fma(p, z, -0.16666655242443085)
    return fma(r * z, p, r)


def _cos_near(r: Number) -> Number:
    """The cosine of an angle within pi / 4 of 0."""
    z = r * r
    p = fma(z, 2.4433154976577498e-05, -0.0013887316454201937)
    p = fma(p, z, 0.04166664555668831)
    return fma(z * z, p, fma(z, -0.5, 1.0))


def sin(x: Number) -> Number:
    """The sine; error at most 1.5 ULP for every argument."""
    i = _quadrant(x)
    r = _angle(x)
    y = where((i & 1) == 1, _cos_near(r), _sin_near(r))
    return where(x == 0.0, x, where((i & 2) == 2, -y, y))


def cos(x: Number) -> Number:
    """The cosine; error at most 1.5 ULP for every argument."""
    i = _quadrant(x) + 1
    r = _angle(x)
    y = where((i & 1) == 1, _cos_near(r), _sin_near(r))
    return where((i & 2) == 2, -y, y)


def tan(x: Number) -> Number:
    """The tangent; error at most 4 ULP for every argument."""
    odd = (_quadrant(x) & 1) == 1
    r = _angle(x)
    s = _sin_near(r)
    c = _cos_near(r)
    return where(x == 0.0, x, where(odd, -c, s) / where(odd, s, c))


def _asin_near(x: Number) -> Number:
    """The arc sine of x within 1/2 of 0."""
    z = x * x
    p = fma(z, 0.04216627776622772, 0.024179531261324883)
    p = fma(p, z, 0.04547037184238434)
    p = fma(p, z, 0.07495297491550446)
    p = fma(p, z, 0.16666752099990845)
    return fma(x * z, p, x)


def asin(x: Number) -> Number:
    """The arc sine, NaN beyond 1; error at most 3 ULP."""
    a = abs(x)
    far = fma(-2.0, _asin_near(sqrt(where(a > 0.5, fma(-0.5, a, 0.5), 0.25))), HALF_PI)
    y = where(a > 0.5, far, _asin_near(a))
    return where(a <= 1.0, where(x < 0.0, -y, where(x > 0.0, y, x)), NAN)


def acos(x: Number) -> Number:
    """The arc cosine, NaN beyond 1; error at most 2 ULP."""
    a = abs(x)
    far = 2.0 * _asin_near(sqrt(where(a > 0.5, fma(-0.5, a, 0.5), 0.25)))
    near = (HALF_PI - _asin_near(x)) + -4.371138828673793e-08
    y = where(a > 0.5, where(x < 0.0, PI - far, far), near)
    return where(a <= 1.0, y, NAN)


def _atan_near(t: Number) -> Number:
    """The arc tangent of t in [0, 1]."""
    z = t * t
    p = fma(z, -0.0017935795476660132, 0.01091441698372364)
    p = fma(p, z, -0.031177492812275887)
    p = fma(p, z, 0.0579572394490242)
    p = fma(p, z, -0.08403428389999939)
    p = fma(p, z, 0.10952178388834)
    p = fma(p, z, -0.14264240860939026)
    p = fma(p, z, 0.19998547434806824)
    p = fma(p, z, -0.33333298563957214)
    return fma(t * z, p, t)


def atan(x: Number) -> Number:
    """The arc tangent; error at most 2 ULP."""
    a = abs(x)
    p = _atan_near(where(a > 1.0, 1.0 / a, a))
    y = where(a > 1.0, HALF_PI - p, p)
    return where(x < 0.0, -y, where(x > 0.0, y, x))


def atan2(y: Number, x: Number) -> Number:
    """The angle of the point (x, y), in [-pi, pi], special values as in C; error at most 3 ULP."""
    a = abs(x)
    b = abs(y)
    large = where(a > b, a, b)
    small = where(a > b, b, a)
    t = where(small == large, where(large == 0.0, 0.0, 1.0), small / large)
    p = _atan_near(t)
    p = where(b > a, HALF_PI - p, p)
    p = where(float_bits(x) < 0, PI - p, p)
    p = where(float_bits(y) < 0, -p, p)
    return where(isnan(x), x, where(isnan(y), y, p))
