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
    parser.add_argument("--trace", metavar="FILE.json", help="write one call as a Chrome trace")
    parser.add_argument("--json", action="store_true", help="kernels, costs, times and remarks as "
                        "JSON")  # fmt: skip


def main(arguments: argparse.Namespace) -> None:
    try:
        program, arrays = networks.compiled(arguments)
        profile = program.profile(*arrays, repeat=arguments.repeat)
        if arguments.trace:
            print(f"{profile.save(arguments.trace)}: to open at https://ui.perfetto.dev")
        elif arguments.json:
            print(networks.json_text(program))
        else:
            show(program.explain(arguments.explain) if arguments.explain else profile)
    except (OSError, ValueError, ImportError, TypeError) as error:
        sys.exit(f"python -m tinygraph profile: {error}")


def show(found: object) -> None:
    """Prints with colours where rich is installed and the output is a terminal."""
    if importlib.util.find_spec("rich") and sys.stdout.isatty() and hasattr(found, "__rich__"):
        from rich.console import Console

        Console().print(found)
    else:
        print(found)
