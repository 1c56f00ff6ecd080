"""What a kernel computes in the users' words: functions that they called, layers, sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from ..graph.ir import Node, Parameter
from ..graph.op import INPUT, Kind
from ..graph.origins import Origin, origins
from ..plan.records.cost import computes
from ..plan.records.plan import Launch
from ..plan.records.work import Tile

TERMS = 4  # of a kernel; the rest is counted
NAMES = {  # of operators and functions that users know by another name
    "batch_norm_training": "batch_norm",
    "window_max": "max_pool2d",
    "window_max_index": "max_pool2d",
    "window_unpool": "max_pool2d",
}
READS = "reads input"  # a note of nodes
SILENT = ("cast", "stop_gradient")  # nobody asks for them
Sizes = tuple[int, int, int]  # rows, columns, depth


def what(launch: Launch) -> str:
    """The functions that a kernel computes, as ``conv2d 3x3 + bias + relu``."""
    found: dict[tuple[str, Origin | None], str] = {}
    for n in launch.nodes if computes(launch) and launch.name != "winograd_weights" else ():
        if n.op.kind not in (Kind.VIEW, Kind.SOURCE, Kind.RESULT) and n.op.name not in SILENT:
            name, size, back = term(n)
            place = None if is_update(name) else next(iter(origins(n)), None)
            text = f"{name}{size}{back}"
            if size or (name, place) not in found:
                found[name, place] = text
    terms = sorted(found.values(), key=is_update)
    rest = [f"{len(terms) - TERMS} more"] if len(terms) > TERMS else []
    copied = any(n.op.name == launch.name and n.op.kind is not Kind.VIEW for n in launch.nodes)
    return " + ".join([*terms[:TERMS], *rest]) or ("copy" if copied else launch.name)


def is_update(term: str) -> bool:
    return term.endswith(" update")


def is_convolution(n: Node) -> bool:
    """True for convolutions and their gradients, whose axes of groups are explicit."""
    return n.op.name.startswith(("conv2d", "conv3d"))


def term(n: Node) -> tuple[str, str, str]:
    """The function that built a node, the size of its windows, and whether it is a gradient."""
    origin = next(iter(origins(n)), None)
    call, back = (origin.call, origin.how) if origin else ("", "")
    back = f" {back.removesuffix(' of')}" if back else ""
    if is_convolution(n):
        return n.op.name, window(n), ""
    if n.op.kind is Kind.COMPOSITE:  # built from others by a pass
        return n.op.name, "", ""
    if is_update(call):
        return call, "", ""
    if call in ("", "add") and n.op.name == "add" and is_bias(n):
        return "bias", "", back
    if call == "add" and n.op.name == "sum" and back:
        return "bias", "", back
    name = NAMES.get(call or n.op.name, call or n.op.name)
    return name, window(n) if n.op.name.startswith("window_") and "pool" in name else "", back


def is_bias(n: Node) -> bool:
    """Whether a node adds a vector that is made of parameters alone."""
    reads = [reads_input(x) for x in n.inputs]
    vectors = [sum(size > 1 for size in source(x).shape) < 2 for x in n.inputs]
    return any(reads) and any(v and not r for v, r in zip(vectors, reads, strict=True))


def reads_input(n: Node) -> bool:
    """Whether a value depends on more than parameters and constants; each node is asked once."""
    stack = [n]
    while stack:
        x = stack[-1]
        unknown = [i for i in x.inputs if READS not in i.notes]
        if unknown and READS not in x.notes:
            stack += unknown
            continue
        x.notes[READS] = x.op is INPUT or any(i.notes[READS] for i in x.inputs)
        stack.pop()
    return bool(n.notes[READS])


def source(n: Node) -> Node:
    """What a view is taken from."""
    while n.op.kind is Kind.VIEW:
        n = n.inputs[0]
    return n


def window(n: Node) -> str:
    """The kernel's size and stride, as `` 3x3/2``; the groups of a convolution."""
    kernel = n.attr("kernel", None) or (n.inputs[-1].shape[3:] if is_convolution(n) else None)
    if kernel is None:
        return ""
    pairs = list(zip(kernel, n.attr("stride"), strict=True))
    pairs = pairs if len(pairs) <= 2 else [p for p in pairs if p[0] > 1] or [(1, 1)]
    sizes, strides = zip(*pairs, strict=True)
    text = f" {'x'.join(map(str, sizes))}"
    if set(strides) != {1}:
        text += f"/{'x'.join(map(str, dict.fromkeys(strides)))}"
    groups = n.shape[0 if "weight" in n.op.name else 1] if n.op.kind is Kind.ANCHOR else 1
    return text + (f" in {groups} groups" if groups > 1 else "")


