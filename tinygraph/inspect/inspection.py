"""What the compiler did, as text: stages, remarks, costs, and what became of one layer.

All of it comes from one record, the pipeline's ``Compiled``: the graph after each pass with the
rules that were applied, the plan, the code.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from textwrap import fill
from typing import Any

from ..codegen.module import module_text
from ..codegen.program import KernelCode
from ..graph.diff import diff
from ..graph.dump import all_labels, dot, dump
from ..graph.ir import Node, Parameter
from ..graph.origins import origins
from ..plan.records.cost import LaunchCost, communicated, costs
from ..plan.records.device import Card
from .cards import cards_text
from .explain import explain
from .fused import choices, fused_text, largest
from .plan_text import plan_text
from .planning import planner_steps, planning_text
from .profile import Profile, Timing
from .record import Compiled, Snapshot
from .remark_list import Remarks, remarks_text
from .remarks import Remark, card_remarks, grouped, places, plan_remarks, step_remarks

LARGEST = 6  # kernels in a summary
ENDINGS = {"fused": "txt", "plan": "txt", "cards": "txt", "source": "py"}  # of files
TAKEN = ("registers", "spills", "shared")  # of a card, in a program's cost
WRITTEN: Counter[Path] = Counter()  # folders of this process' programs


class Inspection:
    """Reads the record of a compiled program.

    Attributes:
        compiled: the record.
        parameters: of the program, in the order in which the plan numbers them.
        cards: what each kernel takes of a device; none for a processor.
        inner_loop: gives the machine code of a kernel's innermost loop, for a backend that can.
        names: what nodes of the optimized graph are called in dumps.
    """

    def __init__(
        self,
        compiled: Compiled,
        parameters: Sequence[Parameter],
        cards: Sequence[Card] = (),
        inner_loop: Callable[[KernelCode], str] | None = None,
    ):
        self.compiled, self.parameters = compiled, tuple(parameters)
        self.cards, self.inner_loop = tuple(cards), inner_loop
        self.steps, self.plan, self.code = compiled.steps, compiled.plan, compiled.code
        self.names = all_labels(compiled.graph)

    # ------------------------------------------------------------------ stages

    @property
    def stages(self) -> tuple[str, ...]:
        """The names that ``dump`` takes: the graph as it was written and after each pass, the
        kernels that it became, their plan, source; cards, where kernels have some.
        """
        cards = ["cards"] * bool(self.cards)
        return (*(s.name for s in self.steps), "fused", "plan", *cards, "source")

    def dump(self, stage: str | None = None, *, lines: bool = False, scopes: bool = False) -> str:
        """A stage as text; by default the optimized graph."""
        if stage == "fused":
            return fused_text(
                self.plan, self.compiled.graph, self.costs, self.parameter_bytes, lines
            )
        if stage == "plan":
            return plan_text(self.plan, lines)
        if stage == "cards" and self.cards:
            return cards_text(self.plan.name, self.costs)
        if stage == "source":
            return module_text(self.code, self.plan, self.compiled.graph, lines)
        return dump(self.step(stage).graph, lines=lines, scopes=scopes)

    def step(self, stage: str | None) -> Snapshot:
        """The step of a pass; by default the last one."""
        for step in self.steps if stage is not None else self.steps[-1:]:
            if stage in (None, step.name):
                return step
        close = difflib.get_close_matches(str(stage), self.stages, 1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"no stage {stage!r}; {guess}there is {', '.join(self.stages)}")

    def diff(self, stage: str | None = None, since: str | None = None) -> str:
        """The changes of a pass, or of all passes after the stage ``since``; by default all."""
        after = self.step(stage)
        number = self.steps.index(after)
        one = since is None and stage is not None
        before = self.steps[max(number - 1, 0)] if one else self.step(since or self.steps[0].name)
        return diff(before.graph, after.graph, (before.name, after.name))

    def dot(self, stage: str | None = None) -> str:
        """The graph after a pass, for Graphviz."""
        return dot(self.step(stage).graph)

    def to_networkx(self) -> Any:
        """The optimized graph; ``launches`` of a node are the numbers of those that compute it."""
        from .networkx_graph import to_networkx

        result = to_networkx(self.compiled.graph)
        where: dict[Node, list[int]] = {}
        for number, launch in enumerate(self.plan.launches):
            for n in dict.fromkeys(n for m in launch.members for n in m.nodes):
                where.setdefault(n, []).append(number)
        for n in self.compiled.graph.nodes:
            inside = {k for body in n.bodies for m in body.nodes for k in where.get(m, ())}
            where[n] = sorted(inside.union(where.get(n, ())))
        for _, data in result.nodes(data=True):
            numbers = where.get(data["node"], [])
            data["launches"] = numbers
            data["kernels"] = [self.plan.launches[k].name for k in numbers]
            data["lines"] = [str(o) for o in origins(data["node"])]
        return result

    def write(self, folder: Path) -> Path:
        """Writes every stage, and the remarks, as files into a folder with the program's name.

        A second program of this name in one process has a folder of its own.
        """
        target = folder / self.plan.name.replace("/", "_")
        WRITTEN[target] += 1
        if WRITTEN[target] > 1:
            target = target.with_name(f"{target.name}.{WRITTEN[target]}")
        target.mkdir(parents=True, exist_ok=True)
        for number, stage in enumerate(self.stages):
            ending = ENDINGS.get(stage, "graph")
            text = self.dump(stage, lines=True).rstrip("\n")
            (target / f"{number:02}-{stage}.{ending}").write_text(text + "\n")
        (target / "remarks.txt").write_text("\n".join(self.remarks) + "\n")
        return target

    # ------------------------------------------------------------------ remarks

    @cached_property
    def details(self) -> list[Remark]:
        """Every single remark, in the order of the network."""
        planned = plan_remarks(self.plan, self.compiled.graph, self.name)
        passes = (r for step in self.steps for r in step_remarks(step))
        return [*planned, *card_remarks(self.code.kernels, self.cards), *passes]

    @cached_property
    def remarks(self) -> Remarks:
        """Why neighbours are in two kernels, those first that cost most bytes; what the planner
        chose, what passes did. Remarks of one kind are one line.
        """
        label = lambda n: self.names.get(n, "?")  # noqa: E731
        screen = lambda: remarks_text(self.plan.name, self.details, label)  # noqa: E731
        return Remarks(grouped(self.details), screen)

    def name(self, n: Node) -> str:
        """A node as remarks call it: its label, its operator, the user's line."""
        where = places([n])
        return f"{self.names.get(n, '?')} {n.op.name}" + (f" ({where})" if where else "")

    # ------------------------------------------------------------------ costs

    @cached_property
    def costs(self) -> list[LaunchCost]:
        """Operations and bytes of each launch of a run, in order; on a device with the cards."""
        found = costs(self.plan)
        if not self.cards:
            return found
        return [
            replace(cost, kernels=tuple((w.parts, self.cards[w.kernel]) for w in call.work))
            for cost, call in zip(found, self.code.calls, strict=True)
        ]

    def cost(self) -> dict[str, int]:
        """Totals of a run; ``peak_bytes`` is all memory that a program holds while it runs.

        On a device also the most registers, spilled and shared bytes that one kernel takes.
        """
        home: Counter[str] = Counter()
        for b in self.plan.buffers:
            home[b.home] += b.bytes
        parameters = self.parameter_bytes
        held = home["input"] + home["output"] + home["constant"]
        return {
            "flops": sum(c.flops for c in self.costs),
            "bytes": sum(c.bytes for c in self.costs),
            "peak_bytes": self.plan.arena + self.plan.prepared + parameters + held,
            "arena_bytes": self.plan.arena,
            "live_bytes": self.plan.live_bound,
            "prepared_bytes": self.plan.prepared,
            "parameters": sum(p.type.size for p in self.parameters),
            "parameter_bytes": parameters,
            "input_bytes": home["input"],
            "output_bytes": home["output"],
            "transferred_bytes": sum(t.bytes for t in self.plan.transfers),
            "communicated_bytes": communicated(self.plan),
            "launches": len(self.plan.launches),
            "kernels": len(self.code.kernels),
            **{k: max(getattr(card, k) for card in self.cards) for k in TAKEN if self.cards},
        }

    @property
    def parameter_bytes(self) -> int:
        return sum(p.type.bytes for p in self.parameters)

    def summary(self) -> str:
        """The program on half a page: the kernels that have most to do, and totals."""
        c = self.cost()
        mb = {k: f"{v / 1e6:,.2f}" for k, v in c.items() if k.endswith("bytes")}
        before, after = (len(s.graph.nodes) for s in (self.steps[0], self.steps[-1]))
        changed = ", ".join(s.name for s in self.steps if s.events) or "none"
        passes = f"  passes   {before} nodes became {after}; at work: {changed}"
        return f"""\
{self.largest()}

  work     {c["flops"] / 1e6:,.2f} million operations, {mb["bytes"]} MB touched
  memory   {mb["peak_bytes"]} MB: {mb["arena_bytes"]} arena, {mb["parameter_bytes"]} parameters, \
{mb["prepared_bytes"]} prepared
  plan     {c["launches"]} launches, {len(self.plan.prepare)} when parameters have changed
{fill(passes, 100, subsequent_indent=" " * 11)}
  more     .view("page.html") .dump("fused") .dump("graph") .dump("plan") .dump("source")
           .remarks .cost() .profile(...) .explain("name")"""

    def largest(self) -> str:
        """The kernels that have most to do, as ``dump("fused")`` shows them."""
        found = largest(self.plan, self.compiled.graph, self.costs, LARGEST)
        rest = len(self.plan.launches) - LARGEST
        return "\n".join([*found, f"and {rest} smaller kernels"] if rest > 0 else found)

    def profile(self, timing: Timing) -> Profile:
        """A measurement joined with costs, nodes and lines."""
        return Profile(self.plan.name, timing, self.costs, self.plan.devices, choices(self.plan))

    def planning(self, step: str | None = None) -> str:
        """The planner's steps with their times, or what one of them left."""
        steps = planner_steps(self.compiled, self.names)
        if step is None:
            return planning_text(self.plan.name, steps)
        for found in steps:
            if found.name == step:
                return f"after {step}: {found.left}\n{found.text}\n"
        raise ValueError(f"no step {step!r}; there is {', '.join(s.name for s in steps)}")

    def explain(self, name: str, profile: Profile | None = None) -> str:
        """How a node, scope or parameter was compiled."""
        return explain(self, name, profile)
