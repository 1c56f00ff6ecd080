"""Kernels compiled by several processes: the same objects, and no kernel lost with a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import pytest

import tinygraph as tg
from tinygraph.codegen.program import KernelCode
from tinygraph_cpu import workers
from tinygraph_cpu.compilation import compile_kernel, record_of
from tinygraph_cpu.machine import processors
from tinygraph_cpu.machine.features import Features, detect, features_for
from tinygraph_cpu.workers import compile_kernels

ADD = """def {name}(part, tid, args):
    x = view_float32(args[0])
    n = args[1]
    for i in range(n):
        x[i] = x[i] + float32({value})
"""


def kernels(count: int) -> dict[str, KernelCode]:
    """Loops, and an emitted kernel of a small network."""
    found = {
        f"test_workers_{i}": KernelCode(f"add_{i}", ADD.format(name=f"add_{i}", value=i))
        for i in range(count)
    }
    x = tg.input("x", 40, 30)
    program = tg.compile([x], [x @ tg.transpose(x)])
    for kernel in program.source.translate().code.kernels:
        if kernel.record is not None:
            found["test_workers_product"] = kernel
    return found


def test_objects_are_the_same_whoever_compiles_them(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, here = kernels(4), {}

    def slowly(kernel: KernelCode, symbol: str, features: Features) -> bytes:
        time.sleep(0.8)  # a worker takes the rest
        here[symbol] = compile_kernel(kernel, symbol, features)
        return here[symbol]

    monkeypatch.setattr(workers, "compile_kernel", slowly)
    made = dict(compile_kernels(jobs, detect(), processes=2))
    assert 0 < len(here) < len(jobs) == len(made)
    assert made == {name: compile_kernel(k, name, detect()) for name, k in jobs.items()}


def test_records_are_read_from_their_text() -> None:
    kernel = kernels(0)["test_workers_product"]
    assert record_of(kernel.text) == kernel.record


def test_no_kernel_is_lost_with_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not start, and one that dies with a job in its hands."""
    jobs = kernels(3)
    start = subprocess.Popen
    for program in ("raise SystemExit(1)", "print('ready', flush=True); input()"):
        command = [sys.executable, "-c", program]
        monkeypatch.setattr(workers.subprocess, "Popen", lambda _, c=command, **k: start(c, **k))
        assert set(dict(compile_kernels(jobs, detect(), processes=3))) == set(jobs)


@pytest.mark.parametrize("error", [PermissionError(13, ""), BlockingIOError(11, "")])
def test_a_worker_that_cannot_be_started_is_done_without(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(workers.subprocess, "Popen", fail)
    assert set(dict(compile_kernels(jobs := kernels(3), detect(), processes=3))) == set(jobs)


@pytest.mark.parametrize(("name", "value"), [("executable", ""), ("frozen", True)])
def test_nothing_is_started_where_there_is_no_interpreter(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(sys, name, value, raising=False)
    monkeypatch.delattr(workers.subprocess, "Popen")
    assert set(dict(compile_kernels(jobs := kernels(3), detect(), processes=3))) == set(jobs)


def test_a_thread_that_cannot_be_started_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    started, start = [], subprocess.Popen
    monkeypatch.setattr(workers.threading.Thread, "start", fail)
    monkeypatch.setattr(
        workers.subprocess, "Popen", lambda *a, **k: started.append(start(*a, **k)) or started[-1]
    )
    assert set(dict(compile_kernels(jobs := kernels(3), detect(), processes=3))) == set(jobs)
    assert [process.poll() for process in started] == [-9]


def test_a_worker_with_other_sources_takes_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "sources_digest", lambda: "of files that have changed since")
    worker = workers._Process(deque(["a"]), deque(), {}, detect(), bool)
    worker.thread.join()
    assert not worker.ready and list(worker.jobs) == ["a"]
    worker.stop()


def test_processors_are_counted_where_the_system_cannot_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert processors.allowed_cpus()
    monkeypatch.delattr(os, "sched_getaffinity")
    assert processors.allowed_cpus() == list(range(os.cpu_count() or 1))
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors.allowed_cpus() == [0] and workers.default_processes(100, detect()) == 1


def test_what_fails_in_a_worker_is_raised_here() -> None:
    bad = "def bad(part, tid, args):\n    y = view_float32(args[0])\n    y[0] = nothing\n"
    with pytest.raises(ValueError, match="kernel bad: unknown name 'nothing'"):
        list(compile_kernels(kernels(3) | {"b": KernelCode("bad", bad)}, detect(), processes=2))


def test_a_main_module_without_a_guard_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from tinygraph_cpu import workers\n"
        "from tinygraph_cpu.machine import features\n"
        "from tinygraph.codegen.program import KernelCode\n"
        f"jobs = {{f'k{{i}}': KernelCode(f'k{{i}}', {ADD!r}.format(name=f'k{{i}}', value=i)) "
        "for i in range(4)}\n"
        "print(len(dict(workers.compile_kernels(jobs, features.detect(), processes=2))))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["once", "4"]


def test_few_kernels_are_compiled_here() -> None:
    assert workers.default_processes(workers.PAYS, detect()) == 1
    assert workers.default_processes(workers.PAYS_QUICK, features_for("quick")) == 1


@pytest.mark.parametrize("backend", ["cpu", "cpu:quick"])
def test_two_processes_share_the_kernels_of_one_program(tmp_path: Path, backend: str) -> None:
    """Each is compiled by one of them, and both have all."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "import tinygraph_cpu.workers as workers\n"
        "workers.PAYS = workers.PAYS_QUICK = 1000\n"
        "workers.allowed_cpus = lambda: [0, 1]\n"
        "made, draft_kernel = [], workers.draft_kernel\n"
        "def counted(kernel, *rest):\n"
        "    made.append(kernel.name)\n"
        "    return draft_kernel(kernel, *rest)\n"
        "workers.draft_kernel = counted\n"
        "import tinygraph as tg\n"
        "x = tg.input('x', 40)\n"
        "outputs = [tg.sort(tg.cumsum(tg.exp(x) * k)) for k in range(2, 50)]\n"
        "own, other = (Path(sys.argv[1], name) for name in sys.argv[2:])\n"
        "own.touch()\n"
        "while not other.exists():\n"
        "    pass\n"
        "program = tg.compile([x], outputs, without=['fuse'])\n"
        "print(len(made), len(program.inspection.compiled.code.kernels))\n"
    )
    env = os.environ | {"TINYGRAPH_CACHE": str(tmp_path / "cache"), "TINYGRAPH_BACKEND": backend}
    both = [
        subprocess.Popen(
            [sys.executable, script, tmp_path, *names], env=env, stdout=subprocess.PIPE, text=True
        )
        for names in (("a", "b"), ("b", "a"))
    ]
    counts = [[int(n) for n in process.communicate(timeout=120)[0].split()] for process in both]
    (mine, total), (theirs, same) = counts
    assert total == same and mine + theirs == total
    assert (mine and theirs) or backend == "cpu:quick"  # one may be done before the other begins
    assert not list((tmp_path / "cache" / "kernel").glob(".*"))
