"""Did a pass change a value, and where did a NaN come from? Answers by the interpreter.

``check_passes`` runs it before and after each pass and shrinks what shows a difference. Probes are
random normal numbers, large and tiny ones, negatives, ties, zeros, numbers with NaN, infinities and
-0.0 among them, integers with the ends of their dtypes; ``agreement`` says which differences count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..graph.dtype import astype, is_float, widened
from ..graph.dump import dump
from ..graph.interpret import evaluate, inputs_by_node, run
from ..graph.ir import Graph, Node, among, same_nodes
from ..graph.op import INPUT, PARAMETER, Kind, input
from ..graph.origins import origins
from ..graph.rewrite import substitute
from ..graph.types import Type
from ..graph.verify import verify
from ..ops.loop import LoopRoles
from .agreement import Difference, disagreement

Pass = Callable[[Graph], Graph]
TRIES = 300  # runs of the pass while shrinking


class PassError(AssertionError):
    """A pass changed a value: ``graph`` shows it and is small, ``after`` is what the pass made."""

    def __init__(self, name: str, graph: Graph, after: Graph, probe: Probe, found: Found):
        most = found.difference
        self.name, self.graph, self.after, self.difference = name, graph, after, most.size
        self.node = graph.outputs[found.output]
        super().__init__(
            f"pass {name} changed {self.node.op.name} from {most.before} to {most.after} "
            f"at {list(most.place)} (largest difference {most.size:.3g}), on {probe.name}\n"
            f"{dump(graph, lines=True)}\nbecame\n{dump(after)}"
        )

    def write(self, folder: Path) -> Path:
        """Writes the smallest graph into a file that ``parse`` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.graph"
        path.write_text(dump(self.graph, lines=True) + "\n")
        return path


@dataclass(frozen=True)
class Probe:
    """Values for a graph's inputs and parameters."""

    name: str
    values: Mapping[Node, np.ndarray]

    def run(self, graph: Graph) -> list[np.ndarray]:
        return run(graph, *[self.values[i] for i in graph.inputs], parameters=self.values)


@dataclass(frozen=True)
class Found:
    """An output of two graphs that differs."""

    output: int
    difference: Difference


def check_passes(graph: Graph, passes: Sequence[Pass], *arrays: Any, seed: int = 0) -> Graph:
    """The last graph of these passes; raises PassError at the first that changes a value.

    ``arrays`` are values of the inputs that are tried besides the probes.
    """
    check = value_check(graph, *arrays, seed=seed)
    for p in passes:
        after = p(graph)
        check(p, graph, after)
        graph = after
    return graph


def value_check(graph: Graph, *arrays: Any, seed: int = 0) -> Callable[[Pass, Graph, Graph], None]:
    """A function of (pass, before, after) for all passes over this graph: see ``check_pass``."""
    probes = list(make_probes(graph, arrays, seed))
    return lambda p, before, after: check_pass(p, before, after, probes)


def check_pass(p: Pass, before: Graph, after: Graph, probes: Sequence[Probe]) -> None:
    """Raises PassError with a small graph, if ``after`` computes other values."""
    name = getattr(p, "__name__", type(p).__name__)
    verify(after, name)
    for probe in probes:
        found = difference(before, after, probe)
        if found is not None:
            small, probe = _shrunk(p, before, probe)
            changed = p(small)
            raise PassError(name, small, changed, probe, difference(small, changed, probe) or found)


def make_probes(graph: Graph, arrays: Sequence[Any] = (), seed: int = 0) -> Iterator[Probe]:
    """The given values, then each kind of number that passes get wrong."""
    rng = np.random.default_rng(seed)
    sources = [n for n in graph.nodes if n.op in (INPUT, PARAMETER)]
    current: dict[Node, np.ndarray] = {n: n.state.read() for n in graph.parameters}
    if arrays:
        given = (astype(a, i.dtype) for i, a in zip(graph.inputs, arrays, strict=True))
        yield Probe("the given values", {**current, **dict(zip(graph.inputs, given, strict=True))})
    for name, draw in _KINDS.items():
        values = {n: _drawn(rng, n.type, draw, name == SPECIAL) for n in sources}
        for n, now in current.items():  # near what they are: a variance stays positive
            near = widened(now) + 0.1 * widened(values[n]) if is_float(n.dtype) else now
            values[n] = astype(near, n.dtype)
        yield Probe(name, values)


def _specials(rng: np.random.Generator, n: int) -> np.ndarray:
    numbers = rng.standard_normal(n)
    strange = rng.choice([np.nan, np.inf, -np.inf, -0.0, 0.0], n)
    return np.where(rng.random(n) < 0.3, strange, numbers)


SPECIAL = "NaN, infinities and -0.0"
EXTREME = "numbers from 1e-8 to 1e10"  # where float64 overflows, nothing is known

_KINDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal numbers": lambda rng, n: rng.standard_normal(n),
    "negative numbers": lambda rng, n: -0.1 - np.abs(rng.standard_normal(n)),
    "ties": lambda rng, n: rng.integers(-1, 2, n).astype(np.float64),
    "zeros": lambda rng, n: np.zeros(n),
    SPECIAL: _specials,
    "numbers in the hundreds": lambda rng, n: 100 * rng.standard_normal(n),
    EXTREME: lambda rng, n: rng.standard_normal(n) * 10 ** rng.uniform(-8, 10, n),
}


