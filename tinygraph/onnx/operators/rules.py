"""What a rule is, and what it is given: the call of one operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ... import ops
from ...graph.dtype import DTYPES, name_of, widened
from ...graph.ir import Node
from ...graph.op import constant
from ...graph.size import Size
from ..reading.errors import OnnxError
from ..reading.records import FileTensor, GraphRecord, NodeRecord
from ..reading.tensors import dtype_of

# A value while a graph is imported: a node; an array that is known now, of dtype object where
# elements depend on the batch size n (they are integers or sizes); a sequence; None: left out.
Value = Any
Rule = Callable[["Applied"], Any]

RULES: dict[tuple[str, str], Rule] = {}
CONTRIB = "com.microsoft"  # the domain of what ONNX Runtime's optimizer writes


def rule(*names: str, domain: str = "") -> Callable[[Rule], Rule]:
    """Makes a function the rule of these operators: it takes what is applied, and returns the first
    output or a tuple of them.
    """

    def add(function: Rule) -> Rule:
        for name in names:
            if (domain, name) in RULES:
                raise ValueError(f"the operator {name} has two rules")
            RULES[domain, name] = function
        return function

    return add


class Import(Protocol):
    """What a rule may ask of the import that it is part of."""

    training: bool

    def evaluated(self, x: Node) -> np.ndarray | None: ...

    def run(self, graph: GraphRecord, inputs: Sequence[Value]) -> list[Value]: ...

    def call(self, n: NodeRecord, inputs: Sequence[Value]) -> list[Value]: ...

    def fault(self, node: NodeRecord, message: str) -> OnnxError: ...

    def check_size(self, n: NodeRecord, shape: Sequence[Any], dtype: Any = ...) -> None: ...

    def source(self, x: Node) -> str: ...

    def named(self, name: str) -> Value: ...

    def inlined(self, call: Applied) -> list[Value]: ...

    def statistics(self, x: Node, new: Node, momentum: float, y: Node) -> Node: ...

    def dropped(self, x: Node, ratio: float, name: str) -> Node: ...

    def drawn(self, shape: tuple[Any, ...], stream: str) -> Node: ...


class Applied:
    """One operator on its inputs.

    Attributes:
        node: its record in the file.
        inputs: values, one for each name in the file.
        walk: the import.
    """

    def __init__(self, node: NodeRecord, inputs: Sequence[Value], walk: Import):
        self.node, self.inputs, self.walk = node, inputs, walk

    # ------------------------------------------------------------------ inputs

    def value(self, i: int) -> Value:
        """Input i as it is; None where it was left out."""
        return self.inputs[i] if i < len(self.inputs) else None

    def has(self, i: int) -> bool:
        return self.value(i) is not None

    def x(self, i: int, dtype: str | None = None) -> Node:
        """Input i as a node; ``dtype`` is for integers that depend on n, which have none."""
        value = self.value(i)
        if value is None:
            raise self.fault(f"requires its input {i}")
        return self.as_node(value, dtype)

    def held(self, i: int, dtype: str | None = None) -> Node:
        """Input i; what is known may be of a narrower dtype than any here, such as int4."""
        value = self.value(i)
        if isinstance(value, np.ndarray) and (name := name_of(value.dtype)) not in DTYPES:
            wide = "int8" if name.startswith("int") else "uint8"
            return constant(value.astype(wide if "int" in name else "float32"))
        return self.x(i, dtype)

    def maybe(self, i: int) -> Node | None:
        """Input i as a node, or None."""
        return self.x(i) if self.has(i) else None

    def all(self) -> list[Node]:
        """All inputs as nodes."""
        dtype = next((v.dtype for v in self.inputs if isinstance(v, Node)), None)
        return [self.x(i, dtype) for i in range(len(self.inputs))]

    def as_node(self, value: Value, dtype: str | None = None) -> Node:
        if isinstance(value, Node):
            return value
        if not isinstance(value, np.ndarray):
            raise self.fault("requires tensors, got a sequence")
        if value.dtype == object:
            return open_constant(value, dtype or "int64")
        if (found := name_of(value.dtype)) not in DTYPES:
            raise self.fault(f"has an input of {found}, which tinygraph lacks")
        return constant(value, found)

    def known(self, i: int, what: str) -> np.ndarray:
        """Input i as an array: ``what`` must be known when the graph is built.

        Raises:
            OnnxError: it depends on an input of the graph.
        """
        value = self.value(i)
        if value is None:
            raise self.fault(f"requires {what}")
        found = self.known_value(value)
        if found is None:
            raise self.fault(
                f"requires {what} that is known when the graph is built, but "
                f"{self.node.inputs[i]!r} depends on {self.walk.source(value)}; "
                "constants={name: value} makes an input known"
            )
        return found

    def known_value(self, value: Value) -> np.ndarray | None:
        """A value's array, if it depends on no input of the graph."""
        return self.walk.evaluated(value) if isinstance(value, Node) else value

    def option(self, name: str, i: int) -> Any:
        """What older versions have as an attribute and newer ones as input i: numbers as a tuple
        or a number; None where it is neither.
        """
        if name in self.node.attributes:
            return self.attr(name)
        if not self.has(i):
            return None
        found = widened(self.known(i, f"a {name!r}"))
        return found.item() if found.ndim == 0 else tuple(found.tolist())

    def listed(self, name: str, i: int) -> tuple[Any, ...] | None:
        """An option that is a list, of which a number is the only element."""
        found = self.option(name, i)
        return found if found is None or isinstance(found, tuple) else (found,)

    def sizes(self, i: int, what: str) -> tuple[Any, ...]:
        """Input i as whole numbers, which may depend on n."""
        return tuple(self.known(i, what).reshape(-1).tolist())

    # ------------------------------------------------------------------ attributes

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default in ONNX."""
        value = self.node.attributes.get(name, default)
        return value.array if isinstance(value, FileTensor) else value

    def given(self, name: str) -> bool:
        """True if the file gives an attribute."""
        return name in self.node.given

    def dtype(self, name: str, default: str | None = None) -> str:
        """An attribute that names a dtype.

        Raises:
            OnnxError: tinygraph lacks it.
        """
        code = self.attr(name)
        if code is None and default is not None:
            return default
        found = dtype_of(code, self.node.label)
        if found not in DTYPES:
            raise self.fault(f"requires {found}, which tinygraph lacks")
        return found

    def axis(self, rank: int, name: str = "axis", default: int | None = None) -> int:
        """An attribute that is an axis, counted from the front."""
        return self.normal_axis(self.attr(name, default), rank)

    def normal_axis(self, axis: Any, rank: int) -> int:
        if isinstance(axis, bool) or not isinstance(axis, int) or not -rank <= axis < rank:
            raise self.fault(f"requires an axis in [{-rank}, {rank}), got {axis!r}")
        return axis % rank

    def normal_axes(self, axes: Sequence[Any], rank: int) -> tuple[int, ...]:
        """Different axes, counted from the front."""
        found = tuple(self.normal_axis(a, rank) for a in axes)
        if len(set(found)) < len(found):
            raise self.fault(f"requires different axes, got {tuple(axes)}")
        return found

    # ------------------------------------------------------------------ the rest

    @property
    def outputs(self) -> int:
        """How many outputs the file names, those that it skips included."""
        return len(self.node.outputs)

    def wants(self, i: int) -> bool:
        """True if anything can read output i."""
        return i < len(self.node.outputs) and bool(self.node.outputs[i])

    def require_fit(self, *shape: Any) -> None:
        """
        Raises:
            OnnxError: an array of this shape, which a rule is about to make, is far too large.
        """
        self.walk.check_size(self.node, shape)

    def fault(self, message: str) -> OnnxError:
        """The error that names this node."""
        return self.walk.fault(self.node, message)


def open_constant(array: np.ndarray, dtype: str) -> Node:
    """Integers that depend on n as a node."""
    if array.ndim == 0:
        return constant(array.item(), dtype)
    flat = [constant(v, dtype) for v in array.reshape(-1).tolist()]
    parts = [ops.reshape(v, (1,)) for v in flat]
    return ops.reshape(ops.concat(parts) if parts else ops.zeros((0,), dtype), array.shape)


def number(size: Any) -> bool:
    """True for a size that does not depend on n."""
    return not isinstance(size, Size)


def product(sizes: Sequence[Any]) -> Any:
    return math.prod(sizes)
