"""The fused stage: a line for each kernel, in the order of the network.

    fused predict: 8 kernels, 844.3 KFLOP, 246.8 KB of weights; products are rows x columns x depth
    #  layer  what                             product  output         how
    1  conv1  conv2d 5x5 + bias + relu    784 x 6 x 25  [1,6,28,28]    implicit 28x16
    2  pool   max_pool2d 2x2/2                          [1,6,14,14]    loops

*How* a product is computed: ``implicit`` (a convolution) or ``GEMM`` with the rows and columns of
its register tile, ``winograd(m)`` with its output tile; everything else by loops, a copy, or an
operator's own template. Small kernels that run side by side have one number, a & from the second
on; alike ones are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import wrap

from ..graph.ir import Graph, Node
from ..graph.op import Kind
from ..graph.origins import origins
from ..plan.records.cost import LaunchCost, computes
from ..plan.records.plan import Launch, Plan
from ..plan.records.work import Emitted, Nest, Tile
from .remarks import place, size_text
from .words import is_convolution, joined, layer, product, shape_text, sizes_text, what

WIDTH = 100
HEAD = ("#", "layer", "what", "product", "output", "how")
OPERATIONS = 8  # that take as long as a byte from memory
LAYER = 11  # columns that a layer's name has at least


@dataclass(frozen=True, slots=True)
class FusedKernel:
    """A kernel, or alike ones that run side by side.

    Attributes:
        number: of the launch, as in the plan.
        first: of the rows of its launch.
        loop: how often it runs in a loop; 0 outside of one.
        launches: the kernels.
    """

    number: int
    first: bool
    loop: int
    what: str
    how: str
    launches: tuple[Launch, ...]


def fused_text(
    plan: Plan, graph: Graph, costs: Sequence[LaunchCost], weights: int, lines: bool = False
) -> str:
    """All kernels of a run; ``weights`` are the bytes of parameters. ``lines`` adds why a way was
    chosen, and the user's lines.
    """
    flops = operations(sum(c.flops for c in costs))
    count = f"{len(plan.launches)} kernel{'s' * (len(plan.launches) != 1)}"
    head = f"fused {plan.name}: {count}, {flops}, {size_text(weights)} of weights"
    if any(n.op.kind is Kind.ANCHOR for n in graph.everywhere):
        head += "; products are rows x columns x depth"
    why = choices(plan)
    found = list(rows(plan, why))
    text = [head, *table(found, stored(graph), why if lines else None)]
    if any(not row.first for row in found):
        text.append("& runs at the same time as the line above")
    if plan.prepare:
        names = dict.fromkeys(what(m) for x in plan.prepare for m in x.members)
        text.append(f"when parameters have changed: {', '.join(names)}")
    return "\n".join(text) + "\n"


def largest(plan: Plan, graph: Graph, costs: Sequence[LaunchCost], count: int) -> list[str]:
    """The table of the kernels that have most to do, in the order of the network."""
    work = [max(c.flops / OPERATIONS, c.bytes) for c in costs]
    chosen = sorted(range(len(work)), key=lambda k: (-work[k], k))[:count]
    found = [row for row in rows(plan, choices(plan)) if row.number in chosen]
    return table(found, stored(graph), None)


def rows(plan: Plan, why: Mapping[str, str]) -> Iterable[FusedKernel]:
    """The launches in order; alike members of a bundle are one row."""
    for number, launch in enumerate(plan.launches):
        alike: dict[tuple[str, str], list[Launch]] = {}
        for m in launch.members:
            alike.setdefault((what(m), how(m, why)), []).append(m)
        kinds: dict[str, list[tuple[str, Launch]]] = {}
        for (name, way), members in alike.items():
            kinds.setdefault(name, []).extend((way, m) for m in members)
        steps = plan.steps(number) if inside(plan, number) else 0
        for k, (name, found) in enumerate(kinds.items()):
            ways = list(dict.fromkeys(way for way, _ in found))
            way = ways[0] if len(ways) == 1 else ways[0].split()[0]
            times = f"{len(found)} " if len(found) > 1 else ""
            yield FusedKernel(number, k == 0, steps, times + name, way, tuple(m for _, m in found))


def inside(plan: Plan, number: int) -> bool:
    return any(loop.first <= number < loop.last for loop in plan.loops)


def how(launch: Launch, why: Mapping[str, str]) -> str:
    """The way in which a kernel computes."""
    work = launch.work
    anchor = next((n for n in launch.nodes if n.op.kind is Kind.ANCHOR), None)
    if isinstance(work, Tile):
        c = work.contraction
        way = "implicit" if anchor is not None and is_convolution(anchor) else "GEMM"
        splits = f", {work.splits} splits" if work.splits > 1 else ""
        return f"{way} {c.rows}x{c.width}{splits}"
    if isinstance(work, Emitted) and launch.nodes[0].op.kind is Kind.COMPOSITE:
        return "own kernel"
    if isinstance(work, Emitted):
        reason = why.get(place(anchor), "") if anchor is not None else ""
        blocks = re.search(r"space to depth by (\d+)", reason)
        on = f" on {blocks[1]}x{blocks[1]}" if blocks else ""
        return f"winograd({work.record.m}){on}"
    if isinstance(work, Nest):
        return "loops" if computes(launch) else "copy"
    return "template"


def stored(graph: Graph) -> dict[Node, set[Node]]:
    """Who reads each node, in the graph and in the bodies of loops; a graph's outputs are read by
    themselves.
    """
    readers: dict[Node, set[Node]] = {}
    graphs = [graph]
    for g in graphs:
        for o in g.outputs:
            readers.setdefault(o, set()).add(o)
        graphs += [body for n in g.nodes for body in n.bodies]
        for n in g.nodes:
            for i in n.inputs:
                readers.setdefault(i, set()).add(n)
    return readers


def results(launch: Launch, readers: Mapping[Node, set[Node]]) -> list[Node]:
    """The nodes of a kernel that something outside of it reads."""
    mine = set(launch.nodes)

    def leaves(n: Node) -> bool:
        others = (r for r in readers.get(n, ()) if r is n or r not in mine)
        return any(r is n or r.op.kind is not Kind.VIEW or leaves(r) for r in others)

    found = [n for n in launch.nodes if n.op.kind is not Kind.SOURCE and leaves(n)]
    return found or list(launch.nodes[-1:])


# -- the table -------------------------------------------------------------------------------------


def table(
    found: Sequence[FusedKernel], readers: Mapping[Node, set[Node]], why: Mapping[str, str] | None
) -> list[str]:
    """A head and a line for each row; with ``why``, reasons and the user's lines below it. Alike
    kernels one after the other are one line.
    """
    lines = [cells(row, readers) for row in found]
    first = [k for k in range(len(lines)) if not k or not continues(k, found, lines)]
    body = []
    for k, end in pairwise([*first, len(lines)]):
        number, place, *rest = lines[k]
        number = number if end == k + 1 else f"{number}-{lines[end - 1][0]}"
        body.append((number, below(lines[k - 1][1] if k else "", place), *rest))
    layout = widths([HEAD, *body])
    text, loop = [one_line(HEAD, layout)], 0
    for k, line in zip(first, body, strict=True):
        if found[k].loop and found[k].loop != loop:
            text.append(f"    loop, {found[k].loop} times:")
        loop = found[k].loop
        text.append(one_line(line, layout))
        if why is not None:
            text += notes(found[k], why)
    return text


def continues(k: int, found: Sequence[FusedKernel], lines: Sequence[tuple[str, ...]]) -> bool:
    """Whether a kernel is as the one just before it."""
    return found[k].number == found[k - 1].number + 1 and lines[k][1:] == lines[k - 1][1:]


def below(above: str, path: str) -> str:
    """A layer's path, without its first name where the line above has the same."""
    first, dot, rest = path.partition(".")
    return f".{rest}" if dot and above.partition(".")[0] == first else path


