"""The networks that commands compile: their arguments, programs, and pictures for them."""

from __future__ import annotations

import argparse
import json
import runpy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import models, nn, onnx, optim
from ..compile import compile
from ..compiler.program import Program
from ..graph.ir import Node, Parameter
from ..graph.op import input
from ..page.record import record

IMAGES = {  # the shape of a picture, for each network
    "lenet5": (1, 28, 28),
    "alexnet": (3, 227, 227),
    "vgg16": (3, 224, 224),
    "squeezenet": (3, 224, 224),
    "googlenet": (3, 224, 224),
    "inception_v3": (3, 299, 299),
    "resnet18": (3, 224, 224),
    "resnet50": (3, 224, 224),
    "resnext50": (3, 224, 224),
    "densenet121": (3, 224, 224),
    "mobilenet_v2": (3, 224, 224),
    "efficientnet_b0": (3, 224, 224),
    "shufflenet_v2": (3, 224, 224),
    "vit_b_16": (3, 224, 224),
}


@dataclass
class Network:
    """What is compiled, and arrays for a call."""

    name: str
    inputs: Sequence[Node]
    outputs: Sequence[Node]
    updates: Sequence[tuple[Parameter, Node]]
    arrays: list[np.ndarray]

    def compile(self, backend: str | None) -> Program:
        return compile(
            self.inputs, self.outputs, updates=self.updates, backend=backend, name=self.name
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which network, and as which program."""
    parser.add_argument("model", metavar="MODEL", help=f"{', '.join(IMAGES)}; or MODEL.onnx; or "
                        "FILE.py:NAME, a module, a program, or a function that returns one"
                        )  # fmt: skip
    parser.add_argument("--train", action="store_true", help="a training step with momentum")
    parser.add_argument("--backend", help="name[:runtime]; default TINYGRAPH_BACKEND, else cpu")
    add_onnx_arguments(parser)


def add_onnx_arguments(parser: argparse.ArgumentParser) -> None:
    """The sizes of an ONNX file's inputs."""
    parser.add_argument("--batch", type=int, default=1, help="examples in a call; default 1")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1,3,224,224",
                        help="of an input, where a file does not tell")  # fmt: skip
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
        OSError, ValueError: there is no such network or file, or it is not right.
    """
    found = described(arguments)
    if isinstance(found, Program):
        return found, [random(n.shape, n.dtype) for n in found.graph.inputs]
    return found.compile(arguments.backend), found.arrays


def described(arguments: argparse.Namespace) -> Network | Program:
    """What the arguments ask for, not yet compiled unless the user's file did.

    Raises:
        OSError, ValueError: there is no such network or file, or it is not right.
    """
    model = arguments.model
    if arguments.batch < 1:
        raise ValueError(f"--batch requires a positive number, got {arguments.batch}")
    if model in IMAGES:
        return (training_step if arguments.train else inference)(model, arguments.batch)
    if arguments.train:
        raise ValueError("--train is for the library's own networks")
    if model.endswith(".onnx"):
        net = onnx.load(model, constants=constants(arguments))
        nodes = net.nodes(arguments.batch, shapes(arguments))
        return called(net, nodes, model.removesuffix(".onnx").rpartition("/")[2])
    if ":" in model:
        return defined(arguments)
    raise ValueError(
        f"no network {model!r}; there is {', '.join(IMAGES)}, or a file MODEL.onnx, or FILE.py:NAME"
    )


def called(net: nn.Module, nodes: Sequence[Node], name: str) -> Network:
    """A module's inference on these nodes, and random arrays for them."""
    made = net(*nodes)
    outputs = (made,) if isinstance(made, Node) else tuple(made)
    return Network(name, nodes, outputs, (), [random(n.shape, n.dtype) for n in nodes])


def defined(arguments: argparse.Namespace) -> Network | Program:
    """The module or program of ``file.py:name``; inputs of a module are float32 of ``--shape``.

    Raises:
        ValueError: there is no such name in the file, or it is neither, nor a function that returns
            one; or shapes are missing.
    """
    path, _, name = arguments.model.rpartition(":")
    found = runpy.run_path(path)
    if name not in found:
        raise ValueError(f"{path} defines no {name}")
    value = found[name]
    if callable(value) and not isinstance(value, (Program, nn.Module)):
        value = value()
    if isinstance(value, Program):
        return value
    if not isinstance(value, nn.Module):
        raise ValueError(
            f"{arguments.model} is of type {type(value).__name__}; it must be a module, a program, "
            "or a function without arguments that returns one"
        )
    given = shapes(arguments)
    if not given:
        raise ValueError(f"{name} is a module: --shape NAME=1,3,224,224 says what it takes")
    return called(value, [input(n, *shape) for n, shape in given.items()], name)


def inference(model: str, batch: int) -> Network:
    """A network's logits, and pictures for it."""
    x, pictures = images(model, batch)
    return Network(model, [x], [getattr(models, model)()(x)], (), [pictures])


def training_step(model: str, batch: int) -> Network:
    """A step of SGD with momentum, and pictures with labels for it."""
    x, pictures = images(model, batch)
    y = input("label", batch, dtype="int32")
    net = getattr(models, model)()
    logits = net(x, training=True)
    several = isinstance(logits, tuple)  # with auxiliary classifiers
    loss = models.auxiliary_loss(logits, y) if several else nn.cross_entropy(logits, y)
    updates = optim.SGD(0.01, momentum=0.9).updates(loss, net.parameters())
    labels = np.arange(batch, dtype=np.int32) % 10
    return Network(f"{model}_step", [x, y], [loss], updates, [pictures, labels])


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
