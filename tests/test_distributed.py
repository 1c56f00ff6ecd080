"""Several ranks: one sum for any number of them, training with the same bits, and its failures."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

import tinygraph as tg
from ranks import needs_mpi, right, run_ranks
from tinygraph import distributed as dist
from tinygraph import nn, optim
from tinygraph.cli.demo import digest
from tinygraph.compiler.backend import BackendError
from tinygraph.distributed import split as splitting
from tinygraph.distributed.split import split
from tinygraph.ranks import steps as sum_steps
from tinygraph.ranks.collectives import gathered_bytes, summed_bytes
from tinygraph.ranks.levels import messages, part_of
from tinygraph.ranks.shard_sum import ShardSum
from tinygraph.ranks.steps import (
    OWN,
    TOTAL,
    AddSpans,
    CopySpan,
    Narrow,
    Receive,
    Send,
    Wait,
    Widen,
)
from tinygraph.ranks.tree import pieces, shards_of

# ------------------------------------------------------------------ the sum


def rounded(x):
    """To the nearest bfloat16."""
    return tg.astype(tg.astype(x, "bfloat16"), "float32")


def make(steps, memories, own, total, mail, rank):
    """Makes a sum's steps with NumPy; yields where it would wait."""
    places = {OWN: own, TOTAL: total} | dict(enumerate(memories))
    at = lambda span: places[span.memory][span.first : span.first + span.count]  # noqa: E731
    received = []
    for step in steps:
        match step:
            case AddSpans(target, left, right, rounds):
                as_sent = rounded if rounds else lambda x: x
                at(target)[...] = as_sent(as_sent(at(left)) + as_sent(at(right)))
            case CopySpan(target, source, rounds):
                at(target)[...] = rounded(at(source)) if rounds else at(source)
            case Narrow(target, source):
                at(target)[...] = rounded(at(source)).view(np.uint32) >> 16
            case Widen(target, source):
                at(target)[...] = (at(source).astype(np.uint32) << 16).view(np.float32)
            case Send(source, to):
                mail.setdefault((rank, to), []).append(at(source).copy())
            case Receive(target, source):
                received.append((at(target), source))
            case Wait():
                yield
                for array, source in received:
                    array[...] = mail[source, rank].pop(0)
                received = []
                yield
    yield


def sums_by_steps(shards, ranks, values, steps=2, narrow=False):
    """What each rank of a few has as the sum of the shards' rows, in the last of a few steps."""
    size = values.shape[1]
    sums = [ShardSum(r, ranks, shards, size, narrow=narrow) for r in range(ranks)]
    totals = [np.empty(size, np.float32) for _ in range(ranks)]
    for step in range(steps):  # memory is used again
        mail, running = {}, []
        for r, each in enumerate(sums):
            for shard in shards_of(r, ranks, shards):
                own = values[shard] * (step + 1)
                own.setflags(write=False)
                made = make(each.steps(shard), each.memories, own, totals[r], mail, r)
                if shard == each.last:
                    running.append(made)
                else:
                    next(made)
        together(running)
        assert not any(mail.values())
    return totals


def together(running):
    """Makes all ranks' steps, each as far as it can before the next."""
    while running:
        running = [each for each in running if next(each, "end") != "end"]


def row(shards, size=37):
    rng = np.random.default_rng(shards)
    scale = 10.0 ** rng.integers(-4, 5, (shards, size))
    return (rng.standard_normal((shards, size)) * scale).astype(np.float32)


@pytest.mark.parametrize("shards", [1, 2, 3, 5, 7, 8, 12, 13])
def test_the_sum_has_the_same_bits_at_any_number_of_ranks(shards):
    values = row(shards)
    (alone,) = sums_by_steps(shards, 1, values)
    np.testing.assert_allclose(alone, 2 * values.sum(0, np.float64), rtol=1e-4, atol=1e-2)
    for ranks in range(2, shards + 1):
        for found in sums_by_steps(shards, ranks, values):
            assert found.tobytes() == alone.tobytes(), ranks


@pytest.mark.parametrize(("shards", "ranks"), [(36, 36), (50, 40), (129, 66), (37, 37), (144, 144)])
def test_many_ranks_add_up_in_levels(shards, ranks):
    for size in (5, 203):
        values = row(shards, size)
        (alone,) = sums_by_steps(shards, 1, values, steps=1)
        for found in sums_by_steps(shards, ranks, values):
            assert found.tobytes() == (2 * alone).tobytes()


