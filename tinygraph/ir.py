"""The graph: types, interned nodes, graphs. Immutable and logical; knows no operator by name."""

from __future__ import annotations

import hashlib
import mmap
import struct
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary, finalize

import numpy as np

from .size import Size

if TYPE_CHECKING:
    from .op import Op

SHORT = {
    "float32": "f32", "float64": "f64", "int32": "i32", "int64": "i64",
    "uint32": "u32", "uint8": "u8", "bool": "bool",
}  # fmt: skip
DTYPES = tuple(SHORT)


@dataclass(frozen=True, slots=True)
class Type:
    """What is known of a value before it exists. Logical: no layout, ever."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{SHORT[self.dtype]}[{','.join(map(str, self.shape))}]"

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def bytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Several(Type):
    """The results of a loop, as one value that only ``item`` reads."""

    types: tuple[Type, ...] = ()

    @staticmethod
    def of(types: Iterable[Type]) -> Several:
        return Several((), "several", tuple(types))

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.types))})"

    @property
    def size(self) -> int:
        return sum(t.size for t in self.types)

    @property
    def bytes(self) -> int:
        return sum(t.bytes for t in self.types)


@dataclass(frozen=True, eq=False, slots=True)
class Array:
    """A constant array as an attribute: equal when dtype, shape and contents are."""

    data: np.ndarray = field(repr=False)
    digest: str = ""

    @staticmethod
    def of(value: Any) -> Array:
        data = np.array(value, order="C")
        if data.dtype.name not in SHORT:
            raise TypeError(f"no operator computes in {data.dtype.name}; use one of {DTYPES}")
        data.setflags(write=False)
        return Array(data, hashlib.sha256(data.tobytes()).hexdigest()[:16])

    @property
    def type(self) -> Type:
        return Type(self.data.shape, self.data.dtype.name)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node comes from: the user's file and line, the scope, and how ('gradient of')."""

    file: str
    line: int
    scope: str = ""
    how: str = ""

    def __str__(self) -> str:
        where = f"{Path(self.file).name}:{self.line}" + (f" in {self.scope}" if self.scope else "")
        return f"{self.how} {where}" if self.how else where


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Node:
    """One operator applied to nodes. Interned: equal nodes are one object; compare with ``is``."""

    op: Op
    inputs: tuple[Node, ...]
    attrs: tuple[tuple[str, Any], ...]
    type: Type

    __array_ufunc__ = None  # array + node is node.__radd__, not an array of nodes

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def name(self) -> str | None:
        """The name of an input or parameter, or the one given by ``named``."""
        return _NAMES.get(self) or self.attr("name", None)

    def named(self, name: str) -> Node:
        """Gives this node a name for dumps and profiles; returns it."""
        _NAMES[self] = name
        return self

    def attr(self, key: str, *default: Any) -> Any:
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
        attrs = "".join(f", {k}={v!r}" for k, v in self.attrs)
        return f"<{self.op.name}({len(self.inputs)} inputs{attrs}): {self.type}>"

    def __bool__(self) -> bool:
        raise TypeError(
            "a node has no value while the graph is built; use tg.where for a choice by value"
        )

    def __iter__(self) -> Any:
        if not self.shape:
            raise TypeError("a 0-d node cannot be iterated over")
        return (self[i] for i in range(self.shape[0]))

    def __len__(self) -> int:
        return self.shape[0]

    # fmt: off
    def __add__(self, other: Any) -> Node: return _METHODS["add"](self, other)
    def __radd__(self, other: Any) -> Node: return _METHODS["add"](other, self)
    def __sub__(self, other: Any) -> Node: return _METHODS["sub"](self, other)
    def __rsub__(self, other: Any) -> Node: return _METHODS["sub"](other, self)
    def __mul__(self, other: Any) -> Node: return _METHODS["mul"](self, other)
    def __rmul__(self, other: Any) -> Node: return _METHODS["mul"](other, self)
    def __truediv__(self, other: Any) -> Node: return _METHODS["div"](self, other)
    def __rtruediv__(self, other: Any) -> Node: return _METHODS["div"](other, self)
    def __pow__(self, other: Any) -> Node: return _METHODS["pow"](self, other)
    def __rpow__(self, other: Any) -> Node: return _METHODS["pow"](other, self)
    def __matmul__(self, other: Any) -> Node: return _METHODS["matmul"](self, other)
    def __rmatmul__(self, other: Any) -> Node: return _METHODS["matmul"](other, self)
    def __neg__(self) -> Node: return _METHODS["neg"](self)
    def __abs__(self) -> Node: return _METHODS["abs"](self)
    def __lt__(self, other: Any) -> Node: return _METHODS["less"](self, other)
    def __le__(self, other: Any) -> Node: return _METHODS["less_equal"](self, other)
    def __gt__(self, other: Any) -> Node: return _METHODS["less"](other, self)
    def __ge__(self, other: Any) -> Node: return _METHODS["less_equal"](other, self)
    def __and__(self, other: Any) -> Node: return _METHODS["logical_and"](self, other)
    def __or__(self, other: Any) -> Node: return _METHODS["logical_or"](self, other)
    def __invert__(self) -> Node: return _METHODS["logical_not"](self)
    def __getitem__(self, key: Any) -> Node: return _METHODS["getitem"](self, key)
    # fmt: on

    def _repr_markdown_(self) -> str:
        return _METHODS["markdown"](self)

    @property
    def T(self) -> Node:
        """The transpose of a matrix: all axes reversed."""
        return _METHODS["transpose"](self)


