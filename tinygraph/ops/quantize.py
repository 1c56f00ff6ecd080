"""Integers that stand for floats: an integer q means (q - zero) * scale, as in ONNX.

Products of such integers are ordinary operators, ``matmul_integer`` and the convolutions of
``conv.py``; the pass ``integer_products`` makes them of floats that were quantized.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.dtype import DTYPES, computed
from ..graph.ir import Node
from ..graph.op import Kind, Op, ShapeError, broadcast_shapes, constant, define, input, promote
from ..graph.types import Type
from .identity import custom_gradient
from .logic import logical_and, where

__all__ = ("dequantize", "fake_quantize", "quantize")

# those that float32 holds, and sums of two
NARROW = tuple(d.name for d in DTYPES.values() if d.is_integer and d.bits <= 16)


def _infer_quantize(x: Type, scale: Type, zero: Type, *, dtype: str) -> Type:
    if dtype not in NARROW or zero.dtype != dtype:
        raise ShapeError(
            f"quantize requires a zero point of the result's dtype, one of {', '.join(NARROW)}, "
            f"got {zero} for {dtype!r}"
        )
    if any(computed(t.dtype) != "float32" for t in (x, scale)):
        raise ShapeError(f"quantize requires float32, got {x} and the scale {scale}")
    return Type(broadcast_shapes("quantize", x, scale, zero), dtype)


def _expr_quantize(*, dtype: str) -> str:
    """Limits come first, so that what is rounded is in int32's reach, in one instruction. NaN, for
    which no comparison holds, becomes the least integer.

    Unsigned integers have their upper limit after it, where processors have both it and the
    conversion in one instruction: what is beyond int32's reach is rounded to its greatest or its
    least number, either of which is large as an unsigned one.
    """
    least, greatest = DTYPES[dtype].least, DTYPES[dtype].greatest
    low, high = (f"(float32({float(v)!r}) - float32({{2}}))" for v in (least, greatest))
    x = "{0} / {1}"
    above = f"({x} if {x} > {low} else {low})"
    if least == 0:
        whole = f"uint32(nearest({above}) + int32({{2}}))"
        return f"{dtype}({whole} if {whole} < uint32({greatest}) else uint32({greatest}))"
    return f"{dtype}(nearest({above} if {above} < {high} else {high}) + int32({{2}}))"


def _ref_quantize(x: Any, scale: Any, zero: Any, *, dtype: str) -> np.ndarray:
    low, high = (np.float32(v) for v in (DTYPES[dtype].least, DTYPES[dtype].greatest))
    whole = np.rint(x / scale) + zero.astype(np.float32)
    return np.fmin(np.fmax(whole, low), high).astype(dtype)


QUANTIZE: Op = define(
    "quantize",
    Kind.ELEMENTWISE,
    infer=_infer_quantize,
    ref=_ref_quantize,
    expr=_expr_quantize,
    cost=lambda out, x, scale, zero, dtype: 5 * out.size,
    no_gradient="rounding has none; tg.fake_quantize passes gradients straight through",
    example=lambda: QUANTIZE(
        input("x", 4, 3), input("scale", 4, 1), input("zero", dtype="uint8"), dtype="uint8"
    ),
)


def _infer_dequantize(q: Type, scale: Type, zero: Type) -> Type:
    if not DTYPES[q.dtype].is_integer or q.dtype != zero.dtype:
        raise ShapeError(
            f"dequantize requires integers and a zero point of theirs, got {q}, {zero}"
        )
    if computed(scale.dtype) != "float32":
        raise ShapeError(f"dequantize requires a float32 scale, got {scale}")
    return Type(broadcast_shapes("dequantize", q, scale, zero), scale.dtype)


# The product is rounded by itself: within a multiply-add that follows, compiled code would have
# other bits than NumPy, and another integer after the next rounding.
DEQUANTIZE: Op = define(
    "dequantize",
    Kind.ELEMENTWISE,
    infer=_infer_dequantize,
    ref=lambda q, scale, zero: (q.astype(np.float32) - zero.astype(np.float32)) * scale,
    expr="rounded_product(float32({0}) - float32({2}), {1})",
    cost=lambda out, q, scale, zero: 2 * out.size,
    no_gradient="integers have none; tg.fake_quantize passes gradients straight through",
    example=lambda: DEQUANTIZE(
        input("q", 4, 3, dtype="int8"), input("scale", 3), input("zero", dtype="int8")
    ),
)


def quantize(x: Any, scale: Any, zero: Any = 0, dtype: str = "uint8") -> Node:
    """x as integers: round(x / scale) + zero, kept within the dtype; halves go to the even one.

    NaN becomes the least integer.

    Args:
        x: floats.
        scale: what one step of the integers means, above 0; one for all, or of a shape that
            broadcasts, as [O, 1, 1, 1] for each output channel of a convolution's weights.
        zero: the integer that stands for 0.0.
        dtype: int8, uint8, int16 or uint16.

    Raises:
        ShapeError: another dtype, or shapes that do not broadcast.

    Example:
        >>> tg.run(tg.quantize(tg.constant([-1.0, 0.0, 0.3, 9.0]), 0.1, 3))
        array([ 0,  3,  6, 93], dtype=uint8)
    """
    x, scale = promote("quantize", (x, scale))
    return QUANTIZE(x, scale, _zero(zero, dtype), dtype=dtype)


def dequantize(q: Node, scale: Any, zero: Any = 0) -> Node:
    """What integers stand for: (q - zero) * scale.

    Args:
        q: integers; ``scale``, ``zero``: as for ``tg.quantize``.

    Raises:
        ShapeError: q has floats, or shapes do not broadcast.

    Example:
        >>> q = tg.constant(np.array([0, 3, 93], np.uint8))
        >>> tg.run(tg.dequantize(q, 0.5, 3))
        array([-1.5,  0. , 45. ], dtype=float32)
    """
    return DEQUANTIZE(q, *promote("dequantize", (constant(scale) if _plain(scale) else scale,)),
                      _zero(zero, q.dtype))  # fmt: skip


def fake_quantize(x: Any, scale: Any, zero: Any = 0, dtype: str = "uint8") -> Node:
    """x as the integers of ``tg.quantize`` would have it, still floats: for training with them.

    Gradients pass straight through where x is within the integers' reach, and are 0 elsewhere.

    Args:
        x, scale, zero, dtype: as for ``tg.quantize``.

    Example:
        >>> x = tg.parameter([0.26, 300.0])
        >>> y = tg.fake_quantize(x, 0.5)
        >>> tg.run(y), tg.run(tg.grad(tg.sum(y), [x])[0])
        (array([  0.5, 127.5], dtype=float32), array([1., 0.], dtype=float32))
    """
    (x,) = promote("fake_quantize", (x,))
    limits, at = DTYPES[dtype], dequantize

    def forward(x: Node) -> Node:
        return dequantize(quantize(x, scale, zero, dtype), scale, zero)

    def backward(g: Node, y: Node, x: Node) -> Node:
        ends = (np.array(v, dtype) for v in (limits.least, limits.greatest))
        low, high = (at(constant(end), scale, zero) for end in ends)
        return where(logical_and(x >= low, x <= high), g, 0)

    return custom_gradient(forward, backward)(x)


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float))


def _zero(zero: Any, dtype: str) -> Node:
    """A zero point as a node of the integers' dtype."""
    if isinstance(zero, Node):
        return zero
    return constant(np.asarray(zero), dtype)
