"""A plan that keeps every value that it stores, for comparing them with the interpreter."""

from __future__ import annotations

from .records.plan import Loop, Plan
from .records.work import Buffer


def keep_all(plan: Plan, outputs: int) -> list[Buffer]:
    """Changes a plan of ``outputs`` outputs: no two values share memory, and all can be read.

    What was in the arena or prepared becomes an output of its own, number ``outputs`` and up; what
    was prepared is computed in the run, before the rest. Kernels and their order stay the same.

    Returns:
        The buffers that became outputs, in the order of their numbers.
    """
    kept = [b for b in plan.buffers if b.home in ("arena", "prepared", "temporary")]
    for number, buffer in enumerate(kept, outputs):
        buffer.home, buffer.number, buffer.offset = "output", number, 0
    first = len(plan.prepare)
    for launch in plan.launches:  # those that wait for nothing wait for what is prepared
        launch.waits = tuple(w + first for w in launch.waits) or tuple(range(first))
        launch.back = tuple(w + first for w in launch.back)
    plan.loops = [Loop(x.first + first, x.last + first, x.length) for x in plan.loops]
    plan.chains = []
    plan.launches[:0], plan.prepare = plan.prepare, []
    plan.arena = plan.prepared = 0
    return kept
