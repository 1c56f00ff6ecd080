"""ONNX's own records of its operators: versions, defaults, and what a node must have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.defs
from onnx import numpy_helper

from .errors import OnnxError

NEWEST = 28  # the newest opset of the standard operators that the importer knows
STANDARD = ("", "ai.onnx")
_KINDS = onnx.AttributeProto


@cache
def schema(op: str, domain: str, version: int) -> Any | None:
    """The record of an operator in an opset, if onnx has one."""
    version = min(version, _installed(domain))
    try:
        return onnx.defs.get_schema(op, max_inclusive_version=version, domain=domain)
    except onnx.defs.SchemaError:
        return None


@cache
def _installed(domain: str) -> int:
    versions = [s.since_version for s in onnx.defs.get_all_schemas() if s.domain == domain]
    return max(versions, default=1) if domain else onnx.defs.onnx_opset_version()


@cache
def defaults(op: str, domain: str, version: int) -> Mapping[str, Any]:
    """The default values of an operator's attributes."""
    record = schema(op, domain, version)
    return {
        name: plain(a.default_value)
        for name, a in (record.attributes if record is not None else {}).items()
        if a.default_value.type != _KINDS.UNDEFINED
    }


def plain(a: Any) -> Any:
    """An attribute without tensors or graphs as Python's values."""
    match a.type:
        case _KINDS.FLOAT:
            return float(a.f)
        case _KINDS.INT:
            return int(a.i)
        case _KINDS.STRING:
            return a.s.decode("utf-8", "replace")
        case _KINDS.FLOATS:
            return tuple(a.floats)
        case _KINDS.INTS:
            return tuple(a.ints)
        case _KINDS.STRINGS:
            return tuple(s.decode("utf-8", "replace") for s in a.strings)
        case _KINDS.TENSOR:
            return np.asarray(numpy_helper.to_array(a.t))
    return None


def empty(a: Any) -> bool:
    """True for an attribute without a value, which ONNX's own function bodies have."""
    return a.type == _KINDS.UNDEFINED and len(a.ListFields()) <= 1


def check(node: Any, record: Any, who: str) -> None:
    """Checks a node's inputs, outputs and attributes against its operator's record.

    Raises:
        OnnxError: there are too few or too many, or an attribute is missing or of another type.
    """
    for what, names, least, most in (
        ("inputs", node.input, record.min_input, record.max_input),
        ("outputs", node.output, record.min_output, record.max_output),
    ):
        if not least <= len(names) <= most:
            counts = f"{least} to {most}" if most != least else f"{least}"
            raise OnnxError(f"{who} requires {counts} of its {what}, got {len(names)}")
    single = onnx.defs.OpSchema.FormalParameterOption.Single
    for formal, name in zip(record.inputs, node.input, strict=False):
        if formal.option == single and not name:
            raise OnnxError(f"{who} requires the input {formal.name!r}")
    given = {a.name: a for a in node.attribute if not empty(a)}
    if len({a.name for a in node.attribute}) < len(node.attribute):
        raise OnnxError(f"{who} has two attributes of one name")
    for name, formal in record.attributes.items():
        if formal.required and name not in given:
            raise OnnxError(f"{who} requires the attribute {name!r}")
    for name, a in given.items():
        if name not in record.attributes:
            raise OnnxError(f"{who} has no attribute {name!r}")
        kind = int(record.attributes[name].type)
        if a.type != kind:
            names = _KINDS.AttributeType.Name
            got = names(a.type) if a.type in _KINDS.AttributeType.values() else a.type
            raise OnnxError(f"{who} requires a {names(kind)} as {name!r}, got {got}")