def _drawn(
    rng: np.random.Generator, type: Type, draw: Callable[..., np.ndarray], wide: bool
) -> np.ndarray:
    if is_float(type.dtype):
        return astype(draw(rng, type.size).reshape(type.shape), type.dtype)
    return integers(rng, type, wide)


def integers(rng: np.random.Generator, type: Type, wide: bool) -> np.ndarray:
    """Integers, or truth values, that may be indices and labels: 0 to 3. Some of `wide` ones are
    negative, or at the ends of what the dtype holds.
    """
    small = rng.integers(0, 2 if type.dtype == "bool" else 4, type.shape).astype(type.dtype)
    if not wide or type.dtype == "bool":
        return small
    ends = np.iinfo(type.dtype)
    far = [
        ends.min,
        ends.min + 1,
        ends.max // 2,
        ends.max - 1,
        ends.max,
        *range(-7 * (ends.min < 0), 100),
    ]
    return np.where(
        rng.random(type.shape) < 0.5, rng.choice(np.array(far, type.dtype), type.shape), small
    )


def difference(before: Graph, after: Graph, probe: Probe) -> Found | None:
    """The largest difference between two graphs' outputs that rounding does not explain."""
    found = []
    for k, (a, b) in enumerate(zip(probe.run(before), probe.run(after), strict=True)):
        differs = disagreement(
            before.outputs[k], probe.values, a, b, compiled=False, extreme=probe.name == EXTREME
        )
        if differs is not None:
            found.append(Found(k, differs))
    return max(found, key=lambda f: f.difference.size, default=None)


def _shrunk(p: Pass, graph: Graph, probe: Probe) -> tuple[Graph, Probe]:
    """A small graph on which the pass still goes wrong: cut below a node, then above others."""
    budget = iter(range(TRIES))

    def fails(g: Graph, probe: Probe) -> bool:
        if next(budget, None) is None:
            return False
        try:
            return difference(g, p(g), probe) is not None
        except Exception:  # another failure than the one that is looked for
            return False

    for n in graph.nodes:
        if n.op.kind is not Kind.SOURCE and fails(small := _ending_in(graph, n), probe):
            graph = small
            break
    for n in reversed(graph.nodes):
        kept = n.op.kind in (Kind.SOURCE, Kind.LOOP)
        if kept or among(n, graph.outputs) or n not in graph.users:
            continue
        cut = input(f"cut{len(graph.inputs)}", *n.shape, dtype=n.dtype)
        less = substitute(Graph(graph.name, (*graph.inputs, cut), graph.outputs), {n: cut})
        less = _ending_in(less, less.outputs[0])
        more = Probe(probe.name, {**probe.values, cut: probe.run(Graph("", graph.inputs, (n,)))[0]})
        if fails(less, more):
            graph, probe = less, more
    return graph, probe


def _ending_in(graph: Graph, n: Node) -> Graph:
    """The part of the graph that this node needs."""
    needed = set(Graph("", (), (n,)).nodes)
    return Graph(graph.name, tuple(i for i in graph.inputs if i in needed), (n,))


@same_nodes
@dataclass(frozen=True)
class FirstNan:
    """The first node that made a NaN from none, in words and with its values."""

    text: str
    node: Node
    values: np.ndarray


def first_nan(graph: Graph, arrays: Sequence[Any]) -> FirstNan | None:
    """Which node is the first to make a NaN from none, with the user's line, or None."""
    values = inputs_by_node(graph, arrays)
    for n in graph.nodes:
        if n not in values:
            values[n] = evaluate(n, [values[i] for i in n.inputs])
        value = values[n]
        if n.op.kind is Kind.LOOP:
            if (inside := nan_in_loop(n, [values[i] for i in n.inputs])) is not None:
                return inside
            continue
        if (wide := widened(value)).dtype.kind == "f" and np.isnan(wide).any():
            place = tuple(map(int, np.argwhere(np.isnan(wide))[0]))
            where = f" ({'; '.join(map(str, origins(n)))})" if n.inputs else ""
            text = f"NaN in {n.name or n.op.name} {n.type} at {list(place)}{where}"
            return FirstNan(text, n, value)
    return None


def nan_in_loop(n: Node, arrays: Sequence[np.ndarray]) -> FirstNan | None:
    """As ``first_nan`` for the body of a loop, and in which step."""
    loop, body = LoopRoles.of(n), n.attr("body")
    first, last = len(loop.carries), len(loop.carries) + len(loop.slices)
    state = list(arrays[:first])
    for t in reversed(range(loop.length)) if loop.reverse else range(loop.length):
        given = [*state, *(a[t] for a in arrays[first:last]), *arrays[last:]]
        results = run(body, *given)
        if any(r.dtype.kind == "f" and np.isnan(r).any() for r in map(widened, results)):
            found = first_nan(body, given)
            assert found is not None
            return replace(found, text=f"{found.text}, in step {t} of {loop.name}")
        state = results[:first]
    return None
