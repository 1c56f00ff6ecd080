"""Measurements in a process of their own: what benchmarks of starts and of memory share."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def resident() -> float:
    """Megabytes of memory that this process uses now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak() -> float:
    """Megabytes of this process at its largest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def spawn(
    program: str, library: str, row: str, threads: int, **environment: str
) -> dict[str, float]:
    """What ``program --child library row`` prints, as JSON, in its last line.

    Raises:
        RuntimeError: it failed; says how.
    """
    command = [sys.executable, program, "--child", library, row, "--threads", str(threads)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{library} {row} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def parser(title: str | None, libraries: Sequence[str]) -> argparse.ArgumentParser:
    """The command line: rows, ``--threads``, ``--json`` and what ``spawn`` adds."""
    made = argparse.ArgumentParser(description=(title or "").splitlines()[0])
    made.add_argument("rows", nargs="*", metavar="row")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--json", type=Path)
    made.add_argument("--child", choices=libraries, help=argparse.SUPPRESS)
    return made
