"""The networks that commands compile: their arguments, programs, and pictures for them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import models, nn, onnx, optim
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


def add_arguments(parser: argparse.ArgumentParser, or_else: str) -> None:
    """Which network, and as which program; ``or_else``: what else the command takes."""
    parser.add_argument("model", metavar="MODEL", help=f"{', '.join(IMAGES)}; or {or_else}")
    parser.add_argument("--train", action="store_true", help="a training step with momentum")
    parser.add_argument("--backend", help="name[:runtime]; default TINYGRAPH_BACKEND, else cpu")
    add_onnx_arguments(parser)


def add_onnx_arguments(parser: argparse.ArgumentParser) -> None:
    """The sizes of an ONNX file's inputs."""
    parser.add_argument("--batch", type=int, default=1, help="examples in a call; default 1")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1,3,224,224",
                        help="of an ONNX file's input, where the file does not tell")  # fmt: skip
    parser.add_argument("--constant", action="append", default=[], metavar="NAME=16000",
                        help="an ONNX file's input that shapes depend on")  # fmt: skip


def shapes(arguments: argparse.Namespace) -> dict[str, tuple[int, ...]]:
    """Shapes of inputs by name.

    Raises:
        ValueError: one is not NAME=sizes.
    """
    return {name: tuple(map(int, sizes)) for name, sizes in _pairs(arguments.shape, "--shape")}


def constants(arguments: argparse.Namespace) -> dict[str, Any]:
    """Values of inputs by name: a number, or a list of several.

    Raises:
        ValueError: one is not NAME=numbers.
    """
    found = {}
    for name, texts in _pairs(arguments.constant, "--constant"):
        values = [float(t) if "." in t or "e" in t else int(t) for t in texts]
        found[name] = values[0] if len(values) == 1 else values
    return found


def _pairs(given: list[str], option: str) -> Iterator[tuple[str, list[str]]]:
    for text in given:
        name, equals, values = text.rpartition("=")
        if not equals or not name:
            raise ValueError(f"{option} requires NAME=numbers, got {text!r}")
        yield name, values.split(",")


def random(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Numbers to run a program on: small ones, since integers may be indices."""
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)


def compiled(arguments: argparse.Namespace) -> tuple[Program, list[np.ndarray]]:
    """The program that the arguments ask for, and arrays for a call.

    Raises:
        ValueError: there is no such network, or the batch is below 1.
    """
    if arguments.batch < 1:
        raise ValueError(f"--batch requires a positive number, got {arguments.batch}")
    if arguments.model.endswith(".onnx"):
        return from_file(arguments)
    if arguments.model not in IMAGES:
        raise ValueError(
            f"no network {arguments.model!r}; there is {', '.join(IMAGES)}, or a file MODEL.onnx"
        )
    make = training_step if arguments.train else inference
    return make(arguments.model, arguments.batch, arguments.backend)


def from_file(arguments: argparse.Namespace) -> tuple[Program, list[np.ndarray]]:
    """The program of an ONNX file, and arrays for a call.

    Raises:
        OSError, ValueError: the file is not there, or not right.
    """
    if arguments.train:
        raise ValueError("--train is for the library's own networks")
    net = onnx.load(arguments.model, constants=constants(arguments))
    program = net.compile(arguments.batch, shapes=shapes(arguments), backend=arguments.backend)
    return program, [random(n.shape, n.dtype) for n in program.graph.inputs]


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
