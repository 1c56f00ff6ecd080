"""The driver's functions and those of sums, loaded once a process, compiled once a cache folder."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from tinygraph.compiler.sources import digest
from tinygraph.compiler.store import default_store

from ..machine.features import detect
from ..machine.loading import LLVMTarget, Processor, load_for_good, stored_module
from ..machine.processors import allowed_cpus

MADE_BY = ("driver", "emitter", "encoded", "interrupt", "launch_table", "note", "sums")


def _loaded(names: list[str], module: Callable[[], str], target: LLVMTarget) -> dict[str, int]:
    """The addresses of a module's functions."""
    here = Path(__file__)
    source = digest(here.with_name(f"{name}.py") for name in MADE_BY)
    code = stored_module(module, target, default_store(), f"{names} {source}")
    return load_for_good(dict.fromkeys(names, code))


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of the native functions: ``sum`` and ``message``, which kernels call; the kernel ``left``."""

    sum: int
    message: int
    left: int


def _sums() -> str:
    from .sums import sum_module

    return sum_module()


@cache
def addresses() -> Addresses:
    """What kernels call out for, see sums.py."""
    names = [f"tinygraph_{f.name}" for f in fields(Addresses)]
    found = _loaded(names, _sums, detect())
    return Addresses(*(found[name] for name in names))


@dataclass(frozen=True, slots=True)
class Driver:
    """The native functions. Calling one releases the interpreter's lock. ``walk`` and ``lead``
    return whether the run was stopped.
    """

    walk: Callable[[int], int]
    lead: Callable[[int, int, int], int]
    serve: Callable[[int, int, int], int]
    bundle: int  # addresses of kernels
    chain: int


def _driver() -> str:
    from .driver import driver_module

    return driver_module()


_starting: list[threading.Thread] = []


def start() -> None:
    """Begins to load the driver in another thread, for LLVM does not hold the interpreter's lock;
    only once, and where there is a processor left.
    """
    if _walker.cache_info().currsize or _starting or len(allowed_cpus()) == 1:
        return
    thread = threading.Thread(target=_load, name="tinygraph_driver")
    with suppress(RuntimeError):  # no more threads
        thread.start()
        _starting.append(thread)


def _load() -> None:
    with suppress(Exception):  # who asks for the driver finds the same, and raises it
        _walker()


def driver() -> Driver:
    """What walks tables, see driver.py."""
    while _starting:
        thread = _starting[-1]
        thread.join()
        with suppress(ValueError):
            _starting.remove(thread)
    return _walker()


@cache
def _walker() -> Driver:
    names = [f"tinygraph_{name}" for name in ("walk", "lead", "serve", "bundle", "chain")]
    walk, lead, serve, bundle, chain = map(_loaded(names, _driver, Processor()).get, names)
    word, count = ctypes.c_void_p, ctypes.c_int64
    assert walk and lead and serve and bundle and chain
    return Driver(
        walk=ctypes.CFUNCTYPE(count, word)(walk),
        lead=ctypes.CFUNCTYPE(count, word, word, count)(lead),
        serve=ctypes.CFUNCTYPE(count, word, count, count)(serve),
        bundle=bundle,
        chain=chain,
    )
