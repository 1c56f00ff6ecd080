"""An exported network in JAX: its ONNX nodes as functions of jax.numpy, compiled as one by XLA."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Values = list[Any]


def jax_network(path: Path, inputs: np.ndarray, threads: int) -> Callable[[], np.ndarray]:
    """
    Raises:
        ValueError: JAX takes all cores that the process may use, and these are not ``threads``; or
            the network has an operator that is not in ``OPERATORS``.
    """
    import jax
    import onnx

    if threads != len(os.sched_getaffinity(0)):
        raise ValueError(f"it takes all cores, not {threads}")
    graph = onnx.load(path).graph
    unknown = {n.op_type for n in graph.node} - OPERATORS.keys()
    if unknown:
        raise ValueError(f"jax_network.py has no {', '.join(sorted(unknown))}")
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    weights = {name: v for name, v in stored.items() if v.dtype == np.float32}

    def network(x: Any, weights: dict[str, Any]) -> Any:
        values = {**stored, **weights, graph.input[0].name: x, "": None}  # shapes stay NumPy's
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            arguments = [values[name] for name in node.input]
            found = OPERATORS[node.op_type](arguments, attributes)
            results = found if isinstance(found, (list, tuple)) else [found]
            values.update(zip(node.output, results, strict=False))
        return values[graph.output[0].name]

    compiled, device = jax.jit(network), jax.device_put(weights)
    return lambda: np.asarray(compiled(inputs, device))


def _pads(attributes: dict[str, Any], rank: int) -> list[tuple[int, int]]:
    pads = attributes.get("pads", [0] * 2 * rank)
    return list(zip(pads[:rank], pads[rank:], strict=True))


def _conv(values: Values, attributes: dict[str, Any]) -> Any:
    from jax import lax

    x, w, *bias = values
    rank = w.ndim - 2
    y = lax.conv_general_dilated(
        x, w, attributes.get("strides", [1] * rank), _pads(attributes, rank),
        rhs_dilation=attributes.get("dilations", [1] * rank),
        feature_group_count=attributes.get("group", 1),
    )  # fmt: skip
    return y + bias[0].reshape(-1, *[1] * rank) if bias else y


def _conv_transpose(values: Values, attributes: dict[str, Any]) -> Any:
    """Of one group: a convolution of the image with zeros between its elements."""
    import jax.numpy as jnp
    from jax import lax

    x, w, *bias = values
    rank = w.ndim - 2
    pads = [
        (n - 1 - before, n - 1 - after)
        for n, (before, after) in zip(w.shape[2:], _pads(attributes, rank), strict=True)
    ]
    y = lax.conv_general_dilated(
        x, jnp.flip(w, range(2, w.ndim)).swapaxes(0, 1), [1] * rank, pads,
        lhs_dilation=attributes.get("strides", [1] * rank),
    )  # fmt: skip
    return y + bias[0].reshape(-1, *[1] * rank) if bias else y


def _max_pool(values: Values, attributes: dict[str, Any]) -> Any:
    from jax import lax

    return _windows(values[0], attributes, -np.inf, lax.max)


def _average_pool(values: Values, attributes: dict[str, Any]) -> Any:
    from jax import lax

    if any(attributes.get("pads", ())):
        raise ValueError("jax_network.py has no AveragePool with padding")
    return _windows(values[0], attributes, 0.0, lax.add) / np.prod(attributes["kernel_shape"])


def _windows(x: Any, attributes: dict[str, Any], start: float, fold: Any) -> Any:
    from jax import lax

    kernel = attributes["kernel_shape"]
    strides = attributes.get("strides", [1] * len(kernel))
    pads = _pads(attributes, len(kernel))
    if attributes.get("ceil_mode"):
        sizes = zip(x.shape[2:], kernel, strides, pads, strict=True)
        pads = [(a, b + -(n + a + b - k) % s) for n, k, s, (a, b) in sizes]
    window, steps = (1, 1, *kernel), (1, 1, *strides)
    return lax.reduce_window(x, start, fold, window, steps, [(0, 0), (0, 0), *pads])


def _layer_norm(values: Values, attributes: dict[str, Any]) -> Any:
    import jax.numpy as jnp

    x, scale, *shift = values
    axes = tuple(range(attributes.get("axis", -1) % x.ndim, x.ndim))
    centred = x - jnp.mean(x, axes, keepdims=True)
    variance = jnp.mean(centred * centred, axes, keepdims=True)
    y = centred / jnp.sqrt(variance + attributes.get("epsilon", 1e-5)) * scale
    return y + shift[0] if shift else y


def _batch_norm(values: Values, attributes: dict[str, Any]) -> Any:
    x, *constants = values
    scale, shift, mean, variance = (v.reshape(-1, *[1] * (x.ndim - 2)) for v in constants)
    return (x - mean) / (variance + attributes.get("epsilon", 1e-5)) ** 0.5 * scale + shift


def _lstm(values: Values, attributes: dict[str, Any]) -> Values:
    """Of one direction, [length, batch, features] to [length, 1, batch, size]."""
    import jax
    import jax.numpy as jnp

    x, w, r, bias, _, h, c = values[:7]
    size = r.shape[-1]
    before = x @ w[0].T + bias[0, : 4 * size] + bias[0, 4 * size :]

    def step(carry: Any, at: Any) -> Any:
        h, c = carry
        i, o, f, g = jnp.split(at + h @ r[0].T, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[1], size), x.dtype)
    first = tuple(zeros if v is None else v[0] for v in (h, c))
    (h, c), history = jax.lax.scan(step, first, before)
    return [history[:, None], h[None], c[None]]


def _gemm(values: Values, attributes: dict[str, Any]) -> Any:
    a, b, *c = values
    a = a.T if attributes.get("transA") else a
    b = b.T if attributes.get("transB") else b
    y = attributes.get("alpha", 1.0) * (a @ b)
    return y + attributes.get("beta", 1.0) * c[0] if c else y


def _split(values: Values, attributes: dict[str, Any]) -> Values:
    import jax.numpy as jnp

    parts = attributes.get("num_outputs")
    places = parts if len(values) == 1 else np.cumsum(values[1])[:-1].tolist()
    return jnp.split(values[0], places, attributes.get("axis", 0))


def _slice(values: Values, attributes: dict[str, Any]) -> Any:
    x, starts, ends, *rest = values
    axes = rest[0] if rest else range(len(starts))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    cut = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cut[axis] = slice(int(start), int(end), int(step))
    return x[tuple(cut)]


def _reshape(values: Values, attributes: dict[str, Any]) -> Any:
    x, shape = values
    return x.reshape([x.shape[i] if n == 0 else int(n) for i, n in enumerate(shape)])


def _numpy(name: str) -> Callable[[Values, dict[str, Any]], Any]:
    """A function of that name in jax.numpy; in NumPy for what is known while XLA compiles."""

    def call(values: Values, attributes: dict[str, Any]) -> Any:
        import jax.numpy as jnp

        known = all(isinstance(v, np.ndarray) for v in values)
        return getattr(np if known else jnp, name)(*values)

    return call


def _jax(name: str) -> Callable[[Values, dict[str, Any]], Any]:
    """A function of that name in jax.nn."""

    def call(values: Values, attributes: dict[str, Any]) -> Any:
        import jax

        return getattr(jax.nn, name)(*values)

    return call


def _gelu(values: Values, attributes: dict[str, Any]) -> Any:
    import jax

    return jax.nn.gelu(values[0], approximate=attributes.get("approximate") == b"tanh")


def _softmax(values: Values, attributes: dict[str, Any]) -> Any:
    import jax

    return jax.nn.softmax(values[0], attributes.get("axis", -1))


def _clip(values: Values, attributes: dict[str, Any]) -> Any:
    return values[0].clip(*values[1:])


def _concat(values: Values, attributes: dict[str, Any]) -> Any:
    import jax.numpy as jnp

    return jnp.concatenate(values, attributes["axis"])


def _pad(values: Values, attributes: dict[str, Any]) -> Any:
    import jax.numpy as jnp

    x, pads = values[0], [int(n) for n in values[1]]
    value = values[2] if len(values) > 2 and values[2] is not None else 0
    return jnp.pad(x, list(zip(pads[: x.ndim], pads[x.ndim :], strict=True)), constant_values=value)


def _unsqueeze(values: Values, attributes: dict[str, Any]) -> Any:
    import jax.numpy as jnp

    return jnp.expand_dims(values[0], tuple(map(int, values[1])))


OPERATORS: dict[str, Callable[[Values, dict[str, Any]], Any]] = {
    "Add": _numpy("add"), "Sub": _numpy("subtract"), "Mul": _numpy("multiply"),
    "Div": _numpy("divide"), "Sqrt": _numpy("sqrt"), "Tanh": _numpy("tanh"),
    "Pow": _numpy("power"),
    "MatMul": _numpy("matmul"), "Relu": _jax("relu"), "Sigmoid": _jax("sigmoid"),
    "Conv": _conv, "ConvTranspose": _conv_transpose, "MaxPool": _max_pool,
    "AveragePool": _average_pool, "Pad": _pad, "Gemm": _gemm,
    "BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm,
    "LSTM": _lstm, "Gelu": _gelu, "Softmax": _softmax,
    "Clip": _clip, "Split": _split, "Slice": _slice, "Reshape": _reshape,
    "Concat": _concat, "Unsqueeze": _unsqueeze,
    "ReduceMean": lambda v, a: v[0].mean(
        tuple(map(int, v[1])), keepdims=bool(a.get("keepdims", 1))
    ),
    "Transpose": lambda v, a: v[0].transpose(a["perm"]),
    "Squeeze": lambda v, a: v[0].squeeze(tuple(map(int, v[1]))),
    "Gather": lambda v, a: v[0].take(v[1], a.get("axis", 0)),
    "Identity": lambda v, a: v[0],
    "Flatten": lambda v, a: v[0].reshape(np.prod(v[0].shape[: a.get("axis", 1)], dtype=int), -1),
}  # fmt: skip
