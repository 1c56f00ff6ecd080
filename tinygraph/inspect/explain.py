"""What became of one node, layer, scope or parameter: ``program.explain("conv1")``."""

from __future__ import annotations

import difflib
from collections import Counter
from itertools import pairwise
from textwrap import wrap
from typing import TYPE_CHECKING

from ..graph.dump import all_labels
from ..graph.ir import Graph, Node, Parameter
from ..graph.op import Kind
from ..graph.origins import origins
from ..graph.short import ShortCall, all_calls
from ..plan.records.plan import Launch
from .remark_list import listing

if TYPE_CHECKING:
    from .inspection import Inspection
    from .profile import Profile
    from .record import Snapshot

WIDTH = 100
SHOWN = 5  # entries of a section
OPERATIONS = 8  # that take as long as a byte from memory
SEPARATORS = str.maketrans("();:,", "     ")


def explain(inspection: Inspection, name: str, profile: Profile | None = None) -> str:
    """A screen about a name: kernels with costs, remarks, its nodes, the passes that changed them.

    Raises ValueError, with the names that come close, where the program has no such name.
    """
    steps = inspection.steps
    graph, nodes = steps[0].graph, named(steps[0].graph, name)
    left = named(steps[-1].graph, name)
    if not nodes:  # a label of the optimized graph
        graph = steps[-1].graph
        nodes = left = [
            n for n in graph.everywhere if inspection.names[n].lstrip("%") == name.lstrip("%")
        ]
    if not nodes:
        raise ValueError(unknown(name, steps[0].graph))
    calls = all_calls(graph)
    owner = {m: n for n, call in calls.items() for m in call.whole}
    owned = (owner.get(n, n) for n in nodes)
    shown = list(dict.fromkeys(n for n in owned if n in calls or n.op.kind is Kind.SOURCE))
    found = kernels(inspection, left, profile)
    labels = (inspection.names[n] for n in left if n.inputs)
    known = {label for label in labels if label.startswith("%")} | {name}
    mentioned = [r for r in inspection.details if mentions(r.text, known, name)]
    changes = [c for pair in pairwise(steps) for c in changed(*pair, name, set(left))]
    return "\n".join([
        *wrap(f"{name}: {counted(shown, calls)}", WIDTH, max_lines=2, placeholder=" …"),
        *section("kernels", found or ["none: it became part of others, or of nothing"]),
        *section("remarks", listing(mentioned, lambda n: inspection.names.get(n, "?"))),
        *section("as written", listed(graph, shown, calls)),
        *section("passes", changes or ["no pass changed it"]),
    ])  # fmt: skip


def section(title: str, lines: list[str]) -> list[str]:
    """Lines under a title, folded; those beyond SHOWN are counted, so that all fits a screen."""
    if not lines:
        return []
    folded = [
        f
        for line in lines[:SHOWN]
        for f in wrap(line, WIDTH, initial_indent="  ", subsequent_indent="      ")
    ]
    rest = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return ["", title, *folded, *rest]


def named(graph: Graph, name: str) -> list[Node]:
    """Nodes of this name or scope, or below it; those that read a parameter of this name."""
    found: dict[Node, None] = {}
    for n in graph.everywhere:
        if isinstance(n, Parameter):
            if n.name is not None and within(n.name, name):
                found |= dict.fromkeys((n, *readers(graph, n)))
        elif n.name == name or in_scope(n, name):
            found[n] = None
    return [n for n in graph.everywhere if n in found]


def in_scope(n: Node, name: str) -> bool:
    return n.op.kind is not Kind.SOURCE and any(within(o.scope, name) for o in origins(n))


def readers(graph: Graph, n: Node) -> list[Node]:
    """The readers of a node, also through views, with the views."""
    found: dict[Node, None] = {}
    stack = [n]
    while stack:
        for user in graph.users[stack.pop()]:
            found[user] = None
            if user.op.kind is Kind.VIEW:
                stack.append(user)
    return list(found)


def within(path: str, name: str) -> bool:
    """True if a dotted path is ``name``, is below it, or has it as one of its last parts."""
    return path == name or path.startswith(name + ".") or f".{name}." in f".{path}."


def unknown(name: str, graph: Graph) -> str:
    """An error that says which names there are."""
    made = (n for n in graph.everywhere if n.op.kind is not Kind.SOURCE)  # others are shared
    scopes = (o.scope for n in made for o in origins(n) if o.scope)
    names = (n.name for n in graph.nodes if n.name is not None)
    known = list(dict.fromkeys((*scopes, *names)))
    close = difflib.get_close_matches(name, known, 3, 0.4) or known[:8]
    return f"no node, scope or parameter {name!r}; there is {', '.join(close)}"


