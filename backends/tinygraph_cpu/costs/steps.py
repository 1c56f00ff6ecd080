"""Cycles of a register tile's step."""

from __future__ import annotations


def tile_cycles(rows: int, vectors: int) -> float:
    """Cycles of one step of the reduction: two multiply-adds or two loads a cycle, latency four."""
    return max(rows * vectors / 2, (rows + vectors) / 2, 4.5 if rows * vectors < 10 else 0.0)
