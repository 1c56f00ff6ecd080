"""The launch table and the team: every part once, in an order that respects the waits."""

import os
import subprocess
import sys
import threading
import time
from functools import cache

import numpy as np
import pytest

from tinygraph_cpu.driver.driver import driver_module
from tinygraph_cpu.driver.launch_table import LEFT, LaunchTable, TableEntry
from tinygraph_cpu.driver.team import Team, allowed_cpus, default_threads, team
from tinygraph_cpu.machine import loading, objects

# args = (output, input, cells of the input): output[part] = 3 * sum(input) + part + 1
KERNEL = """
define void @test_team_sum(i64 %part, i64 %tid, ptr %args) {
entry:
  %input_at = getelementptr i64, ptr %args, i64 1
  %count_at = getelementptr i64, ptr %args, i64 2
  %output = load ptr, ptr %args
  %input = load ptr, ptr %input_at
  %count = load i64, ptr %count_at
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %sum = phi i64 [0, %entry], [%more, %loop]
  %cell = getelementptr i64, ptr %input, i64 %i
  %x = load i64, ptr %cell
  %more = add i64 %sum, %x
  %next = add i64 %i, 1
  %again = icmp slt i64 %next, %count
  br i1 %again, label %loop, label %done
done:
  %triple = mul i64 %more, 3
  %number = add i64 %part, 1
  %result = add i64 %triple, %number
  %place = getelementptr i64, ptr %output, i64 %part
  store i64 %result, ptr %place
  ret void
}

define void @test_team_tid(i64 %part, i64 %tid, ptr %args) {
  %cell = getelementptr i64, ptr %args, i64 %part
  store i64 %tid, ptr %cell
  ret void
}
"""


@cache
def kernel_address(name="test_team_sum"):
    code = objects.compile_module(KERNEL, loading.Processor())
    return loading.load_for_good({"test_team_sum": code, "test_team_tid": code})[name]


class Chain:
    """Layers of cells; each sums the one before, so that a launch that runs too early shows."""

    def __init__(self, layers=40, width=5, devices=0):
        address = kernel_address()
        self.cells = np.zeros((layers + 1, width), np.int64)
        self.blocks = np.array(
            [
                (self.cells[i + 1].ctypes.data, self.cells[i].ctypes.data, width)
                for i in range(layers)
            ]
        )
        self.table = LaunchTable(
            [
                TableEntry(
                    address,
                    block.ctypes.data,
                    width,
                    (i - 1,) if i else (),
                    i * i % devices if devices else 0,
                )
                for i, block in enumerate(self.blocks)
            ],
            devices,
        )

    def run(self, team, threads):
        self.cells[1:] = 0
        team.run(self.table, threads)
        return self.cells.copy()


@pytest.fixture(scope="module")
def chain():
    return Chain()


@pytest.fixture(scope="module")
def expected(chain):
    layers, width = chain.cells.shape
    cells = np.zeros((layers, width), np.int64)
    with np.errstate(over="ignore"):
        for i in range(1, layers):
            cells[i] = 3 * cells[i - 1].sum() + np.arange(width) + 1
    return cells


@pytest.fixture
def own_team():
    team = Team()
    yield team
    team.close()


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_same_result_on_any_number_of_threads(chain, expected, own_team, threads):
    for _ in range(30):
        np.testing.assert_array_equal(chain.run(own_team, threads), expected)


def test_thread_counts_may_change_from_run_to_run(chain, expected, own_team):
    for threads in (1, 4, 2, 1, 3, 2, 5) * 4:
        np.testing.assert_array_equal(chain.run(own_team, threads), expected)


def test_wakes_parked_workers(chain, expected, own_team):
    for _ in range(5):
        np.testing.assert_array_equal(chain.run(own_team, 3), expected)
        time.sleep(0.03)
    assert len(own_team.parked) == len(own_team.workers) == 2


def test_a_worker_that_parks_as_a_run_begins_joins_it(own_team):
    began = threading.Event()

    class Late(list):
        def append(self, worker):
            """The worker has left native code, but is not among the parked before a run begins."""
            began.wait(10)
            super().append(worker)

    lead = own_team._lead
    Chain().run(own_team, 2)
    own_team.parked = Late(own_team.parked)
    own_team._wake()
    time.sleep(0.05)  # longer than its patience
    long = Chain(layers=1, width=64)
    long.cells = np.zeros((2, 1 << 20), np.int64)
    long.blocks[:] = long.cells[1].ctypes.data, long.cells[0].ctypes.data, 1 << 20
    own_team._lead = lambda *args: (began.set(), lead(*args))[1]
    own_team.run(long.table, 2)
    assert own_team.state[LEFT] == 1


