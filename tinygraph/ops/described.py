"""What people read of the element-wise operators: their docstrings, and their signatures."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, Signature

from ..graph.ir import Node
from ..graph.op import Op

# Of each dtype's kind: name -> (parameters, meaning, an example, what it gives).
Rows = dict[str, tuple[str, str, str, str]]

NUMBERS: Rows = {
    "abs": ("x", "The absolute value; the least integer stays itself, as in NumPy.",
        "tg.abs(tg.constant([-1.5, 2.0]))", "array([1.5, 2. ], dtype=float32)"),
    "add": ("a b", "a + b.",
        "tg.add(tg.constant([1.0, 2.0]), 10.0)", "array([11., 12.], dtype=float32)"),
    "floor_divide": ("a b",
        "The quotient, rounded down: -7 // 2 is -4. A division by the integer 0 gives 0.",
        'tg.floor_divide(tg.constant([-7, 7], "int32"), 2)', "array([-4,  3], dtype=int32)"),
    "maximum": ("a b", "The greater of the two; NaN if one is NaN.",
        "tg.maximum(tg.constant([1.0, 5.0]), 3.0)", "array([3., 5.], dtype=float32)"),
    "minimum": ("a b", "The lesser of the two; NaN if one is NaN.",
        "tg.minimum(tg.constant([1.0, 5.0]), 3.0)", "array([1., 3.], dtype=float32)"),
    "mod": ("a b", "The remainder, with the sign of b: -7 % 3 is 2.",
        'tg.mod(tg.constant([-7, 7], "int32"), 3)', "array([2, 1], dtype=int32)"),
    "mul": ("a b", "a * b.",
        "tg.mul(tg.constant([1.0, 2.0]), 10.0)", "array([10., 20.], dtype=float32)"),
    "neg": ("x", "-x.",
        "tg.neg(tg.constant([1.0, -2.0]))", "array([-1.,  2.], dtype=float32)"),
    "relu": ("x", "max(x, 0); NaN stays NaN.",
        "tg.relu(tg.constant([-1.0, 2.0]))", "array([0., 2.], dtype=float32)"),
    "sign": ("x", "-1, 0 or 1; NaN stays NaN.",
        "tg.sign(tg.constant([-3.0, 0.0, 2.0]))", "array([-1.,  0.,  1.], dtype=float32)"),
    "sub": ("a b", "a - b.",
        "tg.sub(tg.constant([1.0, 2.0]), 10.0)", "array([-9., -8.], dtype=float32)"),
}  # fmt: skip

FLOATS: Rows = {
    "arccos": ("x", "The angle in 0..pi whose cosine is x; NaN outside of [-1, 1].",
        "tg.arccos(tg.constant([0.0, 1.0]))", "array([1.5707964, 0.       ], dtype=float32)"),
    "arccosh": ("x", "The number from 0 on whose hyperbolic cosine is x; NaN below 1.",
        "tg.arccosh(tg.constant([1.0, 2.0]))", "array([0.      , 1.316958], dtype=float32)"),
    "arcsin": ("x", "The angle in [-pi/2, pi/2] whose sine is x; NaN outside of [-1, 1].",
        "tg.arcsin(tg.constant([0.0, 1.0]))", "array([0.       , 1.5707964], dtype=float32)"),
    "arcsinh": ("x", "The number whose hyperbolic sine is x.",
        "tg.arcsinh(tg.constant([0.0, 1.0]))", "array([0.       , 0.8813736], dtype=float32)"),
    "arctan": ("x", "The angle in [-pi/2, pi/2] whose tangent is x.",
        "tg.arctan(tg.constant([0.0, 1.0]))", "array([0.       , 0.7853982], dtype=float32)"),
    "arctan2": ("a b", "The angle in [-pi, pi] of the point (b, a), a being the ordinate.",
        "tg.arctan2(tg.constant([1.0, 0.0]), tg.constant([1.0, -1.0]))",
        "array([0.7853981, 3.1415927], dtype=float32)"),
    "arctanh": ("x", "The number whose hyperbolic tangent is x.",
        "tg.arctanh(tg.constant([0.0, 0.5]))", "array([0.        , 0.54930615], dtype=float32)"),
    "ceil": ("x", "The least whole number that is not below x.",
        "tg.ceil(tg.constant([-1.5, 1.5]))", "array([-1.,  2.], dtype=float32)"),
    "cos": ("x", "The cosine of an angle in radians.",
        "tg.cos(tg.constant([0.0, 1.0]))", "array([1.       , 0.5403023], dtype=float32)"),
    "cosh": ("x", "The hyperbolic cosine.",
        "tg.cosh(tg.constant([0.0, 1.0]))", "array([1.       , 1.5430807], dtype=float32)"),
    "div": ("a b", "a / b; of integers use ``tg.floor_divide``.",
        "tg.div(tg.constant([1.0, 2.0]), 4.0)", "array([0.25, 0.5 ], dtype=float32)"),
    "erf": ("x", "The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.",
        "tg.erf(tg.constant([0.0, 1.0]))", "array([0.       , 0.8427008], dtype=float32)"),
    "exp": ("x", "e^x.",
        "tg.exp(tg.constant([0.0, 1.0]))", "array([1.      , 2.718282], dtype=float32)"),
    "exp2": ("x", "2^x.",
        "tg.exp2(tg.constant([0.0, 3.0]))", "array([1., 8.], dtype=float32)"),
    "expm1": ("x", "e^x - 1, exact near 0.",
        "tg.expm1(tg.constant([0.0, 1e-6]))",
        "array([0.0000000e+00, 1.0000005e-06], dtype=float32)"),
    "floor": ("x", "The greatest whole number that is not above x.",
        "tg.floor(tg.constant([-1.5, 1.5]))", "array([-2.,  1.], dtype=float32)"),
    "log": ("x", "The natural logarithm; -inf at 0, NaN below.",
        "tg.log(tg.constant([1.0, 10.0]))", "array([0.       , 2.3025851], dtype=float32)"),
    "log1p": ("x", "log(1 + x), exact near 0.",
        "tg.log1p(tg.constant([0.0, 1e-6]))", "array([0.000000e+00, 9.999995e-07], dtype=float32)"),
    "log2": ("x", "The logarithm of base 2.",
        "tg.log2(tg.constant([1.0, 8.0]))", "array([0., 3.], dtype=float32)"),
    "log10": ("x", "The logarithm of base 10.",
        "tg.log10(tg.constant([1.0, 1000.0]))", "array([0.       , 3.0000002], dtype=float32)"),
    "round": ("x", "The nearest whole number, of two the even one.",
        "tg.round(tg.constant([0.5, 1.5, 2.6]))", "array([0., 2., 3.], dtype=float32)"),
    "rsqrt": ("x", "1 / sqrt(x).",
        "tg.rsqrt(tg.constant([4.0, 16.0]))", "array([0.5 , 0.25], dtype=float32)"),
    "sigmoid": ("x", "1 / (1 + e^-x), without overflow.",
        "tg.sigmoid(tg.constant([0.0, 100.0]))", "array([0.5, 1. ], dtype=float32)"),
    "sin": ("x", "The sine of an angle in radians.",
        "tg.sin(tg.constant([0.0, 1.0]))", "array([0.      , 0.841471], dtype=float32)"),
    "sinh": ("x", "The hyperbolic sine.",
        "tg.sinh(tg.constant([0.0, 1.0]))", "array([0.       , 1.1752012], dtype=float32)"),
    "softplus": ("x", "log(1 + e^x), without overflow.",
        "tg.softplus(tg.constant([0.0, 100.0]))",
        "array([  0.6931472, 100.       ], dtype=float32)"),
    "sqrt": ("x", "The square root; NaN below 0.",
        "tg.sqrt(tg.constant([4.0, 9.0]))", "array([2., 3.], dtype=float32)"),
    "tan": ("x", "The tangent of an angle in radians.",
        "tg.tan(tg.constant([0.0, 1.0]))", "array([0.       , 1.5574077], dtype=float32)"),
    "tanh": ("x", "The hyperbolic tangent.",
        "tg.tanh(tg.constant([0.0, 1.0]))", "array([0.       , 0.7615942], dtype=float32)"),
    "trunc": ("x", "x without its fraction: rounded towards 0.",
        "tg.trunc(tg.constant([-1.5, 1.5]))", "array([-1.,  1.], dtype=float32)"),
}  # fmt: skip

INTEGERS: Rows = {
    "bitwise_and": ("a b", "The bits that both have.",
        'tg.bitwise_and(tg.constant([6, 5], "int32"), 3)', "array([2, 1], dtype=int32)"),
    "bitwise_not": ("x", "All bits the other way: -1 - x of signed integers.",
        'tg.bitwise_not(tg.constant([0, 5], "int32"))', "array([-1, -6], dtype=int32)"),
    "bitwise_or": ("a b", "The bits that one or both have.",
        'tg.bitwise_or(tg.constant([6, 5], "int32"), 3)', "array([7, 7], dtype=int32)"),
    "bitwise_xor": ("a b", "The bits that one has and the other has not.",
        'tg.bitwise_xor(tg.constant([6, 5], "int32"), 3)', "array([5, 6], dtype=int32)"),
    "left_shift": ("a b", "a * 2^b: the bits of a, b places to the left; what falls out is lost.",
        'tg.left_shift(tg.constant([1, 3], "int32"), 2)', "array([ 4, 12], dtype=int32)"),
    "right_shift": ("a b", "a / 2^b, rounded down: the bits of a, b places to the right.",
        'tg.right_shift(tg.constant([8, 7], "int32"), 2)', "array([2, 1], dtype=int32)"),
}  # fmt: skip

ANY: Rows = {
    "equal": ("a b", "True where a is b; NaN equals nothing. ``a == b`` is the same.",
        "tg.equal(tg.constant([1.0, 2.0]), 2.0)", "array([False,  True])"),
    "less": ("a b", "a < b, element by element.",
        "tg.less(tg.constant([1.0, 3.0]), 2.0)", "array([ True, False])"),
    "less_equal": ("a b", "a <= b, element by element.",
        "tg.less_equal(tg.constant([1.0, 3.0]), 1.0)", "array([ True, False])"),
    "not_equal": ("a b", "True where a is not b, and where one is NaN.",
        "tg.not_equal(tg.constant([1.0, 2.0]), 2.0)", "array([ True, False])"),
}  # fmt: skip

BOOLS: Rows = {
    "logical_and": ("a b", "True where both are.",
        "tg.logical_and(tg.constant([True, False]), True)", "array([ True, False])"),
    "logical_not": ("x", "True where x is False.",
        "tg.logical_not(tg.constant([True, False]))", "array([False,  True])"),
    "logical_or": ("a b", "True where one is, or both.",
        "tg.logical_or(tg.constant([True, False]), False)", "array([ True, False])"),
}  # fmt: skip

KINDS = {
    "numbers": NUMBERS,
    "float32 or float64": FLOATS,
    "integers": INTEGERS,
    "numbers or bools": ANY,
    "bools": BOOLS,
}

TEXT = """{meaning}

Args:
    {parameters}: {kind}{several}.

Raises:
    ShapeError: {reasons}.

Example:
    >>> tg.run({example})
    {printed}
"""


def describe(operators: Mapping[str, Op]) -> None:
    """Gives operators a docstring, a name and a signature, as functions have them."""
    for kind, rows in KINDS.items():
        for name, (parameters, meaning, example, printed) in rows.items():
            names = parameters.split()
            several = " of one dtype, whose shapes broadcast" if len(names) > 1 else ""
            text = TEXT.format(
                meaning=meaning,
                parameters=", ".join(names),
                kind=kind,
                several=several,
                reasons="dtypes or shapes do not fit" if several else "the dtype does not fit",
                example=example,
                printed=printed,
            )
            taken = [Parameter(n, Parameter.POSITIONAL_ONLY) for n in names]
            signature = Signature(taken, return_annotation=Node)
            vars(operators[name]).update(
                __doc__=text, __name__=name, __signature__=signature, __module__=__package__
            )
