"""A product of batches that is summed over the batch becomes one contraction."""

from __future__ import annotations

from ..graph.ir import Graph, Node
from ..graph.op import input
from ..graph.rewrite import Event, rewrite, rule, rules_in, var
from ..ops.linalg import MATMUL, OUTER_SUM, swap
from ..ops.reduce import SUM, sum

a, b, axis = var("a"), var("b"), var("axis")


@rule(
    SUM(MATMUL(a, b), axis=axis, keepdims=False),
    example=lambda: sum(MATMUL(input("a", 3, 4, 5), input("b", 3, 5, 2)), 0),
)
def sum_of_products(out: Node, a: Node, b: Node, axis: tuple[int, ...]) -> Node | None:
    """As the gradient of a matrix that a batch was multiplied with: no product is stored."""
    batch = a.shape[:-2]
    if axis != tuple(range(len(batch))) or not batch or batch != b.shape[:-2]:
        return None
    return OUTER_SUM(swap(a), b)


RULES = rules_in(globals())


def contract_sums(graph: Graph, log: list[Event] | None = None) -> Graph:
    """Makes sums over batches of products part of the products."""
    return rewrite(graph, RULES, log)
