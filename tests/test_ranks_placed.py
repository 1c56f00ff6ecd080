"""Programs placed on several ranks: messages, the bits of one process, values of other ranks."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tinygraph as tg
from ranks import needs_mpi, right, run_ranks
from test_placement import DATA, TWO, WEIGHTS, towers
from tinygraph import nn, optim
from tinygraph.compiler.store import default_store
from tinygraph.graph.placement import numbered, parts_of
from tinygraph.graph.state import LostValueError
from tinygraph.plan.messages import Extent
from tinygraph.plan.records.work import Access, Buffer
from tinygraph.plan.verify import verify_plan
from tinygraph.ranks import world as ranks_world

RANKS = ("rank:0/cpu:0", "rank:1/cpu:0")


def training(devices):
    """A step of Adam, whose counter both devices read."""
    weights = [tg.parameter(v, name=f"w{i}") for i, v in enumerate(WEIGHTS)]
    x, (a, b) = towers(devices, weights)
    loss = tg.mean(a * b)
    updates = optim.Adam(0.01).updates(loss, weights)
    return tg.compile([x], [loss, a], updates=updates), weights


def test_names():
    assert parts_of("rank:12/cuda:3") == (12, "cuda", 3) and parts_of("cpu:1") == (None, "cpu", 1)
    assert numbered(["cpu:3", "cpu:1"]) == {"cpu:3": 3, "cpu:1": 1}
    names = ["rank:10/cpu:0", "rank:2/cpu:1", "rank:2/cpu:0"]
    assert [*numbered(names)] == ["rank:2/cpu:0", "rank:2/cpu:1", "rank:10/cpu:0"]
    for wrong in ("rank:1", "rank:1/cpu", "rank/cpu:0", "rank:1/rank:2/cpu:0"):
        with pytest.raises(ValueError, match="rank:1/cpu:0"):
            tg.device(wrong)


def test_ranks_are_named_by_all_devices_or_by_none():
    x = tg.input("x", 4)
    with tg.device("cpu:0"):
        a = tg.exp(x)
    with tg.device("rank:1/cpu:0"):
        b = tg.tanh(a)
    with pytest.raises(tg.BackendError, match=r"rank:1/cpu:0 \(.*names a rank, cpu:0"):
        tg.compile([x], [b])


def test_regions_are_apart_if_they_have_no_element_in_common():
    rng, buffer, seen = np.random.default_rng(0), Buffer("b", 4096, "arena"), [0, 0]
    for _ in range(4000):
        row = int(rng.integers(4, 12))
        boxes, elements = [], []
        for _ in range(2):
            sizes = (int(rng.integers(1, 4)), int(rng.integers(1, row)))
            strides = (row * int(rng.integers(1, 3)), int(rng.integers(1, 3)))
            offset = int(rng.integers(0, 30))
            boxes.append(Extent(None, Access(buffer, offset, strides, "float32"), sizes))
            outer, inner = np.indices(sizes).reshape(2, -1)
            elements.append({*(offset + outer * strides[0] + inner * strides[1])})
        if boxes[0].apart(boxes[1]):
            assert elements[0].isdisjoint(elements[1]), boxes
            seen[0] += 1
        seen[1] += elements[0].isdisjoint(elements[1])
    assert seen[0] > 0.7 * seen[1]


def test_messages_are_in_the_plan():
    program, _ = training(RANKS)
    plan, text = program.inspection.plan, program.dump("plan")
    verify_plan(plan)
    assert re.search(r"6,144 bytes, rank:1/cpu:0 to rank:0/cpu:0, .*: \[48,32\], sent by launch "
                     r"\d+, received by \d+", text)  # fmt: skip
    # both halves, and their gradients; then outputs, and what Adam makes of its counter
    sizes = [t.bytes for t in plan.messages]
    assert sizes.count(4) == 3 and sum(sizes) == 3 * 4 + 9 * 6144
    assert program.cost()["transferred_bytes"] == sum(sizes)
    assert sum(" goes from rank:" in r for r in program.remarks) == len(sizes)
    for t in plan.messages:
        assert plan.launches[plan.launches.index(t.sends)].device == t.source != t.target
        assert plan.launches.index(t.sends) < plan.launches.index(t.receives)
        others = [b for b in plan.buffers if b.home == "arena" and b.first >= 0]
        assert not any(t.message.overlaps(b) for b in others if b is not t.message)


def test_two_draws_on_two_devices_count_once():
    x, (one, two) = tg.input("x", 8), (nn.Dropout(0.5) for _ in range(2))
    with tg.device(RANKS[0]):
        a = one(x, training=True)
    with tg.device(RANKS[1]):
        b = two(a, training=True)
    program = tg.compile([x], [b])
    assert [p.name for p in program.updates] == ["random.step"]
    ((_, ranks),) = program.built.code.holders
    assert ranks == (0, 1)  # both read the counter


def test_one_process_makes_all_ranks():
    results = []
    for devices in (RANKS, TWO):
        program, weights = training(devices)
        outs = [program(DATA) for _ in range(3)]
        results.append([*(v for out in outs for v in out), *(w.value for w in weights)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_as_many_ranks_as_it_is_placed_on(monkeypatch):
    class Three:
        rank, size, doing = 0, 3, ""

    program = training(RANKS)[0]
    monkeypatch.setattr(ranks_world, "_found", Three())
    with pytest.raises(tg.BackendError, match=r"placed on 2 ranks, and there are 3.*mpiexec -n 2"):
        program.source.backend.load(
            program.built.code, program.built.constants, program.parameters, default_store(), ""
        )


def test_a_value_on_another_rank_is_said_to_be_there():
    from tinygraph.graph.spread import OnRank

    w = tg.parameter(np.ones(3), "w")
    w.state.spread_out(OnRank(1, "step", here=False))
    with pytest.raises(LostValueError, match=r"w: f32\[3\] is on rank 1, .* program step.*collect"):
        w.value  # noqa: B018
    w.value = np.zeros(3)
    np.testing.assert_array_equal(w.value, 0)
    w.state.spread_out(OnRank(0, "step", here=True))
    np.testing.assert_array_equal(w.value, 0)


# ------------------------------------------------------------------ under mpiexec

TRAIN = """
    import sys, numpy as np, tinygraph as tg
    from ranks import say
    from test_ranks_placed import RANKS, training, sent_bytes
    from test_placement import DATA
    from tinygraph import distributed as dist
    from tinygraph.cli.demo import digest
    tg.settings.threads = int(sys.argv[1])
    program, weights = training(RANKS)
    for _ in range(3):
        loss, out = program(DATA)
    program.profile(DATA, repeat=1)
    if dist.size() > 1:
        assert sent_bytes(program) == program.cost()["transferred_bytes"]
        away = [p for p in program.parameters if p.state.spread and not p.state.spread.here]
        # half of the weights, what Adam keeps of them, and its counter
        assert len(away) == 12 + dist.rank(), away
    dist.collect(*program.parameters)
    values = {f"{i}": p.value for i, p in enumerate(program.parameters)}
    say(digest({**values, "loss": loss, "out": out}))
