"""Where a program's time goes: each launch against what the processor could do at best."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..graph.ir import Node
from ..graph.op import Kind
from ..graph.origins import origins
from ..plan.records.cost import LaunchCost, node_cost
from ..plan.records.device import Roofline, Timeline
from .advice import advice

SMALL = 2e-6  # seconds; a launch that could not take longer at best is bound by being launched
ROWS = 40  # of a table; the rest is summed
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians: seconds of each launch, summed over threads, and of a whole run by the clock; where
    the backend tells, one run in detail, and seconds of each part of a launch.
    """

    launches: list[float]
    seconds: float
    roofline: Roofline
    timeline: Timeline | None = None
    parts: Mapping[tuple[int, int], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A launch, or several.

    Attributes:
        seconds: summed over threads.
        share: of all launches' time.
        roofline: the time that the operations or the bytes take at best, over the time taken; above
            1 where data came from a cache.
        places: scopes or lines that it comes from.
        hint: ``compute``, ``memory``, ``cache`` (memory that is near) or ``launch`` bounds it.
        device: that runs it, in a program that is placed.
    """

    name: str
    seconds: float
    share: float
    flops: int
    bytes: int
    roofline: float
    hint: str
    places: tuple[str, ...] = ()
    device: str = ""

    @property
    def gflops(self) -> float:
        """Billions of operations per second of one thread."""
        return self.flops / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def bandwidth(self) -> float:
        """GB/s of one thread."""
        return self.bytes / self.seconds / 1e9 if self.seconds else 0.0


class Profile:
    """A program's launches with their times; ``print`` it.

    Attributes:
        seconds: a whole run, by the clock.
        launches: a Row for each launch, in the order of the plan.
        scopes: a Row for each of the outermost scopes: a launch counts for each by its nodes' work.
        devices: a Row for each device of a program that is placed.
        why: how each convolution is computed and why, by where it is.
    """

    def __init__(
        self,
        name: str,
        timing: Timing,
        costs: Sequence[LaunchCost],
        names: Sequence[str] = (),
        why: Mapping[str, str] | None = None,
    ):
        self.name, self.timing, self.costs, self.names = name, timing, list(costs), tuple(names)
        self.why = why or {}
        self.seconds, self.peak = timing.seconds, timing.roofline
        self.total = sum(timing.launches) or 1e-12

    @cached_property
    def launches(self) -> list[Row]:
        rows = []
        for c, seconds in zip(self.costs, self.timing.launches, strict=True):
            slow, places = self.slow(c.flops, c.launch.nodes), launch_places(c)
            name, device = c.launch.name, self.device(c)
            rows.append(self.row(name, seconds, c.flops, slow, c.bytes, places, device))
        return rows

    @cached_property
    def scopes(self) -> list[Row]:
        return self.summed(shares)

    @cached_property
    def devices(self) -> list[Row]:
        return self.summed(lambda cost: {self.device(cost): 1.0}) if self.names else []

    def device(self, cost: LaunchCost) -> str:
        return self.names[cost.launch.device] if self.names else ""

    def summed(self, shares: Callable[[LaunchCost], dict[str, float]]) -> list[Row]:
        """Launches summed over what ``shares`` says they belong to, and to which part."""
        sums: dict[str, list[float]] = {}
        for cost, seconds in zip(self.costs, self.timing.launches, strict=True):
            for name, part in shares(cost).items():
                entry = sums.setdefault(name, [0.0, 0.0, 0.0, 0.0])
                slow = self.slow(cost.flops, cost.launch.nodes)
                for i, value in enumerate((seconds, cost.flops, slow, cost.bytes)):
                    entry[i] += part * value
        return [self.row(name, s, int(f), w, int(b)) for name, (s, f, w, b) in sums.items()]

    def slow(self, flops: float, nodes: Iterable[Node]) -> float:
        """As many operations of float32 as take the time of these ones, at best."""
        anchors = [n for n in nodes if n.op.kind is Kind.ANCHOR]
        times = {n: self.peak.times.get(n.inputs[0].dtype, 1.0) for n in anchors}
        return max(flops - sum(node_cost(n) * (1 - 1 / t) for n, t in times.items()), 0.0)

    def row(
        self,
        name: str,
        seconds: float,
        flops: int,
        slow: float,
        bytes: int,
        places: tuple[str, ...] = (),
        device: str = "",
    ) -> Row:
        compute = slow * self.peak.threads / self.peak.flops
        memory = bytes * self.peak.threads / self.peak.bandwidth
        bound = max(compute, memory)
        fraction = bound / seconds if seconds else 0.0
        if bound < SMALL and fraction < 0.5:
            hint = "launch"
        elif compute >= memory:
            hint = "compute"
        else:
            hint = "memory" if fraction <= 1 else "cache"
        share = seconds / self.total
        return Row(name, seconds, share, flops, bytes, fraction, hint, places, device)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes one call as a trace, which https://ui.perfetto.dev and chrome://tracing open: what
        each thread did when, waits included.

            program.profile(images).save("trace.json")

        Raises:
            ValueError: the backend does not tell what its threads do.
        """
        from .trace import trace_text

        if self.timing.timeline is None:
            raise ValueError(f"{self.name}: its backend records no timeline, so there is no trace")
        launches = [cost.launch for cost in self.costs]
        target = Path(path)
        target.write_text(trace_text(self.name, self.timing.timeline, self.launches, launches))
        return target

    # ------------------------------------------------------------------ text

    def __str__(self) -> str:
        slow = sorted(self.launches, key=lambda r: -r.seconds)
        text = [self.head(), "", *table("launch", slow[:ROWS])]
        if len(slow) > ROWS:
            rest = sum(r.share for r in slow[ROWS:])
            text.append(f"{len(slow) - ROWS} more launches take {100 * rest:.1f} %")
        for title, rows in (("scope", self.scopes), ("device", self.devices)):
            if rows:
                text += ["", *table(title, sorted(rows, key=lambda r: -r.seconds)[:ROWS])]
        return "\n".join([*text, "", *advice(self)])

    __repr__ = __str__

    def head(self) -> str:
        threads, flops = self.peak.threads, sum(c.flops for c in self.costs)
        busy = self.total / (self.seconds * threads)
        return (
            f"{self.name}: {1e3 * self.seconds:,.3f} ms, {flops / self.seconds / 1e9:,.1f} GFLOP/s "
            f"on {threads} thread{'s' * (threads > 1)}, which kernels keep busy for "
            f"{100 * min(busy, 1):.0f} %\n"
            f"roofline: {self.peak.flops / 1e9:,.0f} GFLOP/s{self.narrow()}, "
            f"{self.peak.bandwidth / 1e9:,.0f} GB/s from memory; rates below are of one thread"
        )

    def narrow(self) -> str:
        """The peaks of narrower products that the program has, as text."""
        anchors = (n for c in self.costs for n in c.launch.nodes if n.op.kind is Kind.ANCHOR)
        found = dict.fromkeys(n.inputs[0].dtype for n in anchors)
        texts = [
            f"{self.peak.flops * self.peak.times[dtype] / 1e9:,.0f} in {dtype}"
            for dtype in found
            if dtype in self.peak.times
        ]
        return f" ({', '.join(texts)})" if texts else ""

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table

        parts: list[Any] = [self.head()]
        tables = {"launch": self.launches, "scope": self.scopes, "device": self.devices}
        for title, rows in tables.items():
            if not rows:
                continue
            slow = sorted(rows, key=lambda r: -r.seconds)[:ROWS]
            head, *body = columns(title, slow)
            shown = Table(box=None, title_justify="left")
            for name in head:
                shown.add_column(name, justify="left" if name in (title, *LEFT) else "right")
            for row, line in zip(slow, body, strict=True):
                shown.add_row(*line, style="bold" if row.share > 0.1 else "")
            parts += ["", shown]
        return Group(*parts, "", "\n".join(advice(self)))

    def _repr_markdown_(self) -> str:
        return f"```\n{self}\n```"


HEAD = ("us", "share", "GFLOP/s", "GB/s", "roofline", "bound by", "on", "from")
LEFT = ("bound by", "on", "from")


def cells(row: Row) -> tuple[str, ...]:
    """A row's numbers as text, in the order of HEAD."""
    return (
        f"{1e6 * row.seconds:,.1f}",
        f"{100 * row.share:.1f} %",
        f"{row.gflops:,.1f}",
        f"{row.bandwidth:,.1f}",
        f"{100 * row.roofline:.0f} %",
        f"{row.hint}, Winograd" if is_above_by_winograd(row) else row.hint,
        row.device,
        "; ".join(row.places),
    )


def is_above_by_winograd(row: Row) -> bool:
    """Whether a launch is above 100 % since it computes fewer operations than are counted."""
    return row.roofline > 1.005 and row.hint == "compute" and "winograd" in row.name


def columns(title: str, rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """A head and a line of text for each row, without columns that are empty."""
    body = [(r.name, *cells(r)) for r in rows]
    kept = [k for k in range(1 + len(HEAD)) if any(line[k] for line in body)]
    return [tuple(line[k] for k in kept) for line in ((title, *HEAD), *body)]


def table(title: str, rows: Sequence[Row]) -> list[str]:
    """Rows under a head, in 100 columns."""
    lines = columns(title, rows)
    left = [k for k, name in enumerate(lines[0]) if name in (title, *LEFT)]
    widths = [min(max(len(line[k]) for line in lines), 30) for k in range(len(lines[0]) - 1)]
    text = []
    for line in lines:
        fields = [
            f"{value[:w]:<{w}}" if k in left else f"{value:>{w}}"
            for k, (value, w) in enumerate(zip(line, widths, strict=False))
        ]
        text.append("  ".join([*fields, line[-1]])[:WIDTH].rstrip())
    return text


def launch_places(cost: LaunchCost) -> tuple[str, ...]:
    """Where a launch comes from: scopes, then the user's lines of nodes outside of all scopes."""
    places = [o for m in cost.launch.members for n in m.nodes for o in origins(n)]
    plain = {o.scope for o in places if o.scope and not o.how}
    scopes = (
        f"{o.how} {o.scope}".lstrip()
        for o in places
        if o.scope and (not o.how or o.scope not in plain)
    )
    return tuple(dict.fromkeys((*scopes, *(str(o) for o in places if not o.scope))))


def shares(cost: LaunchCost) -> dict[str, float]:
    """How much of a launch belongs to each outermost scope, by the work of its nodes."""
    weights: dict[str, float] = {}
    for n in (n for m in cost.launch.members for n in m.nodes):
        scope = next((o.scope.split(".")[0] for o in origins(n) if o.scope), "")
        weights[scope or "(no scope)"] = weights.get(scope or "(no scope)", 0) + 1 + node_cost(n)
    total = sum(weights.values())
    return {scope: weight / total for scope, weight in weights.items()}
