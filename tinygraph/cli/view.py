"""Write one HTML page that shows everything about a program: a network's, or one of your own."""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

from ..compiler.program import Program
from . import networks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    networks.add_arguments(
        parser, or_else="MODEL.onnx; FILE.py:NAME, a program or a function that returns one"
    )
    parser.add_argument("--profile", action="store_true", help="run it, for times and rooflines")
    parser.add_argument("-o", "--output", type=Path, metavar="PAGE.html", help="default NAME.html")


def main(arguments: argparse.Namespace) -> None:
    try:
        if ":" in arguments.model:
            program = defined(arguments.model)
            arrays = [networks.random(n.type.shape, n.type.dtype) for n in program.graph.inputs]
        else:
            program, arrays = networks.compiled(arguments)
        if arguments.profile:
            program.profile(*arrays)
        path = program.view(arguments.output or f"{program.graph.name}.html")
        print(f"{path}: {path.stat().st_size:,} bytes, to open in a browser")
    except (OSError, ValueError, ImportError, TypeError) as error:
        sys.exit(f"python -m tinygraph view: {error}")


def defined(place: str) -> Program:
    """The program of ``file.py:name``.

    Raises:
        ValueError: there is no such name in the file, or it is neither a program nor a function
            that returns one.
    """
    path, _, name = place.rpartition(":")
    found = runpy.run_path(path)
    if name not in found:
        raise ValueError(f"{path} defines no {name}")
    value = found[name]
    program = value if isinstance(value, Program) or not callable(value) else value()
    if not isinstance(program, Program):
        kind = type(program).__name__
        raise ValueError(f"{place} is of type {kind}; it must be a program, or a function without "
                         "arguments that returns one")  # fmt: skip
    return program
