"""The networks that commands compile: their arguments, programs, and pictures for them."""

from __future__ import annotations

import argparse
import json

import numpy as np

from .. import models, nn, optim
from ..compile import compile
from ..compiler.program import Program
from ..graph.ir import Node
from ..graph.op import input
from ..page.record import record

IMAGES = {  # the shape of a picture, for each network
    "lenet5": (1, 28, 28),
    "alexnet": (3, 227, 227),
    "googlenet": (3, 224, 224),
    "inception_v3": (3, 299, 299),
    "resnet50": (3, 224, 224),
}


def add_arguments(parser: argparse.ArgumentParser, or_else: str = "") -> None:
    """Which network, and as which program; ``or_else``: what else the command takes."""
    names = ", ".join(IMAGES)
    if or_else:
        parser.add_argument("model", metavar="MODEL", help=f"{names}; or {or_else}")
    else:
        parser.add_argument("model", choices=tuple(IMAGES), metavar="MODEL", help=names)
    parser.add_argument("--batch", type=int, default=1, help="pictures in a call; default 1")
    parser.add_argument("--train", action="store_true", help="a training step with momentum")
    parser.add_argument("--backend", help="name[:runtime]; default TINYGRAPH_BACKEND, else cpu")


def compiled(arguments: argparse.Namespace) -> tuple[Program, list[np.ndarray]]:
    """The program that the arguments ask for, and arrays for a call.

    Raises:
        ValueError: there is no such network, or the batch is below 1.
    """
    if arguments.model not in IMAGES:
        raise ValueError(f"no network {arguments.model!r}; there is {', '.join(IMAGES)}")
    if arguments.batch < 1:
        raise ValueError(f"--batch requires a positive number, got {arguments.batch}")
    make = training_step if arguments.train else inference
    return make(arguments.model, arguments.batch, arguments.backend)


def inference(model: str, batch: int, backend: str | None) -> tuple[Program, list[np.ndarray]]:
    """A network's logits, and pictures for it."""
    x, pictures = images(model, batch)
    program = compile([x], [getattr(models, model)()(x)], backend=backend, name=model)
    return program, [pictures]


def training_step(model: str, batch: int, backend: str | None) -> tuple[Program, list[np.ndarray]]:
    """A step of SGD with momentum, and pictures with labels for it."""
    x, pictures = images(model, batch)
    y = input("label", batch, dtype="int32")
    net = getattr(models, model)()
    logits = net(x, training=True)
    several = isinstance(logits, tuple)  # with auxiliary classifiers
    loss = models.auxiliary_loss(logits, y) if several else nn.cross_entropy(logits, y)
    updates = optim.SGD(0.01, momentum=0.9).updates(loss, net.parameters())
    program = compile([x, y], [loss], updates=updates, backend=backend, name=f"{model}_step")
    return program, [pictures, np.arange(batch, dtype=np.int32) % 10]


def images(model: str, batch: int) -> tuple[Node, np.ndarray]:
    """An input for pictures, and random ones."""
    shape = (batch, *IMAGES[model])
    return input("image", *shape), np.random.default_rng(0).random(shape, dtype=np.float32)


def json_text(program: Program) -> str:
    """A program's totals, kernels and remarks, after a profile with times, for other tools."""
    found = record(*program.page_record())
    names = ("launch", "layer", "what", "how", "why", "product", "shape", "part", "steps", "device",
             "parts", "flops", "bytes", "us", "roof", "bound", "cards")  # fmt: skip
    data = {
        "name": found["name"],
        "cost": found["cost"],
        "profile": found.get("profile"),
        "kernels": [{k: kernel[k] for k in names if k in kernel} for kernel in found["kernels"]],
        "remarks": [{k: r[k] for k in ("text", "about", "bytes")} for r in found["remarks"]],
    }
    return json.dumps(data, indent=1)
