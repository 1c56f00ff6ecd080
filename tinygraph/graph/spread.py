"""Values of parameters that not every rank has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..ranks.world import DistributedError, World, world
from .dtype import DTYPES
from .ir import Parameter
from .state import ParameterState


@dataclass(frozen=True, slots=True)
class OnRank:
    """A value that a program has computed on one rank; see ``Spread``."""

    rank: int
    program: str
    here: bool

    @property
    def where(self) -> str:
        return f"on rank {self.rank}, where program {self.program} has computed it"

    def collect(self, state: ParameterState) -> None:
        value = np.array(state.read(), order="C") if world().rank == self.rank else None
        state.write(from_rank(world(), self.rank, value, state.type.shape, state.type.dtype))


def from_rank(
    world: World, root: int, value: np.ndarray | None, shape: tuple[int, ...], dtype: str
) -> np.ndarray:
    """The value that one rank has, on all of them."""
    none = np.empty(0, np.uint8)
    if world.rank == root:
        assert value is not None
        world.exchange([value] * world.size, [none] * world.size)
        return value
    got = np.empty(shape, DTYPES[dtype].numpy)
    receive = [none] * world.size
    receive[root] = got
    world.exchange([none] * world.size, receive)
    return got


def collect(parameters: Iterable[Parameter]) -> None:
    """Brings values that not every rank has to all of them; see ``distributed.collect``.

    Raises:
        DistributedError: ranks do not collect the same.
    """
    spread = [(p, found) for p in dict.fromkeys(parameters) if (found := p.state.spread)]
    if not spread or world().size == 1:
        return
    names = [f"{p.name}: {p.type}" for p, _ in spread]
    for rank, theirs in enumerate(world().gather(names)):
        if theirs != names:
            raise DistributedError(
                f"rank {rank} collects {len(theirs)} values that are not on all ranks, rank "
                f"{world().rank} {len(names)}: all ranks must collect the same"
            )
    for p, found in spread:
        found.collect(p.state)
