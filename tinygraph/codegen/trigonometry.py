"""Sines, tangents and their inverses: see ``math.py``, whose rules hold here too."""

from __future__ import annotations

from numpy import float32, float64, int32

from .intrinsics import Number, float_bits, fma, isnan, rint, sqrt, where

HALF_PI = 1.5707963267948966
PI = 3.141592653589793
NAN = float("nan")
TWO_26, TWO_52, TWO_78, TWO_104 = (2.0**k for k in (26, 52, 78, 104))


def _first_bits(x: Number) -> Number:
    """The first 29 of the bits of 2 / pi that matter for an x of this size, as float64: the product
    of x and those before them is a multiple of 4.
    """
    a = abs(x)
    c = where(a < TWO_104, float64(7.166494903518363e-17), float64(1.1109428133944797e-24))
    c = where(a < TWO_78, float64(3.3308114738561656e-09), c)
    c = where(a < TWO_52, float64(0.1366197718307376), c)
    return where(a < TWO_26, float64(0.636619770899415), c)


def _next_bits(x: Number) -> Number:
    """The next 29 bits."""
    a = abs(x)
    c = where(a < TWO_104, float64(7.696704847356705e-26), float64(9.372006500203007e-34))
    c = where(a < TWO_78, float64(2.276010047810136e-18), c)
    c = where(a < TWO_52, float64(5.368437517444535e-10), c)
    return where(a < TWO_26, float64(1.4681663246252086e-09), c)


def _last_bits(x: Number) -> Number:
    """The next 53 bits."""
    a = abs(x)
    c = where(a < TWO_104, float64(1.668286766860824e-34), float64(4.420676015940119e-42))
    c = where(a < TWO_78, float64(2.52682603558315e-26), c)
    c = where(a < TWO_52, float64(5.412865971015893e-19), c)
    return where(a < TWO_26, float64(2.276010073078396e-18), c)


def _quarters(x: Number, whole: Number) -> Number:
    """x / (pi / 2) less a multiple of 4, as float64: its nearest integer, or the rest next to it.

    2 / pi is cut into pieces, the first two short enough that their products with x are exact; for
    large x they begin at the first bit that matters, so that no argument is too large (Payne and
    Hanek, SIGNUM Newsletter, 1983).
    """
    y = float64(x)
    p = y * _first_bits(x)
    n = rint(p)
    t = p - n
    p = y * _next_bits(x)
    m = rint(p)
    t = t + (p - m)
    t = t + y * _last_bits(x)
    k = rint(t)
    n = n + m + k
    return where(whole, n - 4.0 * rint(n * 0.25), t - k)


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
