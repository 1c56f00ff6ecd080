"""Remarks: why neighbours are in two kernels, what the planner chose, what passes did.

The first lines matter most: neighbours are ranked by the bytes that one kernel for both would save,
and remarks of one kind are one line with their number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..codegen.program import KernelCode
from ..graph.ir import Graph, Node, among, same_nodes
from ..graph.op import INPUT, PARAMETER, Kind
from ..graph.origins import Origin, origins
from ..plan.records.cost import computes
from ..plan.records.device import Card
from ..plan.records.plan import Plan
from ..plan.records.reason import Reason
from .record import Snapshot

SHOWN = 3  # places in a remark


@dataclass(frozen=True, slots=True)
class Remark:
    """One finding.

    Attributes:
        text: what was found, and where.
        kind: equal for remarks that are one line in a list; None for one that is never grouped.
        bytes: of traffic between kernels that it is about.
        about: "apart" (two kernels), "transfer", "choice" (how something is computed), "card", or
            the name of a pass.
        nodes: of the optimized graph.
    """

    text: str
    kind: tuple[str, ...] | None = None
    bytes: int = 0
    about: str = "choice"
    nodes: tuple[Node, ...] = ()


def kinds_of(remarks: Iterable[Remark]) -> list[list[Remark]]:
    """Remarks of one kind together: kinds, and remarks in them, about most bytes first."""
    kinds: dict[tuple[str, ...], list[Remark]] = {}
    for remark in remarks:
        kinds.setdefault(remark.kind or (remark.text,), []).append(remark)
    ranked = sorted(kinds.values(), key=lambda alike: -sum(r.bytes for r in alike))
    return [sorted(alike, key=lambda r: -r.bytes) for alike in ranked]


def grouped(remarks: Iterable[Remark]) -> list[str]:
    """A line for each kind of remark, those about most bytes first, else in their order."""
    return [one_line(alike) for alike in kinds_of(remarks)]


def one_line(alike: Sequence[Remark]) -> str:
    """The first of several remarks, the number of the others, and all their bytes."""
    first, total = alike[0], sum(r.bytes for r in alike)
    found = [size_text(first.bytes)] if total else []
    if len(alike) > 1:
        found.append(f"and {len(alike) - 1} more like it")
        found += [f"{size_text(total)} in all"] if total else []
    return f"{first.text} ({', '.join(found)})" if found else first.text


def size_text(bytes: int) -> str:
    """A number of bytes to three digits or so."""
    if bytes < 1000:
        return f"{bytes} bytes"
    return f"{bytes / 1e3:,.1f} KB" if bytes < 1e6 else f"{bytes / 1e6:,.2f} MB"


# -- neighbours in two kernels ---------------------------------------------------------------------


@same_nodes
@dataclass(frozen=True, slots=True)
class Apart:
    """A value, and a node that reads it in another kernel.

    Attributes:
        reason: why the planner refused them one kernel; None if it did not say.
        bytes: that one kernel for both would not read, nor write if nothing else reads the value;
            0 where another pair with the same value and kernel counts them.
    """

    producer: Node
    consumer: Node
    reason: Reason | None
    bytes: int


def unfused(plan: Plan, graph: Graph) -> list[Apart]:
    """The pairs of producer and consumer that no kernel of a run has in common.

    Views between them do not count, nor does what is computed from parameters before the runs.
    """
    where: dict[Node, dict[int, int]] = {}  # for each node the kernels, and how often they run
    members = [(k, m) for k, launch in enumerate(plan.launches) for m in launch.members]
    for kernel, (number, member) in enumerate(members):
        for n in member.nodes if computes(member) else ():
            where.setdefault(n, {})[kernel] = plan.steps(number)
    known = {(a, b): reason for a, b, reason in plan.refused}
    chains = [
        (chain, n)
        for n in graph.everywhere
        for chain in ([*_through_views(i, where)] for i in n.inputs if n in where)
        if chain[-1] in where and not where[chain[-1]].keys() & where[n].keys()
    ]
    pairs = {(chain[-1], n): chain for chain, n in chains if not is_source(chain[-1])}
    readers: dict[Node, set[int]] = {}
    for x, n in pairs:
        readers.setdefault(x, set()).update(where[n])
    counted: set[tuple[Node, int]] = set()
    found = []
    for (x, n), chain in pairs.items():
        new = {k: often for k, often in where[n].items() if (x, k) not in counted}
        counted |= {(x, k) for k in new}
        size = min(y.type.bytes for y in (x, chain[0]))
        alone = len(readers[x]) == 1 and not among(x, graph.outputs)
        bytes = size * sum(new.values()) + x.type.bytes * sum(where[x].values()) * alone
        found.append(Apart(x, n, _reason(chain, n, known), bytes * bool(new)))
    return found


def _through_views(x: Node, where: dict[Node, dict[int, int]]) -> Iterator[Node]:
    """An input, and what it is a view of, up to what a kernel computes."""
    yield x
    while x not in where and len(x.inputs) == 1:
        x = x.inputs[0]
        yield x


def _reason(
    chain: Sequence[Node], n: Node, known: dict[tuple[Node, Node], Reason]
) -> Reason | None:
    """The reason of the node itself, or of a view between that holds its value."""
    pairs = [*((x, n) for x in chain), *((x, view) for view, x in pairwise(chain))]
    return next((known[pair] for pair in pairs if pair in known), None)


def is_source(n: Node) -> bool:
    """True if a value is an input, parameter or constant, or a view of one."""
    while n.op.kind is Kind.VIEW:
        n = n.inputs[0]
    return n.op.kind is Kind.SOURCE


# -- remarks of a plan and of passes ---------------------------------------------------------------


def plan_remarks(plan: Plan, graph: Graph, name: Callable[[Node], str]) -> Iterator[Remark]:
    """Why neighbours are in two kernels, what crosses between devices, what the planner chose."""
    for pair in unfused(plan, graph):
        reason = pair.reason.value if pair.reason else "no reason was recorded, please report it"
        a, b = name(pair.producer), name(pair.consumer)
        kind = ("apart", pair.producer.op.name, pair.consumer.op.name, reason)
        text, nodes = f"{a} and {b} are in two kernels: {reason}", (pair.producer, pair.consumer)
        yield Remark(text, kind, pair.bytes, "apart", nodes)
    for t in plan.transfers:
        source, target = plan.devices[t.source], plan.devices[t.target]
        text = f"{name(t.value)} goes from {source} to {target}: {t.bytes:,} bytes"
        yield Remark(text, None, 0, "transfer", (t.value,))
    anchors: dict[str, list[Node]] = {}
    for n in graph.everywhere:
        if n.op.kind is Kind.ANCHOR:
            anchors.setdefault(place(n), []).append(n)
    for text in dict.fromkeys(plan.remarks):
        head, _, what = text.partition(": ")
        numbered = re.sub(r"\d+\.\d+", "", what)  # estimates differ
        alike = ("choice", head.split()[0], numbered) if what else None
        yield Remark(text, alike, nodes=tuple(anchors.get(head, ())))


def step_remarks(step: Snapshot) -> Iterator[Remark]:
    """One remark for each rule that a pass applied."""
    uses: dict[str, list[Node]] = {}
    for event in step.events:
        uses.setdefault(event.rule, []).append(event.before)
    for rule, nodes in uses.items():
        what = step.name if rule == step.name else f"{step.name}: {rule}"
        often = f", {len(nodes)} times" if len(nodes) > 1 else ""
        where = places([n for n in nodes if depends(n)])
        made = tuple(dict.fromkeys(e.after for e in step.events if e.rule == rule))
        text = f"{what}{often}" + (f" ({where})" if where else "")
        yield Remark(text, about=step.name, nodes=made)


def place(anchor: Node) -> str:
    """An anchor as remarks call it."""
    where = origins(anchor)
    return f"{anchor.name or anchor.op.name}" + (f" ({where[0]})" if where else "")


def depends(n: Node) -> bool:
    """True if a node reads an input or parameter; what is made of constants alone is one node in
    all programs of a process, so its line may be another program's.
    """
    stack, seen = [n], set[Node]()
    while stack:
        x = stack.pop()
        if x.op in (INPUT, PARAMETER):
            return True
        stack += [i for i in x.inputs if i not in seen]
        seen.update(x.inputs)
    return False


def places(nodes: Iterable[Node], shown: int = SHOWN) -> str:
    """The user's lines that nodes come from, the first few."""
    found: dict[Origin, None] = {}
    for n in nodes:
        found |= dict.fromkeys(origins(n))
    text = list(dict.fromkeys(map(str, found)))
    more = [f"and {len(text) - shown} more"] if len(text) > shown else []
    return "; ".join(text[:shown] + more)


def card_remarks(kernels: Sequence[KernelCode], cards: Sequence[Card]) -> Iterator[Remark]:
    """One remark for each kernel that takes more of a device than the backend's budget."""
    for kernel, card in zip(kernels, cards, strict=True) if cards else ():
        if card.excess:
            text = f"kernel {kernel.name} {card.excess} on {card.architecture}"
            yield Remark(text, about="card")
