"""Show where the time of a network goes: every launch against the processor's roofline."""

from __future__ import annotations

import argparse
import importlib.util
import sys

import numpy as np

from . import models, nn, optim
from .compile import compile
from .ir import Node
from .op import input
from .program import Program

IMAGES = {  # the shape of a picture, for each network
    "lenet5": (1, 28, 28),
    "alexnet": (3, 227, 227),
    "googlenet": (3, 224, 224),
    "inception_v3": (3, 299, 299),
    "resnet50": (3, 224, 224),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", choices=tuple(IMAGES), metavar="MODEL", help=", ".join(IMAGES))
    parser.add_argument("--batch", type=int, default=1, help="pictures in a call; default 1")
    parser.add_argument("--train", action="store_true", help="a training step with momentum")
    parser.add_argument("--repeat", type=int, default=20, help="runs that are timed; default 20")
    parser.add_argument("--explain", metavar="NAME", help="say what became of a layer or node")
    parser.add_argument("--backend", help="name[:runtime]; default TINYGRAPH_BACKEND, else cpu")


def main(arguments: argparse.Namespace) -> None:
    try:
        if arguments.batch < 1:
            raise ValueError(f"--batch requires a positive number, got {arguments.batch}")
        make = training_step if arguments.train else inference
        program, arrays = make(arguments.model, arguments.batch, arguments.backend)
        profile = program.profile(*arrays, repeat=arguments.repeat)
        show(program.explain(arguments.explain) if arguments.explain else profile)
    except ValueError as error:
        sys.exit(f"python -m tinygraph profile: {error}")


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


def show(found: object) -> None:
    """Prints with colours where rich is installed and the output is a terminal."""
    if importlib.util.find_spec("rich") and sys.stdout.isatty() and hasattr(found, "__rich__"):
        from rich.console import Console

        Console().print(found)
    else:
        print(found)
