"""A file's network as a module."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..compile import compile
from ..compiler.program import Program
from ..graph.dtype import DTYPES
from ..graph.ir import Node, Parameter
from ..graph.op import ShapeError, constant, input
from ..nn.module import Module
from .reading.errors import OnnxError
from .reading.records import ModelRecord, ValueType
from .state import State
from .support import require
from .walk import LARGE, Importer


class OnnxModule(Module):
    """A network out of an ONNX file.

    Calling it on nodes, in the order of ``inputs`` or by name, builds its graph for their shapes,
    and gives its output, or a tuple of them. Parameters and buffers have the file's names.

    Attributes:
        inputs: the declared types of what it takes; constants are no inputs.
        outputs: the names of what it gives.
    """

    def __init__(self, model: ModelRecord, constants: Mapping[str, Any]):
        require(model)
        self.model = model
        names = [v.name for v in model.graph.inputs]
        for name in constants:
            if name not in names:
                raise ValueError(
                    f"{model.file} has no input {name!r}; it has {', '.join(names) or 'none'}"
                )
        declared = {v.name: v for v in model.graph.inputs}
        self.constants = {name: _array(declared[name], v) for name, v in constants.items()}
        self.inputs = tuple(v for v in model.graph.inputs if v.name not in constants)
        self.outputs = tuple(v.name for v in model.graph.outputs)
        self.state = State(model.graph)
        self.__dict__["_buffers"] = dict.fromkeys(self.state.buffers)

    def _own_state(self) -> Iterator[tuple[str, Parameter]]:
        yield from self.state.parameters.items()

    def forward(self, *nodes: Node, training: bool = False, **named: Node) -> Any:
        given: dict[str, Any] = dict(self.constants)
        given.update(zip((v.name for v in self.inputs), self.in_order(nodes, named), strict=True))
        made = Importer(self.model, self.state, training)
        outputs = tuple(self.node(made, *each) for each in zip(
            self.outputs, made.graph(given), strict=True))  # fmt: skip
        return outputs[0] if len(outputs) == 1 else outputs

    def in_order(self, nodes: tuple[Node, ...], named: Mapping[str, Node]) -> list[Node]:
        """The nodes for the inputs, checked against their declared types."""
        names = [v.name for v in self.inputs]
        given = {**dict(zip(names, nodes, strict=False)), **named}
        if len(nodes) + len(named) != len(names) or set(given) != set(names):
            declared = "; ".join(map(str, self.inputs)) or "none"
            raise ShapeError(f"{self.model.file} takes the inputs {declared}, got {len(given)}")
        for v in self.inputs:
            check_input(self.model.file, v, given[v.name])
        return [given[name] for name in names]

    def node(self, made: Importer, name: str, value: Any) -> Node:
        """An output as a node."""
        if isinstance(value, np.ndarray) and value.dtype == object:
            return constant(value.item(), "int64") if value.ndim == 0 else _open(value)
        if isinstance(value, np.ndarray) and value.dtype.name in DTYPES:
            return constant(value, value.dtype.name)
        if not isinstance(value, Node):
            kind = "left out" if value is None else getattr(value, "dtype", "a sequence")
            raise OnnxError(f"{self.model.file}: the output {name!r} is {kind}, not a tensor")
        return value

    def nodes(
        self, batch: int | None = 1, shapes: Mapping[str, tuple[int | None, ...]] | None = None
    ) -> list[Node]:
        """An input node for each input: at their declared shapes, the first open size being
        ``batch`` (None: open), or at those of ``shapes``.

        Raises:
            ValueError: a shape is not declared, or has more open sizes, and is not in ``shapes``.
        """
        given = shapes or {}
        for name in given:
            if name not in [v.name for v in self.inputs]:
                raise ValueError(f"{self.model.file} has no input {name!r}")
        return [
            input(
                v.name, *given.get(v.name) or declared_shape(v, batch), dtype=v.dtype or "float32"
            )
            for v in self.inputs
        ]

    def compile(
        self,
        batch: int | None = 1,
        *,
        shapes: Mapping[str, tuple[int | None, ...]] | None = None,
        training: bool = False,
        **options: Any,
    ) -> Program:
        """The program from inputs to outputs; ``options`` are those of ``tg.compile``.

        Args:
            batch: what open sizes in front are; None leaves them open until the call.
            shapes: of inputs, by name, where the file does not tell.
        """
        nodes = self.nodes(batch, shapes)
        made = self(*nodes, training=training)
        options.setdefault("name", self.model.file.partition(".")[0])
        return compile(nodes, made if isinstance(made, tuple) else (made,), **options)

    def extra_repr(self) -> str:
        return f"{self.model.file}: {', '.join(map(str, self.inputs))}"


def declared_shape(v: ValueType, batch: int | None) -> tuple[int | None, ...]:
    """An input's declared shape, the first open size being the batch.

    Raises:
        ValueError: it has other open sizes.
    """
    others = [n for n in (v.shape or ())[1:] if not isinstance(n, int)]
    if v.shape is None or others:
        raise ValueError(f"shapes requires the shape of {v}, as {{{v.name!r}: (1, ...)}}")
    if math.prod(n for n in v.shape if isinstance(n, int)) > LARGE:
        raise ValueError(f"shapes requires the shape of {v}, which is very large")
    return tuple(n if isinstance(n, int) else batch for n in v.shape)


def check_input(file: str, v: ValueType, x: Node) -> None:
    """
    Raises:
        ShapeError: a node is not of an input's declared type.
    """
    if not isinstance(x, Node):
        raise ShapeError(f"{file} takes nodes, got {x!r} as {v.name!r}; constants are for load()")
    wrong = v.kind not in ("tensor", "optional") or (v.dtype and v.dtype != x.dtype)
    if v.shape is not None:
        wrong = wrong or len(v.shape) != x.ndim
        wrong = wrong or any(
            isinstance(n, int) and isinstance(m, int) and n != m
            for n, m in zip(v.shape, x.shape, strict=False)
        )
    if wrong:
        raise ShapeError(f"{file} takes {v}, got {x.type}")


def _array(v: ValueType, value: Any) -> np.ndarray:
    return np.asarray(value, v.dtype) if v.dtype in DTYPES else np.asarray(value)


def _open(value: np.ndarray) -> Node:
    from .operators.rules import _open_constant

    return _open_constant(value, "int64")
