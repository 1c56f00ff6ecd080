"""Object code to addresses, and modules that are compiled once a cache folder.

LLVM is 45 MB of memory and a tenth of a second, which a process that only loads what others have
compiled goes without: nothing here imports it before it is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

import llvmlite

from tinygraph.compiler.store import Store
from tinygraph.graph.locks import TABLES, new_lock

from . import elf


class LLVMTarget(Protocol):
    """The processor that code is made for, in LLVM's words."""

    @property
    def cpu(self) -> str: ...

    @property
    def features(self) -> str: ...

    @property
    def quick(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Processor:
    """A target; by default the plainest processor of this architecture."""

    cpu: str = ""
    features: str = ""
    quick: bool = False


def stored_module(
    module: str | Callable[[], str], target: LLVMTarget, store: Store, source: str | None = None
) -> bytes:
    """compile_module, or what an earlier process put in the store for the same text and target.

    Where ``source`` determines the text, the module may be a function that is called if need be.
    """
    text = source or (module() if callable(module) else module)
    facts = "\n".join((text, f"llvmlite {llvmlite.__version__}", target.cpu, target.features))
    key = hashlib.sha256(facts.encode()).hexdigest()
    code = store.get("kernel", key)
    if code is None:
        from .objects import compile_module

        code = compile_module(module() if callable(module) else module, target)
        store.put("kernel", key, code)
    return code


class CodeMemory(Protocol):
    """Code memory of a few objects, which goes with it."""

    addresses: dict[str, int]


@dataclass(frozen=True, slots=True)
class Library:
    """Addresses of functions by symbol, whose code is in memory as long as this object is."""

    addresses: dict[str, int]
    engines: tuple[CodeMemory, ...]


lock = new_lock(TABLES)
_loaded: WeakValueDictionary[str, CodeMemory] = WeakValueDictionary()  # by symbol
_kept: list[Library] = []


def load(objects: Mapping[str, bytes]) -> Library:
    """Functions, given as {symbol: the object that defines it}.

    A symbol names its content: one that is loaded already is not loaded again.

    Raises:
        ValueError: an object does not define its symbol.
    """
    with lock:
        found = {s: engine for s in objects if (engine := _loaded.get(s)) is not None}
        missing = {s: code for s, code in objects.items() if s not in found}
        if missing:
            new = _in_memory(missing)
            for symbol in missing:
                if not new.addresses.get(symbol):
                    raise ValueError(f"the object of {symbol!r} does not define it")
                found[symbol] = _loaded[symbol] = new
        addresses = {symbol: found[symbol].addresses[symbol] for symbol in objects}
        return Library(addresses, tuple(dict.fromkeys(found.values())))


def _in_memory(objects: Mapping[str, bytes]) -> CodeMemory:
    if all(map(elf.is_plain, objects.values())):
        return elf.Mapped(objects.values())
    from .objects import Engine  # of other systems and processors

    return Engine(objects)


def load_for_good(objects: Mapping[str, bytes]) -> dict[str, int]:
    """Addresses of functions that stay in memory until the process ends; see load."""
    library = load(objects)
    _kept.append(library)
    return library.addresses
