"""compile() -> Program: one call from nodes to something that runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from . import store as manifest
from .backend import find
from .cache import default_store
from .ir import Graph, Node, Parameter, Type, origins
from .passes import PIPELINE, Update, strip_effects
from .settings import settings

RUNNING = threading.RLock()  # programs share parameters, so one runs at a time


def compile(
    inputs: Sequence[Node],
    outputs: Sequence[Node],
    *,
    updates: Iterable[Update] = (),
    backend: str | None = None,
    without: Iterable[str] = (),
    passes: Sequence[Callable[[Graph], Graph]] | None = None,
    verify: str | None = None,
    check_nan: bool = False,
    name: str | None = None,
) -> Program:
    """Compiles a function of ``inputs`` that returns ``outputs`` and makes ``updates``.

    Args:
        inputs: nodes made by ``tg.input``; the program takes arrays in this order, or by name.
        outputs: what a call returns, as fresh NumPy arrays.
        updates: (parameter, new value) pairs; all new values are computed from old ones. Effects
            that the outputs reach, such as the running statistics of batch normalization, are
            added.
        backend: ``name[:runtime]``; by default what TINYGRAPH_BACKEND says, else ``cpu``.
        without: names of passes, or ``fuse`` or ``contract`` of the planner, to leave out.
        passes: instead of ``tinygraph.passes.PIPELINE``.
        verify: ``"values"`` runs the reference interpreter before and after every pass.
        check_nan: each call also checks every value, and names the first node that made a NaN from
            none.
        name: of the program, for dumps and profiles.

    Raises:
        ShapeError, VerifyError, UpdateError, BackendError: with the node and the user's line.
    """
    graph = Graph(name or "program", tuple(inputs), tuple(outputs))
    stripped, pairs = strip_effects(graph, updates)
    for p, new in pairs:
        if new.type != p.type:
            raise TypeError(f"parameter {p.name} is {p.type}, its update is {new.type}")
    whole = Graph(graph.name, stripped.inputs, (*stripped.outputs, *(new for _, new in pairs)))
    options = manifest.Options(
        backend or settings.backend,
        frozenset(without),
        tuple(PIPELINE if passes is None else passes),
        verify or settings.verify,
    )
    return Program(whole, tuple(p for p, _ in pairs), options, check_nan)


class Program:
    """A compiled function. Call it with arrays in the order of its inputs, or by their names."""

    def __init__(
        self,
        graph: Graph,
        updates: tuple[Parameter, ...],
        options: manifest.Options,
        check_nan: bool,
    ):
        self.graph, self.options = graph, options
        self.updates = updates
        self.parameters = tuple(dict.fromkeys((*graph.parameters, *updates)))
        self.types = [n.type for n in graph.outputs[: len(graph.outputs) - len(updates)]]
        self.check_nan = check_nan
        self._names = [n.name or f"input{i}" for i, n in enumerate(graph.inputs)]
        self._dtypes = [np.dtype(n.dtype) for n in graph.inputs]
        backend, runtime = find(options.backend)
        store = default_store()
        self.built = manifest.obtain(
            graph, updates, self.parameters, options, backend, runtime, store
        )
        constants = self.built.constants
        self._runner: Any = backend.load(
            self.built.code, constants, self.parameters, store, runtime
        )
        self._prepared: tuple[int, ...] | None = None
        self._watched = [p.state for p in self.parameters if p not in set(updates)]

    def __call__(self, *arrays: Any, **named: Any) -> tuple[np.ndarray, ...]:
        inputs = self._inputs(arrays, named)
        outputs = [np.empty(t.shape, t.dtype) for t in self.types]
        with RUNNING:
            if self.check_nan:
                self._check(inputs)
            self._refresh()
            self._runner(inputs, outputs)
            for p in self.updates:
                p.state.version += 1
        return tuple(outputs)

    def _refresh(self) -> None:
        """Prepared values follow the parameters that they were made from."""
        if not self.built.code.prepare:
            return
        versions = tuple([s.version for s in self._watched])
        if versions != self._prepared:
            self._runner.refresh()
            self._prepared = versions

    def _inputs(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> list[np.ndarray]:
        if named:
            unknown = sorted(set(named) - set(self._names[len(arrays) :]))
            if unknown:
                raise TypeError(
                    f"{self.graph.name} has no further input {unknown[0]!r}; "
                    f"its inputs are {', '.join(self._names)}"
                )
            arrays = (*arrays, *(named[n] for n in self._names[len(arrays) :] if n in named))
        if len(arrays) != len(self._names):
            raise TypeError(
                f"{self.graph.name} takes {len(self._names)} arrays "
                f"({', '.join(self._names)}), got {len(arrays)}"
            )
        return [self._input(i, a) for i, a in enumerate(arrays)]

    def _input(self, number: int, value: Any) -> np.ndarray:
        n = self.graph.inputs[number]
        if not (
            type(value) is np.ndarray
            and value.dtype == self._dtypes[number]
            and value.flags.c_contiguous
        ):
            array = np.asarray(value)
            if array.dtype != self._dtypes[number]:
                if isinstance(value, (np.ndarray, np.generic)):
                    raise TypeError(
                        f"input {n.name!r} is {n.dtype}, got {array.dtype.name}; "
                        f"convert with astype ({_place(n)})"
                    )
                array = array.astype(self._dtypes[number])
            value = np.ascontiguousarray(array).reshape(array.shape)
        if value.shape != n.type.shape:
            raise ValueError(
                f"input {n.name!r} has shape {n.type.shape}, got {value.shape} ({_place(n)})"
            )
        return value

    def _check(self, inputs: list[np.ndarray]) -> None:
        from .debug import first_nan

        found = first_nan(self.graph, inputs)
        if found is not None:
            raise FloatingPointError(found)

    # ------------------------------------------------------------------ inspection

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of what ``dump`` can show: the graph after each pass, the plan, the source."""
        return (*self.built.stages, "source")

    @property
    def remarks(self) -> list[str]:
        """What the compiler chose and why, and why neighbours are not in one kernel."""
        return list(self.built.remarks)

    @property
    def source_path(self) -> str:
        """The generated module."""
        return self.built.source_path

    def dump(self, stage: str | None = None) -> str:
        """A stage as text; by default the optimized graph."""
        graphs = [s for s in self.built.stages if s != "plan"]
        stage = stage or graphs[-1]
        if stage == "source":
            return self.built.source
        if stage not in self.built.stages:
            raise KeyError(f"no stage {stage!r}; there is {', '.join(self.stages)}")
        return self.built.stages[stage]

    def to_networkx(self) -> Any:
        """The graph as handed to compile(), as a networkx.MultiDiGraph."""
        from .analysis import to_networkx

        return to_networkx(self.graph)

    def cost(self) -> dict[str, int]:
        """Operations (floating-point), bytes and launches, known before anything runs."""
        flops = sum(node_cost(n) for n in self.graph.nodes)
        parameter_bytes = sum(p.type.bytes for p in self.parameters)
        return {
            "flops": flops,
            "parameters": sum(p.type.size for p in self.parameters),
            "parameter_bytes": parameter_bytes,
            "arena_bytes": self.built.code.arena,
            "live_bytes": self.built.live_bound,
            "prepared_bytes": self.built.code.prepared,
            "launches": len(self.built.code.calls),
            "kernels": len(self.built.code.kernels),
        }

    def __repr__(self) -> str:
        inputs = ", ".join(
            f"{name}: {n.type}" for name, n in zip(self._names, self.graph.inputs, strict=True)
        )
        outputs = ", ".join(map(str, self.types))
        launches = len(self.built.code.calls)
        return (
            f"<program {self.graph.name}({inputs}) -> {outputs}, "
            f"{launches} launches on {self.options.backend}>"
        )


def node_cost(n: Node) -> int:
    """Floating-point operations of one node."""
    if not n.inputs:
        return 0
    if n.op.cost is not None:
        return int(n.op.cost(n.type, *[i.type for i in n.inputs], **dict(n.attrs)))
    return n.type.size if isinstance(n.type, Type) else 0


def _place(n: Node) -> str:
    found = origins(n)
    return f"defined at {found[0]}" if found else "unknown origin"
