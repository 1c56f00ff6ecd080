"""A network as a table: each layer's output, parameters, multiply-adds and bytes."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph.convert import as_array
from ..graph.dtype import DTYPES, name_of
from ..graph.ir import Node, Parameter
from ..graph.op import input
from ..graph.size import Size
from ..plan.records.cost import between, multiply_adds
from .module import Module
from .watch import WATCHED, Called

HEAD = ("layer", "kind", "output", "parameters", "multiply-adds", "bytes")
STORED = {"float64": "float32", "int64": "int32"}  # NumPy's defaults, and those of inputs
STYLE = (
    "display:grid;grid-template-columns:11em 11em 12em 8em 9em 8em;"
    "font-family:monospace;white-space:pre"
)


@dataclass(frozen=True)
class LayerRow:
    """A call of a layer.

    Attributes:
        depth: how many modules it is in.
        name: its own, the last part of its path.
        kind: its class.
        output: the types of the nodes that it returned.
        parameters: elements of the parameters of it and of the layers in it, frozen ones included,
            without buffers; a second call of it has none.
        multiply_adds: of its products and convolutions, and of those of the layers in it.
        bytes: of its output.
    """

    depth: int
    name: str
    kind: str
    output: str
    parameters: int
    multiply_adds: int
    bytes: int

    def cells(self) -> list[str]:
        """What the table shows."""
        numbers = (self.parameters, self.multiply_adds, self.bytes)
        name = "  " * self.depth + self.name
        return [name, self.kind, self.output, *(f"{n:,}" for n in numbers)]


@dataclass(frozen=True)
class Summary:
    """The layers of a network in the order of their calls; print it.

    Attributes:
        rows: a ``LayerRow`` for each call; the first is the network's.
        parameters: elements of all parameters, those that no call used included.
        bytes: of the parameters.
        buffers: elements of the buffers, such as running statistics.
    """

    rows: Sequence[LayerRow]
    parameters: int
    bytes: int
    buffers: int

    def foot(self) -> str:
        """The totals."""
        total = f"{self.parameters:,} parameters, {self.bytes:,} bytes"
        total += f", {self.buffers:,} numbers in buffers" if self.buffers else ""
        return f"{total}; {self.rows[0].multiply_adds:,} multiply-adds"

    def __str__(self) -> str:
        table = [list(HEAD), *(row.cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(w) if k < 3 else cell.rjust(w)
                for k, (cell, w) in enumerate(zip(cells, widths, strict=True))
            )
            for cells in table
        ]
        return "\n".join([*lines, self.foot()])

    __repr__ = __str__

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table(box=None, caption=self.foot(), caption_justify="left")
        for k, name in enumerate(HEAD):
            table.add_column(name, justify="left" if k < 3 else "right", no_wrap=k != 2)
        for row in self.rows:
            table.add_row(*row.cells(), style="bold" if row.depth == 0 else "")
        return table

    def _repr_html_(self) -> str:
        parts = [f'<div style="{STYLE};font-weight:bold">{_spans(HEAD)}</div>']
        open_ones: list[int] = []  # depths of the layers whose parts are being written
        for k, row in enumerate(self.rows):
            while open_ones and open_ones[-1] >= row.depth:
                open_ones.pop()
                parts.append("</details>")
            line = f'style="{STYLE}">{_spans(row.cells())}'
            if k + 1 < len(self.rows) and self.rows[k + 1].depth > row.depth:
                shown = " open" if row.depth < 1 else ""
                parts.append(f"<details{shown}><summary {line}</summary>")
                open_ones.append(row.depth)
            else:
                parts.append(f"<div {line}</div>")
        table = "".join([*parts, "</details>" * len(open_ones)])
        return f'<div style="overflow-x:auto">{table}</div><div>{self.foot()}</div>'


def _spans(cells: Sequence[str]) -> str:
    right = ' style="text-align:right"'
    return "".join(
        f"<span{right if k > 2 else ''}>{html.escape(cell)}</span>" for k, cell in enumerate(cells)
    )


def summarize(module: Module, inputs: Sequence[Any], options: Mapping[str, Any]) -> Summary:
    """The table of a module's call; ``inputs`` are nodes, arrays or shapes."""
    calls: list[Called] = []
    token = WATCHED.set((calls, 0))
    try:
        module(*(_as_input(k, x) for k, x in enumerate(inputs)), **options)
    finally:
        WATCHED.reset(token)
    seen: set[Parameter] = set()
    rows = []
    for call in calls:
        below = set(_parameters(call.module))
        # a layer's parameters are part of those of the layers that it is in
        new = below if call.depth == 0 else below - seen
        seen |= set(_own(call.module))
        rows.append(_row(call, new))
    whole = set(_parameters(module))
    buffers = sum(p.size for p in module.named_buffers().values())
    return Summary(rows, sum(p.size for p in whole), sum(p.type.bytes for p in whole), buffers)


def _own(module: Module) -> Iterator[Parameter]:
    """A module's own parameters, frozen ones included, without buffers."""
    buffers = vars(module).get("_buffers", {})
    return (p for name, p in module._own_state() if name not in buffers)


def _parameters(module: Module) -> Iterator[Parameter]:
    return (p for _, inner in module.named_modules() for p in _own(inner))


def _row(call: Called, parameters: set[Parameter]) -> LayerRow:
    outputs = list(_nodes(call.outputs))
    work = sum(map(multiply_adds, between(outputs, _nodes(call.inputs))))
    path = call.module.path
    return LayerRow(
        call.depth,
        path.rpartition(".")[2] if call.depth else path,
        type(call.module).__name__,
        ", ".join(str(n.type) for n in outputs),
        sum(p.size for p in parameters),
        work,
        sum(math.prod(n.shape) * DTYPES[n.dtype].bytes for n in outputs),
    )


def _nodes(value: Any) -> Iterator[Node]:
    """The nodes in a value: in tuples, lists and dicts at any depth."""
    if isinstance(value, Node):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _nodes(part)
    elif isinstance(value, Mapping):
        yield from _nodes(list(value.values()))


def _as_input(number: int, x: Any) -> Any:
    """A fresh input like a node, an array, or of a shape; what is none of these is passed on."""
    if isinstance(x, Node):
        shape = [1 if isinstance(n, Size) else n for n in x.shape]
        return input(x.name or f"x{number}", *shape, dtype=x.dtype)
    if isinstance(x, (tuple, list)) and x and all(isinstance(n, int) for n in x):
        return input(f"x{number}", *x)
    if isinstance(x, np.ndarray) or hasattr(x, "__array__"):
        array = as_array(x)
        dtype = STORED.get(name_of(array.dtype), name_of(array.dtype))
        return input(f"x{number}", *array.shape, dtype=dtype)
    return x
