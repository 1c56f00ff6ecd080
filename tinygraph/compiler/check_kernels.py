"""Do the compiled kernels compute what the interpreter does? Names the first that does not.

The program is run once for each probe on copies of its parameters, in a form that keeps every value
which a launch stores (``keep_all``): the same kernels in the same order, each buffer with memory of
its own. Each stored value is compared with what the interpreter makes of the values that were
stored before, so that a wrong kernel is the first that differs, and rounding does not add up from
kernel to kernel. The program itself must then give the same bits as that run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..codegen.module import describe
from ..codegen.program import Code
from ..graph.dtype import DTYPES, astype, is_float
from ..graph.dump import all_labels
from ..graph.interpret import run
from ..graph.ir import Graph, Node
from ..graph.op import INPUT, Kind, input
from ..graph.origins import described
from ..graph.parameter import parameter
from ..graph.rebuild import with_inputs
from ..graph.state import aligned
from ..graph.types import Type
from ..inspect.record import Compiled
from ..plan.keep_all import keep_all
from ..plan.records.plan import Plan
from ..plan.records.work import Location
from .agreement import Difference, Values, above, disagreement, same
from .backend import BackendError
from .check_values import integers
from .manifest import Built
from .source import Source
from .store import Store

COMPUTES = (Kind.ELEMENTWISE, Kind.REDUCE, Kind.ANCHOR, Kind.OPAQUE, Kind.COMPOSITE)
PATTERN = 0xA5  # in memory that nothing has been written to


class KernelError(AssertionError):
    """A compiled kernel computes something else than the interpreter.

    Attributes:
        kernel: its name in the generated module.
        nodes: what it computes.
        node: whose value differs.
        values: that the kernel gave.
    """

    def __init__(
        self, message: str, kernel: str, nodes: Sequence[Node], node: Node, values: np.ndarray
    ):
        super().__init__(message)
        self.kernel, self.nodes, self.node, self.values = kernel, tuple(nodes), node, values


@dataclass(frozen=True)
class Draw:
    """How the inputs of a run are drawn."""

    name: str
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    wide: bool = False  # integers as well


PROBES = (
    Draw("normal numbers", lambda rng, shape: rng.standard_normal(shape)),
    Draw(
        "numbers from 1e-3 to 1e3",
        lambda rng, shape: rng.standard_normal(shape) * 10 ** rng.uniform(-3, 3, shape),
        wide=True,
    ),
)


def check_kernels(source: Source, built: Built, store: Store) -> None:
    """Runs the program on generated inputs; neither its parameters nor anything else changes.

    Raises:
        KernelError: names the first kernel that differs, its nodes and the user's lines.
    """
    count = len(source.graph.outputs) - len(source.updates)
    made = source.translate()  # a plan of its own, since it is changed
    buffers = keep_all(made.plan, count)
    code = source.backend.assemble(made.plan)
    source.backend.build(code, store, source.runtime)
    constants = [np.asarray(c.attr("value").data) for c in made.plan.constants]
    for probe in PROBES:
        values = drawn(source, probe)
        kept = [filled(b.bytes) for b in buffers]
        try:
            results = execute(source, code, constants, store, values, kept)
        except BackendError as why:  # a runtime that only compiles
            warnings.warn(f"verify='values' has checked passes only: {why}", stacklevel=2)
            return
        Check(source, made, code, store, probe).stored(values, results, kept)
        whole = execute(source, built.code, built.constants, store, values)
        for n, one, other in zip(source.graph.outputs, results, whole, strict=True):
            if not same(one, other).all():
                raise KernelError(
                    f"{source.graph.name} gives other bits for {described(n)} than the same "
                    f"kernels do where every value has memory of its own, on {probe.name}: "
                    f"launches disturb each other",
                    "", (), n, other,
                )  # fmt: skip


def drawn(source: Source, probe: Draw) -> dict[Node, np.ndarray]:
    """Values for the inputs; those that the parameters have."""
    rng = np.random.default_rng(0)
    values: dict[Node, np.ndarray] = {p: p.state.read().copy() for p in source.parameters}
    for i in source.graph.inputs:
        values[i] = draw(i.type, rng, probe)
    return values


def draw(type: Type, rng: np.random.Generator, probe: Draw) -> np.ndarray:
    if is_float(type.dtype):
        return astype(probe.draw(rng, type.shape), type.dtype)
    return integers(rng, type, probe.wide)


def filled(size: int) -> np.ndarray:
    """Memory in which a value that was never written shows."""
    memory = aligned(Type((size,), "uint8"))
    memory.fill(PATTERN)
    return memory


def execute(
    source: Source,
    code: Code,
    constants: Sequence[np.ndarray],
    store: Store,
    values: Values,
    kept: Sequence[np.ndarray] = (),
) -> list[np.ndarray]:
    """Outputs and new values of updates, from one run on copies of the parameters."""
    copies = {
        p: parameter(values[p], p.name, p.dtype, order=p.state.order) for p in source.parameters
    }
    outputs = source.graph.outputs[: len(source.graph.outputs) - len(source.updates)]
    results = [np.zeros(n.shape, DTYPES[n.dtype].numpy) for n in outputs]
    runner = source.backend.load(code, constants, [*copies.values()], store, source.runtime)
    for copy in copies.values():
        copy.state.bring(runner.memory)
    if code.prepare:
        runner.refresh()
    runner([values[i] for i in source.graph.inputs], [*results, *kept])
    for p in source.updates:
        copies[p].state.changed(runner.memory)
    return [*results, *(copies[p].state.read() for p in source.updates)]


@dataclass(frozen=True)
class Check:
    """Compares what a run has stored."""

    source: Source
    made: Compiled
    code: Code
    store: Store
    probe: Draw

    def stored(
        self, values: Values, results: Sequence[np.ndarray], kept: Sequence[np.ndarray]
    ) -> None:
        """Each stored value, in the order of the launches, against those before it."""
        plan, source = self.made.plan, self.source
        count = len(results) - len(source.updates)
        memory = {("output", i): a for i, a in enumerate((*results[:count], *kept))}
        number = {p: i for i, p in enumerate(source.parameters)}
        for p, value in zip(source.updates, results[count:], strict=True):
            lying = np.ascontiguousarray(value.transpose(p.state.order))
            memory["parameter", number[p]] = lying
        position = {n: i for i, n in enumerate(self.made.graph.nodes)}
        known = dict(values)
        found = ((writers(plan, n, place), n, place) for n, place in plan.stored)
        for launches, n, place in sorted(found, key=lambda f: (f[0][-1:], position[f[1]])):
            block = memory[place.buffer.home, place.buffer.number]
            got = read(block, place, n.shape)
            graph, arrays = above(n, known)
            (want,) = run(graph, *arrays)
            wrong = disagreement(n, known, want, got, compiled=True)
            if wrong is not None:
                raise self.error(n, launches, wrong, known, got)
            known.setdefault(n, got)

    def error(
        self,
        n: Node,
        launches: Sequence[tuple[int, int]],
        wrong: Difference,
        known: Values,
        got: np.ndarray,
    ) -> KernelError:
        plan = self.made.plan
        kernels, nodes, text = [], dict[Node, None](), []
        for number, member in launches:
            launch = plan.launches[number].members[member]
            work = [w for w in self.code.calls[number].work if w.member == member]
            kernels += [self.code.kernels[w.kernel].name for w in work]
            nodes |= dict.fromkeys(launch.nodes)
            text.append(describe(launch, all_labels(self.made.graph), True))
        names = ", ".join(dict.fromkeys(kernels)) or "no kernel"
        message = [
            f"{names} of {plan.name} gives {wrong.after} for {described(n)} at {list(wrong.place)},"
            f" the interpreter {wrong.before} (largest difference {wrong.size:.3g}), on "
            f"{self.probe.name}",
            *dict.fromkeys(text),
            self.verdict(nodes, known),
        ]
        return KernelError("\n".join(message), names, [*nodes], n, got)

    def verdict(self, nodes: Collection[Node], known: Values) -> str:
        """Which operator is wrong alone, or that it is all of them together."""
        alone = [n for n in self.made.graph.everywhere if n in nodes and n.op.kind in COMPUTES]
        for n in alone:
            if self.is_wrong_alone(n, known):
                return (
                    f"{described(n)} is wrong in a kernel of its own, too: what is compiled for "
                    f"{n.op.name} does not agree with its NumPy meaning"
                )
        return "each of these operators is right in a kernel of its own"

    def is_wrong_alone(self, n: Node, known: Values) -> bool:
        rng = np.random.default_rng(0)
        arrays, nodes = [], []
        for number, x in enumerate(n.inputs):
            graph, given = above(x, known)
            reached = all(i.op is not INPUT or i in set(graph.inputs) for i in graph.nodes)
            value = run(graph, *given)[0] if reached else draw(x.type, rng, self.probe)
            arrays.append(np.array(value, order="C"))
            nodes.append(input(f"value{number}", *x.shape, dtype=x.dtype))
        graph = Graph("alone", tuple(nodes), (with_inputs(n, tuple(nodes)),))
        options = replace(self.source.options, passes=(), conv=())
        source = replace(self.source, graph=graph, updates=(), parameters=(), options=options)
        made = source.translate()
        source.backend.build(made.code, self.store, source.runtime)
        constants = [np.asarray(c.attr("value").data) for c in made.plan.constants]
        values = dict(zip(nodes, arrays, strict=True))
        (got,) = execute(source, made.code, constants, self.store, values)
        (want,) = run(graph, *arrays)
        return disagreement(graph.outputs[0], values, want, got, compiled=True) is not None


def writers(plan: Plan, n: Node, place: Location) -> list[tuple[int, int]]:
    """The launches (number, member of a bundle) that write a value, in order; for what a loop
    writes, all of the loop's.
    """
    every = [
        (number, member)
        for number, x in enumerate(plan.launches)
        for member in range(len(x.members))
    ]
    found = [
        (number, member)
        for number, member in every
        for each in [plan.launches[number].members[member]]
        if any(each.accesses[i].buffer is place.buffer for i in each.writes)
    ]
    for loop in plan.loops:
        if any(loop.first <= number < loop.last for number, _ in found):
            return [at for at in every if loop.first <= at[0] < loop.last]
    named = [(a, b) for a, b in found if n in set(plan.launches[a].members[b].nodes)]
    return named or found


def read(block: np.ndarray, place: Location, shape: tuple[int, ...]) -> np.ndarray:
    """A value from the memory in which it lies."""
    flat = block.reshape(-1).view(np.uint8)
    dtype = DTYPES[place.dtype].numpy
    if 0 in shape:
        return np.zeros(shape, dtype)
    flat = flat[place.offset * dtype.itemsize :]
    flat = flat[: len(flat) // dtype.itemsize * dtype.itemsize].view(dtype)
    strides = [s * dtype.itemsize for s in place.strides]
    return np.lib.stride_tricks.as_strided(flat, shape, strides).copy()
