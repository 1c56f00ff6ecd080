"""Kinds of single layers times sizes: what ``layers.py --all`` measures.

Each kind is a function that yields layers. A layer's ``mine`` takes nodes, ``theirs`` PyTorch and
tensors; images are [N, C, H, W] for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .convolutions import (
    convolution_gradients,
    dense,
    depthwise,
    first,
    grouped,
    other_convolutions,
    pointwise,
)
from .elementwise import elementwise, norms, softmax
from .gradients import other_gradients
from .layer import Layer
from .moves import gathers, moves, orders
from .odd import odd_convolutions, odd_moves, odd_products, odd_walks
from .products import attention, batched, linear, matmul
from .reductions import pools, reductions

KINDS: dict[str, Callable[[], Iterator[Layer]]] = {
    "depthwise": depthwise, "grouped": grouped, "1x1": pointwise, "dense": dense, "first": first,
    "convolutions": other_convolutions, "gradients": convolution_gradients,
    "other-gradients": other_gradients, "linear": linear, "matmul": matmul, "batched": batched,
    "attention": attention, "elementwise": elementwise, "norms": norms, "softmax": softmax,
    "reductions": reductions, "pools": pools, "moves": moves, "gathers": gathers, "orders": orders,
    "odd-convolutions": odd_convolutions, "odd-products": odd_products, "odd-walks": odd_walks,
    "odd-moves": odd_moves,
}  # fmt: skip

__all__ = ("KINDS", "Layer")
