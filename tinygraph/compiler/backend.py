"""What a backend is: it turns code into something that runs, for the processor that it names."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..codegen.program import Code
from ..graph.ir import Graph, Parameter
from ..graph.op import PLACE
from ..graph.origins import origins
from ..graph.state import Memory
from ..plan.device import Card, Roofline
from .store import Store

if TYPE_CHECKING:
    from ..plan.contraction.tiling import Target
    from ..plan.plan import Plan

BUILT_IN = {"cpu": "tinygraph_cpu", "cuda": "tinygraph_cuda.backend"}
GROUP = "tinygraph.backends"


class BackendError(RuntimeError):
    """A backend that is not there, or cannot do what was asked of it."""


class Runner(Protocol):
    """A program in memory, ready to run."""

    @property
    def memory(self) -> Memory | None:
        """Where its parameters lie; None is the host's."""

    def __call__(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Runs once, updates included; arrays are C-contiguous and of the program's types."""

    def time(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> list[float]:
        """Runs once and returns the seconds that each call took, summed over threads."""

    def roofline(self) -> Roofline:
        """Measured once a process, on as many threads as this program runs on."""


class Backend(Protocol):
    """One kind of device. A module with these functions is a backend.

    ``runtime`` is what follows the backend's name in ``backend="name:runtime"``, empty by default.
    """

    def target(self, runtime: str) -> Target:
        """What plans must know of the processor."""

    def fingerprint(self, runtime: str) -> str:
        """Everything about the processor and tools that compiled code depends on."""

    def assemble(self, plan: Plan) -> Code:
        """Kernels as text or records, and their launches: the same in every process."""

    def build(self, code: Code, store: Store, runtime: str) -> None:
        """Compiles the kernels that the store does not have."""

    def cards(self, code: Code, store: Store, runtime: str) -> Sequence[Card]:
        """One for each kernel; none where kernels run on a processor."""

    def load(
        self,
        code: Code,
        constants: Sequence[np.ndarray],
        parameters: Sequence[Parameter],
        store: Store,
        runtime: str,
    ) -> Runner:
        """Loads compiled kernels, allocates memory and binds the program to it."""


def check_devices(graph: Graph, spec: str, count: int | None) -> None:
    """Raises BackendError where a node is placed on what the backend ``spec`` has not.

    ``count`` is how many devices it has; None: as many as are named.
    """
    name = spec.partition(":")[0]
    for n in graph.nodes:
        if n.op is not PLACE:
            continue
        kind, _, number = n.attr("device").partition(":")
        if kind != name or (count is not None and int(number) >= count):
            has = f"which has {name}:0 only" if count == 1 else f"whose devices are {name}:number"
            where = f"{kind}:{number} ({origins(n)[0]})"
            raise BackendError(f"{where} is no device of backend {name!r}, {has}")


def find(spec: str) -> tuple[Backend, str]:
    """The backend of ``name[:runtime]`` and the runtime.

    Raises:
        BackendError: no backend of this name is installed.
    """
    name, _, runtime = spec.partition(":")
    module = BUILT_IN.get(name)
    if module is not None and importlib.util.find_spec(module) is not None:
        return importlib.import_module(module), runtime
    from importlib.metadata import entry_points  # as slow to import as all of the core

    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return entry.load(), runtime
    known = sorted(
        {n for n, m in BUILT_IN.items() if importlib.util.find_spec(m)}
        | {e.name for e in entry_points(group=GROUP)}
    )
    raise BackendError(f"no backend {name!r} is installed; there is {', '.join(known)}")
