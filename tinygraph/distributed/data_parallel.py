"""Data parallel training, whose results are the same bits with any number of ranks."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..compile import compile
from ..compiler.batch_program import BatchProgram
from ..compiler.facts import facts
from ..compiler.fixed_program import FixedProgram
from ..graph.ir import Graph, Node
from ..graph.numeric import numeric
from ..graph.origins import described
from ..graph.spread import from_rank
from ..graph.state import aligned
from ..graph.types import Type
from ..ops.collective import SHARD_SLICE, SHARD_SUM, is_narrow
from ..ops.random import STEP
from ..passes import Update
from ..plan.launches.sums import shares
from ..ranks.forecast import Bucket
from ..ranks.shard_sum import GatheredSlices, ShardSum, ShardSums
from ..ranks.tree import shards_of
from ..ranks.world import DistributedError, RankLostError, require_same, world
from .batches import Sharded
from .profile import RanksProfile
from .shared_state import WeightShare
from .split import ShardStep, split


class DataParallel:
    """A training step over all ranks; ``data_parallel`` makes it.

    Args:
        inputs, outputs, updates, shards, name, shard_optimizer, wire, options: see
            ``distributed.data_parallel``.

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
        shard_optimizer: bool,
        wire: str | None,
        options: dict[str, Any],
    ):
        if wire not in (None, "bfloat16"):
            raise ValueError(f"data_parallel's wire is None or 'bfloat16', not {wire!r}")
        self.world, self.shards, self.name = world(), shards, name
        if not 1 <= self.world.size <= shards:
            raise DistributedError(
                f"{shards} shards are too few for {self.world.size} ranks: each holds at least one"
            )
        self.world.doing = f"the start of {name}"
        given = tuple(updates)
        same = step = split(inputs, outputs, given, shards, wire=wire or "")
        self._alike = self._check_collectives(step)
        place = self.world.rank, self.world.size
        if shard_optimizer and self.world.size > 1:
            step = split(inputs, outputs, given, shards, place, wire or "")
        self._shares = step.shares
        program = compile(step.inputs, step.outputs, updates=step.updates, name=name, **options)
        assert isinstance(program, FixedProgram | BatchProgram)
        self.program = program
        self.counters = (
            compile([], [], updates=step.counters, name=f"{name}'s counters", **options)
            if step.counters
            else None
        )
        self._dtype = step.totals[0].dtype
        self._totals, self._gathered = step.totals, step.gathered
        self._tolerant = self.world.tolerant and not self._shares and not self._alike
        self._share_out()
        self._draws = step.draws
        self._weights: dict[tuple[int, int], np.ndarray] = {}
        self._steps = 0
        self._same(same)

    def _share_out(self) -> None:
        """This rank's shards, and the sums over those of all ranks."""
        new = lambda size, dtype: aligned(Type((size,), dtype))  # noqa: E731
        place = self.world.rank, self.world.size
        sums = (
            ShardSum(
                *place, self.shards, t.inputs[-1].type.size, t.dtype, new, t.op is SHARD_SUM,
                is_narrow(t),
            )
            for t in self._totals
        )  # fmt: skip
        gathered = (GatheredSlices(*place, t.type.size, t.dtype) for t in self._gathered)
        self._sums = ShardSums(tuple(sums), self.world.messages, tuple(gathered), self._tolerant)
        self._held = shards_of(*place, self.shards)

    def _check_collectives(self, step: ShardStep) -> bool:
        """Whether shards compute together, each on a rank of its own.

        Raises:
            ValueError: a shard computes together with others, of which this rank holds several.
        """
        graph = Graph("step", step.inputs, step.totals)
        own = SHARD_SUM, SHARD_SLICE
        found = next((n for n in graph.everywhere if n.op.ordered and n.op not in own), None)
        if found is not None and self.shards != self.world.size:
            raise ValueError(
                f"data_parallel runs one shard after the other, so that they cannot compute "
                f"{described(found)} together: give as many shards as there are ranks"
            )
        return found is not None

    def _same(self, step: ShardStep) -> None:
        """All ranks have the same program, and begin with rank 0's values.

        Raises:
            DistributedError: a rank differs; names it and what differs.
        """
        new = (value for _, value in (*step.updates, *step.counters))
        graph = Graph(self.name, step.inputs, (*step.outputs, *new))
        shards = {"the number of shards": self.shards, "shard_optimizer": bool(self._shares)}
        require_same(self.world, shards | facts(self.program.options.backend, graph))
        for p in dict.fromkeys((*graph.parameters, *(p for p, _ in step.updates + step.counters))):
            value = np.array(p.value, order="C")
            p.value = from_rank(self.world, 0, value, p.shape, p.dtype)

    def __call__(self, *arrays: Any) -> tuple[np.ndarray, ...]:
        """Makes one step on a global batch; returns the outputs' means over all its examples.

        Args:
            arrays: the whole batch, the same on every rank, of which this one reads its shards; or
                what ``dist.ShardedBatches`` gives, which is those shards alone.
        """
        for share in self._shares:
            share.take()
        self._steps += 1
        self.world.doing = f"step {self._steps} of {self.name}"
        given = [Sharded.of(a, self.shards, self._held) for a in arrays]
        results = self._made(given) if not self._tolerant else self._made_by_survivors(given)
        if self.counters:
            self.counters()
        for share in self._shares:
            share.made()
        return results

    def _made(self, given: Sequence[Sharded]) -> tuple[np.ndarray, ...]:
        """Runs this rank's shards; the outputs."""
        results: tuple[np.ndarray, ...] = ()
        for shard in self._held:
            inputs, empty = self._arguments(given, shard)
            results = self.program.run_shard(inputs, self._sums, shard, empty)
        return results

    def _arguments(
        self, given: Sequence[Sharded], shard: int
    ) -> tuple[tuple[np.ndarray, ...], bool]:
        """What the program takes of a shard, and whether that has no examples."""
        total, step = given[0].total, int(STEP.value) if self._draws else 0
        examples = [g[shard] for g in given]
        count = len(examples[0])
        if not count:
            examples = [np.zeros((1, *a.shape[1:]), a.dtype) for a in examples]
        weight = self._weights.get((count, total))
        if weight is None:
            weight = np.asarray(count / total, self._dtype)
            self._weights[count, total] = weight
        counter = np.asarray((step * self.shards + shard) % 2**31, np.int32)
        return (*examples, weight, counter), not count

    def _made_by_survivors(self, given: Sequence[Sharded]) -> tuple[np.ndarray, ...]:
        """As ``_made``. When a rank dies, the others take over its shards, and make the step again,
        unless one has already made it: then all have its values.
        """
        results: tuple[np.ndarray, ...] | None = None
        while True:
            try:
                if results is None:
                    results = self._made(given)
                elif not self.world.agree(True):
                    results = self._recovered(results)
                else:
                    return results
            except RankLostError:
                self.world.agree(False)
                results = self._recovered(results)

    def _recovered(self, results: tuple[np.ndarray, ...] | None) -> tuple[np.ndarray, ...] | None:
        """What a surviving rank has made of this step, or None if none has."""
        while True:
            try:
                self.world.recover()
                self._share_out()
                found = self.world.gather(results)
                first = next((r for r, got in enumerate(found) if got is not None), None)
                if first is None:
                    return None
                values = [
                    from_rank(self.world, first, np.array(p.value, order="C"), p.shape, p.dtype)
                    for p in self.program.updates
                ]
            except RankLostError:
                continue  # another one has died
            for p, value in zip(self.program.updates, values, strict=True):
                p.value = value
            return found[first]

    def profile(self, *arrays: Any, repeat: int = 20) -> RanksProfile:
        """Times each rank's part of a step, side by side but without sums; all ranks call it. No
        parameter changes.

        Args:
            arrays: a batch, as a step takes it.
            repeat: how often; the median counts.
        """
        given = [Sharded.of(a, self.shards, self._held) for a in arrays]
        self.world.gather(None)
        seconds = sum(
            self.program.profile(*self._arguments(given, shard)[0], repeat=repeat).seconds
            for shard in self._held
        )
        found = self.world.gather((seconds, socket.gethostname()))
        return RanksProfile(self.name, *zip(*found, strict=True))

    @property
    def state_bytes(self) -> int:
        """Bytes of this rank's part of the optimizer's state, with ``shard_optimizer``."""
        held = (s.part for s in self._shares if not isinstance(s, WeightShare))
        return sum(part.type.bytes for part in held if part is not None)

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


@numeric
def data_parallel(
    inputs: Sequence[Node],
    outputs: Sequence[Node],
    *,
    updates: Iterable[Update],
    shards: int,
    name: str = "train",
    shard_optimizer: bool = False,
    wire: str | None = None,
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
        shard_optimizer: each rank has a part of the optimizer's state only, as in ZeRO's first
            stage: the same bits, the same bytes to send. Values of that state are brought together
            by ``distributed.collect``, which ``checkpoint.save`` does by itself.
        wire: "bfloat16" halves the bytes that are sent: the gradients of each shard, and every sum
            of them, are rounded to it. The bits are the same with any number of ranks, but not
            those of a step without.
        options: of ``tg.compile``.

    Raises:
        DistributedError: there are more ranks than shards, or a rank has another program, version,
            seed or number of shards.
        ValueError: an output or an update is none that can be averaged over shards; with
            ``shard_optimizer``, an update is none that is made element by element; ``wire`` is
            something else, or gradients are float64.

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
    return DataParallel(inputs, outputs, updates, shards, name, shard_optimizer, wire, options)
