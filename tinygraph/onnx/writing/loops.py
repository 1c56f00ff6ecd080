"""Rules that write loops as ONNX's Scan, and what takes their results apart."""

from __future__ import annotations

from onnx import helper

from ...graph.ir import Node
from ...ops.loop import LoopRoles
from .writer import OnnxWriter, Value, declared, writes


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
    inputs = [declared(names[c], c.dtype, c.shape) for c in takes]
    sequences = list(xs[first:last])
    if not sequences:  # a Scan has as many steps as what it goes through
        sequences = [w.expand(w.constant(0, "int64"), [loop.length])]
        number = body.fresh("step")
        inputs.append(declared(number, "int64", ()))
    found = written(body, (*loop.after, *loop.outs), names)
    began = [c for c, kept in zip(loop.carries, loop.kept, strict=True) if kept]
    returned = [*zip(found, (*loop.after, *loop.outs), strict=True)]
    returned += [(names[c], c) for c in began]
    outputs = [(body.add("Identity", name), like) for name, like in returned]
    graph = helper.make_graph(
        body.nodes,
        n.attr("body").name,
        inputs,
        [declared(name, like.dtype, like.shape) for name, like in outputs],
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
    graph = helper.make_graph(
        body.nodes, "recurrence",
        [declared(v, n.dtype, shape) for v in names],
        [declared(v, n.dtype, shape) for v in (following, kept)],
    )  # fmt: skip
    turn = int(n.attr("reverse"))
    start = w.expand(w.like(n, 0), shape)
    _, y = w.add(
        "Scan", start, a, b, outputs=2, body=graph, num_scan_inputs=2,
        scan_input_axes=[axis] * 2, scan_input_directions=[turn] * 2, scan_output_axes=[axis],
        scan_output_directions=[turn],
    )  # fmt: skip
    return y