"""


def sent_bytes(program) -> int:
    """What all ranks send in a run: rows of the tables that compiled code reads."""
    from tinygraph_cpu.driver.encoded import COUNT, KIND, SEND, STEP

    runner = program._runner
    tables = [t.reshape(-1, STEP) for t in runner.encoded_messages.kept if t.size % STEP == 0]
    mine = sum(int(row[COUNT]) for t in tables for row in t if row[KIND] == SEND and row[COUNT] > 4)
    few = sum(m.bytes for m in program.built.code.messages if m.bytes <= 4)
    return sum(ranks_world.world().gather(mine)) + few


@needs_mpi
def test_two_ranks_have_the_bits_of_one_process():
    found = {n: {*right(run_ranks(n, TRAIN, t)).split()} for n, t in ((1, "1"), (2, "1"), (2, "2"))}
    assert len(set.union(*found.values())) == 1, found


FUZZ = """
    import faulthandler, sys, numpy as np, tinygraph as tg
    from hashlib import sha256
    from ranks import say
    from tinygraph import distributed as dist, nn, optim
    ranks, found = int(sys.argv[2]), sha256()
    for seed in range(int(sys.argv[1])):
        rng = np.random.default_rng(seed)
        nn.manual_seed(seed)
        x = tg.input("x", 6, 4)
        layers = [nn.Linear(4, 4) for _ in range(3)]
        norm, drop = nn.BatchNorm1d(4), nn.Dropout(0.3)
        values = [x]
        for i in range(9):
            a, b = (values[j] for j in rng.integers(0, len(values), 2))
            made = [
                lambda: layers[rng.integers(3)](a), lambda: tg.tanh(a) + b, lambda: a * b,
                lambda: tg.concat([a, b], 1)[:, 2:6], lambda: tg.transpose(a[:4]) @ a[:4] + b[1],
                lambda: drop(a, training=True), lambda: norm(a, training=True),
                lambda: tg.scan(lambda c, r: (tg.tanh(c + r), c * r), a[0], b)[1][0],
            ][rng.integers(8)]
            where = f"rank:{rng.integers(ranks)}/cpu:{rng.integers(2)}"
            with tg.device(where if rng.random() < 0.8 else None):
                y = made()
            values.append(tg.concat([y, y], 0)[:6] if y.shape[0] < 6 else y)
        with tg.device(f"rank:{ranks - 1}/cpu:0"):
            last = tg.exp(-tg.square(values[-1]))
        loss = tg.mean(last)
        parameters = [p for m in layers for p in m.parameters()]
        reached = [p for p in parameters if p in set(tg.Graph("", (), (loss,)).parameters)]
        updates = optim.Adam(0.1).updates(loss, reached) if reached else []
        program = tg.compile([x], [loss, values[-2], last], updates=updates)
        value = np.random.default_rng(seed).standard_normal((6, 4)).astype("float32")
        for _ in range(2):
            outs = program(value)
        dist.collect(*program.parameters)
        for array in (*outs, *(p.value for p in program.parameters)):
            found.update(np.ascontiguousarray(array).tobytes())
        with_ranks = {d for d in program.inspection.plan.devices}
        if not any(f"rank:{ranks - 1}/" in d for d in with_ranks):
            raise AssertionError(with_ranks)
    say(found.hexdigest())
