"""Reads ONNX files in processes of little memory and time, and says what became of each.

    python tests/onnx_limited.py one.onnx two.onnx ...

Each file has a process of its own, forked off one that has imported everything. Prints a line of
JSON for each: how it ended ("right", an error's type, or "signal 24"), its message, seconds, and
files outside of the model's folder that were opened, or other things that a reader must not do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MEMORY = 2 << 30  # bytes of address space
SECONDS = 20  # of processor time
FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "socket.connect", "os.remove",
             "os.rename", "os.link", "os.symlink", "os.mkdir")  # fmt: skip


@dataclass
class Outcome:
    """What became of a file."""

    file: str
    end: str
    text: str = ""
    seconds: float = 0.0
    touched: list[str] = field(default_factory=list)


def tried(path: Path) -> list[np.ndarray]:
    """What a user does with a file, up to the first result."""
    import tinygraph as tg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = tg.onnx.load(path)
        nodes = net.nodes()
        made = net(*nodes)
        graph = tg.Graph("tried", tuple(nodes), made if isinstance(made, tuple) else (made,))
        return tg.run(graph, *(np.zeros(n.shape, n.dtype) for n in nodes))


def outcomes(paths: Iterable[Path]) -> list[Outcome]:
    """Of each file, in a process whose limits and watch are not this one's."""
    command = [sys.executable, __file__, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]


def outcome(path: Path, use: Callable[[Path], object] = tried) -> Outcome:
    """What became of a file, in a fork with limits."""
    start = time.perf_counter()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            found = _child(path, use)
            os.write(writer, json.dumps(asdict(found)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if text:
        found = Outcome(**json.loads(text))
    else:
        found = Outcome(path.name, f"signal {os.WTERMSIG(status)}")
    found.seconds = time.perf_counter() - start
    return found


def _child(path: Path, use: Callable[[Path], object]) -> Outcome:
    import resource  # not on Windows

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    signal.alarm(10 * SECONDS)  # what waits uses no processor
    found = Outcome(path.name, "right")
    kept = _watched(path.parent.resolve(), found.touched)
    try:
        use(path)
    except Exception as error:
        found.end, found.text = type(error).__name__, str(error)
    kept.clear()
    return found


def _watched(folder: Path, touched: list[str]) -> list[bool]:
    """Collects what is opened outside a folder, until the list that it returns is empty."""
    active, modules = [True], tuple({sys.prefix, sys.base_prefix, *filter(None, sys.path)})
    modules += (sys.pycache_prefix,) if sys.pycache_prefix else ()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not active:
            return
        if event in FORBIDDEN:
            touched.append(f"{event} {arguments}"[:200])
        elif event == "open" and isinstance(arguments[0], (str, bytes)):
            name = os.path.abspath(os.fsdecode(arguments[0]))
            imported = name.startswith(modules) and Path(name).suffix in (".py", ".pyc", ".so")
            if not imported and not name.startswith(f"{folder}{os.sep}"):
                touched.append(f"open {name}")

    sys.addaudithook(watch)
    return active


if __name__ == "__main__":
    import tinygraph as tg

    tg.onnx.require_package()
    from tinygraph.onnx import module  # noqa: F401
    from tinygraph.onnx.reading import file  # noqa: F401

    for argument in sys.argv[1:]:
        print(json.dumps(asdict(outcome(Path(argument)))), flush=True)
