"""Say whether tinygraph works here, on what, and what to do where it does not."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from .. import __version__, ops
from ..compile import compile
from ..compiler.backend import BUILT_IN, BackendError, Examined, Finding, find
from ..compiler.store import CacheError, Store
from ..graph.op import input
from ..settings import settings

REQUIRED = ("numpy", "llvmlite", "networkx")
OPTIONAL = {
    "rich": "pip install rich: a live bar while networks train",
    "pillow": "pip install pillow: the demo reads pictures",
    "safetensors": "pip install safetensors: checkpoints as .safetensors",
    "onnx": "pip install 'tinygraph[onnx]': networks from and to ONNX files",
    "numba-cuda": "pip install 'tinygraph[cuda]': kernels for GPUs",
}
MARKS = {"ok": " ", "hint": "-", "fault": "!"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the same for a program to read")


def main(arguments: argparse.Namespace) -> None:
    found = examine()
    works = all(f.state != "fault" for f in found)
    if arguments.json:
        report = {"version": __version__, "works": works, "findings": [asdict(f) for f in found]}
        print(json.dumps(report, indent=1))
    else:
        print("\n".join(text(found)))
        print("tinygraph works here" if works else "tinygraph does not work here: see the lines "
              "with !")  # fmt: skip
    sys.exit(0 if works else 1)


def text(found: Sequence[Finding]) -> list[str]:
    """A line for each finding, and one below it that says what to do."""
    wide = max(len(f.name) for f in found)
    lines = []
    for f in found:
        lines.append(f"{MARKS[f.state]} {f.name:<{wide}}  {f.value}")
        if f.advice:
            lines.append(f"  {'':<{wide}}    {f.advice}")
    return lines


def examine() -> list[Finding]:
    """All findings, those last that need the ones before."""
    found = [
        Finding("tinygraph", f"{__version__} in {Path(__file__).parent.parent}"),
        Finding("Python", f"{platform.python_version()} in {sys.prefix}"),
        Finding("system", platform.platform()),
        *packages(),
    ]
    checks: list[Callable[[], Sequence[Finding]]] = [partial(backend, n) for n in BUILT_IN]
    for check in (*checks, cache, trial):
        found += _guarded(check)
    return found


def packages() -> list[Finding]:
    """The versions of those that are needed, and those that are missing."""
    found = []
    for name in REQUIRED:
        number = _version(name)
        missing = Finding(name, "missing", "fault", f"pip install {name}")
        found.append(Finding(name, number) if number else missing)
    for name, advice in OPTIONAL.items():
        number = _version(name)
        found.append(Finding(name, number) if number else Finding(name, "none", "hint", advice))
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _guarded(check: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    try:
        return check()
    except (BackendError, CacheError, ImportError, OSError, ValueError) as error:
        return [Finding("error", str(error), "fault")]


def backend(name: str) -> Sequence[Finding]:
    """What a backend says of the machine."""
    module, _ = find(name)
    return module.examine() if isinstance(module, Examined) else ()


def cache() -> list[Finding]:
    """Whether compiled code can be kept."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store = Store(settings.cache)
    used = sum(e.size for e in store.entries())
    value = f"{used / 1e6:,.1f} of {store.limit / 1e6:,.0f} MB in {store.folder}"
    if not caught:
        return [Finding("cache", value)]
    advice = f"{caught[0].message}; set TINYGRAPH_CACHE to a folder of your own"
    return [Finding("cache", value, "hint", advice)]


def trial() -> list[Finding]:
    """Compiles and runs a small program in an empty cache, and compares it with NumPy."""
    x = input("x", 64, 64)
    a = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    before, start = settings.cache, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        settings.cache = folder
        try:
            (value,) = compile([x], [ops.sum(ops.relu(x @ x), 1)], backend="cpu")(a)
        finally:
            settings.cache = before
    took = time.perf_counter() - start
    if np.allclose(value, np.maximum(a @ a, 0).sum(1), rtol=1e-4):
        return [Finding("trial", f"a program was compiled and ran in {took:.1f} s; it is right")]
    advice = "please report this with all lines above"
    return [Finding("trial", "a program computes wrong values", "fault", advice)]
