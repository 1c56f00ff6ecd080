"""How well the parts of a plan fill any number of threads: a run in thought, part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapreplace

from ..codegen.assemble import loops_of
from ..codegen.program import in_order
from ..plan.records.plan import Launch, Plan

PartTimes = Callable[[Launch], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Forecast:
    """A run on some threads.

    Attributes:
        work: the time of all parts together; ``time``: until the last is done. In one unit.
    """

    threads: int
    work: float
    time: float

    @property
    def utilization(self) -> float:
        """The share of the threads' time in which they run parts."""
        return self.work / (self.threads * self.time) if self.time else 1.0


def forecast(plan: Plan, times: PartTimes, threads: int) -> Forecast:
    """List scheduling: parts are claimed in order by the thread that is free first, and begin when
    the launches are done that theirs waits for.

    Args:
        plan: one without devices, whose launches all threads share.
        times: estimates for the parts of a launch, in their order.
        threads: from 1.

    Raises:
        ValueError: there are no threads, or each launch has a thread of its own.
    """
    if threads < 1:
        raise ValueError(f"a forecast requires at least one thread, got {threads}")
    if plan.devices:
        raise ValueError(f"{plan.name} is placed on devices, each of which is one thread")
    parts = [[t for m in x.members for t in times(m)] for x in plan.launches]
    done = [0.0] * len(parts)  # when each launch was, the last time
    free = [0.0] * threads
    for number, step in in_order(len(parts), loops_of(plan)):
        launch = plan.launches[number]
        before = (*launch.waits, *(launch.back if step else ()))
        ready, end = max((done[w] for w in before), default=0.0), 0.0
        for duration in parts[number]:
            finish = max(free[0], ready) + duration
            heapreplace(free, finish)
            end = max(end, finish)
        done[number] = end
    work = sum(plan.steps(number) * sum(each) for number, each in enumerate(parts))
    return Forecast(threads, work, max(done, default=0.0))
