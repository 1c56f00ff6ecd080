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

from .machine.features import Features, detect

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
    content = "\n".join((kernel.key, repr(features), llvmlite.__version__, emitters_digest()))
    return hashlib.sha256(content.encode()).hexdigest()[:24]


PREFIX = "tg_"


def symbol(key: str) -> str:
    return PREFIX + key


def symbol_of(kernel: KernelCode) -> str:
    return symbol(object_key(kernel, detect()))


def compile_missing(code: Code, store: Store) -> None:
    """Puts an object into the store (and this process' memory) for every kernel that has none."""
    features = detect()
    missing: dict[str, KernelCode] = {}
    for kernel in code.kernels:
        key = object_key(kernel, features)
        if key not in BUILT and store.get("kernel", key) is None:
            missing[key] = kernel
    if missing:
        from .workers import compile_kernels, with_progress

        jobs = {symbol(key): kernel for key, kernel in missing.items()}
        for name, data in with_progress(compile_kernels(jobs, features), len(jobs)):
            keep(store, name.removeprefix(PREFIX), data)


BUILT: dict[str, bytes] = {}  # objects that were not loaded yet, or that no folder keeps


def keep(store: Store, key: str, data: bytes) -> None:
    BUILT[key] = data
    store.put("kernel", key, data)


def fetch(kernels: Sequence[KernelCode], store: Store) -> dict[str, bytes] | None:
    """Symbol and object of each kernel, in order; None if the store has lost one."""
    features = detect()
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