class Parameter(Node):
    """A source with an identity of its own and a value that lives outside of every graph."""

    __slots__ = ("state",)
    state: ParameterState

    def __init__(self, op: Op, state: ParameterState):
        attrs = (("type", state.type),)
        fields = {"op": op, "inputs": (), "attrs": attrs, "type": state.type, "state": state}
        for field_name, value in fields.items():
            object.__setattr__(self, field_name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "value":
            raise AttributeError(f"a parameter's {name} cannot be set; its value can")
        object.__setattr__(self, name, value)

    @property
    def name(self) -> str | None:
        return self.state.name

    def named(self, name: str) -> Node:
        self.state.name = name
        return self

    @property
    def value(self) -> np.ndarray:
        """The current value: a NumPy array of its own; set it to replace the value."""
        return self.state.read().copy()

    @value.setter
    def value(self, value: Any) -> None:
        self.state.write(value)


class Memory(Protocol):
    """Memory besides the host's in which values of parameters can lie, by address."""

    def alloc(self, size: int, name: str) -> int: ...

    def free(self, address: int) -> None: ...

    def upload(self, address: int, array: np.ndarray) -> None: ...

    def download(self, array: np.ndarray, address: int) -> None: ...


class ParameterState:
    """The value of a parameter, drawn at first use, and a version that rises with every change.

    The memory never moves once it exists: compiled programs hold its address. ``order`` is that of
    the axes in memory, outermost first: convolution weights lie as height, width, input, output
    channels, which is how both the convolution and its weight gradient run through them.

    A program on a device has a copy in the device's memory. The newest value may lie in any of
    these memories (None is the host's) and is copied where it is missing when somebody needs it
    there: ``read`` and ``write`` for the host, ``bring`` for whoever runs a program.
    """

    moved = False  # whether any parameter was ever changed in a memory besides the host's

    def __init__(
        self,
        type: Type,
        name: str | None,
        initial: Callable[[], Any],
        order: tuple[int, ...] | None = None,
    ):
        self.type, self.name, self._initial = type, name, initial
        rank = len(type.shape)
        self.order = order or ((2, 3, 1, 0) if rank == 4 else tuple(range(rank)))
        self.version = 0
        self.trainable = True
        self._array: np.ndarray | None = None
        self._copies: dict[Memory, int] = {}  # addresses
        self._newest: set[Memory | None] = {None}  # where the current value lies
        self._lock = threading.Lock()

    @property
    def drawn(self) -> bool:
        return self._array is not None

    def read(self) -> np.ndarray:
        with self._lock:
            return self._on_host()

    def _on_host(self) -> np.ndarray:
        if self._array is None:
            self._array = self._allocate()
            self._array[...] = self._checked(self._initial())
        if None not in self._newest:
            memory = next(m for m in self._newest if m is not None)
            memory.download(self._physical(self._array), self._copies[memory])
            self._newest.add(None)
        return self._array

    def _physical(self, array: np.ndarray) -> np.ndarray:
        """The array as it lies in memory, contiguous."""
        return array.transpose(self.order) if self.order else array

    def address(self, memory: Memory) -> int:
        """Of this parameter's copy in a memory."""
        with self._lock:
            if memory not in self._copies:
                address = memory.alloc(self.type.bytes, f"parameter {self.name}")
                self._copies[memory] = address
                finalize(self, memory.free, address)
            return self._copies[memory]

    def bring(self, memory: Memory | None) -> None:
        """Sees to it that the newest value lies in a memory, which has a copy already."""
        with self._lock:
            if memory in self._newest:
                return
            array = self._on_host()
            if memory is not None:
                memory.upload(self._copies[memory], self._physical(array))
            self._newest.add(memory)

    def changed(self, memory: Memory | None) -> None:
        """A program has written a new value into a memory; other copies are old."""
        self.version += 1
        if self._copies:
            self._newest = {memory}
            ParameterState.moved = ParameterState.moved or memory is not None

    def _allocate(self) -> np.ndarray:
        physical = aligned(Type(tuple(self.type.shape[a] for a in self.order), self.type.dtype))
        return physical.transpose(np.argsort(self.order)) if self.order else physical

    def write(self, value: Any) -> None:
        value = self._checked(value)
        with self._lock:
            if self._array is None:
                self._array = self._allocate()
            self._array[...] = value
            self._newest = {None}
            self.version += 1

    def _checked(self, value: Any) -> np.ndarray:
        array = np.asarray(value)
        if array.shape != self.type.shape:
            raise ValueError(
                f"parameter {self.name} has shape {self.type.shape}, got {array.shape}"
            )
        if not np.can_cast(array.dtype, self.type.dtype, "same_kind"):
            raise TypeError(f"parameter {self.name} is {self.type.dtype}, got {array.dtype.name}")
        return array


HUGE = 8 << 20  # bytes from which on an array gets pages of its own


def huge(size: int) -> mmap.mmap:
    """Anonymous memory, in huge pages where that can be asked for."""
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def aligned(type: Type, slack: int = 64) -> np.ndarray:
    """Zeroed memory on a cache line, with ``slack`` bytes behind it that vector loads may touch.

    Large arrays lie in huge pages where the system has them: kernels walk over weights in steps of
    many kilobytes, each of which would need a page table entry of its own.
    """
    size = type.bytes + 64 + slack
    raw = np.frombuffer(huge(size), np.uint8) if size >= HUGE else np.zeros(size, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + type.bytes].view(type.dtype).reshape(type.shape)


_INTERNED: WeakValueDictionary[tuple, Node] = WeakValueDictionary()
_NAMES: WeakKeyDictionary[Node, str] = WeakKeyDictionary()
_ORIGINS: WeakKeyDictionary[Node, tuple[Origin, ...]] = WeakKeyDictionary()
_LOCK = threading.RLock()
_METHODS: dict[str, Callable[..., Any]] = {}
_SCOPE = threading.local()
_PACKAGE = str(Path(__file__).parent)


def overload(**methods: Callable[..., Any]) -> None:
    """Tells nodes and graphs which functions stand behind ``+``, ``@``, slicing and ``str``."""
    _METHODS.update(methods)


def attribute(value: Any) -> Any:
    """An attribute value as nodes keep it; NumPy scalars become Python's, others are refused."""
    if isinstance(value, (bool, int, float, str, Type, Array, Size, Graph)) or value is None:
        return value
    if isinstance(value, np.generic):
        return value.item()
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
    key = (op, inputs, tuple((k, _key(v)) for k, v in pairs), type)
    with _LOCK:
        found = _INTERNED.get(key)
        if found is None:
            found = _INTERNED[key] = Node(op, inputs, pairs, type)
            _ORIGINS[found] = getattr(_SCOPE, "origins", None) or (user_origin(),)
    return found


def user_origin() -> Origin:
    """The innermost frame outside of this package; within ``built_from``, its first place."""
    if built := getattr(_SCOPE, "origins", None):
        return built[0]
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return Origin(frame.f_code.co_filename, frame.f_lineno, ".".join(scopes()))


def scopes() -> list[str]:
    """The names of the enclosing scopes, outermost first; change it through ``scope``."""
    if not hasattr(_SCOPE, "names"):
        _SCOPE.names = []
    return _SCOPE.names


class scope:
    """``with scope("block1"):`` names what is built inside, for dumps and profiles."""

    def __init__(self, name: str):
        self.name = name

    def __enter__(self) -> None:
        scopes().append(self.name)

    def __exit__(self, *_: object) -> None:
        scopes().pop()


def origins(n: Node) -> tuple[Origin, ...]:
    """Where a node comes from; several places once passes have merged nodes."""
    return _ORIGINS.get(n, ())


class built_from:
    """``with built_from(places, how):`` what is built inside has these origins, not the caller."""

    def __init__(self, places: Iterable[Origin], how: str = ""):
        marked = (Origin(o.file, o.line, o.scope, how or o.how) for o in places)
        self.places = tuple(dict.fromkeys(marked))

    def __enter__(self) -> None:
        self.outer = getattr(_SCOPE, "origins", None)
        _SCOPE.origins = self.places

    def __exit__(self, *_: object) -> None:
        _SCOPE.origins = self.outer


def add_origins(n: Node, more: Iterable[Origin], how: str = "") -> None:
    """Adds to a node's origins (in order, without repetition), marked with ``how``."""
    new = (Origin(o.file, o.line, o.scope, how or o.how) for o in more)
    _ORIGINS[n] = tuple(dict.fromkeys((*_ORIGINS.get(n, ()), *new)))


def set_origins(n: Node, places: Iterable[Origin]) -> None:
    """Replaces a node's origins: for passes, whose own frame is no origin."""
    _ORIGINS[n] = tuple(dict.fromkeys(places))


@dataclass(frozen=True, eq=False)
class Graph:
    """A function: named inputs, nodes in one fixed topological order, outputs.

    As an attribute of a loop it is equal to graphs of the same canonical text.
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
        """Who reads each node, in order; a node that reads it twice stands there twice."""
        uses: dict[Node, list[Node]] = {n: [] for n in self.nodes}
        for n in self.nodes:
            for i in n.inputs:
                uses[i].append(n)
        return {n: tuple(u) for n, u in uses.items()}

    @cached_property
    def digest(self) -> str:
        """Of the canonical text, which has neither names nor lines."""
        return hashlib.sha256(_METHODS["canonical"](self).encode()).hexdigest()[:16]

    @cached_property
    def everywhere(self) -> tuple[Node, ...]:
        """The nodes, and those in the bodies of loops, at any depth."""
        inner = (n for outer in self.nodes for body in outer.bodies for n in body.everywhere)
        return tuple(dict.fromkeys((*self.nodes, *inner)))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(n for n in self.nodes if isinstance(n, Parameter))

    def __str__(self) -> str:
        return _METHODS["dump"](self)

    def _repr_markdown_(self) -> str:
        return _METHODS["markdown"](self)
