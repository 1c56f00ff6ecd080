"""Function bodies that ONNX's own records define operators by."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..graph.ir import Node
from ..graph.size import Size
from .operators.rules import Applied
from .reading import schemas
from .reading.file import FileReader
from .reading.records import FileTensor, FunctionRecord, NodeRecord
from .reading.tensors import dtype_code


def has_body(n: NodeRecord, version: int) -> bool:
    """True if ONNX defines a node's operator by others."""
    record = schemas.schema(n.op, n.domain, version)
    return record is not None and (record.has_function or record.has_context_dependent_function)


def body_of(c: Applied) -> FunctionRecord | None:
    """The function that ONNX defines an operator by, for the inputs of this call."""
    record = schemas.schema(c.node.op, c.node.domain, c.node.since)
    if record is None:
        return None
    if record.has_function:
        versions = [v for v in record.function_opset_versions if v <= schemas.NEWEST]
        text = record.get_function_with_opset_version(max(versions))
    elif record.has_context_dependent_function:
        types = [_type(c, v).SerializeToString() for v in c.inputs]
        version = max(record.context_dependent_function_opset_versions)
        text = record.get_context_dependent_function_with_opset_version(
            version, _proto(c).SerializeToString(), types
        )
    else:
        return None
    proto = onnx.FunctionProto.FromString(text)
    imports = list(proto.opset_import)
    if not any(e.domain == "" for e in imports):
        imports.append(helper.make_opsetid("", min(schemas.NEWEST, onnx.defs.onnx_opset_version())))
    model = helper.make_model(onnx.GraphProto(), opset_imports=imports)
    return FileReader(model, c.node.label, None).function(proto)


def _proto(c: Applied) -> Any:
    """The node as ONNX's function builders want it: attributes that a call gives have values."""
    node = onnx.NodeProto()
    node.CopyFrom(c.node.proto)
    del node.attribute[:]
    for a in c.node.proto.attribute:
        if not a.ref_attr_name:
            node.attribute.append(a)
        elif (value := c.node.attributes.get(a.name)) is not None:
            value = numpy_helper.from_array(value.array) if isinstance(value, FileTensor) else value
            node.attribute.append(helper.make_attribute(a.name, value))
    return node


def _type(c: Applied, value: Any) -> Any:
    if value is None:
        return onnx.TypeProto()
    if not isinstance(value, (Node, np.ndarray)):
        raise c.fault("requires tensors, got a sequence")  # the builders do not look, and crash
    dtype = "int64" if value.dtype == object else str(value.dtype)
    shape = [None if isinstance(n, Size) else n for n in value.shape]
    return helper.make_tensor_type_proto(dtype_code(dtype), shape)
