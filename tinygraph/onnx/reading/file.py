"""From a file to records: parsed, sorted and checked. Nothing in a file is executed."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from . import schemas
from .errors import OnnxError, printable
from .records import (
    FileTensor,
    FunctionRecord,
    GraphRecord,
    ModelRecord,
    NodeRecord,
    Reference,
    ValueType,
)
from .tensors import dtype_of, tensor

DEPTH = 64  # of graphs within graphs
OLDEST = 6  # opset of operators that have changed since: older ones mean other things
_KINDS = onnx.AttributeProto


def read(path: str | Path) -> ModelRecord:
    """The model in a file.

    Raises:
        OSError: it cannot be opened.
        OnnxError: it is no ONNX model, or something in it is wrong.
    """
    path = Path(path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise OnnxError(f"{path.name} is not a regular file")
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, RecursionError) as error:
        raise OnnxError(f"{path.name} is not an ONNX model: {error}") from None
    return from_proto(proto, path.name, path.absolute().parent)


def from_proto(proto: Any, file: str, folder: Path | None = None) -> ModelRecord:
    """A model that is in memory already; ``folder`` has its external data.

    Raises:
        OnnxError: something in it is wrong.
    """
    reader = FileReader(proto, file, folder)
    if not proto.HasField("graph") or not proto.graph.output:
        raise OnnxError(f"{file} has no graph with outputs: it is empty, or no ONNX model")
    functions = {}
    for f in proto.functions:
        key = (f.domain, f.name)
        if key in functions:
            raise OnnxError(f"{file} has two functions {f.name!r}")
        functions[key] = reader.function(f)
    graph = reader.graph(proto.graph, frozenset(), 0)
    producer = f"{proto.producer_name} {proto.producer_version}".strip()
    return ModelRecord(file, graph, reader.opsets, functions, printable(producer))


class FileReader:
    """Makes records of a model's graphs."""

    def __init__(self, proto: Any, file: str, folder: Path | None):
        self.file, self.folder = file, folder
        self.opsets = self.imported(proto.opset_import)
        self.local = frozenset((f.domain, f.name) for f in proto.functions)
        self.number = 0
        version = self.opsets.get("", 0)
        newest = min(schemas.NEWEST, onnx.defs.onnx_opset_version())
        if version > newest:
            warnings.warn(
                f"{file} has opset {version}, newer than {newest}, the newest known: "
                "its operators are taken for what they are there",
                stacklevel=5,
            )

    def imported(self, entries: Iterable[Any]) -> dict[str, int]:
        """The opset of each domain."""
        found: dict[str, int] = {}
        for e in entries:
            self.texts(e.domain)
            domain = "" if e.domain in schemas.STANDARD else e.domain
            if found.setdefault(domain, e.version) != e.version:
                raise OnnxError(f"{self.file} has two opsets of the domain {domain!r}")
        return found

    # ------------------------------------------------------------------ graphs

    def graph(self, proto: Any, outside: frozenset[str], depth: int) -> GraphRecord:
        """A graph; ``outside`` are the names that it may read from the graphs around it."""
        if depth > DEPTH:
            raise OnnxError(f"{self.file} has graphs within graphs, more than {DEPTH} deep")
        if proto.sparse_initializer:
            raise OnnxError(f"{self.file} has sparse tensors, which are not supported")
        self.texts(proto.name, *(t.name for t in proto.initializer))
        self.texts(*(v.name for v in (*proto.input, *proto.output)))
        tensors: dict[str, FileTensor] = {}
        for t in proto.initializer:
            if t.name in tensors:
                raise OnnxError(f"{self.file} has two tensors {t.name!r}")
            tensors[t.name] = tensor(t, self.folder, self.file)
        inputs = tuple(self.value_type(v) for v in proto.input)
        names = [v.name for v in inputs]
        if len(set(names)) < len(names):
            raise OnnxError(f"{self.file} has two inputs of one name")
        free = tuple(v for v in inputs if v.name not in tensors)
        seen = outside | set(names) | set(tensors)
        nodes = self.nodes(proto.node, seen, {*names, *tensors}, depth, self.opsets)
        outputs = tuple(self.value_type(v) for v in proto.output)
        known = seen | {o for n in nodes for o in n.outputs}
        for v in outputs:
            if v.name not in known:
                raise OnnxError(f"{self.file} has the output {v.name!r}, which nothing computes")
        for n in filter(_is_tensor, nodes):  # Paddle writes weights as nodes
            tensors[n.outputs[0]] = replace(n.attributes["value"], name=n.outputs[0])
        rest = tuple(n for n in nodes if not _is_tensor(n))
        return GraphRecord(proto.name, free, outputs, rest, tensors)

    def function(self, proto: Any) -> FunctionRecord:
        """A function of the file, with the opsets that it names."""
        self.texts(proto.name, proto.domain, *proto.input, *proto.output)
        opsets = self.opsets | self.imported(proto.opset_import)
        defaults = {
            a.name: self.attribute(a, frozenset(), 1, opsets) for a in proto.attribute_proto
        }
        nodes = self.nodes(proto.node, frozenset(proto.input), set(proto.input), 1, opsets)
        return FunctionRecord(proto.name, tuple(proto.input), tuple(proto.output), defaults, nodes)

    def value_type(self, v: Any) -> ValueType:
        kind = v.type.WhichOneof("value") or "undeclared"
        if kind != "tensor_type":
            return ValueType(v.name, kind.removesuffix("_type"), "", None)
        t = v.type.tensor_type
        dtype = dtype_of(t.elem_type, f"{self.file}: {v.name!r}") if t.elem_type else ""
        shape = None
        if t.HasField("shape"):
            shape = tuple(self.dimension(v.name, d) for d in t.shape.dim)
        return ValueType(v.name, "tensor", dtype, shape)

    def dimension(self, name: str, d: Any) -> int | str | None:
        if not d.HasField("dim_value"):
            self.texts(d.dim_param)
            return d.dim_param or None
        if d.dim_value == -1:  # Paddle's way of leaving it open
            return None
        if d.dim_value < 0:
            raise OnnxError(f"{self.file}: {name!r} has the negative size {d.dim_value}")
        return int(d.dim_value)

    # ------------------------------------------------------------------ nodes

    def nodes(
        self,
        protos: Iterable[Any],
        seen: frozenset[str],
        own: set[str],
        depth: int,
        opsets: Mapping[str, int],
    ) -> tuple[NodeRecord, ...]:
        """Nodes, sorted; ``own`` are the names that this graph defines already."""
        protos = list(protos)
        for p in protos:
            self.texts(p.op_type, p.domain, p.name, *p.input, *p.output)
        first = self.number
        self.number += len(protos)
        produced = set(own)
        for i, p in enumerate(protos):
            for name in filter(None, p.output):
                if name in produced:
                    raise OnnxError(f"{self.who(p, first + i + 1)} computes {name!r} a second time")
                produced.add(name)
        seen = seen | produced
        made = [self.node(p, first + i + 1, seen, depth, opsets) for i, p in enumerate(protos)]
        return tuple(self.sorted(made, seen, produced - own))

    def texts(self, *names: Any) -> None:
        """
        Raises:
            OnnxError: one is no text: protobuf leaves what is no UTF-8 as it is.
        """
        for name in names:
            if not isinstance(name, str):
                raise OnnxError(f"{self.file} has the name {name!r}, which is not text")

    def who(self, p: Any, number: int) -> str:
        return f"{self.file}:{number} {p.name or '(no name)'} ({p.op_type})"

    def node(
        self, p: Any, number: int, seen: frozenset[str], depth: int, opsets: Mapping[str, int]
    ) -> NodeRecord:
        domain = "" if p.domain in schemas.STANDARD else p.domain
        who = self.who(p, number)
        version = self.version(p.op_type, domain, opsets, who)
        record = schemas.schema(p.op_type, domain, version)
        if (p.domain, p.op_type) in self.local:
            record = None
        if record is not None and record.deprecated:
            raise OnnxError(f"{who} was taken out of ONNX in opset {record.since_version}")
        if record is not None:
            schemas.check(p, record, who)
        given = {
            a.name: self.attribute(a, seen, depth, opsets, who)
            for a in p.attribute
            if not schemas.empty(a)
        }
        standard = schemas.defaults(p.op_type, domain, version) if record is not None else {}
        return NodeRecord(
            p.op_type,
            domain,
            p.name,
            number,
            tuple(p.input),
            tuple(p.output),
            {**standard, **given},
            frozenset(given),
            record.since_version if record is not None else version,
            p,
        )

    def version(self, op: str, domain: str, opsets: Mapping[str, int], who: str) -> int:
        """The opset that an operator is of."""
        version = opsets.get(domain)
        if domain:
            return version or 1
        if version is None:
            raise OnnxError(f"{who}: the file does not say which opset its operators are of")
        newest = schemas.schema(op, domain, schemas.NEWEST)
        if version < OLDEST and (newest is None or newest.since_version > version):
            raise OnnxError(f"{who} is of opset {version}: {OLDEST} or newer is required")
        return version

    def attribute(
        self,
        a: Any,
        seen: frozenset[str],
        depth: int,
        opsets: Mapping[str, int],
        who: str = "a function",
    ) -> Any:
        self.texts(a.name, a.ref_attr_name)
        if a.ref_attr_name:
            return Reference(a.ref_attr_name)
        if a.type == _KINDS.TENSOR:
            return tensor(a.t, self.folder, self.file)
        if a.type == _KINDS.GRAPH:
            return self.graph(a.g, seen, depth + 1)
        if a.type == _KINDS.TYPE_PROTO:
            return None
        value = schemas.plain(a)
        if value is None:
            raise OnnxError(f"{who} has the attribute {a.name!r} of a kind that is not supported")
        return value

    def sorted(
        self, nodes: list[NodeRecord], seen: frozenset[str], produced: set[str]
    ) -> Iterator[NodeRecord]:
        """The nodes, each after those whose outputs it, or a graph in it, reads."""
        waiting: dict[str, list[int]] = {}
        missing: list[int] = []
        for i, n in enumerate(nodes):
            own = set(filter(None, n.inputs))
            reads = own | (set(_reads(n)) & seen)  # what graphs in it lack was found before
            for name in own - seen:
                raise OnnxError(
                    f"{self.file}:{n.number} {n.name or '(no name)'} ({n.op}) reads {name!r}, "
                    "which nothing computes"
                )
            local = reads & produced
            missing.append(len(local))
            for name in local:
                waiting.setdefault(name, []).append(i)
        ready = [i for i, count in enumerate(missing) if count == 0][::-1]
        done = 0
        while ready:
            n = nodes[ready.pop()]
            done += 1
            yield n
            freed = []
            for i in (i for name in n.outputs for i in waiting.pop(name, ()) if name):
                missing[i] -= 1
                if missing[i] == 0:
                    freed.append(i)
            ready.extend(sorted(freed, reverse=True))
        if done < len(nodes):
            stuck = next(n for n, count in zip(nodes, missing, strict=True) if count)
            raise OnnxError(
                f"{self.file}:{stuck.number} {stuck.name or '(no name)'} ({stuck.op}) is part of a "
                "cycle: it needs its own result"
            )


def _is_tensor(n: NodeRecord) -> bool:
    return (n.domain, n.op) == ("", "Constant") and n.given == {"value"} and bool(n.outputs[0])


def _reads(n: NodeRecord) -> Iterator[str]:
    """All names that a node reads, those of graphs in it included."""
    yield from filter(None, n.inputs)
    for value in n.attributes.values():
        if isinstance(value, GraphRecord):
            inner = {o for m in value.nodes for o in m.outputs}
            inner |= {v.name for v in value.inputs} | set(value.tensors)
            reads = {name for m in value.nodes for name in _reads(m)}
            reads |= {v.name for v in value.outputs}
            yield from reads - inner
