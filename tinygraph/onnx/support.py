"""What a model needs that tinygraph lacks: all of it at once, before anything is built."""

from __future__ import annotations

from collections.abc import Iterator

from .functions import has_body
from .operators import table  # noqa: F401  fills RULES
from .operators.known import TABLE
from .operators.rules import RULES
from .reading import schemas
from .reading.errors import OnnxError
from .reading.records import GraphRecord, ModelRecord, NodeRecord

SHAPED_BY_DATA = ("NonMaxSuppression",)
DATA = ", whose shape depends on its data,"
SHOWN = 3  # names of nodes for each operator


def nodes(model: ModelRecord) -> Iterator[NodeRecord]:
    """All nodes of a model, those of graphs in others and of functions included."""
    yield from _nodes(model.graph.nodes)
    for f in model.functions.values():
        yield from _nodes(f.nodes)


def _nodes(each: tuple[NodeRecord, ...]) -> Iterator[NodeRecord]:
    for n in each:
        yield n
        for value in n.attributes.values():
            if isinstance(value, GraphRecord):
                yield from _nodes(value.nodes)


def missing(model: ModelRecord) -> dict[str, list[NodeRecord]]:
    """The nodes whose operators tinygraph lacks, by what messages call these."""
    found: dict[str, list[NodeRecord]] = {}
    for n in nodes(model):
        if (reason := _missing(model, n)) is not None:
            found.setdefault(f"{n.label}{reason}", []).append(n)
    return found


def _missing(model: ModelRecord, n: NodeRecord) -> str | None:
    if (n.domain, n.op) in model.functions:
        return None
    if not n.domain and n.since > schemas.NEWEST:
        return f", whose meaning changed in opset {n.since}"
    standard = not n.domain and n.op in (*TABLE, "Shape", "Size")
    if (n.domain, n.op) in RULES or standard or has_body(n, n.since):
        return None
    return DATA if not n.domain and n.op in SHAPED_BY_DATA else ""


def require(model: ModelRecord) -> None:
    """
    Raises:
        OnnxError: tinygraph lacks operators that the model needs; it lists them.
    """
    found = missing(model)
    if found:
        one = len(found) == 1
        raise OnnxError(
            f"{model.file} needs {len(found)} operator{'' if one else 's'} that tinygraph lacks: "
            + listed(found)
        )


def listed(found: dict[str, list[NodeRecord]]) -> str:
    """What is missing, on one line."""
    return "; ".join(f"{name} x{len(each)} ({_names(each)})" for name, each in found.items())


def _names(each: list[NodeRecord]) -> str:
    names = ", ".join(repr(n.name) if n.name else f"node {n.number}" for n in each[:SHOWN])
    return f"{names}, ..." if len(each) > SHOWN else names
