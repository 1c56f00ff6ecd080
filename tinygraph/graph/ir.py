"""The graph: interned nodes, graphs. Immutable and logical; knows no operator by name."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np

from .locks import TABLES, new_lock
from .methods import METHODS, ArrayMethods
from .origins import set_first_origin
from .size import Size
from .snapshot import snapshot
from .state import ParameterState
from .types import Array, Type

if TYPE_CHECKING:
    from .op import Op

T = TypeVar("T")


def same_nodes(kind: type[T]) -> type[T]:
    """Makes a dataclass compare the tuple of its fields, in which one node is equal to itself.

    From Python 3.13 on dataclasses compare field by field: of nodes that is a node, not a bool.
    """
    parts = attrgetter(*(f.name for f in fields(kind) if f.compare))  # type: ignore[arg-type]

    def equal(self: object, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return (parts(self),) == (parts(other),)  # of one field, parts() is no tuple

    kind.__eq__ = equal  # type: ignore[method-assign]
    return kind


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Node(ArrayMethods):
    """One operator applied to nodes. Interned: equal nodes are one object; compare with ``is``.

    ``==`` compares values, as in NumPy: a node of bool. Sets and dicts go by identity.

    Attributes:
        op: the operator, a record; ``attrs`` are its attributes, such as a stride.
        inputs: the nodes that it is applied to.
        type: shape and dtype; ``shape``, ``dtype``, ``ndim`` and ``size`` are parts of it.
        notes: what analyses keep about it.

    Example:
        >>> x = tg.input("x", 8, 4)
        >>> y = (x @ tg.ones((4, 2))).mean(axis=0)
        >>> y.shape, y.dtype, y.op
        ((2,), 'float32', div)
    """

    op: Op
    inputs: tuple[Node, ...]
    attrs: tuple[tuple[str, Any], ...]
    type: Type
    notes: dict[str, Any] = field(default_factory=dict, repr=False)  # beside the graph: its name

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        return self.type.shape

    @property
    def dtype(self) -> str:
        """The name of the dtype, such as float32."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.type.shape)

    @property
    def name(self) -> str | None:
        """The name of an input or parameter, or the one given by ``named``."""
        return self.notes.get("name") or self.attr("name", None)

    def named(self, name: str) -> Node:
        """Gives this node a name for dumps and profiles; returns it.

        Example:
            >>> (tg.input("x", 2) * 5).named("scores").name
            'scores'
        """
        self.notes["name"] = name
        return self

    def attr(self, key: str, *default: Any) -> Any:
        """An attribute of the operator, as ``stride``; AttributeError without a default.

        Args:
            key: its name; ``default``: what is returned where it is missing.

        Raises:
            AttributeError: it is missing, and there is no default.

        Example:
            >>> tg.sum(tg.zeros((2, 3)), axis=1).attr("axis")
            (1,)
        """
        for k, value in self.attrs:
            if k == key:
                return value
        if default:
            return default[0]
        raise AttributeError(f"{self.op.name} has no attribute {key!r}")

    @property
    def bodies(self) -> tuple[Graph, ...]:
        """The graphs among the attributes: what a loop repeats."""
        return tuple(value for _, value in self.attrs if isinstance(value, Graph))

    def __repr__(self) -> str:
        return METHODS["text"](self)

    def _no_value(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "a node has no value while the graph is built; tg.compile or tg.run compute it, "
            "tg.where chooses by it, and `is` or a set tells whether it is one of several nodes"
        )

    __bool__ = __float__ = __int__ = __index__ = __array__ = _no_value

    def __iter__(self) -> Any:
        if not self.shape:
            raise TypeError("a 0-d node cannot be iterated over")
        return (self[i] for i in range(self.shape[0]))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a 0-d node has no length")
        return self.shape[0]

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.type.size

    __hash__ = object.__hash__

    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        return self

    def __reduce__(self) -> Any:
        raise TypeError("nodes cannot be pickled; save a module's state_dict(), or str(graph)")

    def _repr_markdown_(self) -> str:
        return METHODS["markdown"](self)

    def _repr_html_(self) -> str:
        return METHODS["html"](self)


class Parameter(Node):
    """A source with an identity of its own and a value that lives outside of every graph.

    Attributes:
        state: the value, its version, its name, and whether optimizers change it. Made by
            ``tg.parameter``; ``value`` reads and sets it.

    Example:
        >>> w = tg.parameter([1.0, 2.0], name="w")
        >>> w.value = w.value * 10
        >>> w.value
        array([10., 20.], dtype=float32)
    """

    __slots__ = ("state",)
    state: ParameterState

    def __init__(self, op: Op, state: ParameterState):
        attrs = (("type", state.type),)
        fields = {"op": op, "inputs": (), "attrs": attrs, "type": state.type, "notes": {}}
        fields["state"] = state
        for field_name, value in fields.items():
            object.__setattr__(self, field_name, value)

    def __reduce__(self) -> Any:
        old = self.state
        return _restored, (self.shape, self.dtype, old.name, self.value, old.order, old.trainable)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "value":
            raise AttributeError(f"a parameter's {name} cannot be set; its value can")
        object.__setattr__(self, name, value)

    @property
    def name(self) -> str | None:
        """The name that was given, or the path in its module."""
        return self.state.name

    def named(self, name: str) -> Node:
        self.state.name = name
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        value, old = self.value, self.state
        state = ParameterState(self.type, old.name, lambda: value, old.order)
        state.trainable = old.trainable
        return Parameter(self.op, state)

    @property
    def value(self) -> np.ndarray:
        """The current value, a copy that cannot be changed; set it to replace the value."""
        return snapshot(self.state.copied())

    @value.setter
    def value(self, value: Any) -> None:
        self.state.write(value)


