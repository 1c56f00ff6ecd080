"""Write a bundle that checks every CUDA kernel on a machine with a GPU, without a compiler there.

    python -m tinygraph cuda-check --bundle DIR        here; needs no GPU
    python DIR/run.py                                  there; needs numpy and cuda-core only

The bundle has machine code and expected outputs of every operator, its gradient, parts of networks
and whole training steps. Its runner executes each in a process of its own, compares, times steps
and kernels, PyTorch's next to them where that is installed, and writes one report.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ARCHITECTURES = "sm_80,sm_90,sm_100,sm_120"  # each runs on later ones of its generation too


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--only", default="", metavar="WORD", help="cases with this in their names")
    parser.add_argument(
        "--architectures",
        default=ARCHITECTURES,
        metavar="LIST",
        help=f"that machine code is made for; default {ARCHITECTURES}",
    )


def main(arguments: argparse.Namespace) -> None:
    from tinygraph.compiler.backend import BackendError

    from .bundle import write_bundle
    from .suite import cases

    chosen = list(cases(arguments.only))
    try:
        if not chosen:
            raise ValueError(f"no case has {arguments.only!r} in its name")
        architectures = tuple(arguments.architectures.split(","))
        for number, name in enumerate(write_bundle(arguments.bundle, chosen, architectures), 1):
            print(f"{number}/{len(chosen)} {name}", flush=True)
    except (BackendError, ValueError) as error:
        sys.exit(f"python -m tinygraph cuda-check: {error}")
    print(f"copy {arguments.bundle} to a machine with a GPU and run: python run.py")