def test_levels_need_few_messages():
    assert [messages(p) for p in (1, 2, 32, 64, 74, 1024, 37)] == [0, 1, 31, 14, 37, 62, 36]
    for ranks in (1, 2, 32, 36, 74, 1024):
        assert sorted(part_of(r, ranks) for r in range(ranks)) == [*range(ranks)]
        assert ranks > 32 or [part_of(r, ranks) for r in range(ranks)] == [*range(ranks)]


def test_a_sum_of_fewer_elements_than_ranks_leaves_some_without_a_slice():
    values = row(5, 3)
    (alone,) = sums_by_steps(5, 1, values)
    for found in sums_by_steps(5, 5, values):
        assert found.tobytes() == alone.tobytes()


def test_long_messages_go_in_pieces(monkeypatch):
    monkeypatch.setattr(sum_steps, "LARGEST", 8 * 5)
    (alone,) = sums_by_steps(4, 1, row(4))
    for found in sums_by_steps(4, 3, row(4)):
        assert found.tobytes() == alone.tobytes()


def tree_sum(rows, one):
    """The sum by the tree over shards, of what ``one`` makes of each row and of each sum."""
    if len(rows) == 1:
        return one(rows[0])
    left = 1 << (len(rows) - 1).bit_length() - 1
    return one(tree_sum(rows[:left], one) + tree_sum(rows[left:], one))


@pytest.mark.parametrize(("shards", "most"), [(1, 1), (2, 2), (7, 7), (12, 5), (40, 36)])
def test_sums_that_are_sent_as_bfloat16_have_the_same_bits_at_any_number_of_ranks(shards, most):
    values = row(shards)
    want = tree_sum(list(2 * values), rounded)
    assert (want != tree_sum(list(2 * values), lambda x: x)).any()
    for ranks in range(1, most + 1):
        for found in sums_by_steps(shards, ranks, values, narrow=True):
            assert found.tobytes() == want.tobytes(), ranks


@pytest.mark.parametrize("size", [1, 15, 16, 1000])
def test_compiled_sums_round_as_numpy_does(size):
    x, w = tg.input("x", None, size), tg.parameter(np.zeros(size, np.float32), "w")
    rng = np.random.default_rng(size)
    rows = rng.integers(0, 2**32, (4, size), np.uint32).view(np.float32)  # NaN and infinity, too
    with np.errstate(all="ignore"):
        for shards in (1, 4):
            w.value = np.zeros(size, np.float32)
            updates = optim.SGD(1.0).updates(tg.mean(x @ w), [w])
            step = dist.data_parallel([x], [tg.mean(x @ w)], updates=updates, shards=shards,
                                      wire="bfloat16")  # fmt: skip
            held = rows[:shards]
            step(held)
            want = tree_sum([h * np.float32(1 / shards) for h in held], rounded)
            np.testing.assert_array_equal(w.value, -want)


def test_a_wire_is_bfloat16_of_float32():
    x, w = tg.input("x", None, 3, dtype="float64"), tg.parameter(np.zeros(3), "w", "float64")
    updates = optim.SGD(1.0).updates(tg.mean(x @ w), [w])
    with pytest.raises(ValueError, match="not 'float16'"):
        dist.data_parallel([x], [tg.mean(x @ w)], updates=updates, shards=1, wire="float16")
    with pytest.raises(ValueError, match="float32 as bfloat16, and this step has float64"):
        dist.data_parallel([x], [tg.mean(x @ w)], updates=updates, shards=1, wire="bfloat16")


