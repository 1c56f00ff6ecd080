"""Graphs in layers, from top to bottom: Sugiyama, Tagawa, Toda, "Methods for visual understanding
of hierarchical system structures", 1981. The page's own is in ``assets/layout.js``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GAP_X, GAP_Y = 26.0, 34.0
SWEEPS = 12


@dataclass(slots=True)
class Box:
    """A node's size, and the place of its upper left corner once it is laid out."""

    width: float
    height: float
    x: float = 0.0
    y: float = 0.0


def layered(boxes: Sequence[Box], edges: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Places boxes of one size so that edges, which have no cycles, point down; returns the width
    and the height of all.
    """
    if not boxes:
        return 0.0, 0.0
    rank = ranks(len(boxes), edges)
    rows: list[list[int]] = [[] for _ in range(max(rank) + 1)]
    for k, r in enumerate(rank):
        rows[r].append(k)
    near: tuple[list[list[int]], list[list[int]]] = ([[] for _ in boxes], [[] for _ in boxes])
    for a, b in edges:
        near[0][b].append(a)
        near[1][a].append(b)
    step = boxes[0].width + GAP_X
    for row in rows:
        for i, k in enumerate(row):
            boxes[k].x = (i - (len(row) - 1) / 2) * step
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            settle(boxes, row, near[sweep % 2], step)
    left = min(b.x for b in boxes)
    for k, box in enumerate(boxes):
        box.x -= left
        box.y = rank[k] * (box.height + GAP_Y)
    return max(b.x + b.width for b in boxes), max(b.y + b.height for b in boxes)


def ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The rank of each node: one below the lowest of those that it reads."""
    rank, waits = [0] * count, [0] * count
    ready: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        ready[a].append(b)
        waits[b] += 1
    stack = [k for k in range(count) if not waits[k]]
    while stack:
        k = stack.pop()
        for other in ready[k]:
            rank[other] = max(rank[other], rank[k] + 1)
            waits[other] -= 1
            if not waits[other]:
                stack.append(other)
    return rank


def settle(
    boxes: Sequence[Box], row: list[int], near: Sequence[Sequence[int]], step: float
) -> None:
    """Orders a row by the mean of its neighbours, and moves it there: the closest places, by least
    squares, that keep distance (isotonic regression, by pooling adjacent violators).
    """
    wanted = {
        k: sum(boxes[n].x for n in near[k]) / len(near[k]) if near[k] else boxes[k].x for k in row
    }
    row.sort(key=lambda k: wanted[k])
    blocks: list[tuple[float, int]] = []  # mean, count
    for i, k in enumerate(row):
        blocks.append((wanted[k] - i * step, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [((a * m + b * n) / (m + n), m + n)]
    places = [value for value, count in blocks for _ in range(count)]
    for i, k in enumerate(row):
        boxes[k].x = places[i] + i * step
