"""Show what the compiler makes of a network: any stage as text, or what a pass changed."""

from __future__ import annotations

import argparse
import sys

from . import networks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    networks.add_arguments(parser)
    parser.add_argument("stage", nargs="?", help="graph, a pass, plan, source; default: a summary")
    parser.add_argument("--diff", action="store_true", help="what this pass changed; without a "
                        "stage, what all of them did")  # fmt: skip
    parser.add_argument("--since", metavar="STAGE", help="what all passes after this one changed")
    parser.add_argument("--layers", action="store_true", help="a graph with a line for each layer")
    parser.add_argument("--lines", action="store_true", help="with the lines that built it")
    parser.add_argument("--threads", type=int, metavar="N", help="with a forecast of how well the "
                        "parts fill so many threads")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="kernels, costs and remarks as JSON")


def main(arguments: argparse.Namespace) -> None:
    try:
        program, _ = networks.compiled(arguments)
        if arguments.json:
            print(networks.json_text(program))
        elif arguments.diff or arguments.since:
            print(program.diff(arguments.stage, arguments.since))
        elif arguments.stage:
            print(program.dump(arguments.stage, lines=arguments.lines, scopes=arguments.layers))
        else:
            print(f"{program}\n  stages   {', '.join(program.stages)}")
            if arguments.threads:
                busy = program.cost(arguments.threads)["utilization_percent"]
                print(f"  forecast {arguments.threads} threads compute {busy} % of the time")
    except (OSError, ValueError, ImportError, TypeError) as error:
        sys.exit(f"python -m tinygraph show: {error}")
