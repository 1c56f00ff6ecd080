"""What a launch costs: operations by the operators' records, bytes by what its accesses touch.

Operations are those of the definition: a Winograd convolution counts as the direct one, so that
its rate can be compared. Bytes are compulsory traffic: each element that a launch touches, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import prod

from ...graph.dtype import DTYPES
from ...graph.ir import Node
from ...graph.op import Kind
from ...ops.collective import GATHER_SLICES, SHARD_SLICE, SHARD_SUM, summed_size
from ...ranks.collectives import gathered_bytes, sent_bytes, summed_bytes
from ...ranks.world import world
from .body import Statement
from .device import Card
from .plan import Launch, Plan
from .work import Access, Emitted, Fold, Nest, Special, Tile


@dataclass(frozen=True, slots=True)
class LaunchCost:
    """Floating-point operations of a launch, and bytes that it reads and writes.

    ``kernels``, on a device: how many blocks of which kernel it takes, in order.
    """

    launch: Launch
    flops: int
    bytes: int
    kernels: tuple[tuple[int, Card], ...] = ()


def node_cost(n: Node) -> int:
    """Floating-point operations of one node."""
    if not n.inputs or n.op.kind is Kind.RESULT:
        return 0
    if n.op.kind is Kind.LOOP:
        return int(n.attr("length")) * sum(map(node_cost, n.attr("body").nodes))
    if n.op.cost is not None:
        return int(n.op.cost(n.type, *[i.type for i in n.inputs], **dict(n.attrs)))
    return n.type.size


def multiply_adds(n: Node) -> int:
    """Products that are added up in one node: those of matrix products and convolutions."""
    if n.op.kind is Kind.LOOP:
        return int(n.attr("length")) * sum(map(multiply_adds, n.attr("body").nodes))
    if n.op.kind is Kind.COMPOSITE and n.op.written_out is not None:
        return sum(map(multiply_adds, between([n.op.written_out(n)], n.inputs)))
    return (node_cost(n) + n.type.size) // 2 if n.op.kind is Kind.ANCHOR else 0


def between(outputs: Iterable[Node], inputs: Iterable[Node]) -> list[Node]:
    """The nodes that outputs are computed by from inputs and from parameters."""
    done, stack = set(inputs), list(outputs)
    found = []
    while stack:
        n = stack.pop()
        if n not in done:
            done.add(n)
            found.append(n)
            stack.extend(n.inputs)
    return found


def costs(plan: Plan) -> list[LaunchCost]:
    """One record for each launch of a run, in order; of a loop's, for all steps."""
    flops: dict[int, int] = {}
    inside = {i for x in plan.loops for i in range(x.first, x.last)}
    outside = [x for i, x in enumerate(plan.launches) if i not in inside]
    for launches in (outside, *(plan.launches[x.first : x.last] for x in plan.loops)):
        members = [m for launch in launches for m in launch.members]
        flops |= zip(map(id, members), _flops(members), strict=True)
    return [
        LaunchCost(
            x,
            plan.steps(number) * sum(flops[id(m)] for m in x.members),
            plan.steps(number) * sum(map(traffic, x.members)),
        )
        for number, x in enumerate(plan.launches)
    ]


def _flops(launches: Sequence[Launch]) -> list[int]:
    """Where several launches compute the same nodes (phases of a stride), each gets its share; not
    those of several loops, whose bodies may be the same nodes.
    """
    weight = [_points(launch) if computes(launch) else 0 for launch in launches]
    total: Counter[tuple[Node, ...]] = Counter()
    for launch, points in zip(launches, weight, strict=True):
        total[launch.nodes] += points
    return [
        sum(map(node_cost, launch.nodes)) * points // total[launch.nodes] if points else 0
        for launch, points in zip(launches, weight, strict=True)
    ]


def computes(launch: Launch) -> bool:
    """True if a launch does more than copy."""
    if not isinstance(launch.work, Nest):
        return True
    steps = chain.from_iterable((*s.outer, *s.inner) for s in launch.work.stages)
    return any(isinstance(s, Statement | Fold) for s in steps)