def cells(row: FusedKernel, readers: Mapping[Node, set[Node]]) -> tuple[str, ...]:
    nodes = [results(m, readers) for m in row.launches]
    return (
        str(row.number) if row.first else "&",
        ("  " if row.loop else "") + joined([layer(m.nodes) for m in row.launches]),
        row.what,
        sizes_text([product(m) for m in row.launches]),
        shape_text([n for each in nodes for n in each]),
        row.how,
    )


def widths(lines: Sequence[tuple[str, ...]]) -> list[int]:
    """Of the number, the layer, what is computed with its product, and the output.

    Layers, then what is computed, are cut for a line to fit.
    """
    found = [max(len(line[k]) for line in lines) for k in (0, 1, 4, 5)]
    between = max(len(line[2]) + len(line[3]) + 2 * bool(line[3]) for line in lines)
    over = sum(found) + between + 2 * len(found) - WIDTH
    less = max(0, min(over, found[1] - LAYER))
    return [found[0], found[1] - less, between - max(0, over - less), found[2]]


def one_line(line: Sequence[str], layout: Sequence[int]) -> str:
    number, place, name, product, output, way = line
    room = layout[2] - len(product) - 2 * bool(product)
    what = f"{shortened(name, room):<{layout[2] - len(product)}}{product}"
    fields = f"{number:>{layout[0]}}", f"{cut(place, layout[1]):<{layout[1]}}", what
    return "  ".join([*fields, f"{output:<{layout[3]}}", way]).rstrip()[:WIDTH]


def shortened(terms: str, width: int) -> str:
    """Terms in so many columns, the last ones left out."""
    while len(terms) > width and " + " in terms.removesuffix(" + …"):
        terms = terms.removesuffix(" + …").rpartition(" + ")[0] + " + …"
    return terms if len(terms) <= width else terms[: width - 1] + "…"


def cut(path: str, width: int) -> str:
    """A layer's path in so many columns, the innermost names left out."""
    while len(path) > width and "." in path.lstrip(" ."):
        path = path.rpartition(".")[0]
    return path if len(path) <= width else path[: width - 1] + "…"


def notes(row: FusedKernel, why: Mapping[str, str]) -> list[str]:
    """Why this way, and the user's lines."""
    text: list[str] = []
    for m in row.launches:
        anchors = (n for n in m.nodes if n.op.kind is Kind.ANCHOR)
        text += [why[key] for n in anchors for key in (place(n),) if key in why]
    nodes = (n for m in row.launches for n in m.nodes)
    text.append("; ".join(dict.fromkeys(str(o) for n in nodes for o in origins(n))))
    return [
        line
        for note in dict.fromkeys(filter(None, text))
        for line in wrap(f"# {note}", WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 8)
    ]


def choices(plan: Plan) -> dict[str, str]:
    """Why the planner computes a contraction as it does, by where that is."""
    split = (remark.partition(": ") for remark in plan.remarks)
    return {head: why for head, _, why in split if why}


def operations(flops: int) -> str:
    for unit, size in (("GFLOP", 1e9), ("MFLOP", 1e6), ("KFLOP", 1e3)):
        if flops >= size:
            return f"{flops / size:,.1f} {unit}"
    return f"{flops} FLOP"
