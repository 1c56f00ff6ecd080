"""python -m tinygraph COMMAND, or tinygraph COMMAND: each command is a module.

Such a module has a docstring, whose first line is the command's help, ``add_arguments(parser)`` and
``main(arguments)``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from . import __version__

COMMANDS = {
    "demo": "tinygraph.cli.demo",
    "show": "tinygraph.cli.show",
    "view": "tinygraph.cli.view",
    "profile": "tinygraph.cli.profile",
    "scaling": "tinygraph.cli.scaling",
    "check": "tinygraph.cli.check",
    "compare": "tinygraph.cli.compare",
    "export": "tinygraph.cli.export",
    "cache": "tinygraph.cli.cache",
    "doctor": "tinygraph.cli.doctor",
    "cuda-check": "tinygraph_cuda.check",
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tinygraph", description="tinygraph: a graph compiler for neural networks."
    )
    parser.add_argument("--version", action="version", version=f"tinygraph {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, path in COMMANDS.items():
        module = importlib.import_module(path)
        text = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(name, help=text, description=text)
        module.add_arguments(command)
        command.set_defaults(main=module.main)
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "main"):
        parser.print_help()
        return
    try:
        arguments.main(arguments)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
