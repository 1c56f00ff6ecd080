"""A file's contents as plain records, checked: what the importer walks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class FileTensor:
    """A named array of the file, read when it is first asked for.

    Attributes:
        dtype: ONNX's name of it in lower case, which is NumPy's where NumPy has it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray] = field(repr=False)

    @cached_property
    def array(self) -> np.ndarray:
        return self.read()

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for n in self.shape:
            size *= n
        return size


@dataclass(frozen=True, slots=True)
class ValueType:
    """The declared type of an input or output.

    Attributes:
        kind: 'tensor', 'sequence', 'optional' or another one of ONNX's.
        shape: numbers, names of open sizes, or None; as a whole None: not declared.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        shape = "..." if self.shape is None else ", ".join(str(n or "?") for n in self.shape)
        return f"{self.name}: {self.dtype or self.kind}[{shape}]"


@dataclass(frozen=True, slots=True)
class Reference:
    """An attribute that a function's call gives."""

    name: str


@dataclass(frozen=True, eq=False)
class NodeRecord:
    """One node of a graph.

    Attributes:
        number: its place in the file, from 1: what stands for a line.
        since: the version of its operator: the opset that changed it last.
        attributes: all that are given or have a default.
        given: the names of those that the file gives.
        proto: the node as it is in the file.
    """

    op: str
    domain: str
    name: str
    number: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    given: frozenset[str]
    since: int
    proto: Any = field(repr=False)

    @property
    def label(self) -> str:
        """The operator as messages call it."""
        return f"{self.domain}:{self.op}" if self.domain else self.op

    @property
    def scope(self) -> str:
        """The layer that the node's name tells; exporters add the operator to it."""
        layer, _, last = self.name.rpartition("/")
        return layer if layer and last.partition("_")[0] == self.op else self.name


@dataclass(frozen=True, eq=False)
class GraphRecord:
    """A graph, or the body of an ``If``, ``Loop`` or ``Scan``; each node comes after what it reads.

    Attributes:
        inputs: without those that tensors of the same name stand for.
        tensors: initializers by name.
    """

    name: str
    inputs: tuple[ValueType, ...]
    outputs: tuple[ValueType, ...]
    nodes: tuple[NodeRecord, ...]
    tensors: Mapping[str, FileTensor]


@dataclass(frozen=True, eq=False)
class FunctionRecord:
    """A function of the file: nodes that a node of its name stands for."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    nodes: tuple[NodeRecord, ...]


@dataclass(frozen=True, eq=False)
class ModelRecord:
    """A whole file.

    Attributes:
        opsets: the version of each domain's operators.
        functions: by domain, name and overload.
    """

    file: str
    graph: GraphRecord
    opsets: Mapping[str, int]
    functions: Mapping[tuple[str, str], FunctionRecord]
    producer: str
