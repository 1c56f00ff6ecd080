"""Fourier transforms as products with tables, and other small linear algebra."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...graph.ir import Node
from ...graph.op import constant
from ...graph.size import Size
from .rules import Applied, rule


@rule("DFT")
def dft(c: Applied) -> Node:
    """Of real numbers [..., 1] or complex ones [..., 2] along an axis."""
    x = c.x(0)
    axis = c.attr("axis") if c.given("axis") or c.node.since < 20 else None
    if axis is None:
        axis = int(c.known(2, "an axis").item()) if c.has(2) else -2
    axis = c.normal_axis(axis, x.ndim)
    n = x.shape[axis]
    length = int(np.asarray(c.known(1, "a dft_length")).item()) if c.has(1) else n
    if isinstance(length, Size):
        raise c.fault(f"requires a known size of axis {axis} of {x.type}")
    c.require_fit(length, length)
    y = _sized(x, axis, length)
    return transformed(y, axis, bool(c.attr("inverse")), bool(c.attr("onesided")))


def _sized(x: Node, axis: int, n: int) -> Node:
    """Cut, or with zeros at the end."""
    if x.shape[axis] > n:
        return x[(slice(None),) * axis + (slice(n),)]
    return ops.pad(x, [(0, n - x.shape[axis]) if a == axis else (0, 0) for a in range(x.ndim)])


def transformed(x: Node, axis: int, inverse: bool, onesided: bool) -> Node:
    """x[..., n, ..., parts] -> [..., k, ..., 2], or from half a spectrum back to n real numbers."""
    n, parts = x.shape[axis], x.shape[-1]
    rows = ops.transpose(x, (*(a for a in range(x.ndim) if a != axis), axis))  # [..., parts, n]
    real = rows[..., 0, :]
    imaginary = rows[..., 1, :] if parts == 2 else None
    if inverse and onesided:
        return _moved(_real_inverse(real, imaginary, n), axis, x.ndim)
    count = n // 2 + 1 if onesided else n
    angle = 2 * np.pi * (np.outer(np.arange(n), np.arange(count)) % n) / n
    scale = 1 / n if inverse else 1.0
    cos = constant(np.cos(angle) * scale, x.dtype)
    sin = constant(np.sin(angle) * scale * (1 if inverse else -1), x.dtype)
    re, im = real @ cos, real @ sin
    if imaginary is not None:
        re, im = re - imaginary @ sin, im + imaginary @ cos
    return _moved(ops.stack([re, im], -2), axis, x.ndim)


def _real_inverse(real: Node, imaginary: Node | None, half: int) -> Node:
    """n = 2 (half - 1) real numbers [..., 1, n] of the half of a spectrum that is not mirrored."""
    n = 2 * (half - 1)
    angle = 2 * np.pi * (np.outer(np.arange(half), np.arange(n)) % n) / n
    twice = np.where((np.arange(half) == 0) | (np.arange(half) == half - 1), 1, 2)[:, None] / n
    y = real @ constant(np.cos(angle) * twice, real.dtype)
    if imaginary is not None:
        y = y - imaginary @ constant(np.sin(angle) * twice, real.dtype)
    return ops.expand_dims(y, -2)


def _moved(y: Node, axis: int, rank: int) -> Node:
    """The last axis of [..., parts, k] to its place."""
    order = [*range(rank - 1)]
    order.insert(axis, rank - 1)
    return ops.transpose(y, order)


@rule("STFT")
def stft(c: Applied) -> Node:
    """Transforms of frames [batch, frames, k, 2] of signals [batch, n, 1 or 2] or [batch, n]."""
    x = c.x(0)
    x = x if x.ndim == 3 else ops.expand_dims(x, 2)
    step = int(np.asarray(c.known(1, "a frame_step")).item())
    window = c.maybe(2)
    length = int(np.asarray(c.known(3, "a frame_length")).item()) if c.has(3) else None
    length = length if length is not None or window is None else window.shape[0]
    if length is None or isinstance(x.shape[1], Size) or step < 1:
        raise c.fault("requires a frame_length or a window, a frame_step, and a known length")
    if not 0 < length <= x.shape[1]:
        raise c.fault(f"requires a frame_length in 1 to {x.shape[1]}, got {length}")
    c.require_fit(length, length)
    frames = (x.shape[1] - length) // step + 1
    at = np.arange(frames)[:, None] * step + np.arange(length)
    parts = ops.take(x, at, 1)  # [batch, frames, length, parts]
    if window is not None:
        parts = parts * ops.reshape(window, (-1, 1))
    return transformed(parts, 2, False, bool(c.attr("onesided")))


@rule("MelWeightMatrix")
def mel_weight_matrix(c: Applied) -> np.ndarray:
    """Triangles from frequencies of a spectrum to mels."""
    bins, length, rate, low, high = (np.asarray(c.known(i, "a number")).item() for i in range(5))
    if not 0 < bins < 1 << 16 or not 0 < length < 1 << 20:
        raise c.fault(f"requires reasonable sizes, got {bins} bins and {length}")
    spectrum = length // 2 + 1
    mels = 2595 * np.log10(1 + np.array([low, high]) / 700)
    steps = mels[0] + np.arange(bins + 2) * ((mels[1] - mels[0]) / (bins + 2))
    edges = np.floor((length + 1) * (700 * (10 ** (steps / 2595) - 1)) / rate).astype(int)
    found = np.zeros((spectrum, bins))
    for i in range(bins):
        left, centre, right = edges[i : i + 3]
        if left == centre:
            found[centre, i] = 1
        else:
            found[left : centre + 1, i] = (np.arange(left, centre + 1) - left) / (centre - left)
        if right != centre:
            found[centre:right, i] = (right - np.arange(centre, right)) / (right - centre)
    return found.astype(c.dtype("output_datatype"))


LARGEST = 4  # matrices whose determinants are written out


@rule("Det")
def determinant(c: Applied) -> Node:
    x = c.x(0)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2] or not 1 <= x.shape[-1] <= LARGEST:
        raise c.fault(f"requires square matrices up to {LARGEST} x {LARGEST}, got {x.type}")
    return _expanded([[x[..., i, j] for j in range(x.shape[-1])] for i in range(x.shape[-1])])


def _expanded(rows: list[list[Node]]) -> Node:
    """Laplace's expansion along the first row."""
    if len(rows) == 1:
        return rows[0][0]
    total: Any = None
    for j, factor in enumerate(rows[0]):
        term = factor * _expanded([[*r[:j], *r[j + 1 :]] for r in rows[1:]])
        total = term if total is None else total - term if j % 2 else total + term
    return total
