"""Runs a bundle: every case in a process of its own, with a time limit; a report after each.

This process touches no GPU. What a case does to its own, a fault or a hang, ends with it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import child
from .report import report
from .results import Machine, Result, read_machine, read_result, replace_text

LEAST = 1.0  # seconds that must be left for a case to be started
PATIENCE = 5.0  # seconds for a killed process to go


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Check CUDA kernels on this machine's GPU.")
    made.add_argument("--report", type=Path, metavar="FILE", help="default: report.md in here")
    made.add_argument("--only", default="", metavar="WORD", help="cases with this in their names")
    made.add_argument("--limit", type=float, default=60, metavar="SECONDS", help="of one case")
    made.add_argument("--seconds", type=float, default=float("inf"), help="of all cases together")
    made.add_argument(
        "--jobs", type=int, default=min(8, os.cpu_count() or 1), help="cases at a time, untimed"
    )
    made.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return made


def main(folder: Path, argv: Sequence[str] | None = None, command: Sequence[str] = ()) -> int:
    """The number of cases that failed or were not run.

    Args:
        folder: the bundle.
        argv: options, by default those of this process.
        command: that runs this function in another process, by default the bundle's run.py.
    """
    arguments = parser().parse_args(argv)
    if arguments.child:
        kind, number, out = arguments.child
        child.main(folder, kind, int(number), Path(out))
    check = BundleRun(folder, arguments, command or [sys.executable, str(folder / "run.py")])
    check.run()
    return min(100, sum(bool(r.fault) or not r.ran for r in check.results.values()))


class BundleRun:
    """The cases of a bundle, and what is known of them so far."""

    def __init__(self, folder: Path, arguments: argparse.Namespace, command: Sequence[str]):
        self.command, self.arguments = command, arguments
        self.path = arguments.report or folder / "report.md"
        self.end = time.monotonic() + arguments.seconds
        contents = [json.loads(p.read_text()) for p in sorted((folder / "cases").glob("*.json"))]
        self.cases: dict[int, dict[str, Any]] = {
            i: c for i, c in enumerate(contents) if arguments.only in c["name"]
        }
        self.results = {i: Result(c["name"]) for i, c in self.cases.items()}
        self.machine = Machine(child.versions())
        self.networks = (folder / "source" / "torch_networks.py").exists()
        self.running, self.lock = True, threading.Lock()

    def run(self) -> None:
        self.show(f"{len(self.cases)} cases")
        with tempfile.TemporaryDirectory() as self.folder:
            self.ask()
            with ThreadPoolExecutor(self.arguments.jobs) as pool:
                list(pool.map(self.case, [i for i, c in self.cases.items() if not c["timed"]]))
            for number in [i for i, c in self.cases.items() if c["timed"]]:  # nothing next to them
                self.case(number)
                self.peer(number)
        self.running = False
        self.show(f"the report is in {self.path}")

    def show(self, line: str) -> None:
        """A line for whoever waits, and the report as of now."""
        with self.lock:
            text = report(self.machine, list(self.results.values()), self.running)
            replace_text(self.path, text)
            print(line, flush=True)

    def ask(self) -> None:
        """What machine this is, and whether its GPU answers."""
        out, why = self.child("machine", 0)
        if why:
            self.machine.problem = f"this machine does not answer: {why}"
        else:
            self.machine = read_machine(out)
        self.show(self.machine.problem or self.machine.device)

    def case(self, number: int) -> None:
        if self.machine.problem or not self.left():
            return
        out, why = self.child("case", number)
        if why:
            self.results[number].ran, self.results[number].fault = True, why
        else:
            self.results[number] = read_result(out)
        result = self.results[number]
        self.show(f"{result.name}: {result.fault or 'ok'}")
        if why and self.left():  # whatever ended the process may have taken the GPU with it
            self.ask()

    def peer(self, number: int) -> None:
        """The same step in PyTorch."""
        if not self.cases[number]["torch"] or not self.results[number].ran:
            return
        if self.machine.versions["torch"] == "not installed" or not self.networks:
            return
        if self.left():
            out, why = self.child("torch", number)
            found = {"PyTorch": why} if why else json.loads(out.read_text())
            self.results[number].peers = found
            self.show(f"{self.results[number].name}, PyTorch: {found}")

    def left(self) -> bool:
        """True if there is time for another process."""
        return self.end - time.monotonic() > LEAST

    def child(self, kind: str, number: int) -> tuple[Path, str]:
        """The file with what a process found, and why there is none."""
        out = Path(self.folder) / f"{kind}{number}.{time.monotonic_ns()}.json"
        log, limit = out.with_suffix(".log"), min(self.arguments.limit, self.end - time.monotonic())
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*self.command, "--child", kind, str(number), str(out)],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            )  # fmt: skip
        try:
            code = process.wait(max(limit, LEAST))
        except subprocess.TimeoutExpired:
            return out, f"no end after {max(limit, LEAST):.0f} s"
        finally:
            end(process)
        return out, "" if out.exists() else f"the process {died(code)}{last_line(log)}"


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills a process; one that the driver holds is left behind."""
    if process.poll() is None:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)


def died(code: int) -> str:
    return f"died by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""
