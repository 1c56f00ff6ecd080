"""An operator whose kernel is not a loop nest: sorting along the last axis, by its own template.

The template writes an insertion sort as plain Python, line by line, which the CPU's backend
compiles; NaN goes last, as in NumPy. The gradient of a sorted element belongs to where it came
from: ``ranks``, with a second template, says where each element goes, and has no gradient.
"""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from tinygraph.extend import KernelWriter, Kind, Op, Type, check_operator, define, floats


def before(p: str, q: str) -> str:
    """True if p comes before q: NaN is larger than everything."""
    return f"({p} < {q} or ({p} == {p} and {q} != {q}))"


def rows(k: KernelWriter) -> tuple[str, str, str]:
    """Goes into loops over rows: the row's length, and x and y at [{}] of it, to be formatted."""
    x, y = k.inputs[0], k.output
    k.array("x", x)
    k.array("y", y)
    sizes = {"n": x.shape[-1], "dx": x.strides[-1], "dy": y.strides[-1]}
    n, dx, dy = (k.argument(name, size) for name, size in sizes.items())
    at = k.loops(range(len(x.shape) - 1), x.shape, {"x": x.strides, "y": y.strides})
    return n, f"x[{at['x']} + {{}} * {dx}]", f"y[{at['y']} + {{}} * {dy}]"


def write_sort(k: KernelWriter) -> None:
    n, x, y = rows(k)
    k.line(f"for i in range({n}):")
    k.line(f"    value = {x.format('i')}")
    k.line("    j = i")
    k.line(f"    while j > 0 and {before('value', y.format('(j - 1)'))}:")
    k.line(f"        {y.format('j')} = {y.format('(j - 1)')}")
    k.line("        j -= 1")
    k.line(f"    {y.format('j')} = value")


def write_ranks(k: KernelWriter) -> None:
    """For each element, how many of its row come before it; of equal ones, the first does."""
    n, x, y = rows(k)
    this, other = x.format("i"), x.format("j")
    k.line(f"for i in range({n}):")
    k.line("    rank = 0")
    k.line(f"    for j in range({n}):")
    k.line(f"        if {before(other, this)} or (j < i and not {before(this, other)}):")
    k.line("            rank += 1")
    k.line(f"    {y.format('i')} = int32(rank)")


ranks: Op = define(
    "ranks",
    Kind.OPAQUE,
    infer=lambda x: Type(floats("ranks", 1)(x).shape, "int32"),
    ref=lambda x: np.argsort(np.argsort(x, -1, kind="stable"), -1).astype("int32"),
    template=write_ranks,
    no_gradient="ranks are whole numbers",
    example=lambda: ranks(tg.input("x", 4, 9)),
)


def goes_to(x: tg.Node) -> tg.Node:
    """1 at [..., i, ranks(x)[..., i]], 0 elsewhere."""
    return tg.one_hot(ranks(x), x.shape[-1], x.dtype)


sort: Op = define(
    "sort",
    Kind.OPAQUE,
    infer=floats("sort", 1),
    ref=lambda x: np.sort(x, -1),
    template=write_sort,
    vjp=lambda g, out, x: (tg.sum(goes_to(x) * tg.expand_dims(g, -2), -1),),
    example=lambda: sort(tg.input("x", 4, 9)),
)


def main() -> dict[str, float]:
    check_operator(sort)
    x = tg.input("x", 32, 21)
    middle = sort(x * x)[:, 10]  # the median of each row's squares
    program = tg.compile([x], [middle, *tg.grad(tg.sum(middle), x)], name="median")
    data = np.random.default_rng(0).normal(size=(32, 21)).astype(np.float32)
    value, gradient = program(data)
    found = {
        "median error": float(np.abs(value - np.median(data * data, -1)).max()),
        "gradient error": float(np.abs(gradient - tg.run(program.graph, data)[1]).max()),
        "elements with a gradient": int((gradient != 0).sum()),
    }
    print(*(f"{name}: {number:.2g}" for name, number in found.items()), sep="\n")
    return found


if __name__ == "__main__":
    main()
