"""The Python twins of the compiled kernels of attention, by NumPy: same arguments and parts."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tinygraph.codegen.contraction import share, strided_view
from tinygraph.codegen.python import active_memory

from .records import (
    BATCH_SIZES,
    FIELDS,
    FORWARD,
    GRADIENT,
    SCRATCH,
    STATS,
    STRIDES,
    Attention,
    AttentionForward,
    AttentionGradient,
    place_names,
)

__all__ = [  # of generated modules
    "AttentionForward",
    "AttentionGradient",
    "attention_forward",
    "attention_gradient",
]

SHAPES = {
    "q": "ld", "k": "sd", "v": "se", "out": "le", "g": "le", "dq": "ld", "dk": "sd", "dv": "se",
    "tops": "l1", "totals": "l1", "mask": "ls",
}  # fmt: skip


def attention_forward(part: int, tid: int, args: Sequence[int], spec: AttentionForward) -> None:
    """Executes one part, as `void name(part, tid, args)` of the compiled code does."""
    del tid
    names = (*FORWARD, *(STATS if spec.stats else ()), *(["mask"] if spec.mask else []))
    work = _Work(args, spec, names)
    blocks = -(-work.f["l"] // spec.width)
    for flat in share(work.batch * blocks, part, work.f["parts"]):
        x = work.at(flat // blocks)
        first = (blocks - 1 - flat % blocks) * spec.width
        rows = slice(first, min(first + spec.width, work.f["l"]))
        scores = work.scores(x, rows)
        top = scores.max(1, keepdims=True)
        weights = np.exp(scores - top)
        total = weights.sum(1, keepdims=True)
        x["out"][rows] = weights @ x["v"] / total
        if spec.stats:
            x["tops"][rows], x["totals"][rows] = top, total


def attention_gradient(part: int, tid: int, args: Sequence[int], spec: AttentionGradient) -> None:
    """Executes one part, as `void name(part, tid, args)` of the compiled code does."""
    del tid
    work = _Work(args, spec, (*GRADIENT, *(["mask"] if spec.mask else [])))
    for flat in share(work.batch, part, work.f["parts"]):
        x = work.at(flat)
        scores = work.scores(x, slice(None))
        weights = np.exp(scores - x["tops"]) / x["totals"]
        slope = x["g"] @ x["v"].T
        slope = weights * (slope - (weights * slope).sum(1, keepdims=True))
        for value in [work.fill] * (spec.mask == "bool") + [-np.inf] * spec.causal:
            slope[scores == value] = 0
        slope *= work.scale
        x["dq"][...], x["dk"][...] = slope @ x["k"], slope.T @ x["q"]
        x["dv"][...] = weights.T @ x["g"]


class _Work:
    """An argument block, and the operands of one batch index."""

    def __init__(self, args: Sequence[int], spec: Attention, names: Sequence[str]) -> None:
        words: Iterator[int] = iter(int(x) for x in args)
        self.f = {x: next(words) for x in (*FIELDS, *place_names(spec), *SCRATCH)}
        self.spec = spec
        self.operands = {x: (next(words), [next(words) for _ in STRIDES]) for x in names}
        self.sizes = [self.f[x] for x in BATCH_SIZES]
        self.batch = int(np.prod(self.sizes))
        self.scale, self.fill = (
            np.float32(struct.unpack("<f", struct.pack("<i", self.f[x]))[0])
            for x in ("scale", "fill")
        )

    def at(self, flat: int) -> dict[str, np.ndarray]:
        index = np.unravel_index(flat, self.sizes)
        found = {}
        for name, (address, strides) in self.operands.items():
            dtype = self.spec.mask if name == "mask" else "float32"
            start = sum(int(i) * s for i, s in zip(index, strides, strict=False))
            shape = [self.f.get(x, 1) for x in SHAPES[name]]
            address += start * (1 if dtype == "bool" else 4)
            found[name] = strided_view(active_memory(), address, dtype, shape, strides[-2:])
        return found

    def scores(self, x: Mapping[str, np.ndarray], rows: slice) -> np.ndarray:
        scores = (x["q"][rows] * self.scale) @ x["k"].T
        if self.spec.mask == "bool":
            scores = np.where(x["mask"][rows], scores, self.fill)
        elif self.spec.mask:
            scores = scores + x["mask"][rows]
        if self.spec.causal:
            past = np.tri(self.f["l"], self.f["s"], dtype=bool)[rows]
            scores = np.where(past, scores, np.float32(-np.inf))
        return scores