class FewRanks:
    """As much of a world as counting needs."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size


def test_a_program_knows_what_its_sum_sends():
    for shards in (1, 4, 7):
        for ranks in range(1, shards + 1):
            for rank in range(ranks):
                sent = 4 * ShardSum(rank, ranks, shards, 420).sent
                assert summed_bytes(FewRanks(rank, ranks), 4 * 420, shards) == sent
    for rank in range(36):
        world, sums = FewRanks(rank, 36), [ShardSum(rank, 36, 40, 720, gathers=g) for g in (0, 1)]
        assert summed_bytes(world, 4 * 720, 40) == 4 * sums[1].sent
        assert summed_bytes(world, 4 * 720, 40, gathers=False) == 4 * sums[0].sent
        assert gathered_bytes(world, 80) == 4 * (sums[1].sent - sums[0].sent)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 15, 16, 1000])
def test_compiled_sums_are_those_of_numpy(dtype, size):
    """Shards of one rank, one without examples; sizes at the edges of vectors."""
    x = tg.input("x", None, size, dtype=dtype)
    w = tg.parameter(np.zeros(size, dtype), "w", dtype)
    updates = optim.SGD(1.0).updates(tg.mean(x @ w), [w])
    step = dist.data_parallel([x], [tg.mean(x @ w)], updates=updates, shards=5)
    rows = row(4, size).astype(dtype)
    held = [rows[4 * s // 5 : 4 * (s + 1) // 5] for s in range(5)]
    for _ in range(2):
        w.value = np.zeros(size, dtype)
        step(rows)
        a, b, c, d, e = (h[0] * np.asarray(0.25, dtype) if len(h) else 0 * rows[0] for h in held)
        np.testing.assert_array_equal(w.value, -(((a + b) + (c + d)) + e))


def test_buckets_are_in_the_order_of_the_backward_pass_and_change_no_bit(monkeypatch):
    x, y = data(17)
    results = []
    for bucket in (4 << 20, 64):
        monkeypatch.setattr(splitting, "BUCKET", bucket)
        net, sgd, step, *_ = build(shards=4)
        for _ in range(3):
            step(x, y)
        results.append(digest({**net.state_dict(), **sgd.state_dict()}))
        program = step.program.bound
        plan, code = program.inspection.plan, program.built.code
        sums = [i for i, launch in enumerate(plan.launches) if launch.sums_shards]
        assert (len(sums) > 2) == (bucket == 64) and code.sums == tuple(sums)
        late = [i for i, call in enumerate(code.calls) if sums[-1] in call.waits]
        assert late and min(late) > sums[-1]
        for before, after in pairwise(sums):  # nothing between waits for a sum
            assert not any(before in plan.launches[i].waits for i in range(before + 1, after))
    assert results[0] == results[1]
    notes = [plan.launches[i].note for i in sums]
    done = [int(re.search(r"after (\d+)%", note).group(1)) for note in notes]
    assert done == sorted(done) and done[0] < done[-1] < 100


def test_new_values_follow_their_sum_while_later_ones_are_made(monkeypatch):
    monkeypatch.setattr(splitting, "BUCKET", 64)
    net, x = nn.Sequential(*(nn.Linear(6, 6) for _ in range(4))), tg.input("x", 4, 6)
    loss = tg.mean(net(x) ** 2)
    updates = optim.SGD(0.1, momentum=0.9).updates(loss, net.parameters())
    plan = dist.data_parallel([x], [loss], updates=updates, shards=2).program.inspection.plan
    behind: list[set[int]] = []  # the sums that each launch follows from
    for i, launch in enumerate(plan.launches):
        behind.append(set().union(*(behind[w] for w in launch.waits)))
        if launch.sums_shards:
            behind[i].add(i)
    sums = [i for i, launch in enumerate(plan.launches) if launch.sums_shards]
    latest = [max(b) for b in behind[sums[-1] + 1 :]]
    assert latest == sorted(latest) and {*latest} == {*sums}


def test_a_bucket_has_no_more_than_its_bytes_or_one_gradient(monkeypatch):
    monkeypatch.setattr(splitting, "BUCKET", 64)
    sizes = (4, 8, 8, 1, 40, 2, 13)
    values = [tg.input(f"v{i}", n) for i, n in enumerate(sizes)]
    buckets = splitting.buckets_of(values, range(1, len(sizes)))
    assert buckets == [[0, 1], [2, 3], [4], [5, 6]]


def test_collectives_in_a_shard_need_a_rank_for_each():
    x = tg.input("x", None, 3)
    layer = nn.Linear(3, 2)
    loss = tg.mean(tg.all_reduce(layer(x)))
    with pytest.raises(ValueError, match="as many shards as there are ranks"):
        dist.data_parallel([x], [loss], updates=optim.SGD(0.1).updates(loss, layer.parameters()),
                           shards=2)  # fmt: skip


def test_a_backend_that_adds_up_no_shards_says_so():
    x = tg.input("x", 2, 3)
    layer = nn.Linear(3, 2)
    loss = tg.mean(layer(x))
    updates = optim.SGD(0.1).updates(loss, layer.parameters())
    with pytest.raises(BackendError, match="shard_sum"):
        dist.data_parallel([x], [loss], updates=updates, shards=1, backend="cuda:emulate")


def test_a_rank_holds_few_pieces():
    for shards in range(1, 40):
        for ranks in range(1, shards + 1):
            held = [pieces(r, ranks, shards) for r in range(ranks)]
            assert sum(n for p in held for _, n in p) == shards
            assert max(map(len, held)) <= 2 * shards.bit_length()


# ------------------------------------------------------------------ alone


class Net(nn.Module):
    """What makes replicas differ: dropout and batch normalization."""

    def __init__(self):
        self.fc, self.norm = nn.Linear(6, 8), nn.BatchNorm1d(8)
        self.drop, self.out = nn.Dropout(0.3), nn.Linear(8, 3)

    def forward(self, x, training=False):
        x = tg.relu(self.norm(self.fc(x), training=training))
        return self.out(self.drop(x, training=training))


def build(shards=4, batch=None, wire=None, **options):
    nn.manual_seed(3)
    net = Net()
    x, y = tg.input("x", batch, 6), tg.input("y", batch, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)
    sgd = optim.SGD(0.1, momentum=0.9, clip=0.5, **options)
    updates = sgd.updates(loss, net.parameters())
    step = dist.data_parallel([x, y], [loss], updates=updates, shards=shards, wire=wire)
    return net, sgd, step, loss, x, y


def data(n):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 6)).astype(np.float32), rng.integers(0, 3, n).astype(np.int32)


def test_one_shard_is_a_program_of_its_own():
    net, _, step, *_ = build(shards=1)
    x, y = data(16)
    for _ in range(3):
        step(x, y)
    found = net.state_dict()
    nn.manual_seed(3)
    other = Net()
    xs, ys = tg.input("x", 16, 6), tg.input("y", 16, dtype="int32")
    loss = nn.cross_entropy(other(xs, training=True), ys)
    updates = optim.SGD(0.1, momentum=0.9, clip=0.5).updates(loss, other.parameters())
    whole = tg.compile([xs, ys], [loss], updates=updates)
    for _ in range(3):
        whole(x, y)
    for name, value in other.state_dict().items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=1e-6, err_msg=name)


def test_uneven_batches_count_each_example_once():
    nn.manual_seed(0)
    layer = nn.Linear(6, 3)
    x, y = tg.input("x", None, 6), tg.input("y", None, dtype="int32")
    loss = nn.cross_entropy(layer(x), y)
    updates = optim.SGD(0.0).updates(loss, layer.parameters())
    step = dist.data_parallel([x, y], [loss], updates=updates, shards=4)
    whole = tg.compile([x, y], [loss])
    for n in (1, 3, 4, 5, 10):
        images, labels = data(n)
        np.testing.assert_allclose(step(images, labels)[0], whole(images, labels)[0], rtol=1e-6)


def test_what_is_summed_is_the_gradient_that_updates_are_made_from():
    """A gradient within the loss is the batch's, and is not averaged."""
    x = tg.input("x", None, 3)
    w = tg.parameter((3,), "w", initial=lambda: np.ones(3, np.float32))
    inner = tg.mean((x @ w) ** 2)
    penalty = tg.sum(tg.grad(inner, [w])[0] ** 2)
    updates = optim.SGD(0.1).updates(inner + penalty, [w])
    s = split([x], [inner], updates, 2)
    assert [t.shape for t in s.totals] == [(1 + 3,)]


