"""ONNX models changed at random, in bytes or in the fields of their messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor as Field

NUMBERS = (0, 1, -1, 2, 3, -2, 64, 1 << 20, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63))
FLOATS = (0.0, -1.0, 1e-45, 3e38, float("inf"), float("nan"))
TEXTS = ("", "x", "../x", "\0", "é\n'\"", "x" * 5000)
INTEGERS = (Field.TYPE_INT32, Field.TYPE_INT64, Field.TYPE_UINT64)
Place = tuple[Any, Field]


def of_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, removed, doubled or inserted."""
    found = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, n = int(rng.integers(max(1, len(found)))), int(rng.integers(1, 9))
        match int(rng.integers(5)):
            case 0:
                found[at : at + 1] = rng.bytes(1)
            case 1:
                del found[at : at + n]
            case 2:
                found[at:at] = found[at : at + n]
            case 3:
                found[at:at] = rng.bytes(n)
            case 4:
                found[at : at + 1] = bytes(
                    b ^ 1 << int(rng.integers(8)) for b in found[at : at + 1]
                )
    return bytes(found)


def of_fields(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three fields changed: a model that protobuf reads, with wrong things in it."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.integers(1, 4)):
        found = list(places(model))
        if found:
            _change(*found[rng.integers(len(found))], model, rng)
    return model.SerializeToString()


def places(message: Any) -> Iterator[Place]:
    """All fields that are set, in a message and those within it."""
    for field, value in message.ListFields():
        yield message, field
        if field.type == Field.TYPE_MESSAGE:
            for each in value if field.is_repeated else (value,):
                yield from places(each)


def _change(message: Any, field: Field, model: Any, rng: np.random.Generator) -> None:
    value = getattr(message, field.name)
    if not field.is_repeated:
        if field.type == Field.TYPE_MESSAGE or rng.random() < 0.2:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, _other(field, value, model, rng))
        return
    at = int(rng.integers(len(value)))
    kind = rng.integers(3)
    if kind == 0:
        del value[at]
    elif kind == 1:
        value.extend([value[at]] * int(rng.integers(1, 4)))
    elif field.type == Field.TYPE_MESSAGE:
        value[at].CopyFrom(value[int(rng.integers(len(value)))])
    else:
        value[at] = _other(field, value[at], model, rng)


def _other(field: Field, value: Any, model: Any, rng: np.random.Generator) -> Any:
    """Another value of a field; names are mostly those of other things in the model."""
    if field.type == Field.TYPE_ENUM:
        kinds = field.enum_type.values
        return kinds[rng.integers(len(kinds))].number
    if field.type in INTEGERS:
        numbers = [*NUMBERS, value + 1, value - 1, 2 * value, -value]
        bits = 64 if field.type in (Field.TYPE_INT64, Field.TYPE_UINT64) else 32
        low = 0 if field.type == Field.TYPE_UINT64 else -(1 << (bits - 1))
        kept = [n for n in numbers if low <= n < 1 << (bits - 1)]
        return kept[rng.integers(len(kept))]
    if field.type in (Field.TYPE_FLOAT, Field.TYPE_DOUBLE):
        return FLOATS[rng.integers(len(FLOATS))]
    if field.type == Field.TYPE_BYTES:
        return of_bytes(value, rng) if value else b"\1"
    names = [name for n in model.graph.node for name in (*n.input, *n.output, n.op_type)]
    texts = names if names and rng.random() < 0.7 else TEXTS
    return texts[rng.integers(len(texts))]