"""


@needs_mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_random_programs_on_ranks(ranks, pytestconfig):
    seeds = 60 if pytestconfig.getoption("--deep") else 5
    found = {
        n: {*right(run_ranks(n, FUZZ, str(seeds), str(ranks), limit=100 + 10 * seeds)).split()}
        for n in (1, ranks)
    }
    assert found[1] == found[ranks] and len(found[1]) == 1, found


SAVE = """
    import sys
    from ranks import say
    from test_ranks_placed import RANKS
    from test_placement import DATA
    import tinygraph as tg
    from tinygraph import checkpoint, nn, optim
    from tinygraph.cli.demo import digest
    nn.manual_seed(1)
    first, second = nn.Linear(64, 8), nn.Linear(8, 3)  # whose names are the same: no container
    net = nn.Sequential(first, second)
    x = tg.input("x", *DATA.shape)
    with tg.device(RANKS[0]):
        h = tg.relu(first(x))
    with tg.device(RANKS[1]):
        loss = tg.mean(tg.square(second(h)))
    optimizer = optim.SGD(0.1, momentum=0.9)
    step = tg.compile([x], [loss], updates=optimizer.updates(loss, net.parameters()))
    if sys.argv[2] == "load":
        checkpoint.load(sys.argv[1], net, optimizer)
    for _ in range(2):
        step(DATA)
    checkpoint.save(sys.argv[1], net, optimizer)
    say(digest({**net.state_dict(), **optimizer.state_dict()}))
"""


@needs_mpi
def test_a_checkpoint_holds_nothing_of_ranks(tmp_path):
    found = []
    for first, second in ((1, 1), (2, 1), (1, 2)):
        file = str(tmp_path / f"{first}{second}.npz")
        right(run_ranks(first, SAVE, file, "new"))
        found += right(run_ranks(second, SAVE, file, "load")).split()
    assert len({*found}) == 1, found


DIFFER = """
    from tinygraph import distributed as dist
    from test_ranks_placed import RANKS
    import tinygraph as tg
    x = tg.input("x", 4 + dist.rank())
    with tg.device(RANKS[0]):
        a = tg.exp(x)
    with tg.device(RANKS[1]):
        b = tg.tanh(a)
    tg.compile([x], [b])
"""


@needs_mpi
def test_ranks_that_differ_are_refused():
    done = run_ranks(2, DIFFER)
    assert done.returncode != 0
    assert "rank 1 differs from rank 0 in the program" in done.stderr
