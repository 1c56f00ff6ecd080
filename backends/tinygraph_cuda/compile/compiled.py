"""Kernels of a program as PTX and machine code, with their cards; kept in the store."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import tinygraph_scalar
from tinygraph import codegen
from tinygraph.codegen.program import Code, KernelCode
from tinygraph.compiler.sources import digest
from tinygraph.compiler.store import Store
from tinygraph.plan.records.device import Card

from .budget import REGISTERS, excess, occupancy

PACKAGES = ("numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink", "llvmlite")
SHARED = ("intrinsics.py", "library.py", "math.py", "random.py", "trigonometry.py")  # of codegen


@dataclass(frozen=True, slots=True)
class CompiledKernel:
    """A kernel that can be loaded: its text, PTX and machine code, in which it is ``symbol``."""

    symbol: str
    text: str
    ptx: str
    cubin: bytes
    card: Card


@cache
def toolchain_versions() -> str:
    """Versions of everything between a kernel's text and its machine code."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


@cache
def emitters_digest() -> str:
    """A digest of the sources that turn kernels into PTX."""
    own, core = Path(__file__).parent.parent, Path(codegen.__file__ or "").parent
    scalar = Path(tinygraph_scalar.__file__ or "").parent
    emitters = (path for folder in (own, scalar) for path in sorted(folder.rglob("*.py")))
    return digest([*emitters, *(core / name for name in SHARED)])


def entry_key(kernel: KernelCode, architecture: str) -> str:
    content = (kernel.key, architecture, toolchain_versions(), emitters_digest())
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:24]


BUILT: dict[str, CompiledKernel] = {}  # of this process, by key
PTX: dict[str, str] = {}  # by symbol: what several architectures are linked from


def compile_missing(code: Code, store: Store, architecture: str) -> None:
    """Puts every kernel that has none into the store."""
    from tinygraph.compiler.progress import tell

    for number, kernel in enumerate(code.kernels):
        tell(f"{number} of {len(code.kernels)} kernels")
        key = entry_key(kernel, architecture)
        built = find(key, store)
        missing = built is None or not store.path("kernel", key).exists()
        if built is None:
            built = BUILT[key] = compile_kernel(kernel, architecture)
        if missing:
            store.put("kernel", key, write(built))


def compile_kernel(kernel: KernelCode, architecture: str) -> CompiledKernel:
    """Text to machine code; imports numba-cuda and cuda.core.

    A kernel over the budget is linked once more with as many registers as it has; what it spills
    then decides which of the two is kept.
    """
    from .toolchain import compile_ptx, link

    form, symbol = kernel.record, f"tg_{kernel.key}"
    text = kernel.text.replace(kernel.name, symbol, 1)
    if symbol not in PTX:
        bounds, scope = form.launch_bounds, form.scope()
        PTX[symbol] = compile_ptx(text, symbol, kernel.signature, launch_bounds=bounds, scope=scope)
    ptx = PTX[symbol]
    cubin, used = link(ptx, architecture, symbol)
    if used.registers * kernel.threads > REGISTERS:
        bounded = link(ptx, architecture, symbol, REGISTERS // kernel.threads)
        if not bounded[1].spill_stores + bounded[1].spill_loads:
            cubin, used = bounded
    resident = occupancy(architecture, used.registers, used.shared, kernel.threads)
    spills = used.spill_stores + used.spill_loads
    card = Card(architecture, kernel.threads, used.registers, spills, used.shared, resident)
    card = replace(card, excess=excess(card))
    return CompiledKernel(symbol, text, ptx, cubin, card)


def find(key: str, store: Store) -> CompiledKernel | None:
    """A kernel of this process or of the store."""
    if key not in BUILT:
        data = store.get("kernel", key)
        if data is None:
            return None
        BUILT[key] = read(data)
    return BUILT[key]


def fetch(code: Code, store: Store, architecture: str) -> Sequence[CompiledKernel]:
    """The kernels of a program, in order.

    Raises:
        LookupError: the store has lost one.
    """
    found = [find(entry_key(k, architecture), store) for k in code.kernels]
    if None in found:
        raise LookupError(f"the cache has lost a kernel of {code.name}")
    return [built for built in found if built is not None]


def write(built: CompiledKernel) -> bytes:
    content = asdict(built) | {"cubin": base64.b64encode(built.cubin).decode()}
    return json.dumps(content).encode()


def read(data: bytes) -> CompiledKernel:
    content = json.loads(data)
    cubin, card = base64.b64decode(content.pop("cubin")), Card(**content.pop("card"))
    return CompiledKernel(**content, cubin=cubin, card=card)
