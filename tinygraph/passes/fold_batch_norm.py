"""Per-channel scale and shift after a convolution or matmul move into its weights.

(conv(x, w) + b) * s + t becomes conv(x, w * s) + (b * s + t), where b, s and t depend on parameters
and constants only: so do w * s and b * s + t, and the planner prepares them outside of the run. In
training, batch norm's scale depends on the batch and nothing moves. No convolution is computed
twice: every node in between has one reader.
"""

from __future__ import annotations

from collections.abc import Set

from ..graph.ir import Graph, Node, among
from ..graph.op import INPUT, constant
from ..graph.origins import built_from, origins
from ..graph.rebuild import with_inputs
from ..graph.rewrite import Event, substitute
from ..ops.arithmetic import add, div, mul, neg, sub
from ..ops.conv import CONV2D, CONV3D
from ..ops.linalg import MATMUL
from ..ops.view import BROADCAST_TO, RESHAPE, reshape


def fold_batch_norm(graph: Graph, log: list[Event] | None = None) -> Graph:
    """Moves scales of channels into the weights of convolutions and matmuls."""
    fixed = fixed_nodes(graph)
    replacements: dict[Node, Node] = {}
    seen: set[Node] = set()
    for n in reversed(graph.nodes):
        if n in seen or n in fixed:
            continue
        members, anchor = _follow(n, graph, fixed)
        seen.update(members)
        if anchor is None or not any(m.op in (mul, div) for m in members):
            continue
        with built_from([o for m in members for o in origins(m)]):
            new = _folded(members, anchor, fixed)
        if new is not None:
            replacements[n] = new
            if log is not None:
                log.append(Event("fold_batch_norm", n, new))
    return substitute(graph, replacements)


def fixed_nodes(graph: Graph) -> set[Node]:
    """Nodes that depend on parameters and constants only."""
    fixed: set[Node] = set()
    for n in graph.nodes:
        if n.op is not INPUT and all(i in fixed for i in n.inputs):
            fixed.add(n)
    return fixed


def _follow(end: Node, graph: Graph, fixed: Set[Node]) -> tuple[list[Node], Node | None]:
    """The element-wise nodes from here down to an anchor with fixed weights, and that anchor."""
    members: list[Node] = []
    n = end
    while _axis(n, fixed) is None:
        moving = [i for i in n.inputs if i not in fixed]
        divides_by_it = n.op is div and n.inputs[0] in fixed
        if n.op not in (add, sub, mul, div, neg) or len(moving) != 1 or divides_by_it:
            return members, None
        members.append(n)
        n = moving[0]
        if n.shape != end.shape or len(graph.users[n]) != 1 or among(n, graph.outputs):
            return members, None
    return members, n


def _axis(n: Node, fixed: Set[Node]) -> int | None:
    """The axis of channels, if n is a matmul or a convolution's view with fixed weights."""
    if n.op is MATMUL and n.inputs[1] in fixed and n.inputs[1].ndim == 2:
        return n.ndim - 1
    if n.op is RESHAPE and n.inputs[0].op in (CONV2D, CONV3D) and n.inputs[0].inputs[1] in fixed:
        batch, groups, channels, *space = n.inputs[0].shape
        return 1 if n.shape == (batch, groups * channels, *space) else None
    return None


def _folded(members: list[Node], anchor: Node, fixed: Set[Node]) -> Node | None:
    """anchor with scaled weights, plus one shift; None if not the channels are scaled."""
    axis = _axis(anchor, fixed)
    assert axis is not None
    scale, shift = constant(1, anchor.dtype), constant(-0.0, anchor.dtype)
    for n in members:  # from the end to the anchor: end = n * scale + shift
        first, last = n.inputs[0], n.inputs[-1]
        operand = _per_channel(first if first in fixed else last, anchor, axis)
        if n.op is neg or (n.op is sub and first in fixed):
            scale = neg(scale)
        if n.op is neg:
            continue
        if operand is None:
            return None
        if n.op in (mul, div):
            scale = n.op(scale, operand)
        else:
            part = mul(operand, scale)
            shift = add(shift, part) if n.op is add else sub(shift, part)
    if not scale.ndim:  # one number costs nothing after the anchor, but an array in the weights
        return None
    return _shifted(_scaled(anchor, scale), shift, axis)


def _per_channel(n: Node, like: Node, axis: int) -> Node | None:
    """A fixed operand as (channels,) or (), if it varies along the channel axis only."""
    while n.op is BROADCAST_TO:
        n = n.inputs[0]
    aligned = (1,) * (like.ndim - n.ndim) + n.shape
    if any(size != 1 for a, size in enumerate(aligned) if a != axis):
        return None
    return reshape(n, () if aligned[axis] == 1 else (aligned[axis],))


def _scaled(anchor: Node, scale: Node) -> Node:
    if anchor.op is MATMUL:
        x, w = anchor.inputs
        return with_inputs(anchor, (x, mul(w, scale)))
    conv = anchor.inputs[0]
    x, w = conv.inputs
    factor = reshape(scale, (*w.shape[:2], *(1,) * (w.ndim - 2))) if scale.ndim else scale
    return with_inputs(anchor, (with_inputs(conv, (x, mul(w, factor))),))


def _shifted(y: Node, shift: Node, axis: int) -> Node:
    trailing = (1,) * (y.ndim - 1 - axis)
    return add(y, reshape(shift, (*shift.shape, *trailing)) if shift.ndim else shift)
