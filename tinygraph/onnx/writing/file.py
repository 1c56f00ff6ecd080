"""A graph as an ONNX model, and the model as a file."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from ...graph.ir import Graph, Node, Parameter
from ...graph.op import Kind
from ...graph.origins import described
from ...graph.rebuild import rebuild
from ...graph.size import Size
from ...passes.narrow_products import widened_products
from ...passes.widen import widen
from ..reading.errors import OnnxError
from .graph import written
from .raising import raised
from .writer import ITSELF, RULES, OnnxWriter, Value, declared, stored

OPSET, IR = 20, 9
LATER = {"BitCast": 26}  # the opsets of operators that are newer
INLINE = 2**30  # bytes of values in the file itself; protobuf ends at 2 GiB


def model(graph: Graph, updates: Sequence[Parameter], outputs: Sequence[str]) -> onnx.ModelProto:
    """The model of a graph whose last outputs are the new values of ``updates``.

    Raises:
        OnnxError: lists what has no counterpart in ONNX.
    """
    # ONNX has most operators for float32, some for bfloat16
    graph = widen(widened_products(_in_others(graph)))
    _check(graph)
    w = OnnxWriter()
    names: dict[Node, Any] = {}
    taken: Counter[str] = Counter()
    inputs = []
    for n in graph.inputs:
        names[n] = _unique(taken, n.name or "input")
        inputs.append(declared(names[n], n.dtype, n.shape))
    w.batch = _batch(w, graph, names)
    changed = set(updates)
    values = {}
    for p in graph.parameters:
        names[p] = _unique(taken, p.name or "parameter")
        values[names[p]] = stored(p.value, names[p])
        if p in changed:  # an initializer that is an input too can be given anew
            inputs.append(declared(names[p], p.dtype, p.shape))
    results = written(w, graph.outputs, names, raised(graph))
    count = len(graph.outputs) - len(updates)
    labels = [*outputs[:count]]
    labels += [f"output{i}" for i in range(len(labels), count)]
    labels += [f"{names[p]}.new" if p in names else f"{p.name}.new" for p in updates]
    made = []
    for result, label, n in zip(results, labels, graph.outputs, strict=True):
        name = _unique(taken, label)
        w.nodes.append(helper.make_node("Identity", [result], [name], name=f"output_{name}"))
        made.append(declared(name, n.dtype, n.shape))
    nodes, read = _alive(w.nodes, [o.name for o in made])
    tensors = [*values.values(), *(t for name, t in w.tensors.items() if name in read)]
    return helper.make_model(
        helper.make_graph(nodes, graph.name or "graph", inputs, made, tensors),
        opset_imports=[helper.make_opsetid("", max(map(_opset, w.written), default=OPSET))],
        ir_version=IR,
        producer_name="tinygraph",
    )


def _opset(op: str) -> int:
    return LATER.get(op, OPSET)


def _in_others(graph: Graph) -> Graph:
    """Composite operators as what they are made of."""

    def build(n: Node) -> Node | None:
        return n.op.written_out(n) if n.op.written_out else None

    while any(n.op.kind is Kind.COMPOSITE for n in graph.everywhere):
        graph = rebuild(graph, build)
    return graph


def _check(graph: Graph) -> None:
    """
    Raises:
        OnnxError: lists the operators that no rule writes.
    """
    missing = [
        n
        for n in graph.everywhere
        if n.op.name not in RULES and not n.op.transparent and n.op.kind is not Kind.SOURCE
    ]
    if missing:
        listed = Counter(n.op.name for n in missing)
        kinds = ", ".join(f"{name} x{count}" for name, count in sorted(listed.items()))
        raise OnnxError(f"ONNX cannot express {kinds}; the first is {described(missing[0])}")


def _batch(w: OnnxWriter, graph: Graph, names: dict[Node, Any]) -> Any:
    """How the batch size is read: off the first input that has it as a size."""
    for n in graph.inputs:
        for axis, size in enumerate(n.shape):
            if isinstance(size, Size) and size.polynomial == ITSELF:

                def read(x: Value = names[n], axis: int = axis) -> Value:
                    shape = w.add("Shape", x)
                    return w.add("Gather", shape, w.constant(axis, "int64"), axis=0)

                return read
    return None


def _unique(taken: Counter[str], name: str) -> str:
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}_{taken[name]}"


def _alive(nodes: Sequence[Any], outputs: Sequence[str]) -> tuple[list[Any], set[str]]:
    """The nodes that outputs need, and the values these read; reshapes that others replaced go."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(_read(node))
    return kept[::-1], needed


def _read(node: Any) -> Iterator[str]:
    """What a node reads, and the nodes of its bodies, and of theirs."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _read(inner)


def write(made: onnx.ModelProto, path: str | Path) -> None:
    """The file, whole or not at all; large values are in ``<path>.data`` beside it."""
    path = Path(path)
    size = sum(len(t.raw_data) for t in made.graph.initializer)
    with tempfile.TemporaryDirectory(dir=path.parent or ".") as folder:
        draft = Path(folder) / path.name
        if size <= INLINE:
            onnx.save(made, draft)
        else:
            data = path.name + ".data"
            onnx.save(made, draft, save_as_external_data=True, location=data)
            os.replace(Path(folder) / data, path.with_name(data))
        os.replace(draft, path)
