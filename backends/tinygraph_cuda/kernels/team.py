"""Threads that share a reduction out, and combine what they have in a tree of one shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from tinygraph.codegen.steps import folded
from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.records.work import Fold, Nest

from .kernel import THREADS, WARP

FEW = 256  # elements of a result that warps would not fill a GPU with
MANY = 1 << 14  # elements from which on a thread for each fills one
LONG = 1024  # steps of a reduction that keep a whole block busy


@dataclass(frozen=True, slots=True)
class LaneTeam:
    """So many ``lanes`` for each of the neighbouring ``elements`` that a block works on."""

    lanes: int
    elements: int
    lane: str = ""  # of a thread, as text

    @property
    def shared(self) -> bool:
        """True if its members exchange through shared memory."""
        return self.lanes * self.elements == THREADS and self.lanes > 1 and self is not WARP_TEAM

    @property
    def barrier(self) -> str:
        """A line in which its members wait for one another."""
        return "cuda.syncwarp()" if self is WARP_TEAM else "cuda.syncthreads()"


THREAD = LaneTeam(1, THREADS)
WARP_TEAM = LaneTeam(WARP, THREADS // WARP, f"remainder(cuda.threadIdx.x, {WARP})")
BLOCK = LaneTeam(THREADS, 1, "uint32(cuda.threadIdx.x)")
COLUMNS = LaneTeam(THREADS // 8, 8, "quotient(cuda.threadIdx.x, 8)")  # 32 bytes, a sector, of a row


def choose(nest: Nest, total: int) -> LaneTeam:
    """The team for an element: by the position and length of the reduction, and the number of
    results.
    """
    length = prod(nest.axes[a] for a in nest.reduce)
    if length < WARP or nest.style == "literal":
        return THREAD
    if nest.style == "column":
        return COLUMNS if length >= 4 * WARP and total < MANY else THREAD
    inner = [s for stage in nest.stages for s in stage.inner]
    if any(DTYPES[s.dtype].bits < 32 for s in inner if isinstance(s, Fold)):
        return THREAD  # lanes exchange words
    return BLOCK if total < FEW and length >= LONG else WARP_TEAM


def combine(team: LaneTeam, fold: Fold) -> Iterator[str]:
    """Lines after which all lanes of a team hold the same bits."""
    if team in (WARP_TEAM, BLOCK):
        yield from by_shuffles(fold)
    if team is BLOCK:
        yield from over_warps(fold)
    if team is COLUMNS:
        yield from over_rows(fold)


def by_shuffles(fold: Fold) -> Iterator[str]:
    """A butterfly of five exchanges; Numba exchanges no unsigned words, so they go as signed."""
    unsigned = DTYPES[fold.dtype].kind == "uint"
    mine, cast = (f"int32({fold.name})", fold.dtype) if unsigned else (fold.name, "")
    distance = WARP // 2
    while distance:
        other = f"cuda.shfl_xor_sync(0xFFFFFFFF, {mine}, {distance})"
        yield f"{fold.name}_other = {f'{cast}({other})' if cast else other}"
        yield f"{fold.name} = {with_other(fold, fold.name, f'{fold.name}_other')}"
        distance //= 2


def with_other(fold: Fold, mine: str, other: str) -> str:
    return folded(Fold(mine, fold.fold, other, fold.dtype), mine)


def over_warps(fold: Fold) -> Iterator[str]:
    """One number of each warp, one after the other."""
    shared = f"{fold.name}_shared"
    yield f"if remainder(lane, {WARP}) == uint32(0):"
    yield f"    {shared}[quotient(lane, {WARP})] = {fold.name}"
    yield "cuda.syncthreads()"
    yield f"{fold.name} = {shared}[0]"
    for warp in range(1, THREADS // WARP):
        yield f"{fold.name}_other = {shared}[{warp}]"
        yield f"{fold.name} = {with_other(fold, fold.name, f'{fold.name}_other')}"
    yield "cuda.syncthreads()"


def over_rows(fold: Fold) -> Iterator[str]:
    """Halves of the lanes, until one is left."""
    shared, thread = f"{fold.name}_shared", "uint32(cuda.threadIdx.x)"
    yield f"{shared}[{thread}] = {fold.name}"
    yield "cuda.syncthreads()"
    yield f"half = uint32({COLUMNS.lanes // 2})"
    yield "while half > uint32(0):"
    yield "    if lane < half:"
    below = f"uint32({thread} + half * uint32({COLUMNS.elements}))"
    yield f"        {fold.name}_other = {shared}[{below}]"
    yield f"        {fold.name} = {with_other(fold, fold.name, f'{fold.name}_other')}"
    yield f"        {shared}[{thread}] = {fold.name}"
    yield "    cuda.syncthreads()"
    yield "    half = uint32(half >> uint32(1))"
    yield f"{fold.name} = {shared}[column]"
    yield "cuda.syncthreads()"
