"""Prepared values that are a parameter in another order, from which it can be read back."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..graph.dtype import DTYPES
from ..plan.records.plan import Plan
from ..plan.records.work import SLACK, Access, Load, Nest, Put, Stage
from .program import Rearranged


def rearranged(plan: Plan) -> tuple[Rearranged, ...]:
    """What launches that prepare a run only copy, in their order."""
    works = (m.work for launch in plan.prepare for m in launch.members)
    found = (of_copy(w) for w in works if isinstance(w, Nest))
    return tuple(x for x in found if x is not None)


def of_copy(nest: Nest) -> Rearranged | None:
    """None if it does anything else, or leaves out some of the parameter."""
    if len(nest.operands) != 2 or len(nest.stages) != 1 or not is_copy(nest.stages[0]):
        return None
    source, target = nest.operands
    whole = source.buffer.home == "parameter" and not source.offset and not source.step
    if not whole or target.buffer.home != "prepared" or source.dtype != target.dtype:
        return None
    axes = axes_of(nest, source, target)
    item = DTYPES[source.dtype].bytes
    if axes is None or not is_dense(axes, (source.buffer.bytes - SLACK) // item):
        return None
    parts = [p for axis in axes for p in axis.parts]
    return Rearranged(
        source.buffer.number,
        target.buffer.offset + target.offset * item,
        tuple(size for size, _ in parts),
        tuple(stride for _, stride in parts),
        tuple(prod(size for size, _ in axis.parts) for axis in axes),
        tuple(axis.size for axis in axes),
    )


def is_copy(stage: Stage) -> bool:
    """True if it stores what it loads, each element once."""
    if stage.inner:
        return False
    match stage.outer:
        case (Load(name, 0), Put(1, value)):
            return name == value
    return False


@dataclass(frozen=True, slots=True)
class StoredAxis:
    """Of a parameter's memory: its size and stride there; its parts in the copy, each a size and a
    stride, outermost first.
    """

    size: int
    stride: int
    parts: tuple[tuple[int, int], ...]


def axes_of(nest: Nest, source: Access, target: Access) -> list[StoredAxis] | None:
    """The axes of a copy, outermost first in the source; None if it reads some of them otherwise
    than block by block.
    """
    found, guarded = list[StoredAxis](), set[int]()
    for guard in source.guards:
        terms = sorted(guard.index.terms, key=lambda term: -term[1])
        sizes = [nest.axes[a] for a, _ in terms]
        steps = [prod(sizes[i + 1 :]) for i in range(len(sizes))]
        plain = guard.load is None and not guard.index.constant and guard.index.divisor == 1
        if not plain or [c for _, c in terms] != steps or prod(sizes) < guard.size:
            return None
        parts = tuple((nest.axes[a], target.strides[a]) for a, _ in terms)
        found.append(StoredAxis(guard.size, guard.stride, parts))
        guarded |= {a for a, _ in terms}
    for a, size in enumerate(nest.axes):
        if a not in guarded and size > 1:
            found.append(StoredAxis(size, source.strides[a], ((size, target.strides[a]),)))
    return sorted(found, key=lambda axis: -axis.stride)


def is_dense(axes: list[StoredAxis], size: int) -> bool:
    """True if axes, outermost first, go through so many elements, each of them once."""
    inner = 1
    for axis in reversed(axes):
        if axis.stride != inner:
            return False
        inner *= axis.size
    return inner == size
