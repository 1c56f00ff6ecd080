"""Control flow: branches, loops, sequences of values, optional values."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...graph.convert import ShapeError
from ...graph.ir import Node
from ...graph.size import Size
from ..reading.errors import OnnxError
from .bags import Joined, in_bags
from .rules import Applied, Value, rule

UNROLLED = 1000  # steps of a loop that are written out
EXAMPLES = 32  # of a batch whose examples are loops of their own, as opset 8 has it


@rule("If")
def if_(c: Applied) -> tuple[Value, ...]:
    """The branch that a known condition takes; else both, and where the condition holds."""
    then, other = c.attr("then_branch"), c.attr("else_branch")
    known = c.known_value(c.value(0))
    if known is not None:
        return tuple(c.walk.run(then if bool(np.all(known)) else other, ()))
    condition = ops.reshape(c.x(0), ())
    try:
        both = zip(c.walk.run(then, ()), c.walk.run(other, ()), strict=True)
    except (OnnxError, ShapeError) as error:
        raise c.fault(
            f"has a condition that depends on {c.walk.source(condition)}, which constants="
            f"{{name: value}} makes known; else both branches are built, and one fails: {error}"
        ) from None
    return tuple(_chosen(c, condition, a, b) for a, b in both)


def _chosen(c: Applied, condition: Node, a: Value, b: Value) -> Value:
    if a is None and b is None:
        return None
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [_chosen(c, condition, x, y) for x, y in zip(a, b, strict=True)]
    if any(v is None or isinstance(v, list) for v in (a, b)):
        c.known(0 if c.node.op == "If" else 1, "a condition")
        raise c.fault("has branches that give sequences, by a condition that is data")
    a, b = c.as_node(a), c.as_node(b)
    if a.type != b.type:
        c.known(0 if c.node.op == "If" else 1, "a condition")
        raise c.fault(
            f"has branches of different types, {a.type} and {b.type}, by a condition that is data"
        )
    return ops.where(condition, a, b)


@rule("Loop")
def loop(c: Applied) -> tuple[Value, ...]:
    """Steps, written out: the trip count must be known, or a condition that comes to be known.

    Where the condition is data, values stay as they are once it is false; then nothing can be
    stacked, as its length would be data.
    """
    if (bags := in_bags(c)) is not None:
        return bags
    body, state = c.attr("body"), list(c.inputs[2:])
    most = _trips(c)
    outs: list[list[Value]] = [[] for _ in range(len(body.outputs) - 1 - len(state))]
    condition: Value = np.asarray(True) if c.value(1) is None else c.value(1)
    alive: Node | None = None
    for step in range(UNROLLED + 1):
        truth = c.known_value(condition)
        if step == most or (truth is not None and not truth.all()):
            break
        if step == UNROLLED:
            raise c.fault(f"has more than {UNROLLED} steps")
        if truth is None:
            if outs or most is None:
                c.known(1 if step == 0 else 0, "a condition")
                raise c.fault("has a number of steps that is data")
            more = ops.reshape(c.as_node(condition), ())
            alive = more if alive is None else ops.logical_and(alive, more)
        condition, *found = c.walk.run(body, [np.asarray(step, np.int64), condition, *state])
        new, stacked = found[: len(state)], found[len(state) :]
        if alive is not None:
            new = [_chosen(c, alive, a, b) for a, b in zip(new, state, strict=True)]
        for each, value in zip(outs, stacked, strict=True):
            each.append(value)
        state = new
    declared = body.outputs[1 + len(state) :]
    return (*state, *(_stacked(c, o, d) for o, d in zip(outs, declared, strict=True)))


def _trips(c: Applied) -> int | None:
    """The greatest number of steps; None: any."""
    if not c.has(0):
        return None
    count = np.asarray(c.known(0, "a trip count")).reshape(-1)[0]
    if isinstance(count, Size):
        raise c.fault(
            f"has {count} steps, n being the batch size, which is open; a loop requires a number "
            "of steps that is known, so import the file at a known batch size"
        )
    return max(0, int(count))


def _stacked(c: Applied, values: list[Value], declared: Any) -> Value:
    """What each step gives, along a new first axis."""
    if not values:
        shape = tuple(n if isinstance(n, int) else 0 for n in declared.shape or ())
        return np.zeros((0, *shape), declared.dtype or "float32")
    if all(isinstance(v, np.ndarray) for v in values):
        return np.stack(values)
    return ops.stack([c.as_node(v) for v in values])


@rule("Scan")
def scan(c: Applied) -> tuple[Value, ...]:
    """A loop over slices."""
    body, count = c.attr("body"), c.attr("num_scan_inputs")
    values = list(c.inputs)
    batched = c.node.since < 9  # opset 8: an axis of examples in front, and lengths of sequences
    if batched:
        if values[0] is not None:
            raise c.fault("has lengths of sequences, which are not supported")
        values = values[1:]
    nodes = [c.as_node(v) for v in values]
    carried, rows = nodes[: len(nodes) - count], nodes[len(nodes) - count :]
    if batched:
        return _batched(c, body, carried, rows)
    axes = c.attr("scan_input_axes") or (0,) * count
    backward = c.attr("scan_input_directions") or (0,) * count
    rows = [_front(c, r, a, b) for r, a, b in zip(rows, axes, backward, strict=True)]
    last, stacked = _scanned(c, body, carried, rows)
    n = len(stacked)
    places = c.attr("scan_output_axes") or (0,) * n
    turned = c.attr("scan_output_directions") or (0,) * n
    outs = (
        _moved(ops.flip(y, 0) if b else y, 0, c.normal_axis(a, y.ndim))
        for y, a, b in zip(stacked, places, turned, strict=True)
    )
    return (*last, *outs)


def _scanned(
    c: Applied, body: Any, carried: list[Node], rows: list[Node]
) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    def step(*values: Node) -> tuple[Node, ...]:
        return tuple(c.as_node(v) for v in c.walk.run(body, values))

    return ops.scan(step, tuple(carried), tuple(rows))


def _batched(c: Applied, body: Any, carried: list[Node], rows: list[Node]) -> tuple[Node, ...]:
    """Each example by itself, written out."""
    examples = []
    count = rows[0].shape[0]
    if isinstance(count, Size) or count > EXAMPLES:
        raise c.fault(f"has {count} examples, each of which is a loop: at most {EXAMPLES}")
    for b in range(count):
        last, stacked = _scanned(c, body, [v[b] for v in carried], [r[b] for r in rows])
        examples.append((*last, *stacked))
    return tuple(ops.stack(each) for each in zip(*examples, strict=True))


def _front(c: Applied, x: Node, axis: int, backward: int) -> Node:
    y = _moved(x, c.normal_axis(axis, x.ndim), 0)
    return ops.flip(y, 0) if backward else y


def _moved(x: Node, source: int, target: int) -> Node:
    axes = [a for a in range(x.ndim) if a != source]
    axes.insert(target, source)
    return ops.transpose(x, axes)


# -- sequences -------------------------------------------------------------------------------------


def sequence(c: Applied, i: int) -> list[Value]:
    """Input i, a sequence."""
    found = c.value(i)
    if not isinstance(found, list):
        raise c.fault(f"requires a sequence as its input {i}")
    return found


def _place(c: Applied, i: int, count: int) -> int:
    at = int(np.asarray(c.known(i, "a position")).reshape(-1)[0])
    if not -count <= at <= count:
        raise c.fault(f"requires a position in [{-count}, {count}], got {at}")
    return at


@rule("SequenceEmpty")
def sequence_empty(c: Applied) -> tuple[Value]:
    return ([],)


@rule("SequenceConstruct")
def sequence_construct(c: Applied) -> tuple[Value]:
    return (list(c.inputs),)


@rule("SequenceInsert")
def sequence_insert(c: Applied) -> tuple[Value]:
    found = list(sequence(c, 0))
    found.insert(_place(c, 2, len(found)) if c.has(2) else len(found), c.value(1))
    return (found,)


@rule("SequenceErase")
def sequence_erase(c: Applied) -> tuple[Value]:
    found = list(sequence(c, 0))
    del found[_place(c, 1, len(found)) if c.has(1) else -1]
    return (found,)


@rule("SequenceAt")
def sequence_at(c: Applied) -> Value:
    return sequence(c, 0)[_place(c, 1, len(sequence(c, 0)))]


@rule("SequenceLength")
def sequence_length(c: Applied) -> np.ndarray:
    return np.asarray(len(sequence(c, 0)), np.int64)


@rule("ConcatFromSequence")
def concat_from_sequence(c: Applied) -> Node:
    if isinstance(found := c.value(0), Joined) and not c.attr("axis") and not c.attr("new_axis"):
        return found.whole
    parts = [c.as_node(v) for v in sequence(c, 0)]
    if not parts:
        raise c.fault("requires at least one tensor")
    if c.attr("new_axis"):
        return ops.stack(parts, c.normal_axis(c.attr("axis"), parts[0].ndim + 1))
    return ops.concat(parts, c.axis(parts[0].ndim))


@rule("SplitToSequence")
def split_to_sequence(c: Applied) -> tuple[Value]:
    x = c.x(0)
    axis = c.axis(x.ndim)
    n = x.shape[axis]
    if isinstance(n, Size):
        raise c.fault(f"requires an axis of known size, got {x.type}")
    if not c.has(1):
        parts = ops.split(x, n, axis) if n else ()
        return ([p if c.attr("keepdims") else ops.squeeze(p, axis) for p in parts],)
    given = np.asarray(c.known(1, "a split"))
    if given.ndim == 0:
        each = int(given)
        if each < 1:
            raise c.fault(f"requires parts of at least 1, got {each}")
        given = np.asarray([min(each, n - i) for i in range(0, n, each)])
    return (list(ops.split(x, tuple(given.tolist()), axis)),)


@rule("SequenceMap")
def sequence_map(c: Applied) -> tuple[list[Value], ...]:
    """The body on each element; further inputs are sequences as long, or the same for all."""
    body, rows = c.attr("body"), sequence(c, 0)
    others = list(c.inputs[1:])
    if any(isinstance(o, list) and len(o) != len(rows) for o in others):
        raise c.fault(f"requires sequences of {len(rows)} elements")
    found: list[list[Value]] = [[] for _ in body.outputs]
    for k, row in enumerate(rows):
        given = [row, *(o[k] if isinstance(o, list) else o for o in others)]
        for each, value in zip(found, c.walk.run(body, given), strict=True):
            each.append(value)
    return tuple(found)


@rule("Optional")
def optional(c: Applied) -> tuple[Value]:
    return (c.value(0) if c.inputs else None,)


@rule("OptionalHasElement")
def optional_has_element(c: Applied) -> np.ndarray:
    return np.asarray(bool(c.inputs) and c.value(0) is not None)


@rule("OptionalGetElement")
def optional_get_element(c: Applied) -> tuple[Value]:
    if c.value(0) is None:
        raise c.fault("requires a value, got none")
    return (c.value(0),)
