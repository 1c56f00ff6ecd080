"""The project's own float32 functions: branch-free straight-line code with a stated error.

The text runs on NumPy scalars and arrays, and is compiled unchanged for the CPU (at any vector
width) and for CUDA. Each function takes and gives float32; NaN in gives NaN out. Errors are in
units in the last place, against a float64 reference, and hold with and without a fused
multiply-add. Polynomials are near-minimax: fitted at Chebyshev nodes, weighted for relative error.
Arguments are reduced as in Cody and Waite, Software Manual for the Elementary Functions (1980).
"""

from __future__ import annotations

from numpy import float32

from .intrinsics import (
    Number,
    bits_float,
    float_bits,
    fma,
    isnan,
    rint,
    sqrt,
    where,
)

LOG2_E = 1.4426950408889634
LN2_HIGH = 0.693359375  # 10 bits: its products with an exponent are exact
LN2_LOW = -2.12194440054690583e-4
ROUND = 12582912.0  # 1.5 * 2**23: in a sum with it, the last bits are the nearest integer's
LN2 = 0.6931471805599453
SIGN = -2147483648
INFINITY = float("inf")
NAN = float("nan")


def exp(x: Number) -> Number:
    """e**x; error at most 1.1 ULP, denormal results included."""
    low = where(x < -104.0, -104.0, x)
    t = where(low > 89.0, 89.0, low)
    u = fma(t, LOG2_E, ROUND + 254.0)
    return _scaled_exp(_rest(t, u - (ROUND + 254.0)), u)


def _rest(x: Number, n: Number) -> Number:
    """x - n ln(2)."""
    return fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x))


def _scaled_exp(r: Number, u: Number) -> Number:
    """e**r * 2**n for r within ln(2) / 2 of 0; u is ROUND + 254 + n, n from -150 to 128."""
    i = float_bits(u)
    half = i >> 1  # in two steps, or 2**128 and denormals were out of reach
    return _exp_near(r) * bits_float(half << 23) * bits_float((i - half) << 23)


def _exp_near(r: Number) -> Number:
    """e**r for r within ln(2) / 2 of 0."""
    p = fma(r, 0.0013814467238262296, 0.008368780836462975)
    p = fma(p, r, 0.04166839271783829)
    p = fma(p, r, 0.1666651964187622)
    p = fma(p, r, 0.4999999403953552)
    return fma(p * r, r, r) + 1.0


def _exp_below(x: Number) -> Number:
    """e**x for x at most 0; error as that of exp."""
    t = where(x < -104.0, -104.0, x)
    u = fma(t, LOG2_E, ROUND + 191.0)
    p = _exp_near(_rest(t, u - (ROUND + 191.0)))
    return p * bits_float(float_bits(u) << 23) * 5.421010862427522e-20  # 2**(n + 64), 2**-64


def expm1(x: Number) -> Number:
    """e**x - 1, accurate near 0; error at most 2 ULP."""
    low = where(x < -20.0, -20.0, x)
    t = where(low > 89.0, 89.0, low)
    u = fma(t, LOG2_E, ROUND + 126.0)
    n = u - (ROUND + 126.0)
    p = _expm1_near(_rest(t, n))
    scale = bits_float(float_bits(u) << 23)  # 2**(n - 1): n may be 128
    return where(n == 0.0, p, 2.0 * fma(scale, p, scale - 0.5))


def _expm1_near(r: Number) -> Number:
    """e**r - 1 for r within ln(2) / 2 of 0."""
    p = fma(r, 0.00019845884526148438, 0.0013940719654783607)
    p = fma(p, r, 0.008333389647305012)
    p = fma(p, r, 0.04166635870933533)
    p = fma(p, r, 0.1666666567325592)
    p = fma(p, r, 0.5)
    return fma(p * r, r, r)


def log(x: Number) -> Number:
    """The natural logarithm; error at most 1 ULP. -inf at 0, NaN below; denormals are exact."""
    denormal = x < 1.1754943508222875e-38
    i = float_bits(where(denormal, x * 8388608.0, x))
    e = (i - 0x3F3504F3) >> 23
    f = bits_float(i - (e << 23)) - 1.0  # x = 2**e * (1 + f), 1 + f in [sqrt(1/2), sqrt(2))
    n = float32(where(denormal, e - 23, e))
    p = fma(f, 0.0674663856625557, -0.11675651371479034)
    p = fma(p, f, 0.11888162791728973)
    p = fma(p, f, -0.1240558922290802)
    p = fma(p, f, 0.14219552278518677)
    p = fma(p, f, -0.1666799634695053)
    p = fma(p, f, 0.2000211924314499)
    p = fma(p, f, -0.25000008940696716)
    p = fma(p, f, 0.3333331346511841)
    square = f * f
    tail = fma(square * f, p, n * LN2_LOW)
    y = fma(n, LN2_HIGH, fma(square, -0.5, tail) + f)
    return where(x > 0.0, where(x == INFINITY, x, y), where(x == 0.0, -INFINITY, NAN))


