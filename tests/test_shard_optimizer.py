"""An optimizer's state shared out among ranks: the bits of a step without, a part of the bytes."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from ranks import needs_mpi, right, run_ranks
from test_distributed import build, data, make, row, together
from tinygraph import distributed as dist
from tinygraph import nn, optim
from tinygraph.distributed.shared_state import WeightShare
from tinygraph.distributed.split import split
from tinygraph.ranks.shard_sum import GatheredSlices, ShardSum, length, own_slice
from tinygraph.ranks.tree import shards_of


@pytest.mark.parametrize(("ranks", "shards"), [(2, 5), (3, 5), (5, 5), (36, 40)])
def test_slices_of_a_sum_are_gathered(ranks, shards):
    values, mail = row(shards, 37), {}
    totals = [np.empty(37, np.float32) for _ in range(ranks)]
    sums = [ShardSum(r, ranks, shards, 37, gathers=False) for r in range(ranks)]
    slices = [np.empty(length(own_slice(37, r, ranks)), np.float32) for r in range(ranks)]
    running = []
    for r, each in enumerate(sums):
        for shard in shards_of(r, ranks, shards):
            made = make(each.steps(shard), each.memories, values[shard].copy(), slices[r], mail, r)
            if shard == each.last:
                running.append(made)
            else:
                next(made)
    together(running)
    running = [
        make(GatheredSlices(r, ranks, 37).steps(0), (), slices[r], totals[r], mail, r)
        for r in range(ranks)
    ]
    together(running)
    alone = ShardSum(0, 1, shards, 37)
    want = np.empty(37, np.float32)
    for shard in range(shards):
        next(make(alone.steps(shard), alone.memories, values[shard].copy(), want, mail, 0))
    for total in totals:
        assert total.tobytes() == want.tobytes()
    assert not any(mail.values())


def step_of(optimizer, place, shape=(6, 4)):
    nn.manual_seed(0)
    x, layer = tg.input("x", 8, shape[0]), nn.Linear(*shape)
    loss = tg.mean(tg.square(layer(x)))
    return split([x], [loss], optimizer().updates(loss, layer.parameters()), 8, place)


@pytest.mark.parametrize("ranks", [2, 3, 4, 7])
@pytest.mark.parametrize("optimizer", [lambda: optim.Adam(0.1), lambda: optim.SGD(0.1, clip=1.0),
                                       lambda: optim.RMSprop(0.1)])  # fmt: skip
def test_each_rank_has_its_part(optimizer, ranks):
    whole = step_of(optimizer, (0, 1))
    state = {p.name: p.type.size for p, _ in whole.updates if not p.state.trainable}
    parts = dict.fromkeys(state, 0)
    for rank in range(ranks):
        made = step_of(optimizer, (rank, ranks))
        for share in made.shares:
            if share.part is not None and not isinstance(share, WeightShare):
                parts[share.whole.name] += share.part.type.size
        assert {p.name for p, _ in made.updates} >= {"weight", "bias"}
    assert parts == {n: size for n, size in state.items() if n != "step"}


def test_what_is_not_made_element_by_element_is_refused():
    w, m = tg.parameter(np.ones(6), "w"), tg.parameter(np.zeros(6), "m")
    m.state.trainable = False
    x = tg.input("x", 8, 6)
    loss = tg.mean(x @ w)
    (g,) = tg.grad(loss, [w])
    g.notes["gradient"] = (0,)
    norm = tg.sqrt(tg.sum(tg.square(m)))
    for updates in (
        [(w, w - tg.cumsum(g, 0)), (m, m + g)],
        [(w, w - g), (m, m + g * norm)],
        [(w, w - g * m[::-1]), (m, m + g)],
    ):
        with pytest.raises(ValueError, match=r"shard_optimizer requires .*the new value of [wm]"):
            split([x], [loss], updates, 8, (0, 2))


def test_alone_nothing_is_shared_out():
    net, sgd, step, *_ = build(shards=4)
    x, y = data(16)
    step(x, y)
    assert step.state_bytes == 0
    dist.collect(net, sgd)


TRAIN = """
    import sys, numpy as np, tinygraph as tg
    from ranks import say
    from test_distributed import Net, data
    from tinygraph import checkpoint, distributed as dist, nn, optim
    from tinygraph.cli.demo import digest
    from tinygraph.distributed import split
    from tinygraph.graph.state import LostValueError
    from tinygraph.ranks import levels
    levels.ALL = 3  # four ranks exchange in two levels
    split.BUCKET = int(sys.argv[2])
    decay = optim.ParameterGroup(lambda p: p.ndim < 2, weight_decay=0, rate=2)
    found = []
    for make in (
        lambda: optim.Adam(0.01),
        lambda: optim.AdamW(0.01, weight_decay=0.1, clip=0.5, groups=[decay]),
        lambda: optim.SGD(0.1, momentum=0.9, nesterov=True, clip_value=0.1),
    ):
        nn.manual_seed(3)
        net, optimizer = Net(), make()
        x, y = tg.input("x", None, 6), tg.input("y", None, dtype="int32")
        loss = nn.cross_entropy(net(x, training=True), y)
        updates = optimizer.updates(loss, net.parameters())
        step = dist.data_parallel([x, y], [loss], updates=updates, shards=6,
                                  shard_optimizer=bool(int(sys.argv[1])))
        images, labels = data(101)
        for i in range(2):
            step(images[i * 26 : i * 26 + 26], labels[i * 26 : i * 26 + 26])
        before = {p: p.value for p in net.parameters()}
        if step.state_bytes:
            slot = [p for n, p in optimizer.named_state().items() if "." in n][0]
            try:
                slot.value
                raise AssertionError("a part was read")
            except LostValueError as error:
                assert "shared out among the ranks" in str(error)
        checkpoint.save(sys.argv[3], net, optimizer)  # brings it together
        dist.barrier()
        assert all(np.array_equal(p.value, v) for p, v in before.items())
        checkpoint.load(sys.argv[3], net, optimizer)  # and is taken apart again
        loss, = step(images[52:75], labels[52:75])
        dist.collect(net, optimizer)
        found.append(digest({**net.state_dict(), **optimizer.state_dict(), "loss": loss}))
    say(" ".join(found))
"""


@needs_mpi
def test_the_bits_are_those_of_a_step_without(tmp_path):
    found = {}
    for ranks, shared, bucket in ((1, 0, 1 << 20), (2, 1, 1 << 20), (4, 1, 64)):
        file = str(tmp_path / f"{ranks}.npz")
        text = right(run_ranks(ranks, TRAIN, str(shared), str(bucket), file))
        found[ranks, shared, bucket] = {*text.splitlines()}
    assert len(set.union(*found.values())) == 1, found


QUARTER = """
    import tinygraph as tg
    from ranks import say
    from tinygraph import distributed as dist, nn, optim
    x, y, net = tg.input("x", 4, 1, 28, 28), tg.input("y", 4, dtype="int32"), tg.models.lenet5()
    loss = nn.cross_entropy(net(x, training=True), y)
    updates = optim.Adam(0.01).updates(loss, net.parameters())
    step = dist.data_parallel([x, y], [loss], updates=updates, shards=4, shard_optimizer=True)
    whole = 2 * sum(p.type.bytes for p in net.parameters())
    say(str(4 * step.state_bytes / whole))
"""


@needs_mpi
def test_a_rank_of_four_has_a_quarter_of_the_state():
    found = [float(x) for x in right(run_ranks(4, QUARTER)).split()]
    assert len(found) == 4 and all(abs(x - 1) < 0.01 for x in found), found
