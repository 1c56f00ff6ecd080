"""Matrix products."""

from __future__ import annotations

from ... import ops
from ...graph.dtype import is_float
from ...graph.ir import Node
from .convolution import activated
from .rules import CONTRIB, Applied, rule


@rule("MatMul")
def matmul(c: Applied) -> Node:
    return ops.matmul(c.x(0), c.x(1))


@rule("Einsum")
def einsum(c: Applied) -> Node:
    return ops.einsum(c.attr("equation").replace(" ", ""), *c.all())


@rule("Gemm")
def gemm(c: Applied) -> Node:
    return _gemm(c)


def _gemm(c: Applied) -> Node:
    a, b = c.x(0), c.x(1)
    if a.ndim != 2 or b.ndim != 2:
        raise c.fault(f"requires matrices, got {a.type} and {b.type}")
    a = ops.transpose(a) if c.attr("transA", 0) else a
    b = ops.transpose(b) if c.attr("transB", 0) else b
    y = scaled(ops.matmul(a, b), c.attr("alpha", 1.0))
    return y + scaled(c.x(2), c.attr("beta", 1.0)) if c.has(2) else y


def scaled(x: Node, factor: float) -> Node:
    """x times a factor, which is most often 1."""
    if factor == 1:
        return x
    if is_float(x.dtype):
        return x * factor
    return ops.cast(ops.cast(x, "float64") * factor, x.dtype)


@rule("FusedGemm", domain=CONTRIB)
def fused_gemm(c: Applied) -> Node:
    return activated(c, _gemm(c))


@rule("FusedMatMul", "TransposeMatMul", domain=CONTRIB)
def fused_matmul(c: Applied) -> Node:
    a, b = (_turned(c, c.x(i), name) for i, name in enumerate("AB"))
    return scaled(ops.matmul(a, b), c.attr("alpha", 1.0))


def _turned(c: Applied, x: Node, name: str) -> Node:
    """An operand with its batch and its last axes in their places."""
    if c.attr(f"transBatch{name}", 0):  # [m, batch..., k]: the first axis is the row
        x = ops.transpose(x, (*range(1, x.ndim - 1), 0, x.ndim - 1))
    if c.attr(f"trans{name}", 0) and x.ndim > 1:
        x = ops.transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))
    return x
