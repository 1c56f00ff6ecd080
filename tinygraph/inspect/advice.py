"""What to do next after a profile: where most is to be gained, how far that is from the limit, and
which option to try.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import TYPE_CHECKING

from ..graph.op import Kind
from ..graph.origins import origins
from ..plan.records.cost import node_cost
from ..plan.records.plan import Launch
from ..plan.records.work import Emitted
from .remarks import place
from .words import is_convolution, layer, what

if TYPE_CHECKING:
    from .profile import Profile, Row

WIDTH = 100
SHOWN = 3  # launches
WORTH = 0.02  # of the time of all launches: less is not worth a line
IDLE = 0.3  # of the threads' time that is worth a line
GOOD = 0.8  # of the roofline: nothing to do
CLOSE = 1.25  # times as long, as an estimate: worth to be tried


def advice(profile: Profile) -> list[str]:
    """The last lines of a profile."""
    text = [f"- {line}" for line in (*launches(profile), *threads(profile), *above(profile))]
    if not text:
        return ["next: nothing stands out; all launches that matter are near what is possible"]
    folded = [f for line in text for f in wrap(line, WIDTH, subsequent_indent="  ")]
    return ["next, by what could be gained at most:", *folded]


def launches(profile: Profile) -> Iterator[str]:
    """Those that could become shorter by most, and one line for all that are bound by being
    launched.
    """
    rows = list(zip(profile.launches, profile.costs, strict=True))
    small = [row for row, _ in rows if row.hint == "launch"]
    far = [(row, cost.launch) for row, cost in rows if row.hint != "launch"]
    far.sort(key=lambda pair: -gain(pair[0]))
    for row, launch in far[:SHOWN]:
        if row.roofline < GOOD and gain(row) > WORTH * profile.total:
            yield one(row, launch, gain(row) / profile.total, profile.why)
    share = sum(row.share for row in small)
    if share > 0.1:
        yield (
            f"{len(small)} launches are too small to matter by themselves and take "
            f"{100 * share:.0f} %: a larger batch, or several inputs in one call, makes them longer"
        )


def gain(row: Row) -> float:
    """Seconds that a launch would not take at its roofline."""
    return row.seconds * max(0.0, 1 - row.roofline)


def one(row: Row, launch: Launch, share: float, why: Mapping[str, str]) -> str:
    nodes = [n for m in launch.members for n in m.nodes]
    names = list(dict.fromkeys(what(m) for m in launch.members))
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    title = f"{layer(nodes)} {' and '.join(names[:2])}{more}".strip()
    head = (
        f"{title}: {100 * row.roofline:.0f} % of its limit, up to {100 * share:.0f} % of the time"
    )
    return f"{head} to gain; {option(row, launch, why)}"


def option(row: Row, launch: Launch, why: Mapping[str, str]) -> str:
    """What to try, or where to read on."""
    main = max(launch.members, key=lambda m: sum(map(node_cost, m.nodes)))
    name = next((o.scope for n in main.nodes for o in origins(n) if o.scope), "")
    ask = f'explain("{name}")' if name else "remarks"
    if (other := other_way(main, why)) is not None:
        layer, way = other
        return f'compile(conv={{"{layer}": "{way}"}}) computes it the other way'
    if row.hint == "compute":
        return f"{ask} says how its product is computed; sizes that fill its tile make it faster"
    return f"it moves {row.bytes / 1e6:,.2f} MB, and {ask} says why these are not in one kernel"


def other_way(m: Launch, why: Mapping[str, str]) -> tuple[str, str] | None:
    """The layer of a convolution, and the way to compute it that the planner did not choose, unless
    that is not possible or was estimated to take longer.
    """
    for n in m.nodes:
        scope = next((o.scope for o in origins(n) if o.scope), n.name)
        if n.op.kind is not Kind.ANCHOR or not is_convolution(n) or not scope:
            continue
        if isinstance(m.work, Emitted):
            return scope, "implicit"
        found = re.search(r"estimated at (\d+\.\d+)", why.get(place(n), ""))
        if found and float(found[1]) < CLOSE:
            return scope, "winograd"
    return None


def threads(profile: Profile) -> Iterator[str]:
    """Whether threads have too little to do."""
    count = profile.peak.threads
    busy = profile.total / (profile.seconds * count)
    if count > 1 and busy < 1 - IDLE:
        yield (
            f"{count} threads are busy for {100 * busy:.0f} %: the timeline of view() shows what "
            "they wait for; a larger batch gives them more to do at a time"
        )


def above(profile: Profile) -> Iterator[str]:
    """Why some shares are above 100 %."""
    over = [(row, cost.launch) for row, cost in zip(profile.launches, profile.costs, strict=True)
            if row.roofline > 1.005]  # fmt: skip
    why = dict.fromkeys(
        "Winograd computes fewer operations than are counted" if row.hint == "compute" and
        any(isinstance(m.work, Emitted) for m in launch.members) else
        "their bytes come from a cache, which is faster than memory" if row.hint == "cache" else
        "the peak was measured while the processor was slower, or had other work"
        for row, launch in over
    )  # fmt: skip
    if over:
        count = f"{len(over)} launch{'es are' if len(over) > 1 else ' is'}"
        yield f"{count} above 100 % of their limit: {'; or '.join(why)}"
