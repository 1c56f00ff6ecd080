"""Text to graph: the inverse of ``dump``. Values are read as literals, never evaluated."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from .dtype import DTYPES, astype
from .dump import PLACEHOLDER, labels, reference
from .ir import Graph, Node, Parameter
from .op import CONSTANT, OPS, PARAMETER, constant, input
from .short import POOL, build, is_short
from .size import parse_size
from .state import ParameterState
from .types import Array, Type

MOST = 1000  # characters of a line in a message
LONG = {d.short: d.name for d in DTYPES.values()}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<comment>\#[^\n]*)
    | (?P<const>(?:const|body)\#[0-9a-f]+)
    | (?P<type>[a-z]+\d*\[[\dn*+,-]*\])
    | (?P<label>%?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[A-Za-z_][\w.]*|(?<=%)\d+)(?:~\d+)?)
    | (?P<number>-?(?:inf|nan|\d+(?:\.\d*)?(?:e[+-]?\d+)?))
    | (?P<mark><-|[-+*=(){}\[\],:])
    )""",
    re.VERBOSE,
)


class ParseError(ValueError):
    """Text that is not a graph; the message names the line."""


def parse(text: str, env: Graph | Mapping[str, Node] | None = None) -> Graph:
    """The graph that ``dump`` printed.

    Parameters and large constants are taken from ``env`` (a graph that has them, or nodes by
    label); where it has none they become placeholders: the structure is the same, but there are no
    values to compute with.

    Raises:
        ParseError: the text is not a graph.

    Example:
        >>> x = tg.input("x", 2)
        >>> text = tg.dump(tg.Graph("f", (x,), (x * 2,)))
        >>> tg.dump(tg.parse(text)) == text
        True
    """
    known = dict(env.items()) if isinstance(env, Mapping) else {}
    arrays: dict[str, Array] = {}
    if isinstance(env, Graph):
        known = {label: n for n, label in labels(env).items() if n.op is PARAMETER}
        arrays = {reference(v): v for v in _arrays(env)}
    parser = _Parser(text, known, arrays)
    try:
        return parser.graph()
    except RecursionError:
        parser.fail("this is nested too deeply")


