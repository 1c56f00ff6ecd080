"""Patterns that are one operator of ONNX, so that other runtimes fuse them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ... import ops
from ...graph.ir import Graph, Node
from .layers import last_or_all, recurrent
from .patterns import Raised, below, number, rebuilt, simple
from .products import after, correlated, grouped, window
from .writer import OnnxWriter, Value


def raised(graph: Graph) -> dict[Node, Raised]:
    """The nodes of the graph that are one operator of ONNX."""
    found: dict[Node, Raised] = {}
    for n in graph.nodes:
        for guess in GUESSES.get(n.op.name, ()):
            made = guess(n, graph)
            if made is not None:
                found[n] = made
                break
    return found


def softmax(n: Node, graph: Graph) -> Raised | None:
    x, total = below(n, 0, 0, 0), n.inputs[1]
    axis = total.attr("axis", ())
    if x is None or total.op.name != "sum" or len(axis) != 1:
        return None
    if not rebuilt(n, lambda: ops.softmax(x, axis[0])):
        return None
    return simple("Softmax", x, axis=axis[0])


def log_softmax(n: Node, graph: Graph) -> Raised | None:
    """sub(sub(x, maximum), log(sum(exp(...)))); an axis without elements has no maximum."""
    total = below(n, 1, 0)
    if total is None or total.op.name != "sum" or len(total.attr("axis")) != 1:
        return None
    (axis,) = total.attr("axis")
    for x in (below(n, 0, 0), n.inputs[0]):
        if x is not None and rebuilt(n, lambda: ops.log_softmax(x, axis)):  # noqa: B023
            return simple("LogSoftmax", x, axis=axis)
    return None


def gelu(n: Node, graph: Graph) -> Raised | None:
    """mul(mul(x, 0.5), add(curve, 1))."""
    x, curve = below(n, 0, 0), below(n, 1, 0)
    if x is None or curve is None or curve.op.name not in ("erf", "tanh"):
        return None
    kind = "none" if curve.op.name == "erf" else "tanh"
    if not rebuilt(n, lambda: ops.gelu(x, kind)):
        return None
    return simple("Gelu", x, approximate=kind)


def mean(n: Node, graph: Graph) -> Raised | None:
    for total in n.inputs:
        if total.op.name == "sum":
            x, axes, keep = total.inputs[0], total.attr("axis"), total.attr("keepdims")
            if rebuilt(n, lambda: ops.mean(x, axes, keepdims=keep)):  # noqa: B023
                return Raised(
                    (x,),
                    lambda w, v: w.add("ReduceMean", v, w.sizes(axes), keepdims=int(keep)),  # noqa: B023
                )
    return None


def layer_norm(n: Node, graph: Graph) -> Raised | None:
    """add(mul(mul(sub(x, mean), rsqrt(variance + eps)), scale), shift) over the last axes."""
    x, inverse, scale, shift = below(n, 0, 0, 0, 0), below(n, 0, 0, 1), below(n, 0, 1), n.inputs[1]
    if x is None or inverse is None or scale is None or inverse.op.name != "rsqrt":
        return None
    eps = number(last) if (last := below(inverse, 0, 1)) is not None else None
    if eps is None or not 0 < scale.ndim <= x.ndim:
        return None
    axes = tuple(range(x.ndim - scale.ndim, x.ndim))
    if not rebuilt(n, lambda: ops.layer_norm(x, axes, scale, shift, eps)):
        return None
    return simple("LayerNormalization", x, scale, shift, axis=axes[0], epsilon=eps)


def batch_norm(n: Node, graph: Graph) -> Raised | None:
    """In inference: add(mul(sub(x, mean), factor), shift)."""
    x, middle = below(n, 0, 0, 0), below(n, 0, 0, 1, 0)
    factor, shift = below(n, 0, 1, 0), below(n, 1, 0)
    if x is None or middle is None or factor is None or shift is None:
        return None
    plus, scale = below(factor, 0, 0), below(factor, 1)
    if plus is None or scale is None or plus.op.name != "add":
        return None
    variance, eps = plus.inputs[0], number(plus.inputs[1])
    if eps is None or not rebuilt(
        n, lambda: ops.batch_norm(x, scale, shift, middle, variance, eps)
    ):
        return None
    return simple("BatchNormalization", x, scale, shift, middle, variance, epsilon=eps)


def gemm(n: Node, graph: Graph) -> Raised | None:
    """x @ w.T + b, or x @ w + b, of matrices that nothing else reads."""
    product, bias = n.inputs
    if product.op.name != "matmul" or len(graph.users[product]) > 1 or n.dtype != "float32":
        return None
    x, weight = product.inputs
    if (x.ndim, weight.ndim, bias.ndim) != (2, 2, 1) or bias.shape != n.shape[1:]:
        return None
    if weight.op.name == "transpose":
        return simple("Gemm", x, weight.inputs[0], bias, transB=1)
    return simple("Gemm", x, weight, bias)


def conv(n: Node, graph: Graph) -> Raised | None:
    """A convolution that nothing else reads, and a bias for each channel."""
    view, bias = n.inputs
    product, b = below(view, 0), below(bias, 0)
    if product is None or b is None or view.op.name != "reshape" or bias.op.name != "reshape":
        return None
    alone = len(graph.users[view]) == 1 and len(graph.users[product]) == 1
    if product.op.name not in ("conv2d", "conv3d") or not alone:
        return None
    channels, spatial = view.shape[1], product.shape[3:]
    if view.shape != (product.shape[0], channels, *spatial) or b.shape != (channels,):
        return None
    if math.prod(bias.shape) != channels or bias.ndim - 1 != len(spatial):
        return None
    return Raised((*product.inputs, b), lambda w, *xs: _biased(w, product, *xs))


def _biased(w: OnnxWriter, n: Node, x: Value, kernel: Value, bias: Value) -> Value:
    image, weight = (i.shape for i in n.inputs)
    stride, dilation, before = window(n)
    return correlated(
        w, grouped(w, x, image, 1), image[3:], grouped(w, kernel, weight, 0), n.shape[3:],
        weight[3:], stride, dilation, before, weight[0], bias,
    )  # fmt: skip


def local_response_norm(n: Node, graph: Graph) -> Raised | None:
    """x times a power of add(mul(sums, alpha / size), k); an even window is off ONNX's by one."""
    x, exponent = n.inputs[0], below(n, 1, 1)
    power = -(number(exponent) or 0) if exponent is not None else 0
    forms = ((0, 0), 0.75), ((1, 0), 0.5), ((1,), 1.0), ((0,), power)
    for path, beta in forms:
        base = below(n, 1, *path)
        sums, share = (below(base, 0, 0), below(base, 0, 1)) if base is not None else (None, None)
        if base is None or sums is None or share is None or sums.op.name != "window_sum":
            continue
        if base.op.name != "add":
            continue
        k, part, size = number(base.inputs[1]), number(share), sums.attr("kernel")[1]
        if n.dtype != "float32" or size % 2 == 0 or k is None or part is None:
            continue
        options = {"alpha": part * size, "beta": beta}
        if rebuilt(n, lambda: ops.local_response_norm(x, size, k=k, **options)):  # noqa: B023
            return simple("LRN", x, size=size, bias=k, **options)
    return None


