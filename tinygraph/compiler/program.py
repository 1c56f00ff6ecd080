"""What compile() returns: a function of arrays, which can be inspected."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph.batch import batch_axis, bind
from ..graph.ir import Graph, Parameter
from ..graph.state import ParameterState
from ..settings import settings, temporary_folder
from .arguments import Arguments
from .backend import Runner, find
from .build import obtain
from .options import Options
from .source import Source
from .store import default_store

if TYPE_CHECKING:
    from ..inspect.inspection import Inspection
    from ..inspect.profile import Profile
    from ..plan.records.cost import LaunchCost

RUNNING = threading.RLock()  # programs share parameters, so one runs at a time


class Program:
    """A compiled function. Call it with arrays in the order of its inputs, or by their names."""

    def __init__(
        self,
        graph: Graph,
        updates: tuple[Parameter, ...],
        options: Options,
        check_nan: bool,
    ):
        self.graph, self.updates, self.options, self.check_nan = graph, updates, options, check_nan
        self.parameters = tuple(dict.fromkeys((*graph.parameters, *updates)))
        self.types = [n.type for n in graph.outputs[: len(graph.outputs) - len(updates)]]
        self.arguments = Arguments(graph)
        self._load()

    def _load(self) -> None:
        """Compiles or finds the code and binds it to memory; what the store has lost is rebuilt."""
        backend, runtime = find(self.options.backend)
        self.source = Source(
            self.graph, self.updates, self.parameters, self.options, backend, runtime
        )
        self._prepared: tuple[int, ...] | None = None
        self._watched = [p.state for p in self.parameters if p not in set(self.updates)]
        store = default_store()

        def load() -> Runner:
            code, constants = self.built.code, self.built.constants
            return backend.load(code, constants, self.parameters, store, runtime)

        self.built = obtain(self.source, store)
        try:
            self._runner = load()
        except LookupError:
            self.built = obtain(self.source, store, fresh=True)
            self._runner = load()

    def __call__(self, *arrays: Any, **named: Any) -> tuple[np.ndarray, ...]:
        inputs = self.arguments.arrays(arrays, named)
        outputs = self._outputs()
        with RUNNING:
            if self.check_nan:
                self._check(inputs)
            self._refresh()
            self._runner(inputs, outputs)
            for p in self.updates:
                p.state.changed(self._runner.memory)
        return tuple(outputs)

    def _refresh(self) -> None:
        """The newest values of parameters are where this program runs, and prepared values follow
        the parameters that they were made from.
        """
        if self._runner.memory is not None or ParameterState.moved:
            for p in self.parameters:
                p.state.bring(self._runner.memory)
        if not self.built.code.prepare:
            return
        versions = tuple([s.version for s in self._watched])
        if versions != self._prepared:
            self._runner.refresh()
            self._prepared = versions

    def _outputs(self) -> list[np.ndarray]:
        return [np.empty(t.shape, t.dtype) for t in self.types]

    def _check(self, inputs: list[np.ndarray]) -> None:
        from .check_values import first_nan

        found = first_nan(self.graph, inputs)
        if found is not None:
            raise FloatingPointError(found)

    # ------------------------------------------------------------------ inspection

    @cached_property
    def inspection(self) -> Inspection:
        """What was recorded while compiling; a program from the store is translated anew."""
        from ..inspect.inspection import Inspection

        source, compiled = self.source, self.built.compiled or self.source.translate()
        cards = source.backend.cards(self.built.code, default_store(), source.runtime)
        return Inspection(compiled, self.parameters, cards)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of what ``dump`` shows: ``graph``, each pass, ``plan``, ``source``; for a device
        also ``cards``.
        """
        return self.inspection.stages

    @property
    def remarks(self) -> list[str]:
        """What the compiler chose and why, and why neighbours are not in one kernel."""
        return self.inspection.remarks

    @property
    def source_path(self) -> str:
        """The file of the generated module, without the user's lines. It is in a temporary folder,
        until this process ends, where the store could not keep it.
        """
        path = self.built.source_path
        if not path.exists():
            path = temporary_folder() / path.name
            path.write_text(self.inspection.dump("source"))
        return str(path)

    def dump(self, stage: str | None = None, *, lines: bool = False, scopes: bool = False) -> str:
        """A stage as text, by default the optimized graph.

        ``lines`` adds the user's lines; ``scopes`` folds each layer of a graph into one line.
        """
        return self.inspection.dump(stage, lines=lines, scopes=scopes)

    def diff(self, stage: str | None = None, since: str | None = None) -> str:
        """What a pass changed in the graph, node by node; by default what all passes did.

        ``program.diff("simplify")`` compares with the stage before it,
        ``program.diff("simplify", since="graph")`` with an earlier one.
        """
        return self.inspection.diff(stage, since)

    def dot(self, stage: str | None = None) -> str:
        """The graph after a pass for Graphviz, by default the optimized one."""
        return self.inspection.dot(stage)

    def to_networkx(self) -> Any:
        """The optimized graph as networkx.MultiDiGraph; a node's ``launches`` compute it."""
        return self.inspection.to_networkx()

    def cost(self) -> dict[str, int]:
        """Operations, bytes, memory, launches and kernels of one call, before anything runs."""
        return self.inspection.cost()

    def costs(self) -> list[LaunchCost]:
        """Operations and bytes of each launch."""
        return self.inspection.costs

    def explain(self, name: str) -> str:
        """What became of a node, layer, scope or parameter, and what it costs."""
        return self.inspection.explain(name, self._profile)

    _profile: Profile | None = None

    def profile(self, *arrays: Any, repeat: int = 20, **named: Any) -> Profile:
        """Times each launch on these inputs; print the result. Parameters keep their values."""
        from .measure import measure

        inputs, outputs = self.arguments.arrays(arrays, named), self._outputs()
        kept = [(p, p.value) for p in self.updates]
        with RUNNING:
            self._refresh()
            try:
                timing = measure(self._runner, inputs, outputs, repeat)
            finally:
                for p, value in kept:
                    p.value = value
        self._profile = self.inspection.profile(timing)
        return self._profile

    def __repr__(self) -> str:
        launches = len(self.built.code.calls)
        return f"<program {self._signature()}, {launches} launches on {self.options.backend}>"

    def _signature(self) -> str:
        return f"{self.graph.name}({self.arguments}) -> {', '.join(map(str, self.types))}"

    def __str__(self) -> str:
        return f"{self!r}\n{self.inspection.summary()}"

    def _repr_markdown_(self) -> str:
        return f"```\n{self}\n\n{self.dump()}\n```"


