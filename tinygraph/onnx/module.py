"""A file's network as a module."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from typing import Any

import numpy as np

from ..compile import compile
from ..compiler.program import Program
from ..graph.dtype import DTYPES, name_of
from ..graph.ir import Node, Parameter
from ..graph.op import ShapeError, constant, input
from ..nn.module import Module
from .operators.rules import open_constant
from .reading.errors import OnnxError
from .reading.records import ModelRecord, ValueType
from .state import State
from .support import require
from .walk import LARGE, Importer


class OnnxModule(Module):
    """A network out of an ONNX file.

    Calling it on nodes, in the order of ``inputs`` or by name, builds its graph for their shapes,
    and gives its output, or a tuple of them; a sequence is a list of nodes. Parameters and buffers
    have the file's names.

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

    def forward(self, *nodes: Any, training: bool = False, **named: Any) -> Any:
        given: dict[str, Any] = dict(self.constants)
        given.update(zip((v.name for v in self.inputs), self.in_order(nodes, named), strict=True))
        values = Importer(self.model, self.state, training).graph(given)
        outputs = tuple(map(self.node, self.outputs, values))
        return outputs[0] if len(outputs) == 1 else outputs

    def in_order(self, nodes: tuple[Any, ...], named: Mapping[str, Any]) -> list[Any]:
        """The nodes for the inputs, checked against their declared types."""
        names = [v.name for v in self.inputs]
        given = {**dict(zip(names, nodes, strict=False)), **named}
        if len(nodes) + len(named) != len(names) or set(given) != set(names):
            declared = "; ".join(map(str, self.inputs)) or "none"
            raise ShapeError(f"{self.model.file} takes the inputs {declared}, got {len(given)}")
        for v in self.inputs:
            check_input(self.model.file, v, given[v.name])
        return [given[name] for name in names]

    def node(self, name: str, value: Any) -> Any:
        """An output as a node, or as a list of nodes."""
        if isinstance(value, list):
            return [self.node(name, v) for v in value]
        if isinstance(value, np.ndarray) and value.dtype == object:
            return open_constant(value, "int64")
        if isinstance(value, np.ndarray) and name_of(value.dtype) in DTYPES:
            return constant(value, name_of(value.dtype))
        if not isinstance(value, Node):
            kind = "left out" if value is None else f"{value.dtype}, which tinygraph lacks"
            raise OnnxError(f"{self.model.file}: the output {name!r} is {kind}")
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
        names = {v.shape[0] for v in self.inputs if v.shape and isinstance(v.shape[0], str)}
        return [
            input(
                v.name,
                *given.get(v.name) or declared_shape(v, batch, names),
                dtype=v.dtype or "float32",
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
            batch: what open sizes in front are, and those elsewhere that the file calls as one in
                front; None leaves them open until the call.
            shapes: of inputs, by name, where the file does not tell.
        """
        nodes = self.nodes(batch, shapes)
        made = self(*nodes, training=training)
        if any(isinstance(m, list) for m in (made if isinstance(made, tuple) else (made,))):
            raise OnnxError(f"{self.model.file} gives sequences: call it, and compile their nodes")
        options.setdefault("name", self.model.file.partition(".")[0])
        return compile(nodes, made if isinstance(made, tuple) else (made,), **options)

    def extra_repr(self) -> str:
        return f"{self.model.file}: {', '.join(map(str, self.inputs))}"


def declared_shape(
    v: ValueType, batch: int | None, names: Container[Any] = ()
) -> tuple[int | None, ...]:
    """An input's declared shape: the first open size, and those of these ``names``, are the batch.

    Raises:
        ValueError: it has other open sizes.
    """
    others = [n for n in (v.shape or ())[1:] if not isinstance(n, int) and n not in names]
    if v.shape is None or others:
        raise ValueError(f"shapes requires the shape of {v}, as {{{v.name!r}: (1, ...)}}")
    if 4 * math.prod(n for n in v.shape if isinstance(n, int)) > LARGE:
        raise ValueError(f"shapes requires the shape of {v}, which is very large")
    return tuple(n if isinstance(n, int) else batch for n in v.shape)


def check_input(file: str, v: ValueType, x: Any) -> None:
    """Sizes may be others than declared: files often say 1 where any batch will do.

    Raises:
        ShapeError: what is given is not of an input's declared kind, dtype and rank.
    """
    if v.kind != "tensor" and (x is None or isinstance(x, list)):
        if not all(isinstance(each, Node) for each in x or ()):
            raise ShapeError(f"{file} takes a list of nodes as {v.name!r}, got {x!r}")
        return
    if not isinstance(x, Node):
        raise ShapeError(f"{file} takes nodes, got {x!r} as {v.name!r}; constants are for load()")
    if (v.dtype and v.dtype != x.dtype) or (v.shape is not None and len(v.shape) != x.ndim):
        raise ShapeError(f"{file} takes {v}, got {x.type}")


def _array(v: ValueType, value: Any) -> np.ndarray:
    return np.asarray(value, v.dtype) if v.dtype in DTYPES else np.asarray(value)
