"""Rules that write operators element by element."""

from __future__ import annotations

import math

import numpy as np

from ...graph.dtype import is_float, is_integer
from ...graph.ir import Node
from ...ops.random import ROTATIONS
from ..reading.tensors import dtype_code
from .writer import OnnxWriter, Value, writes

SAME = {
    "abs": "Abs", "add": "Add", "sub": "Sub", "mul": "Mul", "exp": "Exp", "log": "Log",
    "sqrt": "Sqrt", "tanh": "Tanh", "sigmoid": "Sigmoid", "erf": "Erf", "softplus": "Softplus",
    "relu": "Relu", "floor": "Floor", "ceil": "Ceil", "round": "Round", "sign": "Sign",
    "maximum": "Max", "minimum": "Min", "less": "Less", "less_equal": "LessOrEqual",
    "equal": "Equal", "logical_and": "And", "logical_or": "Or", "logical_not": "Not",
    "where": "Where", "pow": "Pow", "sin": "Sin", "cos": "Cos", "tan": "Tan", "arcsin": "Asin",
    "arccos": "Acos", "arctan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "arcsinh": "Asinh",
    "arccosh": "Acosh", "arctanh": "Atanh", "bitwise_and": "BitwiseAnd",
    "bitwise_or": "BitwiseOr", "bitwise_xor": "BitwiseXor", "bitwise_not": "BitwiseNot",
    "div": "Div", "matmul": "MatMul",
}  # fmt: skip


@writes(*SAME)
def same(w: OnnxWriter, n: Node, *xs: Value) -> Value:
    return w.add(SAME[n.op.name], *xs)


@writes("neg")
def neg(w: OnnxWriter, n: Node, x: Value) -> Value:
    unsigned = np.dtype(n.dtype).kind == "u"
    return w.add("Sub", w.like(n, 0), x) if unsigned else w.add("Neg", x)


@writes("not_equal")
def not_equal(w: OnnxWriter, n: Node, a: Value, b: Value) -> Value:
    return w.add("Not", w.add("Equal", a, b))


@writes("bitcast")
def bitcast(w: OnnxWriter, n: Node, x: Value) -> Value:
    return w.add("BitCast", x, to=dtype_code(n.dtype))


@writes("cast")
def cast(w: OnnxWriter, n: Node, x: Value) -> Value:
    return w.cast(x, n.inputs[0].dtype, n.dtype)


@writes("clip")
def clip(w: OnnxWriter, n: Node, x: Value) -> Value:
    return w.add("Clip", x, w.like(n, n.attr("low")), w.like(n, n.attr("high")))


@writes("rsqrt")
def rsqrt(w: OnnxWriter, n: Node, x: Value) -> Value:
    return w.add("Reciprocal", w.add("Sqrt", x))


@writes("trunc")
def trunc(w: OnnxWriter, n: Node, x: Value) -> Value:
    return w.add("Mul", w.add("Sign", x), w.add("Floor", w.add("Abs", x)))


@writes("log1p")
def log1p(w: OnnxWriter, n: Node, x: Value) -> Value:
    """log(u) x / (u - 1) with u = 1 + x keeps the digits near 0 (Goldberg 1991, theorem 4)."""
    u = w.add("Add", x, w.like(n, 1))
    exact = w.add("Div", w.add("Mul", w.add("Log", u), x), w.add("Sub", u, w.like(n, 1)))
    near = w.add("Where", w.add("Equal", u, w.like(n, 1)), x, exact)
    return w.add("Where", w.add("Less", w.add("Abs", x), w.like(n, 1)), near, w.add("Log", u))


@writes("expm1")
def expm1(w: OnnxWriter, n: Node, x: Value) -> Value:
    """(u - 1) x / log(u) with u = e^x keeps the digits near 0 (Higham 2002, section 1.14.1)."""
    u = w.add("Exp", x)
    less = w.add("Sub", u, w.like(n, 1))
    exact = w.add("Div", w.add("Mul", less, x), w.add("Log", u))
    near = w.add("Where", w.add("Equal", u, w.like(n, 1)), x, exact)
    return w.add("Where", w.add("Less", w.add("Abs", x), w.like(n, 1)), near, less)


@writes("exp2")
def exp2(w: OnnxWriter, n: Node, x: Value) -> Value:
    return w.add("Pow", w.like(n, 2), x)


@writes("log2", "log10")
def logarithm(w: OnnxWriter, n: Node, x: Value) -> Value:
    base = 2 if n.op.name == "log2" else 10
    return w.add("Mul", w.add("Log", x), w.like(n, 1 / math.log(base)))


