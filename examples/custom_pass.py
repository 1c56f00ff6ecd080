"""A pass of one's own: products of three matrices in the cheaper order.

(a @ b) @ c and a @ (b @ c) are the same except for rounding, which is why the compiler leaves the
choice alone. If you know that rounding does not matter, write a rule and run its pass first.
"""

from __future__ import annotations

import time

import numpy as np

import tinygraph as tg
from tinygraph.extend import OPS, PIPELINE, Event, rewrite, rule, var

matmul = OPS["matmul"]  # patterns are made of operators, by the names that dumps show
a, b, c = var("a"), var("b"), var("c")
INPUTS = tg.input("a", 1000, 1000), tg.input("b", 1000, 1000), tg.input("c", 1000, 8)


def product() -> tg.Node:
    """(a @ b) @ c, which is what Python makes of a @ b @ c."""
    return INPUTS[0] @ INPUTS[1] @ INPUTS[2]


@rule(matmul(matmul(a, b), c), example=product)
def right_to_left(out: tg.Node, a: tg.Node, b: tg.Node, c: tg.Node) -> tg.Node | None:
    if not a.ndim == b.ndim == c.ndim == 2:
        return None
    (n, k), (m, p) = a.shape, c.shape
    return a @ (b @ c) if k * m * p + n * k * p < n * k * m + n * m * p else None


def order_products(graph: tg.Graph, log: list[Event] | None = None) -> tg.Graph:
    return rewrite(graph, [right_to_left], log)


def main() -> dict[str, float]:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=n.shape).astype(np.float32) for n in INPUTS]
    plain = tg.compile(INPUTS, [product()], name="plain")
    ordered = tg.compile(INPUTS, [product()], passes=(order_products, *PIPELINE), name="ordered")
    print(ordered.diff("order_products"), *ordered.remarks, sep="\n")

    found: dict[str, float] = {}
    results = []
    for program in (plain, ordered):
        results.append(program(*arrays)[0])
        start = time.perf_counter()
        program(*arrays)
        found[f"{program.graph.name}: ms"] = 1000 * (time.perf_counter() - start)
        found[f"{program.graph.name}: operations"] = program.cost()["flops"]
    found["difference"] = float(np.abs(results[0] - results[1]).max() / np.abs(results[0]).max())
    for name, number in found.items():
        print(f"{name}: {number:,.3g}")
    return found


if __name__ == "__main__":
    main()
