"""A graph as text. ``dump`` and ``parse`` are inverses; golden tests and diffs rely on it.

    graph mlp(x: f32[32,784]) {
      %0 = matmul(x, w: f32[784,128])  : f32[32,128]
      %act = relu(%0)                  : f32[32,128]
      %1 = mul(%act, 0.5)              : f32[32,128]
      return %1
    }

Names stand for inputs and parameters (with the type where one is read first), ``%name`` for named
nodes, ``%0`` and up for the others. Convolutions without groups and pooling have short forms.
Small constants are written where they are read (float32, int32 and bool as they are, others with
their dtype: ``2:i64``); large ones are declared as ``const#digest``, and the graphs that loops
repeat as ``body#digest = graph ...``. ``w <- %7`` inside an effect says that parameter w becomes
%7.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, NoReturn

import numpy as np

from .dtype import DTYPES, astype, computed, name_of
from .ir import Graph, Node, Parameter
from .methods import overload
from .numeric import numeric
from .op import CONSTANT, INPUT, PARAMETER, Kind, define
from .origins import origins
from .short import DECLARED, ShortCall, Written, short
from .types import Array, Type

WIDTH = 100
INLINE = 8  # constants of up to this many elements are written where they are read
PLAIN = ("float32", "int32", "bool")  # dtypes whose inline constants need no suffix
RESERVED = ("inf", "nan", "True", "False", "None", "_", "return", "parameter", "constant")
_NAME = re.compile(r"[A-Za-z_][\w.]*")


def _unknown(**attrs: Any) -> NoReturn:
    raise ValueError(f"const#{attrs['digest']} is known by its digest only: parse with env=")


# A constant that was parsed without its values.
PLACEHOLDER = define("placeholder", Kind.SOURCE, infer=lambda *, digest, type: type, ref=_unknown)
SOURCES = (INPUT, PARAMETER, CONSTANT, PLACEHOLDER)


def labels(graph: Graph) -> dict[Node, str]:
    """Each node's name in the text: unique, and stable while the graph stays the same."""
    return _labels(graph, Written(graph))


def _labels(graph: Graph, written: Written) -> dict[Node, str]:
    """Nodes that a short form stands for are called as the line that shows them."""
    found: dict[Node, str] = {}
    seen: Counter[str] = Counter()
    count = 0
    for n in graph.nodes:
        if n in written.shown:
            continue
        if n.op is CONSTANT:
            found[n] = inline(n.attr("value"))
        elif n.op is PLACEHOLDER:
            found[n] = f"const#{n.attr('digest')}"
        elif n.op in (INPUT, PARAMETER):
            found[n] = _unique(_quoted(n.name), seen)
        elif n.name is not None:
            found[n] = _unique("%" + _quoted(n.name), seen)
        else:
            found[n], count = f"%{count}", count + 1
    return found | {n: found[m] for n, m in written.shown.items()}


def all_labels(graph: Graph) -> dict[Node, str]:
    """``labels``, and for nodes in the bodies of loops theirs with the body's name in front."""
    found: dict[Node, str] = {}
    for n in graph.nodes:
        for body in n.bodies:
            inner = all_labels(body).items()
            found |= {m: f"%{body.name}.{label.lstrip('%')}" for m, label in inner}
    return found | labels(graph)


def _quoted(name: str | None) -> str:
    """The name itself where it reads as one, else as a string; ``_`` for none."""
    if name is None:
        return "_"
    return name if _NAME.fullmatch(name) and name not in RESERVED else repr(name)


def _unique(name: str, seen: Counter[str]) -> str:
    seen[name] += 1
    return name if seen[name] == 1 and name != "_" else f"{name}~{seen[name]}"


