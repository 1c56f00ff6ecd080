"""Compiles the kernels of a program that the store does not have."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import llvmlite

import tinygraph_scalar
from tinygraph import codegen
from tinygraph.codegen.program import Code, KernelCode
from tinygraph.compiler.sources import digest
from tinygraph.compiler.store import Store

from .machine.features import Features

# What machine code depends on, apart from a kernel's own text or record.
EMITTERS = (
    "codegen/intrinsics.py",
    "codegen/library.py",
    "codegen/math.py",
    "codegen/random.py",
    "codegen/trigonometry.py",
    "plan/records/contraction.py",
    "plan/winograd/toom_cook.py",
)


@cache
def emitters_digest() -> str:
    """A digest of the sources that turn kernels into machine code: an edit makes new objects."""
    core = Path(codegen.__file__ or "").parent.parent
    folders = (Path(__file__).parent, Path(tinygraph_scalar.__file__ or "").parent)
    own = (path for folder in folders for path in sorted(folder.rglob("*.py")))
    return digest([*own, *(core / name for name in EMITTERS)])


def object_key(kernel: KernelCode, features: Features) -> str:
    """Names a kernel's object: its text or record, the processor, the compiler."""
    return hashlib.sha256(f"{kernel.key}\n{compiler(features)}".encode()).hexdigest()[:24]


@cache
def compiler(features: Features) -> str:
    return "\n".join((repr(features), llvmlite.__version__, emitters_digest()))


PREFIX = "tg_"
TOGETHER = 8  # objects that are written at a time: a look at all sources comes before


def symbol(key: str) -> str:
    return PREFIX + key


def symbol_of(kernel: KernelCode, features: Features) -> str:
    return symbol(object_key(kernel, features))


def compile_missing(code: Code, store: Store, features: Features) -> None:
    """Puts an object into the store (and this process' memory) for every kernel that has none."""
    missing: dict[str, KernelCode] = {}
    for kernel in code.kernels:
        key = object_key(kernel, features)
        if key not in BUILT and store.get("kernel", key) is None:
            missing[key] = kernel
    if missing:
        _compile_shared(missing, store, features)


def _compile_shared(missing: dict[str, KernelCode], store: Store, features: Features) -> None:
    """Compiles kernels by key. Those that another process, or thread, compiles at the same time are
    taken from the store when it is done.
    """
    from tinygraph.compiler.progress import tell

    from .compilation import compile_kernel
    from .workers import compile_kernels

    mine, total = set[str](), len(missing)

    def wanted(name: str) -> bool:
        key = name.removeprefix(PREFIX)
        if key in mine or not store.claim("kernel", key):
            return key in mine
        mine.add(key)
        return True

    jobs = {symbol(key): kernel for key, kernel in missing.items()}
    unkept: dict[str, bytes] = {}
    try:
        for name, data in compile_kernels(jobs, features, wanted=wanted):
            unkept[name.removeprefix(PREFIX)] = data
            del jobs[name]
            if len(unkept) == TOGETHER and not features.quick:
                keep(store, unkept)
                unkept = {}
            tell(f"{total - len(jobs)} of {total} kernels")
        keep(store, unkept)
        for name, kernel in jobs.items():
            key = name.removeprefix(PREFIX)
            found = store.awaited("kernel", key)
            if found is None:
                mine.add(key)
                keep(store, {key: compile_kernel(kernel, name, features)})
            tell(f"{total} kernels, of which another process compiles the last")
    finally:
        for key in mine:
            store.release("kernel", key)


BUILT: dict[str, bytes] = {}  # objects that were not loaded yet, or that no folder keeps


def keep(store: Store, objects: dict[str, bytes]) -> None:
    BUILT.update(objects)
    store.put_all("kernel", objects)


def fetch(
    kernels: Sequence[KernelCode], store: Store, features: Features
) -> dict[str, bytes] | None:
    """Symbol and object of each kernel, in order; None if the store has lost one."""
    found: dict[str, bytes] = {}
    for kernel in kernels:
        key = object_key(kernel, features)
        data = BUILT.get(key) or store.get("kernel", key)
        if data is None:
            return None
        found[symbol(key)] = data
    for name in found:
        key = name.removeprefix(PREFIX)
        if key in BUILT and store.path("kernel", key).exists():
            del BUILT[key]
    return found