def counted(nodes: list[Node], calls: dict[Node, ShortCall]) -> str:
    names = (calls[n].name if n in calls else n.op.name for n in nodes)
    kinds = Counter(names)
    return ", ".join(f"{name} {count}" if count > 1 else name for name, count in kinds.items())


def listed(graph: Graph, nodes: list[Node], calls: dict[Node, ShortCall]) -> list[str]:
    """The nodes as they were written, with the user's lines; parameters and inputs come last."""
    label = all_labels(graph)
    text = []
    for n in sorted(nodes, key=lambda n: n.op.kind is Kind.SOURCE):
        if n.op.kind is Kind.SOURCE:
            text.append(f"{n.op.name} {label[n]}: {n.type}")
            continue
        places = "; ".join(map(str, origins(n)))
        call = f"{calls[n].name}({', '.join(label[i] for i in calls[n].operands)})"
        text.append(f"{label[n]} = {call}: {n.type}  # {places}")
    return text


def changed(before: Snapshot, after: Snapshot, name: str, left: set[Node]) -> list[str]:
    """The change that a pass made to the nodes of this name: the rules, and the numbers."""
    old, new = named(before.graph, name), named(after.graph, name)
    mine = left.union(old, new)
    rules = Counter(
        e.rule
        for e in after.events
        if e.before in mine or e.after in mine or in_scope(e.before, name)
    )
    how = [", ".join(f"{r} ({c} times)" if c > 1 else r for r, c in rules.items())]
    counts = Counter(n.op.name for n in old), Counter(n.op.name for n in new)
    ops = [op for op in dict.fromkeys((*counts[0], *counts[1])) if counts[0][op] != counts[1][op]]
    how += [f"{op} {counts[0][op]} became {counts[1][op]}" for op in ops]
    how = [h for h in how if h]
    return [f"{after.name}: {'; '.join(how)}"] if how else []


def kernels(inspection: Inspection, nodes: list[Node], profile: Profile | None) -> list[str]:
    """The launches that compute some of the nodes, with their share of the work and the time: those
    first that take longest, at the end what is prepared.
    """
    wanted = {n for n in nodes if n.op.kind is not Kind.SOURCE}
    names = {n.name for n in nodes if isinstance(n, Parameter)}
    plan = inspection.plan
    held = {id(b) for b in plan.buffers if b.home == "parameter" and b.name in names}
    prepared = []
    for number, launch in enumerate(plan.prepare):
        found = [m for m in launch.members if touches(m, wanted, held)]
        held |= {id(m.accesses[i].buffer) for m in found for i in m.writes}
        if found:
            prepared.append(f"prepare {number} {launch.name}: only when parameters have changed")
    total = sum(c.flops for c in inspection.costs) or 1
    text: list[tuple[float, str]] = []
    for number, cost in enumerate(inspection.costs):
        if not any(touches(m, wanted, held) for m in cost.launch.members):
            continue
        where = f" on {plan.devices[cost.launch.device]}" if plan.devices else ""
        line = f"run {number} {cost.launch.name}{where}: {cost.flops:,} operations "
        line += f"({100 * cost.flops / total:.1f} %), {cost.bytes:,} bytes"
        if profile is not None:
            row = profile.launches[number]
            line += f", {row.seconds * 1e6:,.1f} us ({100 * row.share:.1f} %), {row.hint}"
        here = dict.fromkeys(n for m in cost.launch.members for n in m.nodes)
        labels = dict.fromkeys(inspection.names.get(n, "") for n in here if n not in wanted)
        mine = {inspection.names[n] for n in wanted}
        rest = [label for label in labels if label.startswith("%") and label not in mine]
        line += f"; also computes {', '.join(rest[:4])}" if rest else ""
        line += " …" if len(rest) > 4 else ""
        work = max(cost.flops / OPERATIONS, cost.bytes)
        text.append((profile.launches[number].seconds if profile is not None else work, line))
    return [line for _, line in sorted(text, key=lambda pair: -pair[0])] + prepared


def touches(launch: Launch, wanted: set[Node], held: set[int]) -> bool:
    """True if a launch computes one of the nodes, or reads or writes one of the buffers."""
    return any(n in wanted for n in launch.nodes) or any(
        id(a.buffer) in held for a in launch.accesses
    )


def mentions(remark: str, known: set[str], name: str) -> bool:
    """True if a word of the remark is a known label, or a path to the name."""
    words = remark.translate(SEPARATORS).split()
    return any(w in known or within(w, name) for w in words)
