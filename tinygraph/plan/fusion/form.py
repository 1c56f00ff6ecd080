"""Which nodes share a kernel: each joins the group of one of its inputs, or has one of its own.

It joins where it fits (``fit``), and where no path leads from the group to the node through another
group.
"""

from __future__ import annotations

from collections.abc import Callable

from ...graph.ir import Node, Parameter, among
from ...graph.op import Index, Kind
from ...ops.identity import STOP_GRADIENT
from ...ops.source import IOTA
from ..indexing.index import is_view, own, push
from ..indexing.reads import loops_of
from ..records.reason import Reason
from .fit import Fit, fit_elementwise, fit_reduction, fit_view
from .group import LIMIT, Group, Write
from .held import is_leading, is_merge
from .state import Fusion


def form(fusion: Fusion) -> None:
    """Assigns every node to a group, in the graph's order."""
    for n in fusion.graph.nodes:
        if n.op.kind is not Kind.SOURCE or n in fusion.held:
            assign(fusion, n)
    fusion.results = {fusion.root(n) for n in fusion.graph.outputs}


def assign(fusion: Fusion, n: Node) -> None:
    if n.op.kind is Kind.SOURCE:
        fusion.writers[n] = [fusion.copy(n)]
    elif n in fusion.narrowed:
        fusion.writers[n] = []
    elif n.op.kind is Kind.LOOP:
        fusion.fresh(n, (), ()).opaque = n
    elif n.op.kind is Kind.RESULT:
        fusion.writers[n] = fusion.writers[n.inputs[0]]
    elif is_view(n):
        if n in fusion.held:
            assign_view(fusion, n)
    elif n.op.kind is Kind.JOIN:
        assign_concat(fusion, n)
    elif n.op.kind in (Kind.OPAQUE, Kind.COMPOSITE):
        refuse(fusion, n, Reason.TEMPLATE)
        fusion.fresh(n, n.shape, own(n.shape)).opaque = n
    elif n.op.kind in (Kind.REDUCE, Kind.ANCHOR):
        assign_reduction(fusion, n)
    elif not join(fusion, n, fit_elementwise):
        fusion.fresh(n, n.shape, own(n.shape))


def join(fusion: Fusion, n: Node, fit: Callable[[Fusion, Node, Group], Fit | Reason]) -> bool:
    """Tries the groups of n's inputs, those with sums first, then the latest."""
    refused: dict[int, Reason] = {}
    for group in sorted(set(fusion.sources(n)), key=preference):
        if n in fusion.writers:
            refused[group.number] = Reason.JOINED
            continue
        found = closed(fusion, n, group) or fit(fusion, n, group)
        if isinstance(found, Fit) and fusion.cyclic(n, group):
            found = Reason.CYCLE
        if isinstance(found, Fit):
            enter(fusion, n, group, found)
        else:
            refused[group.number] = found
    for i in dict.fromkeys(fusion.root(i) for i in n.inputs):
        for group in fusion.writers.get(i, ()):
            if group.number in refused:
                fusion.refused.append((i, n, refused[group.number]))
    return n in fusion.writers


def refuse(fusion: Fusion, n: Node, reason: Reason) -> None:
    """Keeps n apart from all that compute its inputs."""
    roots = dict.fromkeys(fusion.root(i) for i in n.inputs)
    fusion.refused += [(i, n, reason) for i in roots if i in fusion.writers]


def preference(group: Group) -> tuple[bool, int]:
    """Sort key: an epilogue costs nothing, and what prepares its operands can still move in."""
    return (not group.reduce, -group.number)


def closed(fusion: Fusion, n: Node, group: Group) -> Reason | None:
    """Why a group takes no node like n, whatever its loops are."""
    if not fusion.enabled:
        return Reason.LEFT_OUT
    if group.device != fusion.device(n):
        return Reason.DEVICE
    if len(group.index) >= LIMIT:
        return Reason.SIZE
    kernel = group.opaque is not None and group.opaque.op.kind is Kind.COMPOSITE
    if kernel and is_view(n):  # such a kernel writes its result with any strides
        return None
    return Reason.TEMPLATE if group.opaque is not None or group.copy else None


def enter(fusion: Fusion, n: Node, group: Group, fit: Fit) -> None:
    fusion.add(group, n, fit.indices)
    if fit.folds is not None:
        fusion.reduction_axes[n] = fit.folds
        group.reduce = group.reduce or frozenset(a for i in fit.folds for a, _ in i.terms)


def assign_reduction(fusion: Fusion, n: Node) -> None:
    loops, rank = loops_of(n), len(n.shape)
    anchor = n.op.kind is Kind.ANCHOR and fusion.contracts(n)
    if anchor:
        refuse(fusion, n, Reason.ANCHOR)
    elif join(fusion, n, fit_reduction):
        return
    axes = (*n.shape, *loops.reduce)
    fusion.reduction_axes[n] = own(loops.reduce, rank)
    group = fusion.fresh(n, axes, own(n.shape))
    group.reduce = frozenset(range(rank, len(axes)))
    group.anchor = n if anchor else None
    group.windows = any(len(i.terms) > 1 or i.divisor > 1 for r in loops.reads for i in r.indices)


# -- views that hold their value, and concatenations -----------------------------------------------


def assign_view(fusion: Fusion, n: Node) -> None:
    """A view's value: in the group of what it is a view of, as another name for that memory, or
    copied.
    """
    x = n.inputs[0]
    if is_merge(n) and is_stored(fusion, x):
        fusion.aliases[n] = x
    elif not join(fusion, n, fit_view):
        indices = push(n, own(x.shape), x.shape) if is_merge(n) else own(n.shape)
        if indices is None and (isinstance(x, Parameter) or x in fusion.scattered):
            fusion.aliases[n] = row_major_copy(fusion, x)
        elif indices is None:
            fusion.aliases[n] = x
            fusion.housed.pop(x, None)  # its memory must be its own, in row-major order
        else:
            fusion.fresh(n, x.shape if is_merge(n) else n.shape, indices)


def is_stored(fusion: Fusion, x: Node) -> bool:
    """A source or a loop's result that is in memory in row-major order."""
    if is_leading(x):
        return is_stored(fusion, x.inputs[0])
    source = x.op.kind is Kind.SOURCE and x.op is not IOTA and not isinstance(x, Parameter)
    return (source and x not in fusion.scattered) or x.op.kind is Kind.RESULT


def row_major_copy(fusion: Fusion, p: Node) -> Node:
    """A copy of a source whose axes have an order of their own."""
    n = STOP_GRADIENT(p)
    if n not in fusion.held:
        fusion.held.add(n)
        fusion.fresh(n, n.shape, own(n.shape))
    return n


def assign_concat(fusion: Fusion, n: Node) -> None:
    """Every part is written where it belongs: by its producer if that is free to choose, by a copy
    otherwise, one for all parts of a shape.
    """
    axis, offset = n.attr("axis"), 0
    writers: list[Group] = []
    copying: dict[tuple[int, ...], Group] = {}
    for x in n.inputs:
        group = fusion.group_for(x, copying.get(x.shape))
        if group.copy:
            copying[x.shape] = group
        at = list(group.index[x])
        at[axis] = Index(at[axis].constant + offset, at[axis].terms)
        group.stores.append(Write(x, n, tuple(at)))
        if fusion.writers.get(x) == [group] and not among(x, fusion.aliases.values()):
            fusion.housed[x] = (n, axis, offset)
        writers.append(group)
        offset += x.shape[axis]
    fusion.writers[n] = list(dict.fromkeys(writers))