def test_it_refuses_what_cannot_be_averaged():
    x = tg.input("x", None, 3)
    layer = nn.Linear(3, 2)
    out = layer(x)
    updates = optim.SGD(0.1).updates(tg.mean(out), layer.parameters())
    with pytest.raises(ValueError, match=r"means over the batch.*batch_inference"):
        dist.data_parallel([x], [out], updates=updates, shards=2)
    count = tg.parameter((), "count", "int32", lambda: 0)
    seen = [(count, tg.cast(tg.sum(x), "int32"))]
    with pytest.raises(ValueError, match=r"new value of count.*i32"):
        dist.data_parallel([x], [tg.mean(out)], updates=[*updates, *seen], shards=2)


def test_batches_hold_the_examples_of_the_whole():
    images, labels = data(22)
    whole = next(iter(tg.data.Batches(images, labels, batch_size=10, seed=4).epoch(1)))
    cut = next(iter(dist.ShardedBatches(images, labels, batch_size=10, seed=4, shards=3).epoch(1)))
    for a, b in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(a, np.concatenate([b[s] for s in range(3)]))
    with pytest.raises(ValueError, match="same number of shards"):
        build(shards=4)[2](*cut)


def test_inference_takes_any_number_of_examples():
    nn.manual_seed(0)
    layer = nn.Linear(6, 3)
    for size in (4, None):
        x = tg.input("x", size, 6)
        predict = tg.compile([x], [layer(x), tg.sum(x, axis=1)])
        for n in (1, 4, 10):
            rows, sums = dist.batch_inference(predict, data(n)[0])
            np.testing.assert_allclose(rows, tg.run(layer(tg.constant(data(n)[0]))), rtol=1e-5)
            np.testing.assert_allclose(sums, data(n)[0].sum(1), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="an axis of examples first"):
        dist.batch_inference(tg.compile([x], [tg.mean(layer(x))]), data(3)[0])
    with pytest.raises(ValueError, match="arrays of one length"):
        dist.batch_inference(predict, data(3)[0], data(4)[0])