def _points(launch: Launch) -> int:
    """The size of a launch's loops; what shares of one node's work are measured by."""
    if isinstance(launch.work, Nest):
        return max(1, prod(launch.work.axes))
    if isinstance(launch.work, Tile):
        sizes = launch.work.sizes
        return prod(sizes[axis] for axis in "gzymnrsk")
    if isinstance(launch.work, Emitted):
        return prod(map(prod, launch.work.boxes[:2]))
    return 1


def traffic(launch: Launch) -> int:
    """Bytes that a launch must read and write; what it reads twice counts once."""
    writes = launch.writes
    seen: dict[tuple, int] = {}
    for number, (access, sizes) in enumerate(sized_accesses(launch)):
        size = DTYPES[access.dtype].bytes
        touched = access.buffer.bytes
        if sizes is not None:
            touched = min(touched, size * elements(access, sizes))
        key = (number in writes, id(access.buffer), access.offset, access.strides, access.guards)
        seen[key] = max(touched, seen.get(key, 0))
    return sum(seen.values())


def sized_accesses(launch: Launch) -> Iterable[tuple[Access, Sequence[int] | None]]:
    """Every access, in the order of ``launch.accesses``, with its axes' sizes; None: all of it."""
    work = launch.work
    if isinstance(work, Nest):
        return [(a, work.axes) for a in work.operands]
    if isinstance(work, Tile):
        s = work.sizes
        rows, depth = [s["g"], s["z"], s["y"], s["m"]], [s["r"], s["s"], s["k"]]
        width, word = work.contraction.width, work.contraction.word
        step = work.column_step // word
        columns = Access(work.b.buffer, 0, (*work.b.strides, step), work.b.dtype)
        blocks = [s["g"], -(-s["n"] // width), *depth, word * min(width, s["n"])]
        rest = ((a, [*rows, s["n"]]) for a in launch.accesses[2:])
        a = work.a if word == 1 else replace(work.a, strides=(*work.a.strides, 1))
        return [(a, [*rows, *depth, *[word] * (word > 1)]), (columns, blocks), *rest]
    if isinstance(work, Emitted):
        return list(zip(work.operands, work.boxes, strict=True))
    if isinstance(work, Special):
        return list(zip(work.operands, work.shapes, strict=True))
    return [(a, None) for a in launch.accesses]


def elements(access: Access, sizes: Sequence[int]) -> int:
    """How many different elements an access reaches; overlapping windows count once.

    Axes by rising stride: one that is not longer than the run so far makes the run longer, any
    other repeats it. Exact for windows over dense images, never too small otherwise.
    """
    axes: Counter[int] = Counter()  # stride -> steps beyond the first position
    for size, stride in zip(sizes, access.strides, strict=False):
        axes[abs(stride)] += size - 1
    for guard in access.guards:
        reach = sum(abs(c) * (sizes[a] - 1) for a, c in guard.index.terms)
        axes[abs(guard.stride)] += min(guard.size - 1, reach if guard.load is None else guard.size)
    run, repeated = 1, 1
    for stride, steps in sorted(axes.items()):
        if stride == 0:
            continue
        if stride <= run:
            run += steps * stride
        else:
            repeated *= steps + 1
    return run * repeated


def communicated(plan: Plan) -> int:
    """Bytes that a rank sends in a run, to others that compute together with it."""
    return sum(
        plan.steps(number) * _sent(n)
        for number, launch in enumerate(plan.launches)
        if isinstance(launch.work, Special) and launch.ordered
        for n in launch.nodes
        if n.op is launch.work.op
    )


def _sent(n: Node) -> int:
    if n.op in (SHARD_SUM, SHARD_SLICE):
        shards, gathers = int(n.attr("shards")), n.op is SHARD_SUM
        return summed_bytes(world(), summed_size(n), shards, gathers)
    if n.op is GATHER_SLICES:
        return gathered_bytes(world(), n.inputs[0].type.bytes)
    return sent_bytes(n.op.name, n.type.bytes, int(n.attr("ranks")))
