"""Show where the time of a network goes: every launch against the processor's roofline."""

from __future__ import annotations

import argparse
import importlib.util
import sys

from . import networks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    networks.add_arguments(parser)
    parser.add_argument("--repeat", type=int, default=20, help="runs that are timed; default 20")
    parser.add_argument("--explain", metavar="NAME", help="say what became of a layer or node")


def main(arguments: argparse.Namespace) -> None:
    try:
        program, arrays = networks.compiled(arguments)
        profile = program.profile(*arrays, repeat=arguments.repeat)
        show(program.explain(arguments.explain) if arguments.explain else profile)
    except ValueError as error:
        sys.exit(f"python -m tinygraph profile: {error}")


def show(found: object) -> None:
    """Prints with colours where rich is installed and the output is a terminal."""
    if importlib.util.find_spec("rich") and sys.stdout.isatty() and hasattr(found, "__rich__"):
        from rich.console import Console

        Console().print(found)
    else:
        print(found)
