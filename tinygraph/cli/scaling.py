"""Forecast how training scales with ranks: a measured step of one, and a model of the sum."""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from ..ranks.forecast import bytes_a_second, sum_seconds
from . import networks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    networks.add_arguments(parser)
    parser.add_argument("--ranks", type=int, default=64, help="the most; default 64")
    parser.add_argument("--rate", default="10gbit", help="of each rank's link; default 10gbit")
    parser.add_argument(
        "--alpha", type=float, default=15.0, help="microseconds of a message; default 15"
    )
    parser.add_argument(
        "--shards", type=int, default=1, help="of each rank, one after the other; default 1"
    )
    parser.add_argument("--repeat", type=int, default=10, help="steps that are timed; default 10")


def main(arguments: argparse.Namespace) -> None:
    try:
        arguments.train = True
        rate = bytes_a_second(arguments.rate)
        program, arrays = networks.compiled(arguments)
    except (OSError, ValueError, ImportError, TypeError) as error:
        sys.exit(f"python -m tinygraph scaling: {error}")
    spent = []
    for _ in range(arguments.repeat + 1):
        start = time.perf_counter()
        program(*arrays)
        spent.append(time.perf_counter() - start)
    step = arguments.shards * float(np.median(spent[1:]))
    bytes = sum(p.type.bytes for p in program.parameters if p.state.trainable)
    print(
        f"{program.graph.name}: {bytes:,} bytes of gradients; a step of one rank, measured here, "
        f"{1e3 * step:.1f} ms, each rank with a batch of its own; links of {arguments.rate}"
    )
    print(f"{'ranks':>6}{'sum ms':>10}{'step ms':>10}{'efficiency':>12}")
    for row in table(step, bytes, arguments.ranks, rate, arguments.alpha / 1e6):
        print("{:6}{:10.2f}{:10.2f}{:12.1%}".format(*row))


def table(
    step: float, bytes: int, most: int, rate: float, alpha: float
) -> list[tuple[int, float, float, float]]:
    """(ranks, milliseconds of the sum, of the step, part of it that computes), doubling ranks."""
    rows, ranks = [], 1
    while ranks <= most:
        summed = sum_seconds(ranks, bytes, rate, alpha)
        rows.append((ranks, 1e3 * summed, 1e3 * (step + summed), step / (step + summed)))
        ranks *= 2
    return rows
