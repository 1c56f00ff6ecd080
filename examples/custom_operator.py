"""An operator of one's own: one record, and every part of the compiler knows it.

softsign(x) = x / (1 + |x|) is like tanh, without exponentials. Its gradient is (1 - |softsign|)^2.
"""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from tinygraph.extend import Kind, Op, broadcast, check_operator, define

softsign: Op = define(
    "softsign",
    Kind.ELEMENTWISE,
    infer=broadcast("softsign"),
    ref=lambda x: x / (1 + np.abs(x)),  # what it means, in NumPy
    expr="{0} / (K(1) + abs({0}))",  # one element, for generated code; K is the dtype
    vjp=lambda g, out, x: (g * (1 - tg.abs(out)) ** 2,),
    cost=lambda out, x: 3 * out.size,
    example=lambda: softsign(tg.input("x", 4, 3)),  # what check_operator compares all this on
    version="1",  # lets the program cache keep what uses it; change it with the record
)


def main() -> dict[str, float]:
    check_operator(softsign)
    rng = np.random.default_rng(0)
    x = tg.input("x", 64, 32)
    w = tg.parameter(rng.normal(size=(32, 16)), name="w")
    y = softsign(x @ w)
    (slope,) = tg.grad(tg.sum(y), [w])
    program = tg.compile([x], [y, slope], name="custom_operator")
    print(program.dump())

    data = rng.normal(size=(64, 32)).astype(np.float32)
    value, gradient = program(data)
    product = data.astype(np.float64) @ w.value
    expected = product / (1 + np.abs(product))
    by_hand = data.T.astype(np.float64) @ (1 - np.abs(expected)) ** 2
    found = {
        "value error": float(np.abs(value - expected).max()),
        "gradient error": float(np.abs(gradient - by_hand).max() / np.abs(by_hand).max()),
        "gradient against finite differences": tg.check_grad(softsign, product),
        "launches of the value alone": tg.compile([x], [y]).cost()["launches"],
    }
    for name, number in found.items():
        print(f"{name}: {number:.2g}")
    return found


if __name__ == "__main__":
    main()
