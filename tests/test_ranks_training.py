"""Training on ranks: every optimizer, precision and kind of convolution; which rank is slowest."""

from __future__ import annotations

import tinygraph as tg
from ranks import needs_mpi, right, run_ranks
from test_distributed import build, data
from tinygraph.cli.demo import digest
from tinygraph.distributed.profile import RanksProfile


def test_a_profile_names_the_slowest_rank_and_changes_nothing():
    net, sgd, step, *_ = build(shards=4)
    x, y = data(10)
    before = digest({**net.state_dict(), **sgd.state_dict()})
    found = step.profile(x, y, repeat=2)
    assert len(found.seconds) == 1 and found.seconds[0] > 0 and found.slowest == 0
    assert digest({**net.state_dict(), **sgd.state_dict()}) == before
    text = str(RanksProfile("train", (0.001, 0.003, 0.001), ("a", "b", "b")))
    assert "rank 1 on b: 3.00 ms, 3.00 of the median  slowest" in text and text.count("slow") == 1


OPTIMIZERS = """
    import numpy as np, tinygraph as tg
    from ranks import say
    from test_ranks_training import Convolutions
    from tinygraph import distributed as dist, nn, optim
    from tinygraph.cli.demo import digest
    kinds = [k for _, k in sorted(vars(optim).items()) if isinstance(k, type)
             and issubclass(k, optim.Optimizer) and k is not optim.Optimizer]
    cases = [(k, {}) for k in kinds] + [
        (optim.SGD, {"precision": "bfloat16"}), (optim.SGD, {"conv": "winograd"}),
        (optim.Adam, {"precision": "bfloat16", "wire": "bfloat16"})]
    rng, found = np.random.default_rng(0), []
    images = rng.standard_normal((10, 1, 8, 8)).astype("float32")
    labels = rng.integers(0, 3, 10).astype("int32")
    for kind, options in cases:
        nn.manual_seed(1)
        net, optimizer = Convolutions(), kind(0.01)
        x, y = tg.input("x", None, 1, 8, 8), tg.input("y", None, dtype="int32")
        loss = nn.cross_entropy(net(x), y)
        updates = optimizer.updates(loss, net.parameters())
        step = dist.data_parallel([x, y], [loss], updates=updates, shards=4, **options)
        for _ in range(2):
            step(images, labels)
        state = {**net.state_dict(), **optimizer.state_dict()}
        assert all(np.isfinite(v).all() for v in state.values())
        found.append(kind.__name__ + digest(state)[:8])
    if dist.size() > 1:
        assert len(step.profile(images, labels, repeat=1).seconds) == dist.size()
    say(" ".join(found))
"""


class Convolutions(tg.nn.Module):
    def __init__(self):
        self.first, self.second = tg.nn.Conv2d(1, 8, 3, padding=1), tg.nn.Conv2d(8, 8, 3, padding=1)
        self.out = tg.nn.Linear(8 * 64, 3)

    def forward(self, x, training=False):
        x = tg.relu(self.second(tg.relu(self.first(x))))
        return self.out(tg.reshape(x, (-1, 8 * 64)))


@needs_mpi
def test_every_optimizer_and_precision_has_the_same_bits_at_any_number_of_ranks():
    found = {n: {*right(run_ranks(n, OPTIMIZERS)).splitlines()} for n in (1, 3)}
    assert found[1] == found[3] and len(found[1]) == 1, found
