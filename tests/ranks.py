"""Programs on several ranks: under mpiexec, with a limit of time; and worlds of threads."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygraph.ranks.world import world

ROOT = Path(__file__).parent.parent
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}"
                       + os.environ.get("PATH", ""))  # fmt: skip
OPEN_MPI = MPIEXEC is not None and b"Open MPI" in subprocess.run(
    [MPIEXEC, "--version"], capture_output=True
).stdout
# as many ranks as a test wants, whoever runs it; the others go on if one dies
OPTIONS = ["--allow-run-as-root", "--oversubscribe", "--with-ft", "ulfm"] if OPEN_MPI else []
needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or MPIEXEC is None,
    reason="needs mpi4py and an MPI: pip install 'tinygraph[mpi]'",
)
needs_open_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or not OPEN_MPI,
    reason="needs mpi4py and Open MPI, which goes on without a rank that has died: "
    "pip install 'tinygraph[mpi-ft]'",
)


def run_ranks(
    ranks: int, program: str | list[str], *arguments: str, limit: float = 100, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The result of ``program``, a text or arguments of Python, on this many ranks.

    After ``limit`` seconds all of it is killed, and the test fails; a text's ranks say before
    where they are.
    """
    assert MPIEXEC is not None
    watched = f"import faulthandler\nfaulthandler.dump_traceback_later({limit - 5}, exit=True)\n"
    python = ["-c", watched + textwrap.dedent(program)] if isinstance(program, str) else program
    command = [MPIEXEC, *OPTIONS, "-n", str(ranks), sys.executable, *python, *arguments]
    path = os.pathsep.join(map(str, (ROOT, ROOT / "backends", ROOT / "tests")))
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, env=env, cwd=ROOT, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.terminate()  # the launcher ends the ranks
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"{ranks} ranks did not end within {limit} s: {command}"[:500])
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def right(result: subprocess.CompletedProcess[str]) -> str:
    """What a program printed that ended well."""
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def say(text: str) -> None:
    """Prints a line of each rank, by rank 0: what ranks print themselves gets mixed."""
    lines = world().gather(text)
    if world().rank == 0:
        print("\n".join(lines))


class ThreadWorld:
    """A rank that is a thread of this process; ``worlds`` makes all of them."""

    def __init__(self, rank: int, size: int, mail: dict[Any, np.ndarray], all: threading.Barrier):
        self.rank, self.size, self.local_rank, self.local_size = rank, size, rank, size
        self.doing, self._mail, self._all = "", mail, all

    def exchange(self, send, receive):
        for r in range(self.size):
            if r != self.rank and send[r].size:
                self._mail[self.rank, r] = send[r].copy()
        self._all.wait(10)
        for r in range(self.size):
            if r != self.rank and receive[r].size:
                receive[r][...] = self._mail.pop((r, self.rank)).reshape(receive[r].shape)
        self._all.wait(10)

    def gather(self, value):
        self._mail[self.rank] = value
        self._all.wait(10)
        found = [self._mail[r] for r in range(self.size)]
        self._all.wait(10)
        return found


def on_threads(size: int, function: Callable[[ThreadWorld], Any]) -> list[Any]:
    """What a function returns on each rank of a world of threads."""
    mail, all, results = {}, threading.Barrier(size), [None] * size

    def run(rank: int) -> None:
        results[rank] = function(ThreadWorld(rank, size, mail, all))

    threads = [threading.Thread(target=run, args=(r,)) for r in range(size)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    return results
