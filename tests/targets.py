"""Processors that tests plan for, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinygraph.graph.ir import Graph, Parameter
from tinygraph.plan import schedule as planner
from tinygraph.plan.records.plan import Plan
from tinygraph.plan.records.target import Target
from tinygraph_cpu.processor import CpuTarget

WIDE = CpuTarget(lanes=16, registers=32)  # as with AVX-512
AMX = CpuTarget(lanes=16, registers=32, matrix=True)
NARROW = CpuTarget(lanes=8, registers=16)  # as with AVX2
SMALL = CpuTarget(lanes=4, registers=12)  # tiles whose edges small shapes straddle
NO_WINOGRAD = CpuTarget(winograd=False)


def schedule(
    graph: Graph,
    updates: Sequence[Parameter] = (),
    parameters: Sequence[Parameter] | None = None,
    target: Target | None = None,
    without: frozenset[str] = frozenset(),
    conv: Mapping[str, str] | None = None,
) -> Plan:
    """As the planner's, for WIDE unless there is another target."""
    return planner.schedule(graph, updates, parameters, target or WIDE, without, conv)
