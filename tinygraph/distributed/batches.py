"""Batches of which each rank makes its own shards, out of one global order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Batches
from ..graph.numeric import numeric
from ..ranks.tree import shards_of
from ..ranks.world import world


@dataclass(frozen=True, eq=False)
class Sharded:
    """The shards that a rank holds of an array with the examples of a batch, by number.

    Attributes:
        total: the examples of the whole batch.
    """

    parts: dict[int, np.ndarray]
    total: int

    def __getitem__(self, shard: int) -> np.ndarray:
        return self.parts[shard]

    def __len__(self) -> int:
        return self.total

    @staticmethod
    def of(value: Any, shards: int, held: Sequence[int]) -> Sharded:
        """A batch's array cut into shards of which none is longer than another by more than one."""
        if isinstance(value, Sharded):
            if sorted(value.parts) != list(held):
                raise ValueError(
                    f"the batch is cut for shards {sorted(value.parts)}, this rank holds "
                    f"{list(held)}: give ShardedBatches the same number of shards as data_parallel"
                )
            return value
        array = np.asarray(value)
        return Sharded({s: array[rows(len(array), s, shards)] for s in held}, len(array))


def rows(count: int, shard: int, shards: int) -> slice:
    """The examples of a shard."""
    return slice(count * shard // shards, count * (shard + 1) // shards)


@numeric
class ShardedBatches(Batches):
    """``Batches`` for ``data_parallel``: each rank makes its shards only.

    The order follows from (seed, epoch), what ``transform`` draws from the shard too: the same
    examples at any number of ranks.

    Args:
        examples, options: those of ``data.Batches``.
        batch_size: examples in a global batch, those of all ranks together.
        shards: the number that ``data_parallel`` is given.

    Raises:
        DistributedError: there are more ranks than shards.
        ValueError: see ``data.Batches``.

    Example:
        >>> images = np.zeros((10, 4), np.float32)
        >>> batches = distributed.ShardedBatches(images, batch_size=5, shards=2)
        >>> (first,) = next(iter(batches.epoch(0)))
        >>> len(first), first[0].shape, first[1].shape
        (5, (2, 4), (3, 4))
    """

    def __init__(self, *examples: Any, batch_size: int, shards: int, **options: Any):
        super().__init__(*examples, batch_size=batch_size, **options)
        self.shards = shards
        self.held = shards_of(world().rank, world().size, shards)

    def _batch(self, order: np.ndarray, epoch: int, i: int) -> tuple[Any, ...]:
        chosen = order[i * self.batch_size : (i + 1) * self.batch_size]
        made = {
            shard: self._made(
                chosen[rows(len(chosen), shard, self.shards)], (self.seed, epoch, i, shard)
            )
            for shard in self.held
        }
        arrays = zip(*made.values(), strict=True)
        return tuple(Sharded(dict(zip(made, a, strict=True)), len(chosen)) for a in arrays)