def exp2(x: Number) -> Number:
    """2**x, exact where x is whole; error at most 1.5 ULP."""
    low = where(x < -151.0, -151.0, x)
    t = where(low > 129.0, 129.0, low)
    n = rint(t)
    return _scaled_exp((t - n) * LN2, n + (ROUND + 254.0))


def _half_exp(x: Number) -> Number:
    """e**x / 2 for x from 0; error as that of exp."""
    t = where(x > 90.0, 90.0, x)
    u = fma(t, LOG2_E, ROUND + 254.0)
    return _scaled_exp(_rest(t, u - (ROUND + 254.0)), u - 1.0)


def _exponent(x: Number) -> Number:
    """n of x = 2**n * m, m in [sqrt(1/2), sqrt(2)), as a float."""
    denormal = x < 1.1754943508222875e-38
    i = float_bits(where(denormal, x * 8388608.0, x))
    e = (i - 0x3F3504F3) >> 23
    return float32(where(denormal, e - 23, e))


def _significand(x: Number) -> Number:
    """m of x = 2**n * m, m in [sqrt(1/2), sqrt(2))."""
    i = float_bits(where(x < 1.1754943508222875e-38, x * 8388608.0, x))
    return bits_float(i - (((i - 0x3F3504F3) >> 23) << 23))


def log2(x: Number) -> Number:
    """The logarithm to base 2, exact at powers of it; error at most 2 ULP."""
    y = fma(log(_significand(x)), LOG2_E, _exponent(x))
    return where(x > 0.0, where(x == INFINITY, x, y), where(x == 0.0, -INFINITY, NAN))


def log10(x: Number) -> Number:
    """The logarithm to base 10; error at most 2 ULP."""
    m = _significand(x)
    n = _exponent(x)
    y = fma(n, 0.30078125, fma(n, 0.00024874566355719417, log(m) * 0.4342944819032518))
    return where(x > 0.0, where(x == INFINITY, x, y), where(x == 0.0, -INFINITY, NAN))


def log1p(x: Number) -> Number:
    """log(1 + x), accurate near 0; error at most 2 ULP (Higham, Accuracy and Stability, 1.14.1)."""
    u = 1.0 + x
    lost = x - (u - 1.0)
    return log(u) + where(u - 1.0 == x, 0.0, lost / u)


def softplus(x: Number) -> Number:
    """log(1 + e**x), without overflow; error at most 3 ULP."""
    return where(x <= 0.0, 0.0, x) + log1p(_exp_below(-abs(x)))


def sigmoid(x: Number) -> Number:
    """1 / (1 + e**-x); error at most 3 ULP, denormal results included."""
    e = _exp_below(-abs(x))
    return where(x < 0.0, e, 1.0) / (1.0 + e)


def tanh(x: Number) -> Number:
    """The hyperbolic tangent, -m / (2 + m) where m is e**-2x - 1; error at most 3 ULP."""
    t = -2.0 * abs(x)
    t = where(t < -20.0, -20.0, t)
    u = fma(t, LOG2_E, ROUND + 127.0)
    scale = bits_float(float_bits(u) << 23)
    m = fma(scale, _expm1_near(_rest(t, u - (ROUND + 127.0))), scale - 1.0)
    return bits_float((float_bits(m / (2.0 + m)) & ~SIGN) | (float_bits(x) & SIGN))


def erf(x: Number) -> Number:
    """The error function; error at most 2 ULP."""
    z = x * x
    p = fma(z, -0.0006315128994174302, 0.005051094572991133)
    p = fma(p, z, -0.02680254727602005)
    p = fma(p, z, 0.11282717436552048)
    p = fma(p, z, -0.3761257231235504)
    p = fma(p, z, 0.12837916612625122)
    near = fma(p, x, x)
    a = where(abs(x) > 4.0, 4.0, abs(x))
    q = fma(a, 0.000203676987439394, -0.0031178565695881844)  # the logarithm of 1 - erf(a)
    q = fma(q, a, 0.0225190632045269)
    q = fma(q, a, -0.10452594608068466)
    q = fma(q, a, -0.6365188956260681)
    q = fma(q, a, -1.128061056137085)
    q = fma(q, a, -0.00010452279093442485)
    far = 1.0 - _exp_below(q)
    return where(abs(x) < 0.85, near, where(x < 0.0, -far, far))