def test_workers_are_kept_off_the_callers_core(chain, own_team):
    if len(allowed_cpus()) < 2 or not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs two processors and pinning")
    everywhere = os.sched_getaffinity(0)
    try:
        for cpu in sorted(everywhere)[:2] * 3:
            os.sched_setaffinity(0, {cpu})
            chain.run(own_team, 2)
            assert own_team.workers[0].cpu != cpu
            assert os.sched_getaffinity(own_team.workers[0].thread.native_id) != {cpu}
    finally:
        os.sched_setaffinity(0, everywhere)


def at_once(call, chains):
    """Calls with each chain in a Python thread of its own."""
    threads = [threading.Thread(target=call, args=(chain,)) for chain in chains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_four_python_threads(expected, own_team):
    chains = [Chain() for _ in range(4)]
    wrong = []

    def call(chain):
        for i in range(100):
            if not np.array_equal(chain.run(own_team, 1 + i % 3), expected):
                wrong.append(i)

    at_once(call, chains)
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_runs_its_parents_program(chain, expected, own_team):
    chain.run(own_team, 3)
    child = os.fork()
    if child == 0:
        same = all(np.array_equal(chain.run(own_team, n), expected) for n in (1, 3, 2))
        os._exit(0 if same and len(own_team.workers) == 2 else 1)
    np.testing.assert_array_equal(chain.run(own_team, 3), expected)
    assert os.waitpid(child, 0)[1] == 0


def test_a_fork_waits_for_a_run_in_another_thread(chain, expected, own_team):
    if not hasattr(os, "fork"):
        pytest.skip("no fork")
    stop = threading.Event()

    def call():
        while not stop.is_set():
            own_team.run(chain.table, 2)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                os._exit(0 if np.array_equal(chain.run(own_team, 2), expected) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()


def test_runs_after_close_use_the_callers_thread(chain, expected):
    team = Team()
    chain.run(team, 2)
    team.close()
    np.testing.assert_array_equal(chain.run(team, 2), expected)
    assert not team.workers


def test_the_interpreter_exits_while_workers_spin():
    program = f"""
import sys
sys.path[:0] = {[os.path.dirname(__file__), *sys.path]!r}
import threading
from test_team import Chain
from tinygraph_cpu.driver.team import team
chain = Chain()
for _ in range(3):
    team().run(chain.table, 4)
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_counts_cycles(chain, own_team):
    for threads in (1, 2):
        chain.table.count_cycles(True)
        own_team.run(chain.table, threads)
        cycles, waiting = chain.table.cycles()
        chain.table.count_cycles(False)
        assert cycles.shape == (40,)
        assert (cycles > 0).all()
        assert waiting >= 0
        own_team.run(chain.table, threads)
        assert not chain.table.cycles()[0].any() and not chain.table.cycles()[1]


# ---------------------------------------------------------------------- loops


@pytest.mark.parametrize("parts", [2, 5, 64, 65])
def test_every_part_of_a_loop_runs_once_in_each_run(parts, own_team):
    """Steps are layers of one table, and each reads the one before."""
    steps, address = 12, kernel_address()
    cells = np.zeros((steps + 1, parts), np.int64)
    blocks = np.array(
        [(cells[t + 1].ctypes.data, cells[t].ctypes.data, parts) for t in range(steps)]
    )
    one = TableEntry(address, blocks.ctypes.data, parts, back=(0,), stride=blocks.strides[0])
    table = LaunchTable([one], loops=[(0, 1, steps)])
    own_team.run(table, 1)
    expected = cells.copy()
    for threads in (2, 2, 3, 1, 2, 7):
        cells[1:] = 0
        own_team.run(table, threads)
        np.testing.assert_array_equal(cells, expected)


def test_in_a_loop_threads_keep_to_their_parts(own_team):
    """With a thread for each of them, no thread has a reason to take another's part twice."""
    steps, parts = 200, 2
    cells = np.full((steps, parts), -1, np.int64)
    one = TableEntry(
        kernel_address("test_team_tid"), cells.ctypes.data, parts, back=(0,),
        stride=cells.strides[0],
    )  # fmt: skip
    table = LaunchTable([one], loops=[(0, 1, steps)])
    for _ in range(20):
        own_team.run(table, 2)
        together = cells[cells[:, 0] != cells[:, 1]]
        assert together.tolist() == [[0, 1]] * len(together)


@pytest.mark.parametrize("parts", [2, 5, 64, 65])
def test_threads_begin_with_their_own_share(parts, own_team):
    launches, address = 100, kernel_address("test_team_tid")
    cells = np.full((launches, parts), -1, np.int64)
    waits = [(i - 1,) if i else () for i in range(launches)]
    rows = [row.ctypes.data for row in cells]
    table = LaunchTable(
        [TableEntry(address, a, parts, w, own=True) for a, w in zip(rows, waits, strict=True)]
    )
    for threads in (1, 2, 2, 3, 2):
        cells[:] = -1
        own_team.run(table, threads)
        assert (cells >= 0).all()  # each part ran
        if (threads, parts) == (2, 2):  # no thread has a reason to take the other's part
            together = cells[cells[:, 0] != cells[:, 1]]
            assert together.tolist() == [[0, 1]] * len(together)


# ---------------------------------------------------------------------- devices


@pytest.fixture(scope="module", params=[1, 2, 3])
def placed(request):
    """A chain whose layers take turns on devices."""
    return Chain(layers=12, devices=request.param)


def test_devices_on_any_number_of_threads(placed, chain, expected, own_team):
    for threads in (1, 2, 3, 8) * 3:
        np.testing.assert_array_equal(placed.run(own_team, threads), expected[:13])
        np.testing.assert_array_equal(chain.run(own_team, threads), expected)


def test_a_device_waits_for_its_thread(placed, expected, own_team):
    for pause in (0, 0.0005, 0.001, 0.002, 0.004, 0.03) * 2:
        time.sleep(pause)  # workers spin, park, or are just about to
        np.testing.assert_array_equal(placed.run(own_team, 3), expected[:13])
    assert not own_team.going


def test_devices_in_several_python_threads(expected, own_team):
    chains = [Chain(layers=12, devices=d) for d in (2, 0, 3)]
    wrong = []

    def call(chain):
        for i in range(20):
            if not np.array_equal(chain.run(own_team, 3), expected[:13]):
                wrong.append(i)

    at_once(call, chains)
    assert not wrong


def test_devices_after_close(placed, expected):
    team = Team()
    placed.run(team, 3)
    team.close()
    np.testing.assert_array_equal(placed.run(team, 3), expected[:13])


def test_a_launch_runs_on_its_devices_thread(own_team):
    cells = np.full((6, 4), -1, np.int64)
    devices = (0, 2, 1, 1, 0, 2)
    address = kernel_address("test_team_tid")
    launches = [
        TableEntry(address, row.ctypes.data, 4, device=d)
        for row, d in zip(cells, devices, strict=True)
    ]
    own_team.run(LaunchTable(launches, 3), 4)
    assert cells.tolist() == [[d] * 4 for d in devices]
    own_team.run(LaunchTable(launches, 3), 2)  # too few threads: one runs all
    assert not cells.any()


def test_refuses_a_device_that_there_is_not():
    with pytest.raises(ValueError, match="not legal"):
        LaunchTable([TableEntry(1, 1, device=2)], 2)


@pytest.mark.parametrize(
    "launches",
    [
        [TableEntry(1, 1, parts=0)],
        [TableEntry(1, 1, waits=(0,))],
        [TableEntry(1, 1), TableEntry(1, 1, waits=(-1,))],
    ],
)
def test_refuses_an_illegal_table(launches):
    with pytest.raises(ValueError, match="not legal"):
        LaunchTable(launches)


def test_an_empty_table_runs(own_team):
    for threads in (1, 2):
        own_team.run(LaunchTable([]), threads)


def test_threads_of_the_environment(monkeypatch):
    monkeypatch.delenv("TINYGRAPH_THREADS", raising=False)
    assert default_threads() == len(allowed_cpus())
    monkeypatch.setenv("TINYGRAPH_THREADS", "3")
    assert default_threads() == 3
    for wrong in ("0", "-1", "two"):
        monkeypatch.setenv("TINYGRAPH_THREADS", wrong)
        with pytest.raises(ValueError, match="TINYGRAPH_THREADS"):
            default_threads()


def test_one_team_a_process():
    assert team() is team()


def test_the_driver_computes_no_floats():
    module = driver_module()
    assert "float" not in module
    assert "double" not in module
