"""Programs on disk: from the graph as handed to compile() to its code, without a pass if known.

The program key is made from the graph's canonical text, the options, and a digest of this project's
own sources, of the libraries' versions and of the processor. It leads to a manifest (JSON) of what
running takes, and through the kernels' keys to objects. What inspection shows is not kept: names
and lines are the user's, so a known program is translated again when it is asked for.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .backend import Backend, check_devices
from .cache import Store
from .codegen.program import Call, Code, KernelCode, Loop, Work
from .dump import canonical
from .ir import Graph, Parameter
from .op import OPS
from .passes import PIPELINE

if TYPE_CHECKING:
    from .pipeline import Check, Compiled

Pass = Callable[..., Graph]


@dataclass(frozen=True, slots=True)
class Options:
    """Everything besides the graph that the code depends on."""

    backend: str
    without: frozenset[str]
    passes: tuple[Pass, ...]
    verify: str | None
    conv: tuple[tuple[str, str], ...] = ()

    def text(self) -> str:
        names = [f"{p.__module__}.{p.__name__}" for p in self.passes]
        return (
            f"{self.backend} without {sorted(self.without)} passes {names} verify {self.verify} "
            f"conv {self.conv}"
        )


@dataclass(frozen=True, slots=True)
class Source:
    """What a program is made from: its graph, whose last outputs are new values of ``updates``."""

    graph: Graph
    updates: tuple[Parameter, ...]
    parameters: tuple[Parameter, ...]
    options: Options
    backend: Backend
    runtime: str

    def translate(self, check: Check | None = None) -> Compiled:
        """Passes, planning, code: the same in every process."""
        from .pipeline import translate

        o, target = self.options, self.backend.target(self.runtime)
        graph, updates, parameters = self.graph, self.updates, self.parameters
        check_devices(graph, o.backend, target.devices)
        return translate(
            graph, updates, parameters, target, self.backend.assemble,
            o.passes, o.without, dict(o.conv), check,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Built:
    """What running a program takes; ``compiled`` is what it was made from, if that was now."""

    code: Code
    constants: list[np.ndarray]
    source_path: Path
    compiled: Compiled | None = None


def obtain(source: Source, store: Store, fresh: bool = False) -> Built:
    """The code of a program: looked up, or compiled and kept; ``fresh``: compiled in any case."""
    key = program_key(source)
    if key is not None and not fresh and (data := store.get("program", key)) is not None:
        return read(data, store.path("source", key))
    built = build(source, store, key)
    if key is not None:
        store.put("program", key, write(built))
    return built


def program_key(source: Source) -> str | None:
    """None where the code depends on something without a version: a user's pass or operator."""
    graph, options = source.graph, source.options
    if any(p not in PIPELINE and getattr(p, "version", None) is None for p in options.passes):
        return None
    if any(n.op.version is None and OPS_BUILT_IN.get(n.op.name) is not n.op for n in graph.nodes):
        return None
    numbers = {p: i for i, p in enumerate(graph.parameters)}
    changed = [numbers.get(p, -1) for p in source.updates]
    orders = [p.state.order for p in source.parameters]
    content = "\n".join((
        canonical(graph), repr((changed, orders)), options.text(),
        source.backend.fingerprint(source.runtime), sources_digest(), f"numpy {np.__version__}",
    ))  # fmt: skip
    return hashlib.sha256(content.encode()).hexdigest()[:32]


OPS_BUILT_IN = dict(OPS)


@cache
def sources_digest() -> str:
    """Of every source file of the project: editing one line of a pass is seen as a miss."""
    here = Path(__file__).parent
    roots = [root for root in (here.parent / "backends", here.parent) if root.is_dir()]
    digest = hashlib.blake2b()  # twice as fast as SHA-256 where that has no instructions
    for folder in (here, *(f for root in roots for f in sorted(root.glob("tinygraph_*")))):
        for path in sources(str(folder)):
            digest.update(path.removeprefix(str(folder)).encode())
            with open(path, "rb") as file:
                digest.update(file.read())
    return digest.hexdigest()


def sources(folder: str) -> Iterator[str]:
    """Python files in a folder and those below, in a fixed order."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda e: e.name)
    for entry in found:
        if entry.name.endswith(".py"):
            yield entry.path
        elif entry.name != "__pycache__" and entry.is_dir():
            yield from sources(entry.path)


def build(source: Source, store: Store, key: str | None) -> Built:
    """Compiles. Everything that a later process does not need is imported here."""
    from .codegen.module import module_text
    from .debug import value_check

    check = value_check(source.graph) if source.options.verify == "values" else None
    with uncollected():
        made = source.translate(check)
        source.backend.build(made.code, store, source.runtime)
    text = module_text(made.code, made.plan, made.graph).encode()
    name = key or hashlib.sha256(text).hexdigest()[:32]
    store.put("source", name, text)
    constants = [np.asarray(c.attr("value").data) for c in made.plan.constants]
    return Built(made.code, constants, store.path("source", name), made)


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for reference cycles: it takes a third of the time of compiling, which allocates
    much and keeps most of it until the end.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def write(built: Built) -> bytes:
    """A manifest; arrays as base64 of their bytes."""
    code = asdict(replace(built.code, kernels=(), head=""))
    code["kernels"] = [(k.name, k.key, k.signature, k.threads) for k in built.code.kernels]
    constants = [
        {"dtype": c.dtype.name, "shape": c.shape, "data": base64.b64encode(c.tobytes()).decode()}
        for c in built.constants
    ]
    return json.dumps({"code": code, "constants": constants}).encode()


def read(data: bytes, source_path: Path) -> Built:
    """The contents of a manifest."""
    content: dict[str, Any] = json.loads(data)
    code = content["code"]
    kernels = tuple(
        KernelCode(name, "", known_key=key, signature=tuple(signature), threads=threads)
        for name, key, signature, threads in code["kernels"]
    )
    prepare, calls = (
        tuple(
            Call(
                tuple(map(read_work, c["work"])), tuple(c["waits"]), c["name"], c["device"],
                tuple(c["back"]),
            )
            for c in code[which]
        )
        for which in ("prepare", "calls")
    )
    constants = [
        np.frombuffer(base64.b64decode(c["data"]), c["dtype"]).reshape(c["shape"])
        for c in content["constants"]
    ]
    made = Code(
        code["name"], kernels, prepare, calls, code["arena"], code["prepared"], code["scratch"],
        tuple((home, offset, size) for home, offset, size in code["buffers"]),
        devices=tuple(code["devices"]), loops=tuple(Loop(**x) for x in code["loops"]),
    )  # fmt: skip
    return Built(made, constants, source_path)


def read_work(content: dict[str, Any]) -> Work:
    arguments = tuple(a if isinstance(a, int) else (a[0], a[1], a[2]) for a in content["arguments"])
    steps = tuple((number, step) for number, step in content["steps"])
    return Work(content["kernel"], arguments, content["parts"], content["member"], steps)