def pool(sums: Node, build: Callable[..., Node], n: Node) -> dict[str, Any] | None:
    """The attributes of a pool of ONNX, if ``build`` makes the node of such windows.

    Windows that hang over the image, as with ceil_mode, are written with padding.
    """
    if sums.op.name != "window_sum" or sums.ndim < 3:
        return None
    kernel, stride, before = (sums.attr(k)[2:] for k in ("kernel", "stride", "padding"))
    dilation = sums.attr("dilation", ())[2:] or (1,) * len(kernel)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    image, out = sums.inputs[0].shape[2:], sums.shape[2:]
    each = zip(image, out, spans, stride, before, strict=True)
    ends = [max(after(*sizes), 0) for sizes in each]
    if any(max(p) >= k for *p, k in zip(before, ends, kernel, strict=True)):
        return None  # runtimes refuse padding as wide as the kernel
    pads = tuple(zip(before, ends, strict=True))
    if not rebuilt(n, lambda: build(kernel, stride, pads, dilation=dilation)):
        return None
    attributes = {"kernel_shape": kernel, "strides": stride, "pads": [*before, *ends]}
    return attributes | ({"dilations": dilation} if max(dilation) > 1 else {})


def average_pool(n: Node, graph: Graph) -> Raised | None:
    """Sums of windows times one number, or a number for each place where padding does not count."""
    sums = n.inputs[0]
    if (x := below(sums, 0)) is None:
        return None
    for counted in (True, False):
        if found := pool(sums, partial(ops.avg_pool, x, count_include_pad=counted), n):
            return simple("AveragePool", x, count_include_pad=int(counted), **found)
    return None


def lp_pool(n: Node, graph: Graph) -> Raised | None:
    """Sums of windows over powers, and their root unless the power is 1."""
    sums, inverse = (n, None) if n.op.name == "window_sum" else (below(n, 2, 0, 2), below(n, 2, 1))
    if sums is None or n.dtype != "float32":
        return None
    degree = number(inverse) if inverse is not None else None
    p = round(1 / degree) if degree else 1 if sums is n else 2
    x = below(sums, 0, 0)
    if p > 2:  # powers of abs(x), of which small ones are products
        while x is not None and x.op.name == "mul":
            x = x.inputs[0]
        x = below(x, 0) if x is not None else None
    if x is None or not (found := pool(sums, partial(ops.lp_pool, x, p), n)):
        return None
    return simple("LpPool", x, p=p, **found)


GUESSES: dict[str, tuple[Callable[[Node, Graph], Raised | None], ...]] = {
    "div": (softmax, mean),
    "scan": (recurrent,),
    "slice": (last_or_all,),
    "sub": (log_softmax,),
    "mul": (gelu, mean, average_pool, local_response_norm),
    "where": (lp_pool,),
    "window_sum": (lp_pool,),
    "add": (batch_norm, layer_norm, conv, gemm),
}
