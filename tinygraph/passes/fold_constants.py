"""What can be computed now is computed now, by the reference."""

from __future__ import annotations

from ..graph.interpret import evaluate
from ..graph.ir import Graph, Node, node
from ..graph.op import CONSTANT, Kind, constant
from ..graph.rewrite import Event, filled, rewrite, rule, rules_in, var
from ..ops.arithmetic import add, mul
from ..ops.source import full

LIMIT = 1 << 14  # elements: a folded constant may be this large, or as large as what it is made of


def fold(n: Node) -> Node | None:
    """This node as a constant; None if its inputs are not constant or the result is too large.

    A filled array stays a broadcast of one number: nothing is stored, and consumers absorb it.
    """
    if not n.inputs or n.op.ref is None or n.op.ordered or n.op.kind is Kind.LOOP:
        return None
    numbers = [filled(i) for i in n.inputs]
    if None not in numbers and n.type.size:
        if n.op.kind is Kind.ELEMENTWISE:
            small = tuple(constant(v, i.dtype) for v, i in zip(numbers, n.inputs, strict=True))
            one = node(n.op, small, n.attrs, n.op.infer(*[i.type for i in small], **dict(n.attrs)))
            return full(n.shape, evaluate(one, [i.attr("value").data for i in small])[()], n.dtype)
        if n.op.kind is Kind.VIEW and (n.op.row_major or n.op.nest(n).reads[0].outside is None):
            return full(n.shape, numbers[0], n.dtype)
    arrays = [i.attr("value").data for i in n.inputs if i.op is CONSTANT]
    if len(arrays) < len(n.inputs) or n.type.size > max(LIMIT, *(a.size for a in arrays)):
        return None
    return constant(evaluate(n, arrays))


def _reads_constants(n: Node) -> bool:
    return bool(n.inputs) and all(i.op is CONSTANT or filled(i) is not None for i in n.inputs)


@rule(
    var("n", where=_reads_constants),
    example=lambda: mul(add(constant([1.0, 2.0], "float32"), 1), 3),
)
def evaluate_constants(out: Node, n: Node) -> Node | None:
    return fold(n)


RULES = rules_in(globals())


def fold_constants(graph: Graph, log: list[Event] | None = None) -> Graph:
    """Replaces what depends on constants only by its value."""
    return rewrite(graph, RULES, log)