# -- where -----------------------------------------------------------------------------------------


def layer(nodes: Iterable[Node]) -> str:
    """The innermost scope that all nodes have in common, or those of its sums; without scopes the
    layer of a parameter.
    """
    found = [(n, o.scope) for n in nodes for o in origins(n)[:1] if o.scope]
    if common := shared([scope for _, scope in found]):
        return common
    sums = [scope for n, scope in found if n.op.kind in (Kind.ANCHOR, Kind.REDUCE)]
    return joined(sums or [scope for _, scope in found]) or parameter_layer(nodes)


def joined(scopes: Sequence[str]) -> str:
    """What dotted paths have in common, else the first parts of the first and the last."""
    if common := shared(scopes):
        return common
    names = list(dict.fromkeys(scope.split(".")[0] for scope in scopes if scope))
    return ", ".join(names) if len(names) < 3 else f"{names[0]} … {names[-1]}"


def shared(scopes: Sequence[str]) -> str:
    """The dotted path that all begin with."""
    paths = [scope.split(".") for scope in scopes]
    alike = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        alike.append(parts[0])
    return ".".join(alike)


def parameter_layer(nodes: Iterable[Node]) -> str:
    read = (source(i) for n in nodes for i in (n, *n.inputs))
    names = [n.name for n in read if isinstance(n, Parameter) and n.name and "." in n.name]
    return min(names, key=len).rpartition(".")[0] if names else ""


# -- how large -------------------------------------------------------------------------------------


def product(launch: Launch) -> tuple[int, Sizes] | None:
    """How many products of rows x columns x depth a kernel computes; None without a contraction."""
    if isinstance(launch.work, Tile):
        s = launch.work.sizes
        sizes = s["z"] * s["y"] * s["m"], s["n"], s["r"] * s["s"] * s["k"]
        return s["g"], sizes
    anchor = next((n for n in launch.nodes if n.op.kind is Kind.ANCHOR), None)
    if anchor is None or not computes(launch):
        return None
    x, y, out = *(i.shape for i in anchor.inputs), anchor.shape
    if is_convolution(anchor) and anchor.op.name.endswith("weight_gradient"):
        return x[1], (out[1], prod(out[2:]), x[0] * prod(y[3:]))
    if is_convolution(anchor):
        depth = y[1 if "input" in anchor.op.name else 2] * prod(y[3:])
        return x[1], (x[0] * prod(out[3:]), out[2], depth)
    if len(x) < 2 or len(out) < 2:
        return None
    return prod(out[:-2]), (out[-2], out[-1], x[-1])


def sizes_text(products: Sequence[tuple[int, Sizes] | None]) -> str:
    """The products of one kernel or of alike ones: columns are added up where the rest agrees."""
    found = [p for p in products if p is not None]
    if not found:
        return ""
    if len({(count, rows, depth) for count, (rows, _, depth) in found}) == 1:
        count, (rows, _, depth) = found[0]
        columns, more = sum(c for _, (_, c, _) in found), ""
    else:
        count, (rows, columns, depth) = max(found, key=lambda p: p[0] * prod(p[1]))
        more = " …"
    times = f"{count} of " if count > 1 else ""
    return f"{times}{rows} x {columns} x {depth}{more}"


def shape_text(nodes: Sequence[Node]) -> str:
    """The shape of the largest of the values that a kernel, or alike ones, store."""
    if not nodes:
        return ""
    largest = max(reversed(nodes), key=lambda n: n.type.size)
    return f"[{','.join(map(str, own_shape(largest)))}]"


def own_shape(n: Node) -> tuple[int, ...]:
    """As users know it: a convolution's without the axis of its one group."""
    if not is_convolution(n):
        return n.shape
    axis = 0 if "weight" in n.op.name else 1
    return n.shape[:axis] + n.shape[axis + 1 :] if n.shape[axis] == 1 else n.shape
