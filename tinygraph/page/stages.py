"""The graph after each pass, and what the pass did to it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from ..graph.dump import SOURCES, all_labels
from ..inspect.record import Snapshot
from ..passes import PIPELINE, RULES
from .items import Items, StageLine

PASSES = {each.__name__: each for each in PIPELINE}
MEANING = {each.name: inspect.getdoc(each.build) or "" for each in RULES}
WRITTEN = "The graph as it was written: forward, gradients and updates."


def stages(steps: Sequence[Snapshot], items: Items) -> list[dict[str, Any]]:
    """For each step the items with their labels and operands, and what changed since the one
    before: ``added``, ``changed`` and ``gone`` items, rules with the items that they were used on.

    A step that changed nothing has the number of the one that it is ``like``, in place of items.
    """
    found: list[dict[str, Any]] = []
    for number, step in enumerate(steps):
        if number and items.stages[number] is items.stages[number - 1]:
            like = found[-1].get("like", number - 1)
            nothing: dict[str, Any] = {key: [] for key in ("added", "changed", "gone", "rules")}
            about_it = {"name": step.name, "about": about(step.name), "like": like}
            found.append(about_it | nothing)
        else:
            found.append(stage(steps, number, items))
    return found


def stage(steps: Sequence[Snapshot], number: int, items: Items) -> dict[str, Any]:
    step, mine = steps[number], items.stages[number]
    numbers, label = items.whole[number], all_labels(step.graph)
    old = items.whole[number - 1] if number else numbers
    change = items.changes[number]
    return {
        "name": step.name,
        "about": about(step.name) if number else WRITTEN,
        "items": list(mine),
        "labels": [label[line.node] for line in mine.values()],
        "reads": [operands(line, numbers) for line in mine.values()],
        "outputs": [numbers[o] for o in step.graph.outputs],
        "added": [numbers[n] for n in change.added],
        "changed": [numbers[n] for n in change.changed],
        "gone": [old[n] for n in change.gone],
        "rules": rules(step, old, numbers),
    }


def operands(line: StageLine, numbers: dict[Any, int]) -> list[int]:
    """The items that a line reads; for constants and parameters those that stand for them."""
    return [numbers[x] for x in line.operands if x in numbers]


def about(name: str) -> str:
    """The first sentence that a pass has about itself; nothing of a user's pass without one."""
    known = PASSES.get(name.partition(".")[0])
    text = (inspect.getdoc(known) or "") if known is not None else ""
    return " ".join(text.partition("\n\n")[0].split())


def rules(step: Snapshot, old: dict[Any, int], new: dict[Any, int]) -> list[dict[str, Any]]:
    """The rules that were applied, those used most often first: on which items, and what for."""
    found: dict[str, dict[str, Any]] = {}
    for event in step.events:
        rule = found.setdefault(
            event.rule,
            {"name": event.rule, "about": MEANING.get(event.rule, ""), "count": 0, "items": []},
        )
        rule["count"] += 1
        for n, numbers in ((event.before, old), (event.after, new)):
            if n.op not in SOURCES and numbers.get(n) is not None:
                rule["items"].append(numbers[n])
    for rule in found.values():
        rule["items"] = sorted({*rule["items"]})
    return sorted(found.values(), key=lambda rule: -rule["count"])