def test_without_a_launcher_no_mpi_is_imported():
    text = "import sys, tinygraph.distributed as d; d.barrier(); print(d.rank(), d.size(), " \
           "'mpi4py' in sys.modules)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "1", "False"]


def test_a_launcher_without_mpi4py_is_one_clear_line(monkeypatch):
    from tinygraph.ranks import world

    monkeypatch.setattr(world, "_found", None)
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(dist.DistributedError, match=r"pip install 'tinygraph\[mpi\]'"):
        dist.rank()


# ------------------------------------------------------------------ under mpiexec

TRAIN = """
    import sys, numpy as np
    from ranks import say
    from test_distributed import build, data
    from tinygraph import checkpoint, distributed as dist
    from tinygraph.cli.demo import digest
    from tinygraph.distributed import split
    from tinygraph.ranks import levels
    from tinygraph.ranks.world import world
    levels.ALL = 3  # four ranks exchange in two levels
    split.BUCKET = int(sys.argv[4])
    messages = world().messages
    if messages is not None and dist.size() < 4:  # as between hosts: a thread makes the sums
        messages.far = True
    net, sgd, step, *_ = build(shards=6, wire=sys.argv[5] if len(sys.argv) > 5 else None)
    images, labels = data(101)  # batches of 26 and 23: neither shards nor ranks divide them
    batches = dist.ShardedBatches(images, labels, batch_size=26, shards=6, last="keep")
    first, last, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if first:
        checkpoint.load(file, net, sgd)
    for epoch in range(first, last):
        for batch in batches.epoch(epoch):
            loss, = step(*batch)
    checkpoint.save(file, net, sgd)
    say(f"{float(loss)} {digest({**net.state_dict(), **sgd.state_dict()})}")
"""


@needs_mpi
def test_training_has_the_same_bits_at_any_number_of_ranks(tmp_path):
    found = {}
    for ranks in (1, 2, 3, 4):
        bucket = "64" if ranks > 1 else "1000000"
        whole = run_ranks(ranks, TRAIN, "0", "2", str(tmp_path / "whole.npz"), bucket)
        lines = right(whole).splitlines()
        assert len(lines) == ranks
        found[ranks] = set(lines)
    assert len(set.union(*found.values())) == 1, found
    file = str(tmp_path / "half.npz")
    right(run_ranks(4, TRAIN, "0", "1", file, "64"))
    half = (tmp_path / "half.npz").read_bytes()
    for ranks in (1, 2, 3):
        (tmp_path / "half.npz").write_bytes(half)
        assert set(right(run_ranks(ranks, TRAIN, "1", "2", file, "64")).splitlines()) == found[1]


@needs_mpi
def test_gradients_sent_as_bfloat16_have_the_same_bits_at_any_number_of_ranks(tmp_path):
    found = set()
    for ranks in (1, 3, 4):
        arguments = "0", "1", str(tmp_path / "whole.npz"), "64", "bfloat16"
        found |= {*right(run_ranks(ranks, TRAIN, *arguments)).splitlines()}
    assert len(found) == 1, found


