"""The chain rule on a graph: a sigmoid neuron taken apart into 1/x, c + x, e^x and a x.

    f(w, x) = 1 / (1 + e^-(w0 x0 + w1 x1 + w2))

Every edge gets its value on the way forward and its gradient on the way back. Each node needs to
know only its own derivative: -1/x^2, 1, e^x, a. The picture shows both, value above gradient.
"""

from __future__ import annotations

from pathlib import Path

import tinygraph as tg
from tinygraph.pictures import save, svg, text

AT = {"w0": 2.0, "x0": -1.0, "w1": -3.0, "x1": -2.0, "w2": -3.0}
PLACES = {  # column and row of every node in the picture
    **{"w0": (0, 0), "x0": (0, 1), "w1": (0, 2), "x1": (0, 3), "w2": (2, 4)},
    **{"w0*x0": (1, 0.5), "w1*x1": (1, 2.5), "+": (2, 1.5), "+w2": (3, 2)},
    **{"a x, a = -1": (4, 2), "e^x": (5, 2), "c + x, c = 1": (6, 2), "1/x": (7, 2)},
}


def neuron() -> tuple[list[tg.Node], dict[str, tg.Node]]:
    """The inputs, and every node by name in order of computation; the last is f."""
    w0, x0, w1, x1, w2 = inputs = [tg.input(name) for name in AT]
    edges = dict(zip(AT, inputs, strict=True))
    edges["w0*x0"] = w0 * x0
    edges["w1*x1"] = w1 * x1
    edges["+"] = edges["w0*x0"] + edges["w1*x1"]
    edges["+w2"] = edges["+"] + w2
    edges["a x, a = -1"] = edges["+w2"] * -1.0
    edges["e^x"] = tg.exp(edges["a x, a = -1"])
    edges["c + x, c = 1"] = edges["e^x"] + 1.0
    edges["1/x"] = 1.0 / edges["c + x, c = 1"]
    return inputs, edges


def picture(edges: dict[str, tg.Node], numbers: dict[str, tuple[float, float]]) -> str:
    """The graph: a box for every node, followed by an edge with its value and its gradient."""
    name = {n: key for key, n in edges.items()}
    place = {key: (60 + 150 * x, 75 + 55 * y) for key, (x, y) in PLACES.items()}
    title = "f = 1 / (1 + e^-(w0 x0 + w1 x1 + w2)): on every edge its value, below it df / d edge"
    parts = [text(18, 28, title, "start", weight="bold")]
    for key, (x, y) in place.items():
        sources = [place[name[i]] for i in edges[key].inputs if i in name]
        parts += [f'<path d="M{x0 + 94} {y0}L{x - 42} {y}" stroke="grey"/>' for x0, y0 in sources]
        parts.append(f'<path d="M{x} {y}h94" stroke="grey"/>')
        parts.append(f'<rect x="{x - 42}" y="{y - 14}" width="84" height="28" rx="8" fill="#def"/>')
        parts.append(text(x, y + 4, key))
        for number, colour, below in zip(numbers[key], ("green", "#c00"), (-5, 15), strict=True):
            parts.append(text(x + 68, y + below, f"{number:.2f}", colour=colour))
    return svg(1220, 320, parts)


def main(folder: Path = Path("pictures")) -> dict[str, float]:
    inputs, edges = neuron()
    nodes = list(edges.values())
    program = tg.compile(inputs, [*nodes, *tg.grad(nodes[-1], nodes)], name="neuron")
    results = [float(r) for r in program(*AT.values())]
    half = len(nodes)
    numbers = dict(zip(edges, zip(results[:half], results[half:], strict=True), strict=True))

    print(f"{'edge':14} {'value':>8} {'gradient':>9}")
    for key, (value, gradient) in numbers.items():
        print(f"{key:14} {value:8.2f} {gradient:9.2f}")
    whole = tg.sigmoid(edges["+w2"])  # as one gate: f (1 - f)
    gate = tg.compile(inputs, [whole, *tg.grad(whole, [edges["+w2"]])], name="gate")
    f, slope = map(float, gate(*AT.values()))
    print(f"sigmoid in one gate: value {f:.2f}, gradient f (1 - f) = {slope:.2f}")

    print(save(folder / "chain_rule.svg", picture(edges, numbers)))
    found = {f"value of {key}": value for key, (value, _) in numbers.items()}
    found |= {f"gradient of {key}": gradient for key, (_, gradient) in numbers.items()}
    return found | {"one gate": f, "gradient of one gate": slope}


if __name__ == "__main__":
    main()