class _Parser:
    """Recursive descent over a flat list of (kind, text, start, end)."""

    def __init__(self, text: str, known: dict[str, Node], arrays: dict[str, Array]):
        self.text, self.known, self.arrays = text, known, arrays
        self.values: dict[str, Node] = {}
        self.bodies: dict[str, Graph] = {}
        self.tokens: list[tuple[str, str, int, int]] = []
        self.at = 0
        end = len(text.rstrip())
        position = 0
        while position < end:
            m = _TOKEN.match(text, position)
            if m is None:
                self.fail("this is not part of a graph", position)
            kind = str(m.lastgroup)
            if kind != "comment":
                self.tokens.append((kind, m[kind], m.start(kind), m.end()))
            position = m.end()
        self.tokens.append(("end", "", end, end))

    def fail(self, why: str, position: int | None = None) -> NoReturn:
        position = self.tokens[self.at][2] if position is None else position
        number = self.text.count("\n", 0, position) + 1
        lines = self.text.splitlines() or [""]
        raise ParseError(f"line {number}: {_short(why)}\n    {_short(lines[number - 1].strip())}")

    def define(self, label: str, made: Node) -> None:
        end = self.tokens[self.at - 1][2]
        if label in self.values:
            self.fail(f"{label} is defined above", end)
        if any(isinstance(n, int) and n < 0 for n in made.type.shape):
            self.fail(f"{label} has sizes below 0: {made.type}", end)
        self.values[label] = made

    @property
    def next(self) -> str:
        return self.tokens[self.at][1]

    def take(self, want: str = "") -> str:
        """The next token; ``want`` is its text or kind."""
        kind, text, _, _ = self.tokens[self.at]
        if want and want not in (kind, text):
            self.fail(f"expected {want!r}, found {text or 'the end'!r}")
        self.at += 1
        return text

    def graph(self) -> Graph:
        self.take("graph")
        name = _name(self.take("label"))[0]
        inputs = []
        self.take("(")
        while self.next != ")":
            label, type = self.declaration()
            inputs.append(input(_name(label)[0] or "_", *type.shape, dtype=type.dtype))
            self.define(label, inputs[-1])
            if self.next == ",":
                self.take()
        self.take(")")
        self.take("{")
        while self.next != "return":
            self.line()
        self.take("return")
        outputs = []
        while self.next != "}":
            outputs.append(self.operand())
            if self.next == ",":
                self.take()
        self.take("}")
        return Graph(name or "_", tuple(inputs), tuple(outputs))

    def declaration(self) -> tuple[str, Type]:
        label = self.take()
        self.take(":")
        return label, self.declared()

    def line(self) -> None:
        if self.next == "constant":
            self.take()
            self.constant(*self.declaration())
        elif self.next.startswith("body#"):
            self.body(self.take())
        else:
            self.statement()

    def parameter(self, label: str, type: Type) -> None:
        name = _name(label)[0]

        def unknown() -> NoReturn:
            raise ValueError(
                f"parameter {name} was parsed from text and has no value: set it, or use env="
            )

        found = self.known.get(label)
        if found is not None and found.type != type:
            self.fail(f"{label} is {found.type} in env")
        made = Parameter(PARAMETER, ParameterState(type, name, unknown))
        self.define(label, made if found is None else found)

    def constant(self, label: str, type: Type) -> None:
        if label in self.arrays:
            self.define(label, CONSTANT(value=self.arrays[label]))
        else:
            self.define(label, PLACEHOLDER(digest=label.removeprefix("const#"), type=type))

    def body(self, label: str) -> None:
        """A graph of its own: its names mean nothing outside, nor those outside within."""
        self.take("=")
        outside, self.values = self.values, {}
        self.bodies[label] = self.graph()
        self.values = outside

    def statement(self) -> None:
        label = self.take("label")
        if not label.startswith("%"):
            self.fail(f"a node's name starts with %, got {label!r}")
        self.take("=")
        start = self.at
        name = self.take("label")
        if name not in OPS and name != POOL:
            self.at = start
            self.fail(f"there is no operator {name!r}")
        operands: list[Node] = []
        attrs: dict[str, Any] = {}
        self.take("(")
        while self.next != ")":
            if self.tokens[self.at + 1][1] == "=":
                key = self.take("label")
                self.take("=")
                attrs[key] = self.attribute()
            else:
                operands.append(self.operand())
            if self.next in (",", "<-"):
                self.take()
        end = self.at
        self.take(")")
        self.take(":")
        start = self.at
        short = self.declared() if is_short(name, operands) else None
        found = str(short) if short else self.type()
        made = self.made(name, operands, attrs, short, end)
        if found != str(made.type):
            self.at = start
            self.fail(f"{name} gives {made.type}, the text says {found}")
        known, numbered = _name(label[1:])
        self.define(label, made if numbered or known is None else made.named(known))

    def made(
        self, name: str, operands: list[Node], attrs: dict[str, Any], short: Type | None, end: int
    ) -> Any:
        """The node that a call gives; of a short form, with its type, the last of its nodes."""
        try:
            if short:
                return build(name, tuple(operands), attrs, short)
            return OPS[name](*operands, **attrs)
        except (TypeError, ValueError) as e:
            self.at = end
            self.fail(str(e))

    def type(self) -> str:
        """The text of a type, or of several in parentheses."""
        if self.next != "(":
            return self.take("type")
        self.take()
        types = []
        while self.next != ")":
            types.append(self.take("type"))
            if self.next == ",":
                self.take()
        self.take(")")
        return f"({', '.join(types)})"

    def declared(self) -> Type:
        """The type that comes next."""
        short, _, rest = self.next.partition("[")
        dtype = self.dtype(short) if rest else ""
        self.take("type")
        return Type(tuple(parse_size(n) for n in rest.rstrip("]").split(",") if n), dtype)

    def dtype(self, short: str) -> str:
        if short not in LONG:
            self.fail(f"{short!r} is not a dtype, which is one of {', '.join(LONG)}")
        return LONG[short]

    def operand(self) -> Node:
        kind, text, _, _ = self.tokens[self.at]
        if kind in ("label", "const") and text not in ("inf", "nan", "True", "False"):
            if kind == "label" and self.tokens[self.at + 1][1] == ":":
                self.parameter(*self.declaration())
            elif text not in self.values:
                self.fail(f"{text} is not defined above")
            else:
                self.take()
            return self.values[text]
        value = self.value()
        dtype = None
        if self.next == ":":
            self.take()
            dtype = self.dtype(self.next)
            self.take("label")
        array = np.asarray(value)
        if array.dtype.kind not in "fib":
            self.fail(f"{value!r} is not a number")
        return constant(
            astype(array, dtype or {"f": "float32", "i": "int32"}.get(array.dtype.kind, "bool"))
        )

    def attribute(self) -> Any:
        kind, text, _, _ = self.tokens[self.at]
        if kind == "type":
            return self.declared()
        if kind == "const":
            known: Mapping[str, Any] = self.bodies if text.startswith("body#") else self.arrays
            if text not in known:
                self.fail(f"{text} is not declared above, nor are its values in env")
            self.take()
            return known[text]
        return self.value()

    def value(self) -> Any:
        """A literal: all up to a comma, colon or bracket that does not belong to it."""
        first = self.at
        start, depth = self.tokens[self.at][2], 0
        while self.tokens[self.at][0] != "end":
            text = self.next
            depth += (text in ("(", "[")) - (text in (")", "]"))
            if depth < 0 or (depth == 0 and text in (",", ":")):
                break
            self.take()
        text = self.text[start : self.tokens[self.at - 1][3]] if self.at > first else ""
        try:
            return ast.literal_eval(_Numbers().visit(ast.parse(text, mode="eval")))
        except (SyntaxError, ValueError, MemoryError):  # the last for thousands of brackets
            found, self.at = text or self.next or "the end", first
            self.fail(f"expected a value, found {found!r}")


def _short(text: str) -> str:
    """The text, or where it is long, its beginning."""
    return text if len(text) <= MOST else f"{text[:MOST]} ..."


def _name(label: str) -> tuple[str | None, bool]:
    """The name that a label stands for, and whether it is a bare number; None for the nameless."""
    stem = re.sub(r"~\d+$", "", label)
    if stem[:1] in "'\"":
        return ast.literal_eval(stem), False
    return (None if stem == "_" else stem), stem.isdigit()


def _arrays(graph: Graph) -> Iterator[Array]:
    """The arrays among the attributes, also those in the bodies of loops."""
    for n in graph.nodes:
        yield from (value for _, value in n.attrs if isinstance(value, Array))
        for body in n.bodies:
            yield from _arrays(body)


class _Numbers(ast.NodeTransformer):
    """Numbers without a literal in Python: ``inf``, ``nan``, and sizes such as ``25*n``."""

    def visit_Name(self, n: ast.Name) -> ast.expr:
        return ast.Constant(getattr(math, n.id)) if n.id in ("inf", "nan") else self.size(n)

    def visit_BinOp(self, n: ast.BinOp) -> ast.expr:
        return self.size(n)

    def size(self, n: ast.expr) -> ast.expr:
        return ast.Constant(parse_size(ast.unparse(n).replace(" ", "")))
