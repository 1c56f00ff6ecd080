"""Ranks that survive the death of others: they take over its shards, and end with the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from ranks import needs_open_mpi, run_ranks
from test_distributed import build, data
from tinygraph import distributed as dist
from tinygraph.cli.demo import digest
from tinygraph.distributed.batches import Sharded
from tinygraph.ranks.world import RankLostError

SHARDS, STEPS = 6, 6


class Mortal:
    """A world of one rank, of which others have died before: each of ``losses`` once."""

    rank, size, local_rank, local_size, doing, messages, tolerant = 0, 1, 0, 1, "", None, True

    def __init__(self, losses):
        self.losses, self.recovered = losses, 0

    def exchange(self, send, receive):
        pass

    def gather(self, value):
        return [value]

    def agree(self, done):
        return done and not self.loses("agree")

    def recover(self):
        self.recovered += 1

    def loses(self, where):
        if where in self.losses:
            self.losses.remove(where)
            return True
        return False


@pytest.mark.parametrize("where", ["run", "agree", ["run", "run"], ["run", "agree"]])
def test_a_step_is_made_once_whenever_another_rank_dies(monkeypatch, where):
    results = []
    for losses in ([], [where] if isinstance(where, str) else [*where]):
        world = Mortal([])
        monkeypatch.setattr("tinygraph.ranks.world._found", world)
        net, sgd, step, *_ = build(shards=SHARDS)
        run = step._made

        def made(given, run=run, world=world):
            if world.loses("run"):
                raise RankLostError("a rank has died")
            return run(given)

        monkeypatch.setattr(step, "_made", made)
        x, y = data(24)
        step(x, y)
        world.losses, count = losses, len(losses)
        step(x, y)
        assert world.recovered == count and not world.losses
        step(x, y)
        results.append(digest({**net.state_dict(), **sgd.state_dict()}))
    assert results[0] == results[1]


def test_other_shards_of_a_batch_are_made_when_they_are_needed():
    images, labels = data(26)
    whole = dist.ShardedBatches(images, labels, batch_size=26, shards=4)
    (batch,) = whole.epoch(0)
    few = [Sharded({}, b.total, b.shards, b.more) for b in batch]
    for one, all in zip(few, batch, strict=True):
        for shard in range(4):
            np.testing.assert_array_equal(one[shard], all.parts[shard])


SURVIVE = """
    import os, signal, sys, threading, time
    from test_distributed import build, data
    from test_survivors import SHARDS, STEPS
    from tinygraph import distributed as dist
    from tinygraph.cli.demo import digest
    from tinygraph.ranks.world import world
    when, victim, delay = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    net, sgd, step, *_ = build(shards=SHARDS)
    images, labels = data(26 * STEPS)
    batches = dist.ShardedBatches(images, labels, batch_size=26, shards=SHARDS)
    me, number = dist.rank(), 0
    for batch in batches.epoch(0):
        if number == when and me == victim:
            def end():
                time.sleep(delay)
                os.kill(os.getpid(), signal.SIGKILL)
            if delay < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Thread(target=end).start()
        step(*batch)
        number += 1
    if number == when and me == victim:
        time.sleep(5)
    print("END", dist.size(), digest({**net.state_dict(), **sgd.state_dict()}), flush=True)
"""


def ends(done):
    return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("END")]


@needs_open_mpi
@pytest.mark.parametrize(
    "case", [(0, 2, -1), (1, 0, -1), (2, 1, 0.0), (4, 1, 0.001), (5, 2, 0.002)]
)
def test_survivors_finish_with_the_bits_of_an_unbroken_run(case):
    """(step, rank, seconds from the step's beginning to its death; before it if negative)."""
    whole = run_ranks(1, SURVIVE, "-1", "0", "0")
    ((_, want),) = ends(whole)
    done = run_ranks(3, SURVIVE, *map(str, case))
    found = ends(done)
    assert len(found) == 2 and {d for _, d in found} == {want}, (found, done.stderr)
    assert "died in step" in done.stderr and "2 go on" in done.stderr
