"""All networks of tinygraph.models and more, each for inference and as a training step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.graph.ir import Node
from tinygraph.passes import Update
from unet import UNet

Whole = tuple[list[Node], list[Node], list[Update]]  # inputs, outputs, updates


def whole(net: nn.Module, x: Node, labels: tuple[int, ...], training: bool) -> Whole:
    """The network's first output; or its loss, with all parameters updated."""
    out = net(x, training=training)
    if not training:
        return [x], [out[0] if isinstance(out, tuple) else out], []
    y = tg.input("label", *labels, dtype="int32")
    if isinstance(net, models.CharLanguageModel):
        out = out[0]
    if isinstance(out, tuple):
        loss = models.auxiliary_loss(out, y)
    else:
        loss = nn.cross_entropy(out, y, axis=out.ndim - 1 if len(labels) > 1 else 1)
    return [x, y], [loss], optim.AdamW(1e-3).updates(loss, net.parameters())


def pictures(make: Callable[[], nn.Module], *shape: int, batch: int = 2, training: bool) -> Whole:
    batch = batch if training else 1
    return whole(make(), tg.input("image", batch, *shape), (batch,), training)


def masks(make: Callable[[], nn.Module], *shape: int, batch: int = 2, training: bool) -> Whole:
    """A mask of each picture, which the loss compares by overlap (Dice)."""
    net, x = make(), tg.input("image", batch, *shape)
    found = tg.sigmoid(net(x, training=training))
    if not training:
        return [x], [found], []
    y = tg.input("mask", *found.shape)
    loss = 1 - (2 * tg.sum(found * y) + 1) / (tg.sum(found) + tg.sum(y) + 1)
    return [x, y], [loss], optim.Adam(1e-3).updates(loss, net.parameters())


def series(make: Callable[[], nn.Module], *, batch: int = 8, training: bool) -> Whole:
    return whole(make(), tg.input("series", batch, 20, 64), (batch,), training)


def text(make: Callable[[], nn.Module], each: bool, *, batch: int = 4, training: bool) -> Whole:
    x = tg.input("text", batch, 64, dtype="int32")
    return whole(make(), x, (batch, 64) if each else (batch,), training)


KINDS: dict[str, Callable[..., Whole]] = {
    "lenet5": partial(pictures, models.lenet5, 1, 28, 28),
    "alexnet": partial(pictures, models.alexnet, 3, 227, 227),
    "googlenet": partial(pictures, models.googlenet, 3, 224, 224),
    "googlenet_bn": partial(pictures, lambda: models.googlenet("batch_norm"), 3, 224, 224),
    "inception_v3": partial(pictures, models.inception_v3, 3, 299, 299),
    "resnet50": partial(pictures, models.resnet50, 3, 224, 224),
    "mobilenet_v2": partial(pictures, models.mobilenet_v2, 3, 224, 224),
    "unet": partial(masks, UNet, 3, 128, 128),
    "unet_nearest": partial(masks, lambda: UNet(transposed=False), 3, 128, 128),
    "rnn": partial(series, lambda: models.rnn(64, 128, 10)),
    "lstm": partial(series, lambda: models.lstm(64, 128, 10)),
    "char": partial(text, lambda: models.CharLanguageModel(62, hidden=128, size=64), True),
    "classifier": partial(text, lambda: models.TransformerClassifier(62, 10, 64), False),
    "transformer": partial(text, lambda: models.TransformerLanguageModel(62, 64), True),
}
WHOLE: dict[str, Callable[[], Any]] = {
    name + ("_step" if training else ""): partial(make, training=training)
    for name, make in KINDS.items()
    for training in (False, True)
}