class BatchProgram(Program):
    """A program whose batch size n is bound at the call: a Program for every n, made when it is
    first met, from the same parameters and mostly the same kernels.

    What is inspected is the size that was bound last.
    """

    def _load(self) -> None:
        self.sizes: dict[int, Program] = {}
        self.latest: Program | None = None

    def bind(self, n: int) -> Program:
        """The program for batches of n.

        Raises:
            ValueError: n is less than 1.
            ShapeError: an operator does not take the shapes that n gives.
        """
        if n not in self.sizes:
            graph = bind(self.graph, n)
            self.sizes[n] = Program(graph, self.updates, self.options, self.check_nan)
            if settings.dump is not None:
                self.sizes[n].inspection.write(settings.dump)
        self.latest = self.sizes[n]
        return self.latest

    def _bound_by(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> Program:
        number, axis = batch_axis(self.graph) or (0, 0)
        shape = np.shape(self.arguments.in_order(arrays, named)[number])
        if len(shape) != self.graph.inputs[number].ndim:
            raise ValueError(self.arguments.misshapen(number, shape))
        return self.bind(shape[axis])

    def __call__(self, *arrays: Any, **named: Any) -> tuple[np.ndarray, ...]:
        return self._bound_by(arrays, named)(*arrays, **named)

    def profile(self, *arrays: Any, repeat: int = 20, **named: Any) -> Profile:
        return self._bound_by(arrays, named).profile(*arrays, repeat=repeat, **named)

    @property
    def bound(self) -> Program:
        """The program that was bound last."""
        if self.latest is None:
            raise ValueError(
                f"the batch size of {self.graph.name} is bound at the call: call it, or bind(n), "
                "before inspecting it"
            )
        return self.latest

    @property
    def inspection(self) -> Inspection:
        return self.bound.inspection

    @property
    def source_path(self) -> str:
        return self.bound.source_path

    def explain(self, name: str) -> str:
        return self.bound.explain(name)

    def __repr__(self) -> str:
        bound = ", ".join(map(str, self.sizes)) or "none yet"
        return f"<program {self._signature()}, batch sizes bound: {bound}, {self.options.backend}>"
