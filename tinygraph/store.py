"""Programs on disk: from the graph as handed to compile() to its code, without a pass when it is known.

The program key is made from the graph's canonical text, the options, and a digest of this project's own sources, of the
libraries' versions and of the processor. It leads to a manifest (JSON), the generated module and, through the kernels'
keys, to objects.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .backend import Backend
from .cache import Store
from .codegen.program import Call, Code, KernelCode, Work
from .dump import canonical
from .ir import Graph, Parameter
from .op import OPS
from .passes import PIPELINE


@dataclass(frozen=True, slots=True)
class Options:
    """Everything besides the graph that the code depends on."""

    backend: str
    without: frozenset[str]
    passes: tuple[Callable[[Graph], Graph], ...]
    verify: str | None

    def text(self) -> str:
        names = [f"{p.__module__}.{p.__name__}" for p in self.passes]
        return f"{self.backend} without {sorted(self.without)} passes {names} verify {self.verify}"


@dataclass(slots=True)
class Built:
    """What a program needs of the compiler, fresh or from the store."""

    code: Code
    constants: list[np.ndarray]
    stages: dict[str, str]
    remarks: list[str]
    live_bound: int
    source: str
    source_path: str
    from_store: bool


def obtain(
    graph: Graph, updates: tuple[Parameter, ...], parameters: tuple[Parameter, ...], options: Options,
    backend: Backend, runtime: str, store: Store,
) -> Built:
    """The code of a graph: looked up, or compiled and kept."""
    key = program_key(graph, updates, options, backend, runtime)
    if key is not None and (data := store.get("program", key)) is not None:
        found = read(data, store, key)
        if found is not None:
            return found
    built = build(graph, updates, parameters, options, backend, runtime, store, key)
    if key is not None:
        store.put("program", key, write(built))
    return built


def program_key(
    graph: Graph, updates: tuple[Parameter, ...], options: Options, backend: Backend, runtime: str
) -> str | None:
    """None where the code depends on something without a version: a user's pass or operator."""
    if any(p not in PIPELINE and getattr(p, "version", None) is None for p in options.passes):
        return None
    if any(n.op.version is None and OPS_BUILT_IN.get(n.op.name) is not n.op for n in graph.nodes):
        return None
    numbers = {p: i for i, p in enumerate(graph.parameters)}
    changed = [numbers.get(p, -1) for p in updates]
    content = "\n".join((
        canonical(graph), repr(changed), options.text(), backend.fingerprint(runtime), sources_digest(),
        *(f"{name} {version(name)}" for name in ("numpy", "numba", "llvmlite")),
    ))  # fmt: skip
    return hashlib.sha256(content.encode()).hexdigest()[:32]


OPS_BUILT_IN = dict(OPS)


@cache
def sources_digest() -> str:
    """Of every source file of the project: editing one line of a pass is seen as a miss."""
    here = Path(__file__).parent
    roots = [here, *(p for p in (here.parent / "backends", here.parent) if p.is_dir())]
    digest = hashlib.sha256()
    for folder in (here, *(f for root in roots[1:] for f in sorted(root.glob("tinygraph_*")))):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def build(
    graph: Graph, updates: tuple[Parameter, ...], parameters: tuple[Parameter, ...], options: Options,
    backend: Backend, runtime: str, store: Store, key: str | None,
) -> Built:
    """Compiles. Everything that a later process does not need is imported here."""
    from .codegen.module import module_text
    from .debug import value_check
    from .pipeline import translate

    check = value_check(graph) if options.verify == "values" else None
    made = translate(graph, updates, parameters, backend.target(runtime), options.passes, options.without, check)
    backend.build(made.code, store, runtime)
    text = module_text(made.code, made.plan, made.graph)
    name = key or hashlib.sha256(text.encode()).hexdigest()[:32]
    store.put("source", name, text.encode())
    constants = [np.asarray(c.attr("value").data) for c in made.plan.constants]
    return Built(made.code, constants, made.stages, made.remarks, made.plan.live_bound, text,
                 str(store.path("source", name)), False)


def write(built: Built) -> bytes:
    """A manifest; arrays as base64 of their bytes."""
    code = asdict(built.code)
    constants = [
        {"dtype": c.dtype.name, "shape": c.shape, "data": base64.b64encode(np.ascontiguousarray(c).tobytes()).decode()}
        for c in built.constants
    ]
    content = {
        "code": code, "constants": constants, "stages": built.stages, "remarks": built.remarks,
        "live_bound": built.live_bound, "source_path": built.source_path,
        "keys": [k.key for k in built.code.kernels],
    }  # fmt: skip
    for kernel in code["kernels"]:
        kernel.pop("text")
        kernel.pop("contraction")
    return json.dumps(content).encode()


def read(data: bytes, store: Store, key: str) -> Built | None:
    """The contents of a manifest; None if its source is gone."""
    content: dict[str, Any] = json.loads(data)
    source = store.get("source", key)
    if source is None:
        return None
    code = content["code"]
    kernels = tuple(
        KernelCode(k["name"], "", None, known) for k, known in zip(code["kernels"], content["keys"], strict=True)
    )
    calls = [
        tuple(
            Call(tuple(read_work(w) for w in c["work"]), tuple(c["waits"]), c["name"]) for c in code[which]
        )
        for which in ("prepare", "calls")
    ]  # fmt: skip
    constants = [
        np.frombuffer(base64.b64decode(c["data"]), c["dtype"]).reshape(c["shape"]) for c in content["constants"]
    ]
    return Built(
        Code(code["name"], kernels, calls[0], calls[1], code["arena"], code["prepared"]), constants,
        content["stages"], content["remarks"], content["live_bound"], source.decode(), content["source_path"], True,
    )  # fmt: skip


def read_work(content: dict[str, Any]) -> Work:
    arguments = tuple(a if isinstance(a, int) else (a[0], a[1], a[2]) for a in content["arguments"])
    return Work(content["kernel"], arguments, content["parts"])