@needs_mpi
def test_the_demo_prints_one_digest(tmp_path):
    found = set()
    for ranks in (1, 3):
        command = ["-m", "tinygraph", "demo", "--distributed", "--epochs", "1", "--digest"]
        text = right(run_ranks(ranks, command, "--output", str(tmp_path / "w.npz")))
        found.add(re.search(r"digest (\w{16})", text).group(1))
    assert len(found) == 1


INFER = """
    import numpy as np, tinygraph as tg
    from ranks import say
    from test_distributed import data
    from tinygraph import distributed as dist, nn
    layer = nn.Linear(6, 3)
    x = tg.input("x", 4, 6)
    scores, = dist.batch_inference(tg.compile([x], [layer(x)]), data(22)[0])
    say(str(hash(scores.tobytes())))
"""


@needs_mpi
def test_inference_has_the_same_bits_at_any_number_of_ranks():
    found = [right(run_ranks(n, INFER, PYTHONHASHSEED="0")).split() for n in (1, 3)]
    assert len(found[1]) == 3 and len({h for each in found for h in each}) == 1


FAIL = """
    import os, signal, sys, time
    from test_distributed import build, data
    from tinygraph import checkpoint, distributed as dist, settings
    net, sgd, step, *_ = build(shards=6)
    x, y = data(24)
    for i in range(6):
        if i == 3 and sys.argv[1] == "stop":
            settings.timeout = 3  # not before: to compile may take one rank longer than another
        if i == 3 and dist.rank() == 1:
            how = sys.argv[1]
            if how == "raise":
                raise RuntimeError("no more data")
            if how == "exit":
                sys.exit(0)
            os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[how])
        step(x, y)
        if i == 1:
            checkpoint.save(sys.argv[2], net, sgd, step=i)
"""


@needs_mpi
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "rank 1 of 3 ends all ranks in step 3 of train: RuntimeError: no more data"),
        ("exit", "step 4 of train: rank 1 has ended, at step 3 of train; waited for "),
        ("stop", r"step 4 of train: rank 1 did not take part within \d"),
        ("kill", r"EXIT CODE: 9|rank 1 \(process \d+\) has died"),  # the launcher may be faster
    ],
)
def test_one_rank_that_fails_ends_all(how, message, tmp_path):
    file = tmp_path / "w.npz"
    done = run_ranks(3, FAIL, how, str(file))
    assert done.returncode != 0
    assert re.search(message, done.stderr + done.stdout), done.stderr
    net, sgd, *_ = build(shards=6)
    assert tg.checkpoint.load(file, net, sgd) == {"step": 1}  # whole


DIFFER = """
    import os, sys
    from tinygraph import distributed as dist, nn
    import tinygraph as tg
    what, other = sys.argv[1], dist.rank() == 1
    if what == "cpu" and other:
        tg.settings.cpu = "x86-64-v3"
    layer = nn.Linear(3, 3 if what == "program" and other else 2)
    if what == "seed" and other:
        nn.manual_seed(5)
    x = tg.input("x", None, 3)
    updates = tg.optim.SGD(0.1).updates(tg.mean(layer(x)), layer.parameters())
    shards = 4 if what == "shards" and other else 2
    dist.data_parallel([x], [tg.mean(layer(x))], updates=updates, shards=shards)
"""


@needs_mpi
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("program", "in the program"),
        ("seed", "in the seed: 5 instead of 0"),
        ("shards", "in the number of shards: 4 instead of 2"),
        ("cpu", "in the processor that it compiles for"),
    ],
)
def test_ranks_that_differ_are_refused_at_the_start(what, message):
    done = run_ranks(2, DIFFER, what)
    assert done.returncode != 0
    assert f"rank 1 differs from rank 0 {message}" in done.stderr


@needs_mpi
def test_a_last_word_waits_until_the_launcher_has_read_it():
    import os
    import threading
    import time

    from tinygraph_mpi.failures import wait_until_read

    read, write = os.pipe()
    os.write(write, b"why")
    reader = threading.Timer(0.2, os.read, (read, 10))
    began = time.monotonic()
    reader.start()
    wait_until_read(write)
    assert time.monotonic() - began > 0.15
    os.write(write, b"nobody reads this")
    wait_until_read(write, 0.05)  # returns
    with open(__file__, "rb") as file:
        wait_until_read(file.fileno(), 0.05)
    reader.join()
    os.close(read), os.close(write)