def literal(value: object) -> str:
    """An attribute value as text that ``parse`` reads back."""
    if isinstance(value, Graph):
        return f"body#{value.digest}"
    if isinstance(value, tuple):
        return "(" + ",".join(map(literal, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, Array):
        return reference(value)
    return str(value) if isinstance(value, Type) else repr(value)


def reference(array: Array) -> str:
    """The name of a large constant: its digest."""
    return f"const#{array.digest}"


def inline(array: Array) -> str:
    """A small constant as numbers, a large one (or an unusual NaN) as its digest."""
    data = array.data
    if not 0 < data.size <= INLINE or not _canonical_nan(data):
        return reference(array)
    dtype = array.type.dtype
    text = _numbers(data if data.dtype.names is None else astype(data, computed(dtype)))
    return text if dtype in PLAIN else f"{text}:{DTYPES[dtype].short}"


def _canonical_nan(data: np.ndarray) -> bool:
    dtype = name_of(data.dtype)
    if not DTYPES[dtype].is_float:
        return True
    bits = data.view(f"u{data.itemsize}")
    quiet = astype(np.array(np.nan), dtype).view(bits.dtype)
    return bool(np.all((bits == quiet) | ~np.isnan(astype(data, computed(dtype)))))


def _numbers(data: np.ndarray) -> str:
    if data.ndim:
        return "[" + ",".join(_numbers(np.asarray(row)) for row in data) + "]"
    return str(data[()])  # the shortest digits that give this value in its own dtype


@numeric
def dump(
    graph: Graph,
    *,
    lines: bool = False,
    scopes: bool = False,
    mark: Node | None = None,
    note: str = "",
    columns: int = WIDTH,
) -> str:
    """The graph as text of at most ``width`` columns.

    ``lines`` adds the user's file and line as comments; ``scopes`` folds each run of nodes of one
    outermost scope into one line (``parse`` then has too little to read); ``mark`` and ``note``
    point at a node.

    Example:
        >>> x = tg.input("x", 2)
        >>> print(tg.dump(tg.Graph("f", (x,), (tg.relu(x),))))
        graph f(x: f32[2]) {
          %0 = relu(x) : f32[2]
          return %0
        }
    """
    written = Written(graph)
    label = _labels(graph, written)
    operand = _Declaring(label) if not scopes else label.__getitem__
    calls = {n: call_text(call, operand) for n, call in written.calls.items()}
    left = {n: f"  {label[n]} = {text}" for n, text in calls.items()}
    mark = written.shown.get(mark, mark) if mark is not None else None
    width = min(max(map(len, left.values()), default=0), 64)
    body: list[str] = []
    for name, run in groupby(calls, _outermost) if scopes else [("", iter(calls))]:
        nodes = list(run)
        if name:
            body.append(_folded(name, [(n, written.calls[n].name) for n in nodes], label))
            continue
        for n in nodes:
            comment = f"# {'; '.join(map(str, origins(n)))}" if lines and origins(n) else ""
            body += _statement(left[n], str(n.type), width, comment, columns)
            if n is mark:
                body += wrap("  " + "^" * max(len(label[n]), 3) + f" {note}", "      ", columns)
    head = ", ".join(f"{label[i]}: {i.type}" for i in graph.inputs)
    result = "  return " + ", ".join(operand(o) for o in graph.outputs)
    return "\n".join(
        [
            *wrap(f"graph {_quoted(graph.name)}({head}) {{", "    ", columns),
            *_declarations(graph, label, columns),
            *body,
            *wrap(result, "      ", columns),
            "}",
        ]
    )


def _declarations(graph: Graph, label: dict[Node, str], columns: int) -> Iterable[str]:
    """Constants that are too large for a line, then the bodies of loops."""
    arrays: dict[str, Type] = {}
    bodies: dict[str, Graph] = {}
    for n in graph.nodes:
        bodies |= {literal(body): body for body in n.bodies}
        if n.op is PLACEHOLDER:
            arrays[label[n]] = n.type
        for _, value in n.attrs:
            if isinstance(value, Array) and (n.op is not CONSTANT or label[n] == reference(value)):
                arrays[reference(value)] = value.type
    for name, type in arrays.items():
        yield f"  constant {name}: {type}"
    for name, body in bodies.items():
        yield f"  {name} ="
        yield textwrap.indent(dump(body, columns=columns - 4), "    ")


class _Declaring:
    """Labels of operands; a parameter's first use has its type."""

    def __init__(self, label: dict[Node, str]):
        self.label, self.declared = label, set[Node]()

    def __call__(self, n: Node) -> str:
        if n.op is not PARAMETER or n in self.declared:
            return self.label[n]
        self.declared.add(n)
        return f"{self.label[n]}: {n.type}"


def call_text(call: ShortCall, operand: Callable[[Node], str]) -> str:
    """A node's operator, operands and attributes."""
    operands = list(map(operand, call.operands))
    if call.name == "effect":
        operands[1:] = [f"{operands[1]} <- {operands[2]}"]
    return f"{call.name}({', '.join([*operands, *(f'{k}={literal(v)}' for k, v in call.attrs)])})"


def _statement(left: str, type: str, width: int, comment: str, columns: int) -> list[str]:
    line = f"{left:<{width}} : {type}"
    if comment and len(line) + 2 + len(comment) <= columns:
        return [f"{line}  {comment}"]
    return wrap(line, "      ", columns) + ([f"      {comment}"[:columns]] if comment else [])


def wrap(line: str, indent: str, columns: int) -> list[str]:
    if len(line) <= columns:
        return [line]
    return textwrap.wrap(
        line,
        columns,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _outermost(n: Node) -> str:
    return next((o.scope.split(".")[0] for o in origins(n)), "")


def _folded(name: str, nodes: list[tuple[Node, str]], label: dict[Node, str]) -> str:
    kinds = ", ".join(f"{op} {count}" for op, count in Counter(op for _, op in nodes).most_common())
    last = nodes[-1][0]
    tail = f" -> {label[last]} : {last.type}"
    head = f"  ... {name} ({len(nodes)} node{'s' * (len(nodes) > 1)}: {kinds}"
    room = WIDTH - len(tail) - 1
    return (head if len(head) <= room else head[: room - 3] + "...") + ")" + tail


def canonical(graph: Graph) -> str:
    """The graph without names and lines: what a program depends on, in every process the same.

    Inputs and parameters are numbered in order of first appearance, constants are given by digest.
    """
    number: dict[Node, str] = {}
    text = []
    for k, n in enumerate(graph.nodes):
        if n.op is INPUT:
            number[n] = f"i{k}"
            text.append(f"i{k} {n.type}")
        elif isinstance(n, Parameter):
            number[n] = f"p{k}"
            text.append(f"p{k} {n.type}")
        else:
            number[n] = str(k)
            attrs = " ".join(f"{key}={_exact(v)}" for key, v in n.attrs)
            reads = ",".join(number[i] for i in n.inputs)
            text.append(f"{k} {n.op.name}({reads}) {attrs} {n.type}")
    return "\n".join([*text, "return " + ",".join(number[o] for o in graph.outputs)])


def _exact(value: object) -> str:
    return f"{value.digest}:{value.type}" if isinstance(value, Array) else literal(value)


def dot(graph: Graph) -> str:
    """The graph in Graphviz' language: ``dot -Tsvg`` draws it."""
    label = labels(graph)
    key = {n: f"n{k}" for k, n in enumerate(graph.nodes)}
    shapes = {INPUT: "ellipse", PARAMETER: "cylinder", CONSTANT: "plaintext"}
    text = [
        f"digraph {_escaped(graph.name)} {{",
        "  rankdir=TB; node [fontname=monospace, shape=box];",
    ]
    for n in graph.nodes:
        title = label[n] if n.op in shapes else f"{label[n]} {n.op.name}"
        text.append(
            f"  {key[n]} [label={_escaped(title, str(n.type))}, shape={shapes.get(n.op, 'box')}];"
        )
        text += [f"  {key[i]} -> {key[n]};" for i in n.inputs]
    for k, o in enumerate(graph.outputs):
        text.append(
            f"  out{k} [label={_escaped(f'output {k}')}, shape=ellipse]; {key[o]} -> out{k};"
        )
    return "\n".join([*text, "}"])


def _escaped(*lines: str) -> str:
    return '"' + r"\n".join(s.replace("\\", r"\\").replace('"', r"\"") for s in lines) + '"'


def markdown(value: Graph | Node) -> str:
    """For notebooks: a graph's dump, or that of all a node is computed from."""
    if isinstance(value, Node):
        nodes = Graph("", (), (value,)).nodes
        value = Graph(
            value.name or value.op.name, tuple(n for n in nodes if n.op is INPUT), (value,)
        )
    return f"```\n{dump(value)}\n```"


def node_text(n: Node) -> str:
    """A node in one line: what it is made of, its type, and where that was written.

    <relu(conv2d): f32[64,6,28,28], net.py:12 in conv1>
    """
    if n.op.name in DECLARED:
        fixed = isinstance(n, Parameter) and not n.state.trainable
        head = " ".join(filter(None, (n.op.name, n.name)))
        return f"<{head}: {n.type}{', not trainable' * fixed}>"
    call = short(n) or ShortCall(n.op.name, n.inputs, n.attrs)
    made = call_text(call, lambda i: i.name or i.op.name)
    name = f"{n.name} = " if n.name else ""
    where = "".join(f", {place}" for place in origins(n)[:1])
    return f"<{name}{made}: {n.type}{where}>"


overload(dump=dump, markdown=markdown, canonical=canonical, text=node_text)
