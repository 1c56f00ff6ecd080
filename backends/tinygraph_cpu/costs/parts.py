"""Parts of a launch: enough of them, and even, by its work alone, never by threads."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapreplace
from itertools import product
from math import prod

WORTH = 400_000  # multiply-adds that are worth a part of their own
PART = 5_000  # multiply-adds in the time that it takes to claim a part and to begin it
TEAMS = (2, 4)  # threads among which parts should come out even


def choose_parts(
    tiles: int, blocks: int, work: int, b_larger: bool, again: float = 0.0
) -> tuple[int, int]:
    """(row parts, column parts) of these row tiles and column blocks, which keep threads equally
    busy, and cut the larger operand rather than the other: by the work alone, so that a plan is the
    same for any number of threads.

    Every share of the rows reads all of B, in ``again`` of the time of the whole work.
    """
    most = max(1, min(64, work // WORTH))
    ways = [(r, c) for r in shares(tiles) for c in shares(blocks) if r * c <= most]
    least = min(most // 4, max(map(prod, ways)))  # and enough of them where a thread is held up
    start = PART * tiles * blocks / work

    def rank(way: tuple[int, int]) -> tuple[float, int, float]:
        rows, columns = (portions(n, parts) for n, parts in zip((tiles, blocks), way, strict=True))
        time = busy([start + r * c for r, c in product(rows, columns)]) / (tiles * blocks)
        time += len(TEAMS) * again * way[0]
        return round(time, 1), way[0] if b_larger else way[1], time

    return min((way for way in ways if prod(way) >= least), key=rank)


def portions(n: int, parts: int) -> list[int]:
    """n things as equally as they go, in the order of the parts."""
    return [-(-n * (i + 1) // parts) - -(-n * i // parts) for i in range(parts)]


def busy(times: Sequence[float], teams: Sequence[int] = TEAMS) -> float:
    """Time of all threads until the last is ready, for some teams together, if parts that take so
    long are begun in order.
    """
    total = 0.0
    for team in teams:
        until = [0.0] * team
        for time in times:
            heapreplace(until, until[0] + time)
        total += team * max(until)
    return total


def shares(n: int) -> list[int]:
    """Numbers of parts to cut n into that are worth trying: each has a smaller largest part."""
    return sorted({-(-n // -(-n // parts)) for parts in range(1, min(n, 64) + 1)})
