"""Element by element: arithmetic, comparisons, activations, conversions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from ... import ops
from ...graph.dtype import DTYPES, is_float
from ...graph.ir import Node
from ...graph.op import broadcast_shapes
from ...graph.types import Type
from .drawing import uniform
from .rules import Applied, rule

SELU = 1.6732632423543772, 1.0507009873554805  # alpha, gamma

UNARY: dict[str, Callable[[Node], Node]] = {
    "Abs": ops.abs,
    "Acos": ops.arccos,
    "Acosh": ops.arccosh,
    "Asin": ops.arcsin,
    "Asinh": ops.arcsinh,
    "Atan": ops.arctan,
    "Atanh": ops.arctanh,
    "BitwiseNot": ops.bitwise_not,
    "Ceil": ops.ceil,
    "Cos": ops.cos,
    "Cosh": ops.cosh,
    "Erf": ops.erf,
    "Exp": ops.exp,
    "Floor": ops.floor,
    "HardSwish": lambda x: x * hard_sigmoid(x, 1 / 6, 0.5),
    "Identity": lambda x: x,
    "IsNaN": ops.isnan,
    "Log": ops.log,
    "Mish": lambda x: x * ops.tanh(ops.softplus(x)),
    "Neg": ops.neg,
    "Not": ops.logical_not,
    "Reciprocal": ops.reciprocal,
    "Relu": ops.relu,
    "Round": ops.round,
    "Sigmoid": ops.sigmoid,
    "Sign": ops.sign,
    "Sin": ops.sin,
    "Sinh": ops.sinh,
    "Softplus": ops.softplus,
    "Softsign": lambda x: x / (ops.abs(x) + 1),
    "Sqrt": ops.sqrt,
    "Tan": ops.tan,
    "Tanh": ops.tanh,
}


@rule(*UNARY)
def unary(c: Applied) -> Any:
    if c.node.op == "Identity" and not isinstance(c.value(0), Node):
        return c.value(0)
    return UNARY[c.node.op](c.x(0))


def both(c: Applied) -> tuple[Node, Node]:
    """The first two inputs; integers that depend on n take the other one's dtype.

    Opset 6 says where the second one's axes are in the first.
    """
    dtype = next((v.dtype for v in c.inputs[:2] if isinstance(v, Node)), None)
    a, b = c.x(0, dtype), c.x(1, dtype)
    axis = c.attr("axis") if c.attr("broadcast", 0) else None
    if axis is not None and b.ndim:
        after = a.ndim - c.normal_axis(axis, a.ndim) - b.ndim
        b = ops.reshape(b, (*b.shape, *(1,) * max(0, after)))
    return a, b


BINARY: dict[str, Callable[[Node, Node], Node]] = {
    "Add": ops.add,
    "And": ops.logical_and,
    "BitwiseAnd": ops.bitwise_and,
    "BitwiseOr": ops.bitwise_or,
    "BitwiseXor": ops.bitwise_xor,
    "Equal": ops.equal,
    "Greater": ops.greater,
    "GreaterOrEqual": ops.greater_equal,
    "Less": ops.less,
    "LessOrEqual": ops.less_equal,
    "Mul": ops.mul,
    "Or": ops.logical_or,
    "Sub": ops.sub,
    "Xor": ops.logical_xor,
}


@rule(*BINARY)
def binary(c: Applied) -> Node:
    return BINARY[c.node.op](*both(c))


@rule("Div")
def div(c: Applied) -> Node:
    a, b = both(c)
    if not is_float(a.dtype):
        return truncated(a, b)
    if b.op.name == "sqrt" and 0 < b.ndim == a.ndim and b.shape[-1] == 1 != a.shape[-1]:
        return a * ops.rsqrt(b.inputs[0])  # one quotient for each row
    return ops.div(a, b)


def truncated(a: Node, b: Node) -> Node:
    """The quotient of integers, cut towards zero."""
    quotient = ops.floor_divide(a, b)
    if DTYPES[a.dtype].kind == "uint":
        return quotient
    below = ops.logical_and(ops.less(quotient, 0), ops.not_equal(quotient * b, a))
    return quotient + ops.cast(below, a.dtype)


@rule("Mod")
def mod(c: Applied) -> Node:
    a, b = both(c)
    return ops.fmod(a, b) if c.attr("fmod") else ops.mod(a, b)


@rule("BitShift")
def bit_shift(c: Applied) -> Node:
    shift = ops.left_shift if c.attr("direction") == "LEFT" else ops.right_shift
    return shift(*both(c))


@rule("Pow")
def power(c: Applied) -> Node:
    a = c.x(0)
    exponent = c.known_value(c.value(1))
    if exponent is not None and exponent.size == 1 and exponent.dtype != object:
        number = exponent.item()
        whole = isinstance(number, float) and number.is_integer()
        if is_float(a.dtype) or number >= 0:
            simple = int(number) if whole else number
            if is_float(a.dtype) or (isinstance(simple, int) and simple <= 4):
                y = ops.pow(a, simple)
                shape = broadcast_shapes("Pow", a.type, Type(exponent.shape))
                return ops.broadcast_to(y, shape)
    wide = a.dtype if is_float(a.dtype) else "float64"
    return ops.cast(ops.pow(ops.cast(a, wide), ops.cast(c.x(1), wide)), a.dtype)


VARIADIC = {"Max": ops.maximum, "Min": ops.minimum, "Sum": ops.add, "Mean": ops.add}


@rule(*VARIADIC)
def variadic(c: Applied) -> Node:
    nodes = c.all()
    total = reduce(VARIADIC[c.node.op], nodes)
    return total / len(nodes) if c.node.op == "Mean" else total


@rule("Where")
def where(c: Applied) -> Node:
    dtype = next((v.dtype for v in c.inputs[1:] if isinstance(v, Node)), None)
    return ops.where(c.x(0), c.x(1, dtype), c.x(2, dtype))


@rule("IsInf")
def is_inf(c: Applied) -> Node:
    x = c.x(0)
    if c.attr("detect_positive") and c.attr("detect_negative"):
        return ops.isinf(x)
    if not c.attr("detect_positive") and not c.attr("detect_negative"):
        return ops.zeros(x.shape, "bool")
    return ops.equal(x, math.inf if c.attr("detect_positive") else -math.inf)


# -- activations -----------------------------------------------------------------------------------


def hard_sigmoid(x: Node, alpha: float, beta: float) -> Node:
    """alpha * x + beta, kept within 0 and 1."""
    return ops.clip(x * alpha + beta, 0, 1)


def celu(x: Node, alpha: float) -> Node:
    """x where it is above 0, alpha * (exp(x / alpha) - 1) elsewhere (Barron, 2017)."""
    above = ops.less(0, x)
    return ops.where(above, x, ops.expm1(ops.where(above, 0, x) / alpha) * alpha)


def swish(x: Node, alpha: float) -> Node:
    """x * sigmoid(alpha * x)."""
    return x * ops.sigmoid(x if alpha == 1 else x * alpha)


ACTIVATIONS: dict[str, Callable[[Node, Applied], Node]] = {
    "Celu": lambda x, c: celu(x, c.attr("alpha")),
    "Elu": lambda x, c: ops.elu(x, c.attr("alpha")),
    "Gelu": lambda x, c: ops.gelu(x, c.attr("approximate")),
    "HardSigmoid": lambda x, c: hard_sigmoid(x, c.attr("alpha"), c.attr("beta")),
    "LeakyRelu": lambda x, c: ops.leaky_relu(x, c.attr("alpha")),
    "Selu": lambda x, c: ops.elu(x, c.attr("alpha")) * c.attr("gamma"),
    "Swish": lambda x, c: swish(x, c.attr("alpha")),
    "ThresholdedRelu": lambda x, c: ops.where(ops.less(c.attr("alpha"), x), x, 0),
}


@rule(*ACTIVATIONS)
def activation(c: Applied) -> Node:
    return ACTIVATIONS[c.node.op](c.x(0), c)


@rule("PRelu")
def prelu(c: Applied) -> Node:
    x, slope = c.x(0), c.x(1)
    if slope.ndim == 1 and c.node.since < 7:  # opset 6: one for each channel
        slope = ops.reshape(slope, (-1,) + (1,) * (x.ndim - 2))
    return ops.where(ops.less(x, 0), x * slope, x)


@rule("Shrink")
def shrink(c: Applied) -> Node:
    x, bias, limit = c.x(0), c.attr("bias"), c.attr("lambd")
    if not is_float(x.dtype):
        wide = ops.cast(x, "float32")
        return ops.cast(_shrunk(wide, bias, limit), x.dtype)
    return _shrunk(x, bias, limit)


def _shrunk(x: Node, bias: float, limit: float) -> Node:
    return ops.where(ops.less(x, -limit), x + bias, ops.where(ops.less(limit, x), x - bias, 0))


@rule("Clip")
def clip(c: Applied) -> Node:
    x = c.x(0)
    low, high = (_bound(c, name, i) for i, name in enumerate(("min", "max"), 1))
    return ops.clip(x, low, high)


def _bound(c: Applied, name: str, i: int) -> Any:
    """A bound as a number where it is known, else as a node."""
    if name in c.node.attributes:
        return c.attr(name)
    if not c.has(i):
        return None
    found = c.known_value(c.value(i))
    if found is None or found.dtype == object or found.size != 1:
        return c.x(i, c.x(0).dtype)
    number = found.item()
    return None if number in (-math.inf, math.inf) else number


# -- dtypes ----------------------------------------------------------------------------------------


@rule("Cast")
def cast(c: Applied) -> Node:
    dtype = c.dtype("to")
    return ops.cast(c.held(0, dtype), dtype)


@rule("BitCast")
def bit_cast(c: Applied) -> Node:
    return ops.bitcast(c.x(0), c.dtype("to"))


@rule("CastLike")
def cast_like(c: Applied) -> Node:
    dtype = str(c.value(1).dtype)
    if dtype not in DTYPES and dtype != "object":
        raise c.fault(f"requires {dtype}, which tinygraph lacks")
    return ops.cast(c.x(0), "int64" if dtype == "object" else dtype)


@rule("Constant")
def a_constant(c: Applied) -> np.ndarray:
    given = c.node.given & {
        "value", "value_float", "value_floats", "value_int", "value_ints", "value_string",
        "value_strings",
    }  # fmt: skip
    if len(given) != 1:
        raise c.fault("requires one value, dense")
    (name,) = given
    dtype = {"value_int": np.int64, "value_ints": np.int64}.get(name, np.float32)
    if name.startswith("value_string"):
        return np.asarray(c.attr(name), object if name == "value_strings" else None)
    return c.attr(name) if name == "value" else np.asarray(c.attr(name), dtype)


@rule("Dropout")
def dropout(c: Applied) -> tuple[Node, Node | None]:
    x = c.x(0)
    ratio = c.option("ratio", 1)
    ratio = 0.5 if ratio is None else ratio
    mode = bool(np.all(c.known(2, "a training_mode"))) if c.has(2) else None
    if not ratio or not (mode or (mode is None and c.walk.training)):
        return x, ops.ones(x.shape, "bool")
    if c.wants(1):
        kept = ops.less_equal(ratio, uniform(c, x.shape))
        return ops.where(kept, x * (1 / (1 - ratio)), 0), kept
    return c.walk.dropped(x, ratio, c.node.name or f"Dropout_{c.node.number}"), None
