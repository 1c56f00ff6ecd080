"""From records to nodes: walks a graph and calls the rule of each operator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph.convert import ShapeError
from ..graph.dtype import is_integer
from ..graph.interpret import run as interpret
from ..graph.ir import Graph, Node, Parameter
from ..graph.op import INPUT, OF_BATCH
from ..graph.origins import origin, scope
from ..graph.size import Size
from ..graph.types import Several
from .functions import body_of
from .operators import known
from .operators.rules import RULES, Applied, Value
from .reading.errors import OnnxError
from .reading.file import DEPTH
from .reading.records import GraphRecord, ModelRecord, NodeRecord, Reference
from .state import State

MORE_NODES = 50_000  # that are walked in functions and loops, more than the file has
LARGE = 1 << 29  # bytes that a value may have whatever the file's size is
GROWTH = 1024  # and how many for each element of inputs and tensors


class Env:
    """Values by name, in a graph and in those around it."""

    def __init__(self, outer: Env | None = None):
        self.values: dict[str, Value] = {}
        self.outer = outer

    def __getitem__(self, name: str) -> Value:
        env: Env | None = self
        while env is not None:
            if name in env.values:
                return env.values[name]
            env = env.outer
        raise KeyError(name)


class Importer:
    """One import of a model: the graph for inputs of certain shapes.

    Attributes:
        training: whether dropout and batch normalization are as in training.
    """

    def __init__(self, model: ModelRecord, state: State, training: bool):
        self.model, self.state, self.training = model, state, training
        self.walked = self.depth = 0
        self.env = self.top = Env()
        self.sources: dict[Node, Node | None] = {}  # an input of the graph that a node depends on
        self.arrays: dict[Node, np.ndarray] = {}
        self.checked: set[Node] = set()
        self.size = 0

    def graph(self, given: Mapping[str, Value]) -> list[Value]:
        """The model's outputs for these inputs."""
        elements = [math.prod(n for n in v.shape if not isinstance(n, Size)) for v in given.values()
                    if isinstance(v, (Node, np.ndarray))]  # fmt: skip
        self.size = sum(elements) + sum(t.size for t in self.model.graph.tensors.values())
        return self.walk(self.model.graph, given, None)

    def values(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """All values of the model's graph for these inputs, by name."""
        self.graph(given)
        return self.top.values

    # ------------------------------------------------------------------ the walk

    def walk(
        self, graph: GraphRecord, given: Mapping[str, Value], outer: Env | None
    ) -> list[Value]:
        """The outputs of a graph; ``outer`` is what it may read from around it."""
        env, before = Env(outer), self.env
        self.enter()
        self.env = env
        self.top = self.top if outer else env
        for name, t in graph.tensors.items():
            env.values[name] = self.state.value(t)
        env.values.update(given)
        for n in graph.nodes:
            self.step(n, env)
        self.env = before
        self.depth -= 1
        return [env[v.name] for v in graph.outputs]

    def enter(self) -> None:
        self.depth += 1
        if self.depth > DEPTH:
            raise OnnxError(f"{self.model.file} has functions within functions, over {DEPTH} deep")

    def step(self, n: NodeRecord, env: Env) -> None:
        """Computes a node's outputs."""
        self.walked += 1
        if self.walked > MORE_NODES + len(self.model.graph.nodes):
            raise OnnxError(
                f"{self.model.file} has functions or loops of more than {MORE_NODES:,} nodes"
            )
        inputs = [env[name] if name else None for name in n.inputs]
        with origin(self.model.file, n.number, n.op), scope(n.scope or f"{n.op}_{n.number}"):
            outputs = self.call(n, inputs)
        for name, value in zip(n.outputs, outputs, strict=False):
            if name:
                env.values[name] = value

    def call(self, n: NodeRecord, inputs: Sequence[Value]) -> list[Value]:
        """The outputs of one operator, checked."""
        c = Applied(n, inputs, self)
        try:
            outputs = self.outputs(c)
        except (OnnxError, ShapeError):
            raise
        except RecursionError:
            raise self.fault(n, "is nested too deeply") from None
        except Exception as error:  # whatever a strange file may do to a rule
            raise self.fault(n, f"cannot be imported: {type(error).__name__}: {error}") from error
        wanted = max((i + 1 for i, name in enumerate(n.outputs) if name), default=0)
        if len(outputs) < wanted:
            raise self.fault(n, f"gives {len(outputs)} outputs here, {wanted} are named")
        for value in (*outputs, *self.made(outputs)):
            if isinstance(value, (Node, np.ndarray)):
                self.check_size(n, value.shape, value.dtype)
        return outputs

    def made(self, outputs: Sequence[Value]) -> Iterator[Node]:
        """The nodes that were not there before, those between inputs and outputs included."""
        stack = [v for v in outputs if isinstance(v, Node)]
        while stack:
            n = stack.pop()
            if n not in self.checked:
                self.checked.add(n)
                stack += n.inputs
                if not isinstance(n.type, Several):
                    yield n

    def outputs(self, c: Applied) -> list[Value]:
        n = c.node
        if n.op in ("Shape", "Size") and not n.domain:
            return [known.of_shape(c)]
        if (found := known.compute(c)) is not None:
            return [found]
        if (n.domain, n.op) in self.model.functions:
            return self.inlined(c)
        if (n.domain, n.op) in RULES:
            made = RULES[n.domain, n.op](c)
            return [self.settled(v) for v in (made if isinstance(made, tuple) else (made,))]
        return self.inlined(c)

    def settled(self, x: Value) -> Value:
        """Whole numbers that depend on no input as an array, which shapes can be made of."""
        if not isinstance(x, Node) or not is_integer(x.dtype):
            return x
        few = not any(isinstance(k, Size) for k in x.shape) and x.type.size <= known.FEW
        found = self.evaluated(x) if few else None
        return x if found is None else found

    def check_size(self, n: NodeRecord, shape: Sequence[Any], dtype: Any = "int64") -> None:
        """A few bytes in a file can ask for any amount of memory.

        Raises:
            OnnxError: a value of this shape is too large for this file.
        """
        size = math.prod(k for k in shape if not isinstance(k, Size))
        if size * np.dtype(dtype).itemsize > max(LARGE, GROWTH * self.size):
            raise self.fault(
                n, f"makes {size:,} elements, {list(shape)}, far more than inputs and file have"
            )

    # ------------------------------------------------------------------ what rules ask for

    def run(self, graph: GraphRecord, inputs: Sequence[Value]) -> list[Value]:
        """The outputs of a graph within the one that is walked now."""
        if len(inputs) != len(graph.inputs):
            raise OnnxError(
                f"{self.model.file} has a graph {graph.name!r} of {len(graph.inputs)} inputs, "
                f"which is given {len(inputs)}"
            )
        given = dict(zip((v.name for v in graph.inputs), inputs, strict=True))
        return self.walk(graph, given, self.env)

    def inlined(self, c: Applied) -> list[Value]:
        """The outputs of a function, the file's own or one that ONNX defines an operator by."""
        function = self.model.functions.get((c.node.domain, c.node.op)) or body_of(c)
        if function is None:
            raise c.fault("is an operator that tinygraph lacks")
        self.enter()
        env, before = Env(), self.env
        self.env = env
        values = [*c.inputs, *[None] * (len(function.inputs) - len(c.inputs))]
        env.values.update(zip(function.inputs, values, strict=False))
        attributes = {**function.attributes, **c.node.attributes}
        for n in function.nodes:
            self.step(_bound(n, attributes, c.node), env)
        self.env = before
        self.depth -= 1
        return [env.values.get(name) for name in function.outputs]

    def evaluated(self, x: Node) -> np.ndarray | None:
        """The value of a node that depends on no input of the graph."""
        if self.source_of(x) is not None:
            return None
        if x not in self.arrays:
            if isinstance(x, Parameter):
                self.arrays[x] = self.state.initial(x)
            else:
                (self.arrays[x],) = interpret(Graph("known", (), (x,)))
        return self.arrays[x]

    def named(self, name: str) -> Value:
        """The value of a name in the graph that is walked now."""
        try:
            return self.env[name]
        except KeyError:
            raise OnnxError(f"{self.model.file} has no value {name!r} at this place") from None

    def source(self, x: Node) -> str:
        """What a node depends on, as messages call it."""
        found = self.source_of(x)
        if found is None or not found.name:
            return "the batch size"
        return f"the input {found.name!r}"

    def source_of(self, x: Node) -> Node | None:
        stack = [x]
        while stack:
            n = stack[-1]
            if n in self.sources:
                stack.pop()
            elif n.op is INPUT or n.op is OF_BATCH or any(isinstance(k, Size) for k in n.shape):
                self.sources[n] = n
            elif missing := [i for i in n.inputs if i not in self.sources]:
                stack.extend(missing)
            else:
                found = (self.sources[i] for i in n.inputs)
                self.sources[n] = next((s for s in found if s is not None), None)
        return self.sources[x]

    def fault(self, n: NodeRecord, message: str) -> OnnxError:
        named = f" {n.name}" if n.name else ""
        return OnnxError(f"{self.model.file}:{n.number}{named} ({n.label}): {message}")

    def statistics(self, x: Node, new: Node, momentum: float, y: Node) -> Node:
        return self.state.statistics(x, new, momentum, y)

    def dropped(self, x: Node, ratio: float, name: str) -> Node:
        return self.state.dropped(x, ratio, name)

    def drawn(self, shape: tuple[Any, ...], stream: str) -> Node:
        return self.state.drawn(shape, stream)


def _bound(n: NodeRecord, attributes: Mapping[str, Any], outer: NodeRecord) -> NodeRecord:
    """A function's node, with the values of the attributes that its call gives, in its place."""
    found, given = dict(n.attributes), set(n.given)
    for name, value in n.attributes.items():
        if isinstance(value, Reference):
            if value.name in attributes:
                found[name] = attributes[value.name]
            else:
                del found[name]
                given.discard(name)
        elif isinstance(value, GraphRecord):
            found[name] = GraphRecord(
                value.name,
                value.inputs,
                value.outputs,
                tuple(_bound(m, attributes, outer) for m in value.nodes),
                value.tensors,
            )
    return replace(
        n, name=outer.name, number=outer.number, attributes=found, given=frozenset(given)
    )
