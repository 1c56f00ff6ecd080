"""Write a network, or its training step, as an ONNX file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .. import onnx
from ..compiler.program import Program
from ..graph.ir import Graph
from . import networks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    networks.add_arguments(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.onnx", help="default NAME.onnx")


def main(arguments: argparse.Namespace) -> None:
    try:
        found = networks.described(arguments)
        if isinstance(found, Program):
            path = arguments.output or Path(f"{found.graph.name}.onnx")
            onnx.save(found, path)
        else:
            path = arguments.output or Path(f"{found.name}.onnx")
            graph = Graph(found.name, tuple(found.inputs), tuple(found.outputs))
            onnx.save(graph, path, updates=found.updates)
        print(f"{path}: {path.stat().st_size:,} bytes")
    except (OSError, ValueError, ImportError, TypeError) as error:
        sys.exit(f"python -m tinygraph export: {error}")
