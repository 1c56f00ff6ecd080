"""What to do next after a profile: where most is to be gained, how far that is from the limit, and
which option to try.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

from ..graph.op import Kind
from ..plan.records.plan import Emitted, Launch
from .words import is_convolution, layer, what

if TYPE_CHECKING:
    from .profile import Profile, Row

WIDTH = 100
SHOWN = 3  # launches
WORTH = 0.02  # of the time of all launches: less is not worth a line
IDLE = 0.3  # of the threads' time that is worth a line
GOOD = 0.8  # of the roofline: nothing to do


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
            yield one(row, launch, gain(row) / profile.total)
    share = sum(row.share for row in small)
    if share > 0.1:
        yield (
            f"{len(small)} launches are too small to matter by themselves and take "
            f"{100 * share:.0f} %: a larger batch, or several inputs in one call, makes them longer"
        )


def gain(row: Row) -> float:
    """Seconds that a launch would not take at its roofline."""
    return row.seconds * max(0.0, 1 - row.roofline)


def one(row: Row, launch: Launch, share: float) -> str:
    nodes = [n for m in launch.members for n in m.nodes]
    title = f"{layer(nodes)} {' and '.join(dict.fromkeys(what(m) for m in launch.members))}".strip()
    head = (
        f"{title}: {100 * row.roofline:.0f} % of its limit, up to {100 * share:.0f} % of the time"
    )
    return f"{head} to gain; {option(row, launch)}"


def option(row: Row, launch: Launch) -> str:
    """What to try, or where to read on."""
    nodes = [n for m in launch.members for n in m.nodes]
    place = layer(nodes)
    ask = f'explain("{place}")' if place else "remarks"
    if any(n.op.kind is Kind.ANCHOR and is_convolution(n) for n in nodes) and place:
        winograd = any(isinstance(m.work, Emitted) for m in launch.members)
        other = "implicit" if winograd else "winograd"
        return f'compile(conv={{"{place}": "{other}"}}) computes it the other way'
    if row.hint == "compute":
        return f"{ask} says how its product is computed; sizes that fill its tile make it faster"
    return f"it moves {row.bytes / 1e6:,.2f} MB, and {ask} says why these are not in one kernel"


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
        yield f"{len(over)} launches are above 100 % of their limit: {'; or '.join(why)}"
