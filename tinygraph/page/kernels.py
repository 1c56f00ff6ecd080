"""The kernels of a run: a record for each, as the fused stage shows it, with costs and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..graph.dtype import DTYPES
from ..graph.ir import Node
from ..graph.op import Kind
from ..graph.origins import origins
from ..inspect.fused import choices, how, inside, results, stored
from ..inspect.inspection import Inspection
from ..inspect.plan_text import work_text
from ..inspect.profile import Profile
from ..inspect.remarks import place
from ..inspect.words import layer, product, shape_text, sizes_text, what
from ..plan.records.cost import LaunchCost, node_cost, traffic
from ..plan.records.plan import Launch
from .code import lines_of
from .items import BACKWARD, FORWARD, UPDATE, Items, part
from .timing import measured

OPERATIONS = 8  # that take as long as a byte from memory
PREPARE = "prepare"


def kernels(
    inspection: Inspection,
    items: Items,
    texts: Sequence[dict[str, Any]],
    profile: Profile | None,
) -> list[dict[str, Any]]:
    """A record for each kernel that is launched: first those of a run, then those that prepare
    parameters. ``texts`` are those of the generated kernels, by number.
    """
    plan, why = inspection.plan, choices(inspection.plan)
    readers = stored(inspection.compiled.graph)
    numbers = {id(b): k for k, b in enumerate(plan.buffers)}
    taken = measured(inspection, profile.timing.parts) if profile is not None else {}
    found: list[dict[str, Any]] = []
    for launch, member, cost, number in launched(inspection):
        m = launch.members[member]
        record = described(m, items, why, readers)
        record |= {"launch": number, "member": member, "parts": m.parts}
        record |= access(m, numbers)
        calls = inspection.code.calls if cost is not None else inspection.code.prepare
        work = [w for w in calls[number].work if w.member == member]
        record["code"] = sorted({w.kernel for w in work})
        found_lines = {k: lines_of(m, texts[k]["lines"], items) for k in record["code"]}
        record["lines"] = {k: at for k, at in found_lines.items() if at}
        if cost is None:
            record |= {"part": PREPARE, "flops": 0, "bytes": traffic(m)}
        else:
            record |= costs(inspection, cost, member, number, profile, taken)
            record["steps"] = plan.steps(number) if inside(plan, number) else 0
            if plan.devices:
                record["device"] = plan.devices[launch.device]
            if inspection.cards:
                record["cards"] = [card(inspection, w.kernel, w.parts) for w in work]
        found.append(record)
    stand_with_readers([k for k in found if k["part"] != PREPARE])
    return found


def stand_with_readers(run: Sequence[dict[str, Any]]) -> None:
    """Copies, as of parameters and of what a loop begins with, belong to the part of the next
    kernel that reads the copy, or goes on writing it; and to its layer, if they have none.
    """
    for k, copy in reversed(list(enumerate(run))):
        if copy["how"] == "copy":
            made = set(copy["writes"])
            uses = (r for r in run[k + 1 :] if made & {*r["reads"], *r["writes"]})
            reader = next(uses, copy)
            copy["layer"] = copy["layer"] or reader["layer"]
            copy |= {"part": reader["part"], "parts_of": [reader["part"]]}


def launched(
    inspection: Inspection,
) -> Iterator[tuple[Launch, int, LaunchCost | None, int]]:
    """Each member of each launch: its launch, its number there, the launch's cost and number."""
    for number, cost in enumerate(inspection.costs):
        for member in range(len(cost.launch.members)):
            yield cost.launch, member, cost, number
    for number, launch in enumerate(inspection.plan.prepare):
        for member in range(len(launch.members)):
            yield launch, member, None, number


