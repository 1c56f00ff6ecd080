"""Kernels compiled by several processes at once: this one and workers share one list of jobs.

Compiling holds Python's lock, so threads would not help. A worker is a plain subprocess, which
needs nothing of the user's main module; jobs go in and objects come out as lines of JSON. It needs
a moment before its first kernel. What it leaves undone is done here, whether it cannot be
started, dies, or finds other sources than those that this process has imported.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple
from typing import Any

from tinygraph.codegen.program import KernelCode
from tinygraph.compiler.process_setting import ProcessSetting
from tinygraph.compiler.sources import sources_digest

from .compilation import compile_kernel, draft_kernel, record_of
from .machine import objects
from .machine.features import Features
from .machine.processors import allowed_cpus

MOST = 4  # processes
AHEAD = 2  # texts that wait for LLVM: other processes may take the rest
AHEAD_QUICK = 12  # where writing them takes as long as LLVM
OFTEN = 0.0005  # seconds between two threads' turns
PAYS = 8  # kernels that a process must have to do
PAYS_QUICK = 32  # those that are compiled quickly: starting a process takes as long as 30 of them

Done = tuple[str, bytes]  # a symbol and the object that defines it


def compile_kernels(
    kernels: Mapping[str, KernelCode],
    features: Features,
    processes: int | None = None,
    wanted: Callable[[str], bool] = lambda symbol: True,
) -> Iterator[Done]:
    """Compiles {symbol: kernel}; objects in the order in which they are done.

    Args:
        processes: how many compile at once, this one included; by default as many as pay off.
        wanted: asked before each begins; what is not wanted is left out.

    Raises:
        Exception: what compile_kernel raises for a kernel that is not legal.
    """
    # Workers begin with loops, the longest first, this process with what is emitted.
    loops = [s for s, k in kernels.items() if k.record is None]
    emitted = [s for s, k in kernels.items() if k.record is not None]
    loops.sort(key=lambda s: -len(kernels[s].text))
    jobs, made = deque([*loops, *emitted]), deque[Done]()
    count = default_processes(len(jobs), features) if processes is None else processes
    if count == 1 and len(allowed_cpus()) > 1:
        yield from beside_llvm(jobs, kernels, features, wanted)
        return
    workers = list(started(count - 1, jobs, made, kernels, features, wanted))
    try:
        while jobs or workers:
            symbol = take(jobs.pop, wanted)
            if symbol is not None:
                made.append((symbol, compile_kernel(kernels[symbol], symbol, features)))
            else:
                for worker in workers:
                    worker.finish()
                workers = []
            while made:
                yield made.popleft()
    finally:
        for worker in workers:
            worker.stop()


def beside_llvm(
    jobs: deque[str],
    kernels: Mapping[str, KernelCode],
    features: Features,
    wanted: Callable[[str], bool],
) -> Iterator[Done]:
    """Kernels are written in LLVM's language here, and made into code by another thread: LLVM does
    not hold Python's lock. Those that are emitted come first: they keep LLVM busy for longest.
    """
    waiting = deque[tuple[str, Future[bytes]]]()
    ahead = AHEAD_QUICK if features.quick else AHEAD
    with ThreadPoolExecutor(1, "tinygraph_llvm") as pool, _TURNS.changed():
        try:
            while (symbol := take(jobs.pop, wanted)) is not None:
                draft = draft_kernel(kernels[symbol], symbol, features)
                try:
                    waiting.append((symbol, pool.submit(objects.finish, draft, features)))
                except RuntimeError:  # no more threads
                    yield symbol, objects.finish(draft, features)
                while waiting and (waiting[0][1].done() or len(waiting) > ahead):
                    yield waiting[0][0], waiting.popleft()[1].result()
            for symbol, code in waiting:
                yield symbol, code.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# Threads take turns often: one that comes back from LLVM, as it does thirty times a kernel, would
# else wait five milliseconds for its turn.
_TURNS = ProcessSetting(
    sys.getswitchinterval, sys.setswitchinterval, lambda found: min(found, OFTEN)
)


def started(count: int, *shared: Any) -> Iterator[_Process]:
    """Workers, as many of ``count`` as can be started."""
    if not sys.executable or getattr(sys, "frozen", False):  # there is no interpreter to start
        return
    for _ in range(count):
        try:
            yield _Process(*shared)
        except (OSError, RuntimeError):  # no more processes or threads, or no right to start one
            return


def take(pop: Callable[[], str], wanted: Callable[[str], bool]) -> str | None:
    """The next job from one end of the list; None if there is none left."""
    try:
        while not wanted(symbol := pop()):
            pass
    except IndexError:
        return None
    return symbol


def default_processes(kernels: int, features: Features) -> int:
    pays = PAYS_QUICK if features.quick else PAYS
    return max(1, min(len(allowed_cpus()), MOST, kernels // pays))


class _Process:
    """A process, and the thread that hands it one job after the other."""

    def __init__(
        self,
        jobs: deque[str],
        made: deque[Done],
        kernels: Mapping[str, KernelCode],
        features: Features,
        wanted: Callable[[str], bool],
    ) -> None:
        self.jobs, self.made, self.kernels, self.wanted = jobs, made, kernels, wanted
        self.ready = False
        told = json.dumps([sources_digest(), *astuple(features)])
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            text=True,
        )
        self.thread = threading.Thread(target=self._serve, daemon=True)
        try:
            self.thread.start()
        except RuntimeError:
            self.process.kill()
            self.process.communicate()
            raise

    def _serve(self) -> None:
        self.ready = self._answer() is not None
        while self.ready and (symbol := take(self.jobs.popleft, self.wanted)) is not None:
            code = self._compile(symbol)
            if code is None:
                self.jobs.append(symbol)
                return
            self.made.append((symbol, code))

    def _compile(self, symbol: str) -> bytes | None:
        kernel, stdin = self.kernels[symbol], self.process.stdin
        assert stdin is not None
        job = [symbol, kernel.name, kernel.text, kernel.record is not None]
        try:
            stdin.write(json.dumps(job) + "\n")
            stdin.flush()
        except OSError:
            return None
        answer = self._answer()
        return None if answer is None else b64decode(answer)

    def _answer(self) -> str | None:
        """The next line that the process prints; None if it has come to an end."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return line if line.endswith("\n") else None

    def finish(self) -> None:
        """Waits for the job in its hands, if it has one."""
        if self.ready:
            self.thread.join()
        self.stop()

    def stop(self) -> None:
        self.process.kill()
        self.thread.join()
        self.process.communicate()


def _work() -> None:
    """The main program of a worker."""
    from .loops import kernels  # noqa: F401  before it says that it is ready

    gc.disable()
    digest, *features_of_parent = json.loads(sys.argv[1])
    if digest != sources_digest():
        return
    features = Features(*features_of_parent)
    print("ready", flush=True)
    for line in sys.stdin:
        symbol, name, text, emitted = json.loads(line)
        kernel = KernelCode(name, text, record_of(text) if emitted else None)
        print(b64encode(compile_kernel(kernel, symbol, features)).decode(), flush=True)


if __name__ == "__main__":
    _work()
