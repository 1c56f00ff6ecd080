"""Compiles the kernels of a program that the store does not have."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import llvmlite

from tinygraph import codegen
from tinygraph.cache import Store
from tinygraph.codegen.program import Code, KernelCode
from tinygraph.plan.contraction import Contraction
from tinygraph.plan.winograd_kernel import WinogradTile, WinogradWeights

from . import objects
from .features import Features, detect

# What machine code follows from, besides a kernel's own text or record.
EMITTERS = (
    "codegen/intrinsics.py",
    "codegen/math.py",
    "codegen/random.py",
    "plan/contraction.py",
    "plan/toom_cook.py",
    "plan/winograd_kernel.py",
)


@cache
def emitters_digest() -> str:
    """Of the sources that turn kernels into machine code: whoever edits one gets new objects."""
    core = Path(codegen.__file__ or "").parent.parent
    paths = [*sorted(Path(__file__).parent.glob("*.py")), *(core / name for name in EMITTERS)]
    digest = hashlib.blake2b()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def object_key(kernel: KernelCode, features: Features) -> str:
    """Names a kernel's object: its text or record, the processor, the compiler."""
    content = "\n".join((kernel.key, repr(features), llvmlite.__version__, emitters_digest()))
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def symbol(key: str) -> str:
    return f"tg_{key}"


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
    tiles = {k: v for k, v in missing.items() if v.record is not None}
    loops = {k: v for k, v in missing.items() if v.record is None}
    for key, kernel in tiles.items():
        keep(store, key, compile_record(kernel, symbol(key), features))
    if loops:
        from .numba_kernels import compile_kernels

        source = "\n\n".join(k.text for k in loops.values())
        made = compile_kernels(source, {k.name: symbol(key) for key, k in loops.items()}, features)
        for key, kernel in loops.items():
            keep(store, key, made[kernel.name])


BUILT: dict[str, bytes] = {}  # objects of this process, for when the folder cannot be written


def keep(store: Store, key: str, data: bytes) -> None:
    BUILT[key] = data
    store.put("kernel", key, data)


def compile_record(kernel: KernelCode, name: str, features: Features) -> bytes:
    from llvmlite import ir

    from .contraction import emit_contraction
    from .winograd import emit_winograd
    from .winograd_weights import emit_weights

    module = ir.Module(name=name, context=ir.Context())
    match kernel.record:
        case Contraction() as record:
            emit_contraction(module, name, record)
        case WinogradTile() as record:
            emit_winograd(module, name, record)
        case WinogradWeights() as record:
            emit_weights(module, name, record)
    return objects.compile_module(module, features)


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
    return found
