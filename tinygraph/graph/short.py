"""Short forms of nodes in dumps, as users wrote them; each stands for exactly the same nodes.

    conv2d(x, w, b, stride=2, padding=1)   reshapes to five axes, the convolution, a reshape, an add
    conv2d(x, %5)                          the same where %5 has five axes already
    max_pool2d(x, kernel=3, stride=2)      window_max with kernel=(1,1,3,3), stride=(1,1,2,2), ...

``build`` makes the nodes of a form. A node is written in one only where ``build`` gives that very
node (equal nodes are one object), so that dumps parse back to the same graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .ir import Graph, Node
from .op import OPS
from .types import Type

CONVOLUTIONS = {  # where the operands have the axis of the groups, and the result
    "conv2d": ((1, 0), 1),
    "conv2d_input_gradient": ((1, 0), 1),
    "conv2d_weight_gradient": ((1, 1), 0),
}
POOL = "max_pool2d"
DECLARED = ("input", "parameter", "constant", "placeholder")  # where they are read


@dataclass(frozen=True, slots=True)
class ShortCall:
    """How a node is written.

    Attributes:
        inner: nodes that the form stands for besides the node itself.
        whole: those among them that nothing else may read.
    """

    name: str
    operands: tuple[Node, ...]
    attrs: tuple[tuple[str, Any], ...]
    inner: tuple[Node, ...] = ()
    whole: frozenset[Node] = frozenset()


class Written:
    """The lines of a graph's dump.

    Attributes:
        calls: how each node with a line is written, in the graph's order.
        shown: for each other node, the one whose line or label stands for it.
    """

    def __init__(self, graph: Graph):
        self.graph, self.outputs = graph, set(graph.outputs)
        self.shown: dict[Node, Node] = {}
        inside: dict[Node, set[Node]] = {}  # what forms stand for, with the nodes of the forms
        calls: dict[Node, ShortCall] = {}
        for n in reversed(graph.nodes):
            if n.op.name in DECLARED:
                continue
            if n in inside and self.hidden(n, inside[n]):
                owners = (m for m in inside[n] if m in calls and n in calls[m].whole)
                self.shown[n] = next(owners, n.inputs[0])
                continue
            call = short(n)
            if call is None or not all(self.alone(m) for m in call.whole):
                call = ShortCall(n.op.name, n.inputs, n.attrs)
            calls[n] = call
            for m in call.inner:
                inside.setdefault(m, set()).update((n, *call.inner))
        self.calls = dict(reversed(calls.items()))

    def alone(self, n: Node) -> bool:
        """Whether one node reads this one, and nobody calls it by a name."""
        return len(self.graph.users[n]) == 1 and n.name is None and n not in self.outputs

    def hidden(self, n: Node, forms: set[Node]) -> bool:
        """Whether nothing but forms reads a node."""
        unnamed = n.name is None and n not in self.outputs
        return unnamed and all(u in forms for u in self.graph.users[n])


def all_calls(graph: Graph) -> dict[Node, ShortCall]:
    """How nodes are written, also in the bodies of loops; only those that have a line."""
    found = Written(graph).calls
    for n in graph.nodes:
        for body in n.bodies:
            found |= all_calls(body)
    return found


def short(n: Node) -> ShortCall | None:
    """The short form of a node, if it has one."""
    call = _pooling(n) or _convolution(n) or _biased(n)
    if call is None:
        return None
    try:
        made = build(call.name, call.operands, dict(call.attrs), n.type)
    except (TypeError, ValueError):
        return None
    return call if made is n else None


def is_short(name: str, operands: list[Node]) -> bool:
    """Whether a call is one of a short form: a convolution's own operands have five axes each."""
    return name == POOL or (name in CONVOLUTIONS and any(x.ndim == 4 for x in operands[:2]))


def build(name: str, operands: tuple[Node, ...], attrs: dict[str, Any], type: Type) -> Node:
    """The nodes that a short form stands for; ``type`` is that of the result."""
    if name == POOL:
        (x,) = operands
        spans = {k: (first, first, *_pair(attrs.pop(k, default))) for k, first, default in _SPANS}
        return OPS["window_max"](x, **spans, size=type.shape, **attrs)
    axes, axis = CONVOLUTIONS[name]
    x, y, *bias = operands
    grouped = [
        _reshape(v, (*v.shape[:a], 1, *v.shape[a:])) if v.ndim == 4 else v
        for v, a in zip((x, y), axes, strict=True)
    ]
    padding = attrs.pop("padding", 0)
    padding = ((padding,) * 2,) * 2 if isinstance(padding, int) else padding
    pairs = {k: _pair(attrs.pop(k, 1)) for k in ("stride", "dilation")}
    made = OPS[name](*grouped, padding=padding, **pairs, **attrs)
    made = _reshape(made, (*made.shape[:axis], *made.shape[axis + 1 :]))
    for b in bias:
        made = OPS["add"](made, _reshape(b, (*b.shape, 1, 1)))
    return made


_SPANS = (("kernel", 1, 1), ("stride", 1, 1), ("padding", 0, 0))  # first two axes, default


def _reshape(x: Node, shape: tuple[int, ...]) -> Node:
    return OPS["reshape"](x, shape=shape)


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


def _number(pair: Any) -> Any:
    """A number for a pair, or a pair of pairs, of equal ones."""
    inner = tuple(map(_number, pair)) if isinstance(pair, tuple) else pair
    return inner[0] if isinstance(inner, tuple) and len({*inner}) == 1 else pair


def _pooling(n: Node) -> ShortCall | None:
    if n.op.name != "window_max" or n.ndim != 4 or n.attr("dilation", None):
        return None
    attrs = [(k, _number(n.attr(k)[2:]), default) for k, _, default in _SPANS]
    return ShortCall(POOL, n.inputs, tuple((k, v) for k, v, default in attrs if v != default))


def _convolution(n: Node) -> ShortCall | None:
    c = n.inputs[0] if n.op.name == "reshape" else None
    if c is None or c.op.name not in CONVOLUTIONS or n.ndim != 4:
        return None
    attrs = []
    for key, value in c.attrs:
        simple = _number(value) if key in ("stride", "dilation", "padding") else value
        if (key, simple) not in (("stride", 1), ("dilation", 1), ("padding", 0)):
            attrs.append((key, simple))
    grouped = [x for x in c.inputs if x.op.name == "reshape" and x.inputs[0].ndim == 4]
    operands = tuple(x.inputs[0] if x in set(grouped) else x for x in c.inputs)
    return ShortCall(c.op.name, operands, tuple(attrs), (c, *grouped), frozenset({c}))


def _biased(n: Node) -> ShortCall | None:
    """A convolution to which a vector is added."""
    if n.op.name != "add":
        return None
    y, b = n.inputs
    call = short(y) if b.op.name == "reshape" and b.inputs[0].ndim == 1 else None
    if call is None or call.name != "conv2d":
        return None
    operands = (*call.operands, b.inputs[0])
    return ShortCall(call.name, operands, call.attrs, (*call.inner, y, b), call.whole | {y})
