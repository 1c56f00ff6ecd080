"""Batches of which each rank makes its own shards, out of one global order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
        shards: into how many it is cut.
        more: makes other shards, where this rank takes over those of one that has died.
    """

    parts: dict[int, np.ndarray]
    total: int
    shards: int
    more: Callable[[int], np.ndarray] | None = None

    def __getitem__(self, shard: int) -> np.ndarray:
        if shard not in self.parts:
            assert self.more is not None
            self.parts[shard] = self.more(shard)
        return self.parts[shard]

    def __reduce__(self) -> tuple[Any, ...]:
        return Sharded, (self.parts, self.total, self.shards)  # from a process that makes batches

    def __len__(self) -> int:
        return self.total

    @staticmethod
    def of(value: Any, shards: int, held: Sequence[int]) -> Sharded:
        """A batch's array cut into shards of which none is longer than another by more than one."""
        if isinstance(value, Sharded):
            missing = value.more is None and not {*held} <= {*value.parts}
            if value.shards != shards or missing:
                raise ValueError(
                    f"the batch is cut for shards {sorted(value.parts)}, this rank holds "
                    f"{list(held)}: give ShardedBatches the same number of shards as data_parallel"
                )
            return value
        array = np.asarray(value)
        return Sharded({}, len(array), shards, lambda s: array[rows(len(array), s, shards)])


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
        assert self.held

    @property
    def held(self) -> range:
        """The shards that this rank makes."""
        return shards_of(world().rank, world().size, self.shards)

    def _batch(self, order: np.ndarray, epoch: int, i: int) -> tuple[Any, ...]:
        chosen = order[i * self.batch_size : (i + 1) * self.batch_size]

        def make(shard: int) -> Any:
            examples = chosen[rows(len(chosen), shard, self.shards)]
            return self._made(examples, (self.seed, epoch, i, shard))

        made = {shard: make(shard) for shard in self.held}
        arrays = enumerate(zip(*made.values(), strict=True))
        return tuple(
            Sharded(
                dict(zip(made, a, strict=True)), len(chosen), self.shards, partial(_array, make, k)
            )
            for k, a in arrays
        )


def _array(make: Callable[[int], Sequence[np.ndarray]], number: int, shard: int) -> np.ndarray:
    return make(shard)[number]
