"""Operators that all ranks compute together: values, gradients, order; alone and under mpiexec."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import tinygraph as tg
from ranks import needs_mpi, on_threads, right, run_ranks
from tinygraph.__main__ import main
from tinygraph.compiler.backend import BackendError
from tinygraph.ranks.collectives import KINDS, collective
from tinygraph.ranks.forecast import bytes_a_second, step_seconds, sum_seconds
from tinygraph.ranks.world import DistributedError


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", ["float32", "int32", "float16"])
def test_arrays_of_all_ranks(ranks, dtype):
    n = 4 * ranks
    values = np.random.default_rng(0).integers(-9, 9, (ranks, n)).astype(dtype)
    total, last = values.sum(0, dtype=dtype), ranks - 1

    def results(world):
        found = {}
        for kind in KINDS:
            found[kind] = values[world.rank].copy()
            collective(world, kind, found[kind], last if kind in ("broadcast", "reduce") else 0)
        return found

    for rank, found in enumerate(on_threads(ranks, results)):
        np.testing.assert_array_equal(found["all_reduce"], total)
        np.testing.assert_array_equal(found["broadcast"], values[last])
        np.testing.assert_array_equal(found["reduce"], total if rank == last else 0 * total)
        np.testing.assert_array_equal(found["reduce_scatter"][:4], np.split(total, ranks)[rank])
        np.testing.assert_array_equal(found["all_gather"], values[:, :4].ravel())


def test_ranks_that_compute_something_else_are_named():
    def wrong(world):
        memory = np.zeros(3 + world.rank, np.float32)
        with pytest.raises(DistributedError, match=r"rank \d computes all_reduce of \d float32, "):
            collective(world, "all_reduce", memory)

    on_threads(2, wrong)


def test_alone_they_are_identities_with_gradients():
    x = tg.input("x", 4, 3)
    rng = np.random.default_rng(0)
    for f in (tg.all_reduce, tg.reduce_scatter, tg.all_gather, tg.broadcast):
        y = f(tg.transpose(x))
        graph = tg.Graph("g", (x,), (y, tg.grad(tg.sum(y * y), [x])[0]))
        assert tg.dump(tg.parse(tg.dump(graph))) == tg.dump(graph)
        value = rng.standard_normal((4, 3)).astype(np.float32)
        for found in (tg.run(graph, value), tg.compile([x], graph.outputs, verify="values")(value)):
            np.testing.assert_array_equal(found[0], value.T)
            np.testing.assert_array_equal(found[1], 2 * value)


def test_they_run_in_one_order_in_every_run():
    x, w = tg.input("x", 8), tg.parameter((8,), "w", initial=lambda: np.ones(8))
    values = [tg.all_reduce(w), tg.all_reduce(tg.constant(np.ones(8, np.float32)))]
    values += [tg.all_reduce(x + i) for i in range(5)]
    plan = tg.compile([x], values).inspection.plan
    ordered = [i for i, launch in enumerate(plan.launches) if launch.ordered]
    assert len(ordered) == 7 and not any(x.ordered for x in plan.prepare)
    assert not any(x.ordered for launch in plan.launches for x in launch.members[1:])
    for before, after in pairwise(ordered):
        seen, open = set(), [after]
        while open:
            seen.add(n := open.pop())
            open += plan.launches[n].waits
        assert before in seen


def test_in_a_loop_each_waits_for_the_one_of_the_step_before():
    x = tg.input("x", 5, 4)

    def step(carry, row):
        total = tg.all_reduce(carry + row)
        return total, tg.all_reduce(total * row)

    (end,), (rows,) = tg.scan(step, tg.constant(np.zeros(4, np.float32)), [x])
    program = tg.compile([x], [end, rows])
    value = np.arange(20, dtype=np.float32).reshape(5, 4)
    np.testing.assert_array_equal(program(value)[0], value.sum(0))
    plan = program.inspection.plan
    for loop in plan.loops:
        ordered = [i for i in range(loop.first, loop.last) if plan.launches[i].ordered]
        assert len(ordered) == 2 and ordered[-1] in plan.launches[ordered[0]].back


def test_devices_without_them_refuse():
    x = tg.input("x", 4)
    with pytest.raises(BackendError, match="all_reduce"):
        tg.compile([x], [tg.all_reduce(x)], backend="cuda:ptx")


def test_the_cost_of_a_program_names_the_bytes_that_a_rank_sends():
    x = tg.input("x", 8, 3)
    text = tg.dump(tg.Graph("g", (x,), (tg.all_reduce(x), tg.broadcast(x))))
    assert tg.compile([x], tg.parse(text).outputs).cost()["communicated_bytes"] == 0
    graph = tg.parse(text.replace("ranks=1", "ranks=4"))
    sent = tg.compile(graph.inputs, graph.outputs).cost()["communicated_bytes"]
    assert sent == 3 * (8 * 3 * 4 * 3 // 4)


def test_the_forecast_agrees_with_what_was_measured():
    """28 MB between hosts at 1 Gbit/s, 120 MB/s of payload: 2, 3 and 4 ranks."""
    for ranks, seconds in ((2, 0.246), (3, 0.392), (4, 0.434)):
        assert abs(sum_seconds(ranks, 28e6, 120e6) / seconds - 1) < 0.25
    assert bytes_a_second("10gbit") == 1.25e9 and bytes_a_second("2.5Mbit") == 312_500
    for wrong in ("10", "gbit", "0gbit", "10gbyte"):
        with pytest.raises(ValueError, match="as in 10gbit"):
            bytes_a_second(wrong)


def test_sums_hide_behind_what_a_rank_computes():
    alone = sum_seconds(2, 4e6, 1e9)
    assert step_seconds(1.0, [(4e6, 0.2), (4e6, 0.5)], 2, 1e9) == pytest.approx(1 + alone, rel=0.01)
    late = step_seconds(1e-4, [(4e6, 0.0), (4e6, 1.0)], 2, 1e9)
    assert late == pytest.approx(2 * alone, rel=0.01)
    assert step_seconds(1.0, [(4e6, 0.5)], 1, 1e9) == pytest.approx(1)
    # measured: two hosts at 1 Gbit/s, GoogLeNet, 4 and 10 images of 112x112 a rank
    buckets = [(5.4e6, 0.3), *[(4.6e6, 0.56)] * 3, (4.3e6, 0.6), (4.5e6, 0.9)]
    for step, seconds in ((0.076, 0.284), (0.15, 0.316)):
        assert abs(step_seconds(step, buckets, 2, 120e6) / seconds - 1) < 0.25


def test_the_command_prints_the_forecast(capsys):
    main(["scaling", "lenet5", "--batch", "2", "--ranks", "8", "--rate", "1gbit", "--repeat", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [int(x.split()[0]) for x in lines[2:]] == [1, 2, 4, 8]
    assert lines[2].split()[1] == "0.00" and lines[2].endswith("100.0%")


def test_what_they_take():
    with pytest.raises(tg.ShapeError, match="all_reduce requires numbers"):
        tg.all_reduce(tg.input("x", 3, dtype="bool"))
    with pytest.raises(tg.ShapeError, match="root among the 1 ranks"):
        tg.broadcast(tg.input("x", 3), 1)
    with pytest.raises(tg.ShapeError, match="all_gather requires a first axis"):
        tg.all_gather(tg.input("x"))
    with pytest.raises(tg.ShapeError, match="reduce_scatter requires a first axis"):
        tg.reduce_scatter(tg.input("x"))


VALUES = """
    import sys, numpy as np, tinygraph as tg
    from ranks import say
    from tinygraph import distributed as dist
    r, n = dist.rank(), dist.size()
    x = tg.input("x", 12, 5)
    t = tg.transpose(x)
    w = np.random.default_rng(0).standard_normal((n, 12, 5)).astype("float32")
    outs = [tg.all_reduce(x * 2) + 1, tg.reduce_scatter(x), tg.all_gather(t),
            tg.broadcast(x + 1, n - 1), tg.all_reduce(t)]
    (g,) = tg.grad(sum(tg.sum(o * o) for o in outs), [x])
    graph = tg.Graph("g", (x,), (*outs, g))
    assert tg.dump(tg.parse(tg.dump(graph))) == tg.dump(graph)
    s = w.sum(0)
    want = [2 * s + 1, np.split(s, n)[r], np.concatenate([a.T for a in w]), w[n - 1] + 1, s.T]
    last = 2 * n * (w[r] + 1) if r == n - 1 else 0
    want.append(4 * n * (2 * s + 1) + 2 * s + 2 * n * w[r] + last + 2 * n * s)
    program = tg.compile([x], [*outs, g], verify="values")
    for found in (program(w[r]), tg.run(graph, w[r])):
        for a, b in zip(found, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    say("right")
"""

FUZZ = """
    import faulthandler, sys, numpy as np, tinygraph as tg
    from ranks import say
    from tinygraph import distributed as dist
    r, n = dist.rank(), dist.size()
    for seed in range(int(sys.argv[1])):
        faulthandler.dump_traceback_later(10, exit=True)
        rng = np.random.default_rng(seed)
        x = tg.input("x", 6, 4)
        values = [x]
        for _ in range(8):
            a, b = (values[i] for i in rng.integers(0, len(values), 2))
            values.append([
                lambda: tg.all_reduce(a), lambda: tg.broadcast(a, int(rng.integers(n))),
                lambda: tg.tanh(a) + b, lambda: a * b, lambda: tg.all_gather(a)[6 * (n - 1):],
                lambda: tg.all_gather(tg.reduce_scatter(a)),
            ][rng.integers(6)]())
        outs = [values[-1], tg.grad(tg.sum(tg.tanh(values[-1])), [x])[0]]
        value = np.random.default_rng((seed, r)).standard_normal((6, 4)).astype("float32")
        found, want = tg.compile([x], outs)(value), tg.run(tg.Graph("g", (x,), tuple(outs)), value)
        for a, b in zip(found, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4, err_msg=str(seed))
    say("right")
"""


@needs_mpi
@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("program", [VALUES, FUZZ], ids=["values", "fuzz"])
def test_values_and_gradients_on_ranks(ranks, program, pytestconfig):
    seeds = 100 if pytestconfig.getoption("--deep") else 20
    found = run_ranks(ranks, program, str(seeds), limit=100 + 4 * seeds)
    assert right(found).split() == ["right"] * ranks
