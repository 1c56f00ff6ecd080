"""Compare an ONNX file's network with ONNX Runtime: outputs, speed, the first node that differs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from .. import onnx
from ..compile import compile
from . import networks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("--input", type=Path, metavar="X.npz", help="arrays by the inputs' names; "
                        "default: random ones")  # fmt: skip
    parser.add_argument("--bisect", action="store_true", help="name the first node that differs")
    networks.add_onnx_arguments(parser)


def main(arguments: argparse.Namespace) -> None:
    try:
        run(arguments)
    except (OSError, ValueError, ImportError, TypeError) as error:
        sys.exit(f"python -m tinygraph compare: {error}")


def run(arguments: argparse.Namespace) -> None:
    """Prints the comparison; ends with 1 if an output differs."""
    from ..onnx.compare import compare, first_difference

    net = onnx.load(arguments.model, constants=networks.constants(arguments))
    given = dict(np.load(arguments.input)) if arguments.input else {}
    shapes = networks.shapes(arguments) | {name: a.shape for name, a in given.items()}
    nodes = net.nodes(arguments.batch, {v.name: shapes[v.name] for v in net.inputs
                                        if v.name in shapes})  # fmt: skip
    arrays = [given.get(str(n.name), networks.random(n.shape, n.dtype)) for n in nodes]
    made = net(*nodes)
    program = compile(nodes, made if isinstance(made, tuple) else (made,))
    found = compare(arguments.model, net, program, arrays)
    print(found)
    if arguments.bisect:
        first = first_difference(arguments.model, net, nodes, arrays)
        if first is None:
            print("no node differs")
        else:
            number, name, d = first
            print(f"the first to differ is node {number}, {name}: {d.name}{list(d.shape)} "
                  f"by {d.largest:.2g}, {d.relative:.1g} of its spread")  # fmt: skip
    if not all(d.close for d in found.outputs):
        sys.exit(1)
