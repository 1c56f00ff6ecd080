"""Write one HTML page that shows everything about a program: a network's, or one of your own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import networks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    networks.add_arguments(parser)
    parser.add_argument("--profile", action="store_true", help="run it, for times and rooflines")
    parser.add_argument("-o", "--output", type=Path, metavar="PAGE.html", help="default NAME.html")


def main(arguments: argparse.Namespace) -> None:
    try:
        program, arrays = networks.compiled(arguments)
        if arguments.profile:
            program.profile(*arrays)
        path = program.view(arguments.output or f"{program.graph.name}.html")
        print(f"{path}: {path.stat().st_size:,} bytes, to open in a browser")
    except (OSError, ValueError, ImportError, TypeError) as error:
        sys.exit(f"python -m tinygraph view: {error}")
