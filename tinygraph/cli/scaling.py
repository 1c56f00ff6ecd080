"""Forecast how training scales with ranks: a measured step of one, and a model of the sum."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np

from .. import distributed as dist
from ..ranks.forecast import Bucket, bytes_a_second, step_seconds, sum_seconds
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
        found = networks.described(arguments)
        assert isinstance(found, networks.Network)
        step = dist.data_parallel(
            found.inputs, found.outputs, updates=found.updates, shards=1, name=found.name
        )
    except (OSError, ValueError, ImportError, TypeError) as error:
        sys.exit(f"python -m tinygraph scaling: {error}")
    spent = []
    for _ in range(arguments.repeat + 1):
        start = time.perf_counter()
        step(*found.arrays)
        spent.append(time.perf_counter() - start)
    seconds = float(np.median(spent[1:]))
    buckets = step.buckets
    print(
        f"{found.name}: {sum(b for b, _ in buckets):,} bytes to sum, in {len(buckets)} buckets; a "
        f"step of one rank, measured here, {1e3 * arguments.shards * seconds:.1f} ms, each rank "
        f"with a batch of its own; links of {arguments.rate}"
    )
    titles = "sum ms", "at the end", "efficiency", "overlapped", "efficiency"
    print(f"{'ranks':>6}" + "".join(f"{t:>12}" for t in titles))
    for row in table(seconds, arguments.shards, buckets, arguments.ranks, rate, arguments.alpha):
        print("{:6}{:12.2f}{:12.2f}{:12.1%}{:12.2f}{:12.1%}".format(*row))


def table(
    step: float, shards: int, buckets: Sequence[Bucket], most: int, rate: float, alpha: float
) -> list[tuple[int, float, float, float, float, float]]:
    """(ranks, milliseconds of the sums, of the step with them at its end, part of it that computes;
    the same where the last shard's computation hides them), doubling ranks.
    """
    rows, ranks, work = [], 1, step * shards
    while ranks <= most:
        summed = sum(sum_seconds(ranks, bytes, rate, alpha / 1e6) for bytes, _ in buckets)
        last = step_seconds(step, buckets, ranks, rate, alpha / 1e6)
        ends = work + summed, work - step + last
        rows.append((
            ranks, 1e3 * summed, 1e3 * ends[0], work / ends[0], 1e3 * ends[1], work / ends[1]
        ))  # fmt: skip
        ranks *= 2
    return rows
