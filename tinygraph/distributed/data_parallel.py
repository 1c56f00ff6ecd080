"""Data parallel training, whose results are the same bits with any number of ranks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..compile import compile
from ..compiler.backend import find
from ..compiler.batch_program import BatchProgram
from ..compiler.fixed_program import FixedProgram
from ..compiler.sources import sources_digest
from ..graph.dump import canonical
from ..graph.ir import Graph, Node, Parameter
from ..graph.numeric import numeric
from ..graph.origins import described
from ..graph.state import aligned
from ..graph.types import Type
from ..ops.collective import SHARD_SUM
from ..ops.random import SEED, STEP
from ..passes import Update
from ..plan.launches.sums import shares
from ..ranks.forecast import Bucket
from ..ranks.shard_sum import ShardSum, ShardSums
from ..ranks.tree import shards_of
from ..ranks.world import DistributedError, World, world
from .batches import Sharded
from .split import ShardStep, split


class DataParallel:
    """A training step over all ranks; ``data_parallel`` makes it.

    Args:
        inputs, outputs, updates, shards, name, options: see ``distributed.data_parallel``.

    Attributes:
        shards: into how many pieces each batch is cut.
        program: a shard's part of the step, the sum over all shards, and the updates.
        counters: the program of the updates that follow from no batch, if there are any.

    Raises:
        DistributedError: there are more ranks than shards.

    Example:
        >>> x, net = tg.input("x", None, 4), nn.Linear(4, 1)
        >>> loss = tg.mean(tg.square(net(x)))
        >>> updates = optim.SGD(0.1).updates(loss, net.parameters())
        >>> step = distributed.data_parallel([x], [loss], updates=updates, shards=2)
        >>> type(step).__name__, step.shards
        ('DataParallel', 2)
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
        step = split(inputs, outputs, updates, shards)
        self._check_collectives(step)
        program = compile(step.inputs, step.outputs, updates=step.updates, name=name, **options)
        assert isinstance(program, FixedProgram | BatchProgram)
        self.program = program
        self.counters = (
            compile([], [], updates=step.counters, name=f"{name}'s counters", **options)
            if step.counters
            else None
        )
        self._dtype = step.totals[0].dtype
        new = lambda size, dtype: aligned(Type((size,), dtype))  # noqa: E731
        place = self.world.rank, self.world.size, shards
        sums = (ShardSum(*place, t.type.size, t.dtype, new) for t in step.totals)
        self._sums = ShardSums(tuple(sums), self.world.messages)
        self._held = shards_of(self.world.rank, self.world.size, shards)
        self._draws = step.draws
        self._weights: dict[tuple[int, int], np.ndarray] = {}
        self._steps = 0
        self._same()

    def _check_collectives(self, step: ShardStep) -> None:
        """
        Raises:
            ValueError: a shard computes together with others, of which this rank holds several.
        """
        graph = Graph("step", step.inputs, step.totals)
        ordered = (n for n in graph.everywhere if n.op.ordered and n.op is not SHARD_SUM)
        found = next(ordered, None)
        if found is not None and self.shards != self.world.size:
            raise ValueError(
                f"data_parallel runs one shard after the other, so that they cannot compute "
                f"{described(found)} together: give as many shards as there are ranks"
            )

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
        for p in self._parameters():
            p.value = from_first(self.world, np.array(p.value, order="C"))

    def _parameters(self) -> list[Parameter]:
        more = self.counters.parameters if self.counters else ()
        return list(dict.fromkeys((*self.program.parameters, *more)))

    def _facts(self) -> dict[str, Any]:
        """What all ranks must have in common."""
        backend, runtime = find(self.program.options.backend)
        programs = [self.program, *([self.counters] if self.counters else [])]
        text = "".join(canonical(p.graph) for p in programs)
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
        step = int(STEP.value) if self._draws else 0
        results: tuple[np.ndarray, ...] = ()
        for shard in self._held:
            examples = [g[shard] for g in given]
            count = len(examples[0])
            if not count:
                examples = [np.zeros((1, *a.shape[1:]), a.dtype) for a in examples]
            weight = self._weights.get((count, total))
            if weight is None:
                weight = np.asarray(count / total, self._dtype)
                self._weights[count, total] = weight
            counter = np.asarray((step * self.shards + shard) % 2**31, np.int32)
            results = self.program.run_shard(
                (*examples, weight, counter), self._sums, shard, not count
            )
        if self.counters:
            self.counters()
        return results


    @property
    def buckets(self) -> list[Bucket]:
        """Of each sum over shards its bytes, and the share of the step's work that is done when it
        can begin. An open batch size is the one that was bound last.
        """
        program = self.program
        bound = program.bound if isinstance(program, BatchProgram) else program
        target = bound.source.backend.target(bound.source.runtime)
        found = shares(bound.inspection.plan.launches, target)
        return [(bytes, share) for _, bytes, share in found]


def from_first(world: World, value: np.ndarray) -> np.ndarray:
    """Rank 0's value, of this one's shape."""
    none, others = np.empty(0), world.size - 1
    if world.rank == 0:
        world.exchange([value] * world.size, [none] * world.size)
        return value
    got = np.empty_like(value)
    world.exchange([none] * world.size, [got] + [none] * others)
    return got


@numeric
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

    Batch normalization uses the statistics of a shard, and averages what it keeps of them. Dropout
    follows from the number of the step and the shard.

    Args:
        inputs: of one shard, the examples along the first axis. An open batch size (None) takes
            batches of any size, whose shards differ by at most one example.
        outputs: means over the examples, 0-d floats: the loss, an accuracy.
        updates: what ``optimizer.updates`` gives, from the loss of one shard.
        shards: into how many pieces a batch is cut: at least one for each rank.
        name: of the program, in errors and dumps.
        options: of ``tg.compile``.

    Raises:
        DistributedError: there are more ranks than shards, or a rank has another program, version,
            seed or number of shards.
        ValueError: an output or an update is none that can be averaged over shards.

    Example:
        >>> x, y = tg.input("x", None, 4), tg.input("y", None, 1)
        >>> net = nn.Linear(4, 1, initial=nn.init.constant(0.0))
        >>> updates = optim.SGD(0.1).updates(loss := nn.mse_loss(net(x), y), net.parameters())
        >>> step = distributed.data_parallel([x, y], [loss], updates=updates, shards=8)
        >>> ones = [np.ones((16, n), np.float32) for n in (4, 1)]
        >>> before, after = (step(*ones)[0] for _ in range(2))
        >>> bool(after < before)
        True
    """
    return DataParallel(inputs, outputs, updates, shards, name, options)