def sinh(x: Number) -> Number:
    """The hyperbolic sine; error at most 3 ULP."""
    a = abs(x)
    m = expm1(where(a < 1.0, a, 1.0))
    h = _half_exp(a)
    y = where(a < 1.0, 0.5 * (m + m / (m + 1.0)), h - 0.25 / h)
    return where(x < 0.0, -y, where(x == 0.0, x, y))


def cosh(x: Number) -> Number:
    """The hyperbolic cosine; error at most 2 ULP."""
    h = _half_exp(abs(x))
    return h + 0.25 / h


def asinh(x: Number) -> Number:
    """The inverse hyperbolic sine; error at most 4 ULP."""
    a = abs(x)
    t = where(a > 1e10, 1.0, a)
    square = t * t
    y = where(a > 1e10, log(a) + LN2, log1p(t + square / (1.0 + sqrt(1.0 + square))))
    return where(x < 0.0, -y, where(x == 0.0, x, y))


def acosh(x: Number) -> Number:
    """The inverse hyperbolic cosine, NaN below 1; error at most 4 ULP."""
    t = where(x > 1e10, 1.0, x - 1.0)
    y = where(x > 1e10, log(x) + LN2, log1p(t + sqrt(fma(t, t, 2.0 * t))))
    return where(x >= 1.0, y, NAN)


def atanh(x: Number) -> Number:
    """The inverse hyperbolic tangent, NaN beyond 1; error at most 4 ULP."""
    a = abs(x)
    y = 0.5 * log1p(2.0 * a / (1.0 - a))
    return where(a <= 1.0, where(x < 0.0, -y, where(x == 0.0, x, y)), NAN)


def power(x: Number, y: Number) -> Number:
    """x**y, special values as in C; error at most 5 ULP.

    The logarithm and its product with y are carried as pairs of floats (Dekker, Numerische
    Mathematik 18, 1971); the first of a pair is cut to 12 bits, so that products are exact with and
    without a fused multiply-add.
    """
    a = abs(x)
    denormal = a < 1.1754943508222875e-38
    i = float_bits(where(denormal, a * 8388608.0, a))
    e = (i - 0x3F3504F3) >> 23
    f = bits_float(i - (e << 23)) - 1.0
    n = float32(where(denormal, e - 23, e))
    # log(1 + f) = 2 s + s**3 q(s**2) with s = f / (2 + f)
    t = 2.0 + f
    t_first = _cut(t)
    s_first = _cut(f / t)
    s_rest = ((f - s_first * t_first) - s_first * (f - (t_first - 2.0))) / t
    s = s_first + s_rest
    w = s * s
    q = fma(w, 0.23333418369293213, 0.2855069935321808)
    q = fma(q, w, 0.4000012278556824)
    q = fma(q, w, 0.6666666865348816)
    whole = n * LN2_HIGH
    log_first = whole + 2.0 * s_first
    log_rest = (2.0 * s_first - (log_first - whole)) + (fma(s * w, q, n * LN2_LOW) + 2.0 * s_rest)
    above = where(y > -1e10, y, -1e10)
    bounded = where(above < 1e10, above, 1e10)
    y_first = _cut(bounded)
    first = _cut(log_first)
    product = y_first * first
    rest = (bounded - y_first) * first + bounded * ((log_first - first) + log_rest)
    above = where(product > -150.0, product, -150.0)
    exponent = where(above < 150.0, above, 150.0)
    rest = where(abs(product) < 150.0, rest, 0.0)
    above = where(exponent + rest > -104.0, exponent + rest, -104.0)
    u = fma(where(above < 89.0, above, 89.0), LOG2_E, ROUND + 254.0)
    m = u - (ROUND + 254.0)
    r = (fma(m, -LN2_HIGH, exponent) - m * LN2_LOW) + rest
    r = where(r > -0.5, where(r < 0.5, r, 0.5), -0.5)
    value = _scaled_exp(r, u)
    value = where(a == 0.0, where(y < 0.0, INFINITY, 0.0), value)
    value = where(a == INFINITY, where(y < 0.0, 0.0, INFINITY), value)
    whole_y = rint(y) == y
    odd = where(whole_y, rint(0.5 * y) != 0.5 * y, False)
    allowed = where(whole_y, True, where(a == 0.0, True, a == INFINITY))
    negative = where(odd, -value, where(allowed, value, NAN))
    value = where(float_bits(x) < 0, negative, value)
    value = where(isnan(x), x, where(isnan(y), y, value))
    return where(x == 1.0, 1.0, where(y == 0.0, 1.0, value))


def _cut(x: Number) -> Number:
    """The first 12 bits of the significand."""
    return bits_float(float_bits(x) & -4096)
