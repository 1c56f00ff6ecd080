"""Threads and forks: values are never seen half written, and nobody waits for ever."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.compiler import batch_program
from tinygraph.graph import locks
from tinygraph.graph.state import shared_lock
from tinygraph_cpu.machine import loading

N = 512


def product(w):
    x = tg.input("x", 4, N)
    return tg.compile([x], [x @ w])


def in_thread(function):
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def finishes(function, seconds=0.3):
    thread = in_thread(function)
    thread.join(seconds)
    return not thread.is_alive()


def test_a_call_never_sees_a_half_written_parameter():
    w = tg.parameter(np.zeros((N, N)), "w")
    run, x, stop = product(w), np.ones((4, N), np.float32), threading.Event()

    def write():
        k = 0
        while not stop.is_set():
            k ^= 1
            w.value = np.full((N, N), k, np.float32)

    writer = in_thread(write)
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        assert np.unique(run(x)[0]).tolist() in ([0.0], [N])
    stop.set()
    writer.join()


def test_a_reader_never_sees_a_half_made_update():
    w, x = tg.parameter(np.zeros((N, N)), "w"), tg.input("x", 4)
    step = tg.compile([x], [tg.sum(x)], updates=[(w, w + 1.0)])
    stop, ones = threading.Event(), np.ones(4, np.float32)

    def run():
        while not stop.is_set():
            step(ones)

    runner = in_thread(run)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        assert np.unique(w.value).size == 1
    stop.set()
    runner.join()


@pytest.mark.parametrize("threads", [1, 2])
def test_callers_and_writers_never_see_half_of_a_change(threads, monkeypatch):
    """Eight threads: some call, some train, some assign. All of a parameter, and both parameters
    that a program changes, are of one moment in every result.
    """
    monkeypatch.setattr(tg.settings, "threads", threads)
    a, b = (tg.parameter(np.zeros((N, N)), name) for name in "ab")
    alone = tg.parameter(np.zeros((N, N)), "alone")
    x, ones = tg.input("x", 4, N), np.ones((4, N), np.float32)
    step = tg.compile([x], [tg.sum(x)], updates=[(a, a + 1.0), (b, b - 1.0)])
    call = tg.compile([x], [x @ a, x @ b, x @ alone])
    step(ones), call(ones)
    wrong, end, made = [], time.monotonic() + 1.0, [0, 0, 0]

    def predict():
        of_a, of_b, of_alone = (np.unique(v) for v in call(ones))
        if not of_a.size == of_b.size == of_alone.size == 1 or of_a[0] != -of_b[0]:
            wrong.append((of_a, of_b, of_alone))

    def assign():
        alone.value = np.full((N, N), made[2] % 100, np.float32)

    def again(number, function):
        while time.monotonic() < end and not wrong:
            function()
            made[number] += 1

    tasks = [(0, predict)] * 4 + [(1, lambda: step(ones))] * 2 + [(2, assign)] * 2
    workers = [in_thread(lambda task=task: again(*task)) for task in tasks]
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive()
    assert not wrong
    assert all(made), made


def test_programs_wait_only_where_they_share_a_parameter():
    a, b = (tg.parameter(np.ones((N, N)), name) for name in "ab")
    x = np.ones((4, N), np.float32)
    first, second, both = product(a), product(b), product(a + b)
    with first._lock:
        assert finishes(lambda: second(x), 10.0)
        waiting = [in_thread(call) for call in (lambda: first(x), lambda: both(x))]
        waiting += [
            in_thread(call)
            for call in (lambda: a.value, lambda: setattr(a, "value", np.zeros((N, N))))
        ]
        time.sleep(0.2)
        assert all(thread.is_alive() for thread in waiting)
    for thread in waiting:
        thread.join(10.0)
        assert not thread.is_alive()


def test_a_parameter_gets_its_lock_while_somebody_waits_for_the_common_one():
    w = tg.parameter(np.ones(3), "w")
    with w.state.unused:
        reader = in_thread(lambda: w.value)
        time.sleep(0.1)
        lock = shared_lock([w.state])
        assert w.state.lock is lock is not w.state.unused
        lock.acquire()  # as a program that runs now
    reader.join(0.2)
    assert reader.is_alive()
    lock.release()
    reader.join(10.0)
    assert not reader.is_alive()


def test_threads_that_train_and_read_several_programs():
    """Every value that is seen belongs to a value that the parameters had at one time."""
    shared = tg.parameter(np.zeros(N), "shared")
    x = tg.input("x", N)
    steps = [
        tg.compile([x], [tg.sum(x)], updates=[(shared, shared + k)], name=f"add{k}")
        for k in (1.0, 2.0)
    ]
    reads = [tg.compile([x], [x * 0.0 + shared], name=f"read{k}") for k in range(2)]
    ones, stop, wrong = np.ones(N, np.float32), threading.Event(), []

    def read(program):
        while not stop.is_set():
            if np.unique(program(ones)[0]).size != 1:
                wrong.append(program)

    threads = [in_thread(lambda p=p: read(p)) for p in reads * 2]
    for i in range(600):
        steps[i % 2](ones)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong and shared.value[0] == 900.0


# ---------------------------------------------------------------------- fork

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


def child(function, seconds=20.0):
    """Whether a forked child comes to its end, and without an error."""
    number = os.fork()
    if number == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.002)
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return False


@fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_child_can_call_what_another_thread_was_running(threads, monkeypatch):
    monkeypatch.setenv("TINYGRAPH_THREADS", str(threads))
    w = tg.parameter(np.ones((N, N)), "w")
    run, x, stop = product(w), np.ones((4, N), np.float32), threading.Event()

    def work():
        while not stop.is_set():
            run(x)

    def check():
        assert (run(x)[0] == N).all()
        w.value = np.zeros((N, N))
        assert (run(x)[0] == 0).all()

    worker = in_thread(work)
    assert all(child(check) for _ in range(4))
    stop.set()
    worker.join()
    assert (run(x)[0] == N).all()


@fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("level", ["programs", "team", "LLVM", "nodes"])
def test_fork_waits_for_each_kind_of_lock(level):
    from tinygraph.graph import ir
    from tinygraph_cpu.driver.team import team

    lock = {
        "programs": tg.parameter(1.0).state.lock, "team": team().lock,
        "LLVM": loading.lock, "nodes": ir._LOCK,
    }[level]  # fmt: skip
    held, x = threading.Event(), tg.input("x", 5)

    def hold():
        with lock:
            held.set()
            time.sleep(0.2)

    holder = in_thread(hold)
    held.wait()
    values = np.ones(5, np.float32)
    assert child(lambda: tg.compile([x], [tg.exp(x) + 2.0])(values))
    holder.join()


def test_locks_are_taken_in_order_and_a_fork_inside_one_is_possible():
    late, early = locks.new_lock(locks.TABLES), locks.new_lock(locks.PROGRAMS)
    assert locks.Locks([late, early]).locks == [early, late]
    with early:
        if hasattr(os, "fork"):
            assert child(lambda: locks.Locks([early, late]).__enter__())


# ---------------------------------------------------------------------- batch sizes


def test_sizes_share_prepared_weights_and_follow_their_values():
    net, x = nn.Linear(64, 48), tg.input("x", None, 64)
    run = tg.compile([x], [net(x)])
    sizes = 16, 32, 64  # whole tiles, which read the weights in one form
    arrays = {n: np.ones((n, 64), np.float32) for n in sizes}
    memory = {tuple(run.bind(n)._runner.prepared.addresses) for n in sizes}
    assert run.bind(16).built.code.prepare and len(memory) == 1
    for value in (1.0, 2.0):
        net.weight.value = np.full(net.weight.shape, value, np.float32)
        net.bias.value = np.zeros(48, np.float32)
        for n, array in arrays.items():
            assert (run(array)[0] == 64 * value).all(), n
    other = nn.Linear(64, 48)  # the same code for other parameters
    another = tg.compile([x], [other(x)])
    assert not {*another.bind(16)._runner.prepared.addresses} & {*next(iter(memory))}
    assert not (another(arrays[16])[0] == 128.0).any()


def test_sizes_are_dropped_beyond_a_number_and_a_memory(monkeypatch):
    x = tg.input("x", None, 64)
    run = tg.compile([x], [tg.tanh(x @ tg.transpose(x)) @ x])
    monkeypatch.setattr(batch_program, "MOST", 3)
    first = run.bind(1)
    for n in (2, 3, 1, 4):
        assert run.bind(n) is run.latest is run.sizes[n]
    assert list(run.sizes) == [3, 1, 4] and run.sizes[1] is first
    monkeypatch.setattr(batch_program, "MEMORY", 0)
    large = run.bind(64)
    assert large.built.code.arena > 0 and list(run.sizes) == [64]  # one is always kept
    array = np.eye(64, dtype=np.float32)[:2]
    expected = np.tanh(array @ array.T) @ array
    assert np.allclose(run(array)[0], expected, atol=1e-6)


def test_training_with_changing_sizes_is_that_of_fixed_ones():
    x, y = tg.input("x", None, 9), tg.input("y", None, dtype="int32")
    rng = np.random.default_rng(0)
    batches = [
        (rng.random((n, 9), np.float32), rng.integers(0, 4, n, np.int32)) for n in (5, 2, 5, 3)
    ]

    def trained(most):
        tg.manual_seed(1)
        net = nn.Linear(9, 4)
        loss = nn.cross_entropy(net(x), y)
        step = tg.compile([x, y], [loss], updates=optim.SGD(lr=0.1).updates(loss, net.parameters()))
        batch_program.MOST = most
        return [step(*batch)[0] for batch in batches], net.weight.value

    most = batch_program.MOST
    try:
        (a, v), (b, w) = trained(1), trained(32)
    finally:
        batch_program.MOST = most
    assert a == b and np.array_equal(v, w)
