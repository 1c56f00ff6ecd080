"""The cases of torch_functions.npz: which inputs each has, and what tinygraph's function is.

PyTorch's functions of the same names are in golden/make_torch_functions.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Domain = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Case:
    """A function of ops, by its name, with more arguments, on inputs of these shapes."""

    shapes: tuple[tuple[int, ...], ...] = ((3, 4),)
    call: Callable[..., Any] | None = None  # (ops, *nodes) -> node; default: ops.name(*nodes)
    domain: Domain = lambda x: x


def inside(x: np.ndarray) -> np.ndarray:
    return 0.9 * np.tanh(x)


def positive(x: np.ndarray) -> np.ndarray:
    return np.abs(x) + 0.1


INDEX = np.array([[1, 0, 1, 3], [4, 4, 0, 2], [3, 3, 3, 1]], "int32")
LABELS = np.array([[0, 2, 4, 1], [2, 2, 3, 0], [1, 4, 4, 2]], "int32")
WEIGHT4, WEIGHT5 = [0.5, 2.0, 1.0, 0.1], [0.5, 2.0, 1.0, 0.1, 3.0]
CTC = (
    np.array([[1, 2, 2], [3, 1, 3], [2, 1, 1]], "int32"),
    np.array([7, 5, 6], "int32"),
    np.array([3, 2, 1], "int32"),
)
TWO = ((3, 4), (3, 4))

IMAGE, LARGE = (2, 3, 4, 5), (2, 3, 9, 8)
INTERPOLATE: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {  # the same call in both
    "nearest": (IMAGE, {"scale_factor": 2}),
    "nearest_size": (IMAGE, {"size": (7, 3)}),
    "nearest_exact": (IMAGE, {"size": (7, 3), "mode": "nearest-exact"}),
    "linear": ((2, 3, 5), {"size": 8, "mode": "linear"}),
    "bilinear": (IMAGE, {"scale_factor": 2, "mode": "bilinear"}),
    "bilinear_corners": (IMAGE, {"size": (7, 3), "mode": "bilinear", "align_corners": True}),
    "bilinear_factor": (IMAGE, {"scale_factor": 1.7, "mode": "bilinear"}),
    "trilinear": ((1, 2, 3, 4, 2), {"size": (4, 2, 5), "mode": "trilinear"}),
    "bicubic": (IMAGE, {"size": (7, 3), "mode": "bicubic"}),
    "bicubic_corners": (IMAGE, {"size": (7, 9), "mode": "bicubic", "align_corners": True}),
    "antialias": (LARGE, {"size": (3, 5), "mode": "bilinear", "antialias": True}),
    "antialias_cubic": (LARGE, {"size": (3, 5), "mode": "bicubic", "antialias": True}),
}

FUNCTIONS: dict[str, Case] = {
    **{
        f"interpolate_{name}": Case((shape,), lambda tg, x, o=options: tg.interpolate(x, **o))
        for name, (shape, options) in INTERPOLATE.items()
    },
    **{name: Case() for name in ("sin", "cos", "tan", "arctan", "sinh", "cosh", "arcsinh")},
    **{name: Case(domain=inside) for name in ("arcsin", "arccos", "arctanh")},
    **{name: Case(domain=positive) for name in ("log2", "log10", "reciprocal")},
    "arctan2": Case(TWO),
    "arccosh": Case(domain=lambda x: np.abs(x) + 1.1),
    "exp2": Case(),
    "square": Case(),
    "ceil": Case(),
    "trunc": Case(domain=lambda x: 3 * x),
    "fmod": Case(TWO, domain=lambda x: 3 * x),
    "sort": Case(((3, 7),), lambda tg, x: tg.sort(x, 1)),
    "sort_descending": Case(((3, 7),), lambda tg, x: tg.sort(x, 0, descending=True)),
    "topk": Case(((3, 40),), lambda tg, x: tg.topk(x, 4)[0]),
    "topk_least": Case(((9, 3),), lambda tg, x: tg.topk(x, 4, 0, largest=False)[0]),
    "take_along_axis": Case(((3, 5),), lambda tg, x: tg.take_along_axis(x, INDEX, 1)),
    "scatter_add_along": Case(((3, 5), (3, 4)), lambda tg, x, u: tg.scatter(x, INDEX, u, 1, "add")),
    "scatter_mul": Case(((3, 5), (3, 4)), lambda tg, x, u: tg.scatter(x, INDEX, u, 1, "mul")),
    "scatter_max": Case(((3, 5), (3, 4)), lambda tg, x, u: tg.scatter(x, INDEX, u, 1, "max")),
    "scatter_min": Case(((3, 5), (3, 4)), lambda tg, x, u: tg.scatter(x, INDEX, u, 1, "min")),
    "cumprod": Case(((3, 5),), lambda tg, x: tg.cumprod(x, 1)),
    "celu": Case(call=lambda tg, x: tg.celu(x, 1.5)),
    "selu": Case(),
    "hardtanh": Case(),
    "relu6": Case(domain=lambda x: 5 * x),
    "hardsigmoid": Case(domain=lambda x: 3 * x),
    "hardswish": Case(domain=lambda x: 3 * x),
    "mish": Case(),
    "log_sigmoid": Case(),
    "softsign": Case(),
    "prelu": Case(((2, 3, 4), (3,))),
    "glu": Case(call=lambda tg, x: tg.glu(x, 1)),
    "group_norm": Case(((2, 6, 3, 2), (6,), (6,)), lambda tg, x, w, b: tg.group_norm(x, 3, w, b)),
    "instance_norm": Case(((2, 3, 4), (3,), (3,))),
    "rms_norm": Case(((2, 3, 4), (4,)), lambda tg, x, w: tg.rms_norm(x, -1, w)),
    "l1_loss": Case(TWO),
    "mse_loss_sum": Case(TWO, lambda tg, a, b: tg.mse_loss(a, b, "sum")),
    "huber_loss": Case(TWO, lambda tg, a, b: tg.huber_loss(a, b, delta=0.7)),
    "smooth_l1_loss": Case(TWO, lambda tg, a, b: tg.smooth_l1_loss(a, b, "none", 0.7)),
    "bce_logits": Case(TWO, lambda tg, a, b: tg.binary_cross_entropy_with_logits(a, tg.sigmoid(b))),
    "bce_logits_weights": Case(
        TWO,
        lambda tg, a, b: tg.binary_cross_entropy_with_logits(
            a, tg.sigmoid(b), "sum", weight=0.5, pos_weight=WEIGHT4
        ),
    ),
    "bce": Case(TWO, lambda tg, a, b: tg.binary_cross_entropy(tg.sigmoid(a), tg.sigmoid(b))),
    "kl_div": Case(TWO, lambda tg, a, b: tg.kl_div(tg.log_softmax(a), tg.softmax(b), "batchmean")),
    "kl_div_log": Case(
        TWO, lambda tg, a, b: tg.kl_div(tg.log_softmax(a), tg.log_softmax(b), log_target=True)
    ),
    "cosine_similarity": Case(((2, 3, 4), (2, 3, 4))),
    "nll_loss": Case(
        ((3, 5, 4),), lambda tg, x: tg.nll_loss(tg.log_softmax(x, 1), LABELS, reduction="sum")
    ),
    "cross_entropy_soft": Case(
        ((3, 4), (3, 4)), lambda tg, a, b: tg.cross_entropy(a, tg.softmax(b), 0.1)
    ),
    "cross_entropy_soft_weights": Case(
        ((3, 4), (3, 4)), lambda tg, a, b: tg.cross_entropy(a, tg.softmax(b), weight=WEIGHT4)
    ),
    "cross_entropy_ignore": Case(
        ((3, 5, 4),), lambda tg, x: tg.cross_entropy(x, LABELS, ignore_index=2)
    ),
    "cross_entropy_weights": Case(
        ((3, 5, 4),), lambda tg, x: tg.cross_entropy(x, LABELS, 0.2, weight=WEIGHT5, ignore_index=0)
    ),
    "cross_entropy_each": Case(
        ((3, 5, 4),),
        lambda tg, x: tg.cross_entropy(x, LABELS, 0.2, weight=WEIGHT5, reduction="none"),
    ),
    "cross_entropy_sum": Case(
        ((3, 5, 4),), lambda tg, x: tg.cross_entropy(x, LABELS, reduction="sum")
    ),
    "ctc_loss": Case(((7, 3, 5),), lambda tg, x: tg.ctc_loss(tg.log_softmax(x), *CTC)),
    "ctc_loss_each": Case(
        ((7, 3, 5),), lambda tg, x: tg.ctc_loss(tg.log_softmax(x), *CTC, blank=4, reduction="none")
    ),
}

KINDS = ("bce", "kl_div", "cosine", "cross_entropy")
LOSSES = [name for name in FUNCTIONS if "loss" in name or name.startswith(KINDS)]


def draw(name: str) -> list[np.ndarray]:
    case, number = FUNCTIONS[name], sum(map(ord, name))
    rng = np.random.default_rng(number)
    return [case.domain(rng.standard_normal(s)).astype("float32") for s in case.shapes]


def weights(shape: Sequence[int]) -> np.ndarray:
    """What results are weighed with before gradients are taken."""
    return np.cos(np.arange(np.prod(shape))).astype("float32").reshape(shape)