def described(
    m: Launch,
    items: Items,
    why: Mapping[str, str],
    readers: Mapping[Node, set[Node]],
) -> dict[str, Any]:
    """A kernel in the users' words."""
    anchors = [n for n in m.nodes if n.op.kind is Kind.ANCHOR]
    made = results(m, readers)
    reasons = dict.fromkeys(why[key] for n in anchors for key in (place(n),) if key in why)
    return {
        "name": m.name,
        "layer": layer(m.nodes),
        "what": what(m),
        "how": how(m, why),
        "why": "; ".join(reasons),
        "product": sizes_text([product(m)]),
        "shape": shape_text(made),
        "dtype": "/".join(dict.fromkeys(DTYPES[n.dtype].short for n in made)),
        "work": work_text(m),
        "note": m.note,
        "part": main_part(m),
        "parts_of": [p for p in (FORWARD, BACKWARD, UPDATE) if p in parts_in(m)],
        "items": items.of(m.nodes),
        "places": shares(m, items),
    }


def parts_in(m: Launch) -> Counter[str]:
    """How much of a kernel's work is of the forward and of the backward part, and updates."""
    found: Counter[str] = Counter()
    for n in m.nodes:
        if n.op.kind not in (Kind.VIEW, Kind.SOURCE):
            found[part(origins(n))] += node_cost(n) + 1
    return found or Counter({part([o for n in m.nodes for o in origins(n)]): 1})


def main_part(m: Launch) -> str:
    """The part that most of a kernel's work belongs to; the earlier one of equals."""
    found = parts_in(m)
    return max((FORWARD, BACKWARD, UPDATE), key=lambda p: found[p])


def shares(m: Launch, items: Items) -> list[tuple[int, float]]:
    """Which share of a kernel's work comes from which place, by the work of its nodes; a copy's
    from those of its readers.
    """
    weights: dict[int, float] = {}
    for n in m.nodes:
        found = [items.place(o) for o in origins(n)]
        for k in found:
            weights[k] = weights.get(k, 0) + (1 + node_cost(n)) / len(found)
    if not weights:
        weights = {p: 1 for k in items.of(m.nodes) for p in items.table[k]["places"]}
    total = sum(weights.values()) or 1
    return [(k, round(w / total, 4)) for k, w in weights.items()]


def access(m: Launch, numbers: Mapping[int, int]) -> dict[str, Any]:
    """The buffers that a kernel reads and writes."""
    written = {numbers[id(m.accesses[i].buffer)] for i in m.writes}
    read = [a for i, a in enumerate(m.accesses) if i not in m.writes]
    return {
        "writes": sorted(written),
        "reads": sorted({numbers[id(a.buffer)] for a in read} - {-1}),
    }


# -- costs -----------------------------------------------------------------------------------------


def costs(
    inspection: Inspection,
    cost: LaunchCost,
    member: int,
    number: int,
    profile: Profile | None,
    taken: Mapping[tuple[int, int], float],
) -> dict[str, Any]:
    """Operations and bytes; after a profile the time, and what it is bound by.

    Where kernels share a launch, its time is divided by those of their parts, else by what each
    must do at least.
    """
    members, steps = cost.launch.members, inspection.plan.steps(number)
    flops = divided(cost.flops, [sum(map(node_cost, m.nodes)) for m in members])
    bytes = [steps * traffic(m) for m in members]
    found: dict[str, Any] = {"flops": round(flops[member]), "bytes": bytes[member]}
    if profile is not None:
        work = [max(f / OPERATIONS, b) for f, b in zip(flops, bytes, strict=True)]
        if taken:
            work = [taken.get((number, k), 0.0) for k in range(len(members))]
        seconds = divided(profile.timing.launches[number], work)[member]
        slow = profile.slow(flops[member], members[member].nodes)
        row = profile.row(cost.launch.name, seconds, found["flops"], slow, bytes[member])
        found |= {"us": round(1e6 * seconds, 3), "roof": round(row.roofline, 4), "bound": row.hint}
    return found


def divided(total: float, weights: Sequence[float]) -> list[float]:
    """A total in shares of these weights; equal ones if all are 0."""
    whole = sum(weights)
    return [total * w / whole if whole else total / len(weights) for w in weights]


def card(inspection: Inspection, kernel: int, blocks: int) -> dict[str, Any]:
    """What a kernel takes of a device."""
    c = inspection.cards[kernel]
    return {
        "architecture": c.architecture, "blocks": blocks, "threads": c.threads,
        "registers": c.registers, "spills": c.spills, "shared": c.shared,
        "occupancy": round(c.occupancy, 3), "excess": c.excess,
    }  # fmt: skip