_INTERNED: WeakValueDictionary[tuple, Node] = WeakValueDictionary()
_LOCK = new_lock(TABLES)


def _restored(
    shape: tuple[int, ...], dtype: str, name: str | None, value: Any, order: Any, trainable: bool
) -> Parameter:
    """A parameter out of a pickle."""
    from .op import PARAMETER

    state = ParameterState(Type(shape, dtype), name, lambda: value, order)
    state.trainable = trainable
    return Parameter(PARAMETER, state)


def attribute(value: Any) -> Any:
    """An attribute value as nodes keep it; NumPy scalars become Python's, others are refused."""
    if isinstance(value, (bool, int, float, str, Type, Array, Size, Graph)) or value is None:
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).name
    if isinstance(value, np.ndarray):
        return Array.of(value)
    if isinstance(value, (tuple, list)):
        return tuple(attribute(v) for v in value)
    raise TypeError(f"an attribute cannot be {value!r}; use numbers, strings, tuples or arrays")


def _key(value: Any) -> Any:
    """Equal keys mean equal attributes: floats by their bits, 1 is neither True nor 1.0."""
    if isinstance(value, float):
        return ("float", struct.pack("<d", value))
    if isinstance(value, tuple):
        return tuple(_key(v) for v in value)
    if isinstance(value, Array):
        return ("array", value.type, value.digest)
    if isinstance(value, Graph):
        return ("graph", value.digest)
    return (type(value).__name__, value)


def node(op: Op, inputs: tuple[Node, ...], attrs: Iterable[tuple[str, Any]], type: Type) -> Node:
    """The one node with this operator, inputs and attributes."""
    pairs = tuple(sorted((k, attribute(v)) for k, v in attrs))
    key = (op, tuple(map(id, inputs)), tuple((k, _key(v)) for k, v in pairs), type)
    with _LOCK:
        found = _INTERNED.get(key)
        if found is None:
            found = _INTERNED[key] = Node(op, inputs, pairs, type)
            set_first_origin(found)
    return found


def same(some: Sequence[Node], others: Sequence[Node]) -> bool:
    """Whether these are the same nodes, one by one."""
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def among(n: Node, nodes: Iterable[Node]) -> bool:
    """Whether n is one of the nodes; ``in`` would compare values."""
    return any(m is n for m in nodes)


def position(n: Node, nodes: Iterable[Node]) -> int:
    """The number of n among nodes that it is one of."""
    return next(i for i, m in enumerate(nodes) if m is n)


@dataclass(frozen=True, eq=False)
class Graph:
    """A function: named inputs, nodes in one fixed topological order, outputs.

    As an attribute of a loop it is equal to graphs of the same canonical text.

    Attributes:
        name: for dumps.
        inputs: nodes of ``tg.input``; everything else is reached from ``outputs``.

    Example:
        >>> x = tg.input("x", 2)
        >>> print(tg.dump(tg.Graph("double", (x,), (x * 2,))))
        graph double(x: f32[2]) {
          %0 = mul(x, 2.0) : f32[2]
          return %0
        }
    """

    name: str
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Inputs first, then every node after what it reads; depends on the graph only."""
        done: dict[Node, None] = dict.fromkeys(self.inputs)
        stack = [(n, False) for n in reversed(self.outputs)]
        while stack:
            n, ready = stack.pop()
            if n in done:
                continue
            if ready:
                done[n] = None
            else:
                stack.append((n, True))
                stack.extend((i, False) for i in reversed(n.inputs) if i not in done)
        return tuple(done)

    @cached_property
    def users(self) -> dict[Node, tuple[Node, ...]]:
        """The readers of each node, in order; a node that reads it twice is listed twice."""
        uses: dict[Node, list[Node]] = {n: [] for n in self.nodes}
        for n in self.nodes:
            for i in n.inputs:
                uses[i].append(n)
        return {n: tuple(u) for n, u in uses.items()}

    @cached_property
    def digest(self) -> str:
        """A digest of the canonical text, which has neither names nor lines."""
        return hashlib.sha256(METHODS["canonical"](self).encode()).hexdigest()[:16]

    @cached_property
    def everywhere(self) -> tuple[Node, ...]:
        """The nodes, and those in the bodies of loops, at any depth."""
        inner = (n for outer in self.nodes for body in outer.bodies for n in body.everywhere)
        return tuple(dict.fromkeys((*self.nodes, *inner)))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters among the nodes, those in the bodies of loops included."""
        return tuple(n for n in self.nodes if isinstance(n, Parameter))

    def __repr__(self) -> str:
        given = ", ".join(f"{n.name}: {n.type}" for n in self.inputs)
        made = ", ".join(str(n.type) for n in self.outputs)
        return f"<graph {self.name}({given}) -> {made}, {len(self.nodes)} nodes>"

    def __str__(self) -> str:
        return METHODS["dump"](self)

    def _repr_markdown_(self) -> str:
        return METHODS["markdown"](self)

    def _repr_html_(self) -> str:
        return METHODS["html"](self)
