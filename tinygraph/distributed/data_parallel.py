"""Data parallel training, whose results are the same bits with any number of ranks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..compile import compile
from ..compiler.backend import find
from ..compiler.sources import sources_digest
from ..graph.dump import canonical
from ..graph.ir import Graph, Node
from ..graph.op import input
from ..graph.rewrite import substitute
from ..graph.state import aligned
from ..graph.types import Type
from ..ops.random import SEED, STEP
from ..passes import Update
from ..ranks.tree import ShardSum, shards_of
from ..ranks.world import DistributedError, World, world
from .batches import Sharded
from .split import flat, split, unflat


class DataParallel:
    """A training step over all ranks; ``data_parallel`` makes it.

    Attributes:
        shards: into how many pieces each batch is cut.
        gradients: the program of one shard: what is summed, as one flat array.
        update: the program that makes the updates from the sum.
    """

    def __init__(
        self,
        inputs: Sequence[Node],
        outputs: Sequence[Node],
        updates: Iterable[Update],
        shards: int,
        name: str,
        options: dict[str, Any],
    ):
        self.world, self.shards, self.name = world(), shards, name
        if not 1 <= self.world.size <= shards:
            raise DistributedError(
                f"{shards} shards are too few for {self.world.size} ranks: each holds at least one"
            )
        self.world.doing = f"the start of {name}"
        s = split(inputs, outputs, updates, shards)
        self._outputs, self._dtype = s.outputs, s.dtype
        whole = flat(s.values, s.order)
        self.gradients = compile(s.inputs, [whole], name=f"{name} of a shard", **options)
        total = input("sum", *whole.shape, dtype=s.dtype)
        parts = dict(zip(s.sums, unflat(total, s.sums, s.order), strict=True))
        made = substitute(
            Graph("update", (), (*s.sums[: s.outputs], *(new for _, new in s.updates))), parts
        ).outputs
        pairs = zip((p for p, _ in s.updates), made[s.outputs :], strict=True)
        self.update = compile(
            [total], made[: s.outputs], updates=pairs, name=f"{name} after the sum", **options
        )
        size = whole.type.size
        self._sum = ShardSum(self.world, shards, lambda: aligned(Type((size,), s.dtype)))
        self._held = shards_of(self.world.rank, self.world.size, shards)
        self._steps = 0
        self._same()

    def _same(self) -> None:
        """All ranks have the same program, and begin with rank 0's values.

        Raises:
            DistributedError: a rank differs; names it and what differs.
        """
        first, *others = self.world.gather(self._facts())
        for rank, theirs in enumerate(others, 1):
            for what, value in first.items():
                if theirs[what] != value:
                    raise DistributedError(
                        f"rank {rank} differs from rank 0 in {what}: "
                        f"{theirs[what]} instead of {value}"
                    )
        for p in dict.fromkeys((*self.gradients.parameters, *self.update.parameters)):
            p.value = from_first(self.world, np.array(p.value, order="C"))

    def _facts(self) -> dict[str, Any]:
        """What all ranks must have in common."""
        backend, runtime = find(self.gradients.options.backend)
        text = canonical(self.gradients.graph) + canonical(self.update.graph)
        return {
            "the number of shards": self.shards,
            "the sources of tinygraph": sources_digest()[:16],
            "the processor that it compiles for": backend.fingerprint(runtime),
            "the seed": int(SEED.value),
            "the program": hashlib.sha256(text.encode()).hexdigest()[:16],
        }

    def __call__(self, *arrays: Any) -> tuple[np.ndarray, ...]:
        """Makes one step on a global batch; returns the outputs' means over all its examples.

        Args:
            arrays: the whole batch, the same on every rank, of which this one reads its shards; or
                what ``dist.ShardedBatches`` gives, which is those shards alone.
        """
        self._steps += 1
        self.world.doing = f"step {self._steps} of {self.name}"
        given = [Sharded.of(a, self.shards, self._held) for a in arrays]
        total = given[0].total
        step = int(STEP.value)
        for shard in self._held:
            row = self._sum.row()
            count = len(given[0][shard])
            if count:
                weight = np.asarray(count / total, self._dtype)
                counter = np.asarray((step * self.shards + shard) % 2**31, np.int32)
                self.gradients(*(g[shard] for g in given), weight, counter, out=row)
            else:
                row[...] = 0
            self._sum.add(shard, row)
        return self.update(self._sum.total())


def from_first(world: World, value: np.ndarray) -> np.ndarray:
    """Rank 0's value, of this one's shape."""
    none, others = np.empty(0), world.size - 1
    if world.rank == 0:
        world.exchange([value] * world.size, [none] * world.size)
        return value
    got = np.empty_like(value)
    world.exchange([none] * world.size, [got] + [none] * others)
    return got


def data_parallel(
    inputs: Sequence[Node],
    outputs: Sequence[Node],
    *,
    updates: Iterable[Update],
    shards: int,
    name: str = "train",
    **options: Any,
) -> DataParallel:
    """A training step whose batch is shared out among all ranks.

    The batch is cut into ``shards``; each rank computes the gradients of its own, one after the
    other, and they are added up in an order that depends on ``shards`` alone. So parameters are the
    same bits with any number of ranks up to ``shards``, and a run that stopped may go on with
    another number.

        step = dist.data_parallel([x, y], [loss], updates=updates, shards=8)
        (mean,) = step(images, labels)

    Batch normalization uses the statistics of a shard, and averages what it keeps of them. Dropout
    follows from the number of the step and the shard.

    Args:
        inputs: of one shard, the examples along the first axis. An open batch size (None) takes
            batches of any size, whose shards differ by at most one example.
        outputs: means over the examples, 0-d floats: the loss, an accuracy.
        updates: what ``optimizer.updates`` gives, from the loss of one shard.
        options: of ``tg.compile``.

    Raises:
        DistributedError: there are more ranks than shards, or a rank has another program, version,
            seed or number of shards.
        ValueError: an output or an update is none that can be averaged over shards.
    """
    return DataParallel(inputs, outputs, updates, shards, name, options)
