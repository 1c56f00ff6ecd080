"""Rules that write loops as ONNX's Scan, and what takes their results apart."""

from __future__ import annotations

from typing import Any

from onnx import helper

from ...graph.ir import Node
from ...ops.loop import LoopRoles
from .writer import OnnxWriter, Value, tensor_type, writes


def info(name: Value, n: Node) -> Any:
    """What the file says of a value: dtype and sizes, those open as ``batch``."""
    sizes = [s if isinstance(s, int) else None for s in n.shape]
    return helper.make_tensor_value_info(name, tensor_type(n.dtype), sizes)


@writes("scan")
def scan(w: OnnxWriter, n: Node, *xs: Value) -> list[Value]:
    """Results: last carries or their histories, then what the steps returned.

    A history is the stack of what each step began with and the last carry, or, in reverse, the
    last one first.
    """
    from .graph import written

    loop = LoopRoles.of(n)
    first, last = len(loop.initial), len(loop.initial) + len(loop.sequences)
    body = w.inner()
    names: dict[Node, Value] = dict(zip(loop.captured, xs[last:], strict=True))
    takes = [*loop.carries, *loop.slices]
    names |= {c: body.fresh("step") for c in takes}
    inputs = [info(names[c], c) for c in takes]
    sequences = list(xs[first:last])
    if not sequences:  # a Scan has as many steps as what it goes through
        sequences = [w.expand(w.constant(0, "int64"), [loop.length])]
        number = body.fresh("step")
        inputs.append(helper.make_tensor_value_info(number, tensor_type("int64"), []))
    found = written(body, (*loop.after, *loop.outs), names)
    began = [c for c, kept in zip(loop.carries, loop.kept, strict=True) if kept]
    returned = [*zip(found, (*loop.after, *loop.outs), strict=True)]
    returned += [(names[c], c) for c in began]
    outputs = [(body.add("Identity", name), like) for name, like in returned]
    graph = helper.make_graph(
        body.nodes, n.attr("body").name, inputs, [info(name, like) for name, like in outputs]
    )
    stacked = len(outputs) - first
    turn = int(loop.reverse)
    results = w.add(
        "Scan", *xs[:first], *sequences, outputs=len(outputs), body=graph,
        num_scan_inputs=len(sequences), scan_input_directions=[turn] * len(sequences),
        **({"scan_output_directions": [turn] * stacked} if stacked else {}),
    )  # fmt: skip
    results = [results] if isinstance(results, str) else results
    histories = iter(results[first + len(loop.outs) :])
    carried = []
    for value, carry, kept in zip(results[:first], loop.carries, loop.kept, strict=True):
        if kept:
            end = w.reshape(value, carry.shape, (1, *carry.shape))
            parts = [next(histories), end]
            value = w.add("Concat", *(reversed(parts) if loop.reverse else parts), axis=0)
        carried.append(value)
    return [*carried, *results[first : first + len(loop.outs)]]


@writes("item")
def item(w: OnnxWriter, n: Node, results: list[Value]) -> Value:
    return results[n.attr("index")]


@writes("linear_recurrence")
def linear_recurrence(w: OnnxWriter, n: Node, a: Value, b: Value) -> Value:
    """y[i] = a[i] y[i - 1] + b[i] along an axis, from 0."""
    axis = n.attr("axis")
    shape = [*n.shape[:axis], *n.shape[axis + 1 :]]
    body = w.inner()
    names = [body.fresh("step") for _ in range(3)]
    following = body.add("Add", body.add("Mul", names[1], names[0]), names[2])
    kept = body.add("Identity", following)
    sizes = [s if isinstance(s, int) else None for s in shape]
    graph = helper.make_graph(
        body.nodes, "recurrence",
        [helper.make_tensor_value_info(v, tensor_type(n.dtype), sizes) for v in names],
        [helper.make_tensor_value_info(v, tensor_type(n.dtype), sizes) for v in (following, kept)],
    )  # fmt: skip
    turn = int(n.attr("reverse"))
    start = w.expand(w.like(n, 0), shape)
    _, y = w.add(
        "Scan", start, a, b, outputs=2, body=graph, num_scan_inputs=2,
        scan_input_axes=[axis] * 2, scan_input_directions=[turn] * 2, scan_output_axes=[axis],
        scan_output_directions=[turn],
    )  # fmt: skip
    return y