@writes("arctan2")
def arctan2(w: OnnxWriter, n: Node, y: Value, x: Value) -> Value:
    """The angle of (x, y): that of y / x, turned by half a circle where x is negative."""
    zero = w.like(n, 0)
    angle = w.add("Atan", w.add("Div", y, x))
    half = w.add("Where", w.add("Less", y, zero), w.like(n, -math.pi), w.like(n, math.pi))
    turned = w.add("Where", w.add("Less", x, zero), w.add("Add", angle, half), angle)
    origin = w.add("And", w.add("Equal", x, zero), w.add("Equal", y, zero))
    return w.add("Where", origin, zero, turned)


@writes("mod")
def mod(w: OnnxWriter, n: Node, a: Value, b: Value) -> Value:
    """The remainder with the divisor's sign; of integers that of 0 is 0."""
    zero = w.like(n, 0)
    if is_integer(n.dtype):
        none = w.add("Equal", b, zero)
        return w.add("Where", none, zero, w.add("Mod", a, w.add("Where", none, w.like(n, 1), b)))
    rest = w.add("Mod", a, b, fmod=1)
    other = w.add("Xor", w.add("Less", rest, zero), w.add("Less", b, zero))
    wrong = w.add("And", other, w.add("Not", w.add("Equal", rest, zero)))
    return w.add("Where", wrong, w.add("Add", rest, b), rest)


@writes("floor_divide")
def floor_divide(w: OnnxWriter, n: Node, a: Value, b: Value) -> Value:
    """What is left after the remainder divides: exact, as NumPy does it."""
    whole = w.add("Sub", a, mod(w, n, a, b))
    if is_float(n.dtype):
        return w.add("Round", w.add("Div", whole, b))
    none = w.add("Equal", b, w.like(n, 0))
    quotient = w.add("Div", whole, w.add("Where", none, w.like(n, 1), b))
    return w.add("Where", none, w.like(n, 0), quotient)


@writes("left_shift", "right_shift")
def shift(w: OnnxWriter, n: Node, a: Value, b: Value) -> Value:
    """Times or divided by a power of two, in 64 bits; ONNX shifts unsigned numbers only."""
    bits = 8 * np.dtype(n.dtype).itemsize
    wide = [w.cast(v, i.dtype, "int64") for v, i in zip((a, b), n.inputs, strict=True)]
    limit = w.constant(bits, "int64")
    two = w.constant(2, "int64")
    left = n.op.name == "left_shift"
    power = w.add("Pow", two, w.add("Min", wide[1], limit if not left else w.constant(62, "int64")))
    if left:
        shifted = w.add("Mul", wide[0], power)
        beyond = w.add("Less", w.constant(bits - 1, "int64"), wide[1])
        shifted = w.add("Where", beyond, w.constant(0, "int64"), shifted)
    else:
        rest = w.add("Mod", wide[0], power)
        shifted = w.add("Div", w.add("Sub", wide[0], rest), power)
    return w.cast(shifted, "int64", n.dtype)


@writes("random_uniform")
def random_uniform(w: OnnxWriter, n: Node, seed: Value, step: Value, index: Value) -> Value:
    """Threefry-2x32 (see ops/random.py) in 64 bits, of which the lower 32 are kept."""
    mask = w.constant(2**32 - 1, "int64")

    def low(x: Value) -> Value:
        return w.add("BitwiseAnd", x, mask)

    def plus(a: Value, b: Value) -> Value:
        return low(w.add("Add", a, b))

    def turned(x: Value, by: int) -> Value:
        upper = low(w.add("Mul", x, w.constant(2**by, "int64")))
        return w.add("BitwiseOr", upper, w.add("Div", x, w.constant(2 ** (32 - by), "int64")))

    words = [
        w.cast(v, i.dtype, "int64") for v, i in zip((seed, step, index), n.inputs, strict=True)
    ]
    k0, c1, c0 = map(low, words)
    k1 = w.constant(n.attr("stream"), "int64")
    parity = w.constant(0x1BD11BDA, "int64")
    keys = k0, k1, w.add("BitwiseXor", w.add("BitwiseXor", k0, k1), parity)
    x0, x1 = plus(c0, keys[0]), plus(c1, keys[1])
    for i in range(20):
        x0 = plus(x0, x1)
        x1 = w.add("BitwiseXor", turned(x1, ROTATIONS[i % 8]), x0)
        if i % 4 == 3:
            d = i // 4 + 1
            x0 = plus(x0, keys[d % 3])
            x1 = plus(plus(x1, keys[(d + 1) % 3]), w.constant(d, "int64"))
    bits = w.cast(w.add("Div", x0, w.constant(2**8, "int64")), "int64", "float32")
    return w.add("Mul", bits, w.constant(2.0**-24, "float32"))


@writes("of_batch")
def of_batch(w: OnnxWriter, n: Node) -> Value:
    """factor * over / under, polynomials of the batch size."""
    over, under = (w.cast(w.polynomial(n.attr(k)), "int64", "float64") for k in ("over", "under"))
    scaled = w.add("Mul", over, w.constant(float(n.attr("factor")), "float64"))
    return w.cast(w.add("Div", scaled, under), "float64", n.dtype)
