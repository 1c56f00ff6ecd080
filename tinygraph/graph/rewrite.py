"""Patterns are operators applied to variables; a rule maps a matched pattern to a node.

    x, p, q = var("x"), var("p"), var("q")

    @rule(relu(relu(x)), example=lambda: relu(relu(input("x", 4, 3))))
    def relu_twice(out, x):
        return relu(x)

Rewriting keeps names and origins and checks types, so that no rule has to.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .dtype import astype, computed
from .ir import Graph, Node
from .op import CONSTANT, Op
from .origins import built_from, defined_at, origins, user_origin
from .rebuild import carry, with_bodies, with_inputs, with_outputs

LONGEST_CHAIN = 1000  # rule applications to one node; more means that rules undo each other


class RewriteError(TypeError):
    """An invalid pattern, a rule that changes a type, or rules that never end; names the rule."""


class Event(NamedTuple):
    """One rule application: for logs, remarks and the mapping from kernels to the user's lines."""

    rule: str
    before: Node
    after: Node


@dataclass(frozen=True, eq=False)
class Pattern:
    """An operator over patterns and numbers, or a variable (no operator) with a condition."""

    op: Op | None
    inputs: tuple[Any, ...] = ()
    attrs: dict[str, Any] = field(
        default_factory=dict
    )  # attribute -> value, or a variable that binds it
    name: str = ""
    where: Callable[[Node], bool] | None = None

    @classmethod
    def __op_call__(cls, op: Op, inputs: tuple[Any, ...], attrs: dict[str, Any]) -> Pattern:
        return cls(op, inputs, attrs)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise RewriteError(
            f"{user_origin()}: the pattern {self.name or self.op} went to a function that looks at "
            "shapes or values; patterns are made of operators only, as OPS['matmul'](x, y)"
        )

    def __getattr__(self, name: str) -> Any:
        return self._refuse() if not name.startswith("_") else object.__getattribute__(self, name)

    # fmt: off
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __neg__ = _refuse
    __matmul__ = __pow__ = __getitem__ = __iter__ = __float__ = __array__ = __bool__ = _refuse
    # fmt: on

    def match(self, n: Node) -> Match | None:
        """The first way in which this pattern fits; commutative operators are tried both ways."""
        return next(self._matches(n, Match({}, ())), None)

    def _matches(self, n: Node, so_far: Match) -> Iterator[Match]:
        if self.op is None:
            if (self.where is None or self.where(n)) and so_far.values.get(self.name, n) is n:
                yield Match({**so_far.values, self.name: n}, so_far.nodes)
            return
        if n.op is not self.op or len(n.inputs) != len(self.inputs):
            return
        values = dict(so_far.values)
        for key, want in self.attrs.items():
            have = n.attr(key)
            if isinstance(want, Pattern):
                want = values.setdefault(want.name, have)
            if have != want:
                return
        start = Match(values, (*so_far.nodes, n))
        yield from _match_all(self.inputs, n.inputs, start)
        if self.op.commutative:
            yield from _match_all(self.inputs, n.inputs[::-1], start)


class Match(NamedTuple):
    """The values of a pattern's variables, and the nodes that its operators matched."""

    values: dict[str, Any]
    nodes: tuple[Node, ...]


def _match_all(patterns: Sequence[Any], nodes: Sequence[Node], so_far: Match) -> Iterator[Match]:
    if not patterns:
        yield so_far
        return
    first, n = patterns[0], nodes[0]
    if isinstance(first, Pattern):
        for m in first._matches(n, so_far):
            yield from _match_all(patterns[1:], nodes[1:], m)
    elif is_filled(n, first):
        yield from _match_all(patterns[1:], nodes[1:], so_far)


def filled(n: Node) -> bool | int | float | None:
    """The one number that all elements of a constant (or a view of one) are, or None.

    Args:
        n: any node.

    Example:
        >>> extend.filled(tg.zeros((8, 8)))
        0.0
    """
    while n.op.name in ("broadcast_to", "reshape") and n.type.size:
        n = n.inputs[0]
    if n.op is not CONSTANT or n.type.size == 0:
        return None
    data = n.attr("value").data.ravel()
    first = data[:1].tobytes()
    if data[-1:].tobytes() != first or data.tobytes() != first * data.size:
        return None
    return astype(data[:1], computed(n.dtype))[0].item()


def is_filled(n: Node, value: float) -> bool:
    """Are all elements this number? 0.0 is not -0.0.

    Args:
        n: any node; ``value``: a number.

    Example:
        >>> extend.is_filled(tg.zeros((8, 8)), -0.0)
        False
    """
    have = filled(n)
    return have is not None and have == value and math.copysign(1, have) == math.copysign(1, value)


def var(name: str, where: Callable[[Node], bool] | None = None) -> Pattern:
    """A variable: any node (or attribute) that meets the condition, everywhere the same one.

    Args:
        name: under which the rule's function gets it; ``where``: the condition.

    Example:
        >>> x = extend.var("x", where=lambda n: n.dtype == "float32")
    """
    return Pattern(None, name=name, where=where)


@dataclass(frozen=True, eq=False)
class Rule:
    """A rewrite as a value: ``build(out, **variables)`` replaces ``out``, unless it is None."""

    name: str
    pattern: Pattern
    build: Callable[..., Node | None]
    example: Callable[[], Node]

    def apply(self, n: Node) -> Node | None:
        """The replacement, with the origins of all matched nodes; None where it does not fit."""
        found = self.pattern.match(n)
        if found is None:
            return None
        places = [o for m in found.nodes for o in origins(m)]
        with built_from(places):
            out = self.build(n, **found.values)
        if out is None or out is n:
            return None
        if out.type != n.type:
            raise RewriteError(
                f"rule {self.name} changed the type of {n.op.name}: {n.type} -> {out.type}"
            )
        return carry(out, n, places)


def rule(
    pattern: Pattern, example: Callable[[], Node]
) -> Callable[[Callable[..., Node | None]], Rule]:
    """Makes a function a rule; ``example`` builds a node that it fits, which the tests walk.

    Raises:
        RewriteError: the pattern is invalid, or the function does not take ``out`` and exactly the
            pattern's variables.

    Example:
        >>> x = extend.var("x")
        >>> @extend.rule(tg.neg(tg.neg(x)), example=lambda: -(-tg.input("x", 2)))
        ... def neg_twice(out, x):
        ...     return x
        >>> neg_twice.name
        'neg_twice'
    """

    def made(build: Callable[..., Node | None]) -> Rule:
        _check_rule(build, pattern)
        return Rule(build.__name__, pattern, build, example)

    return made


def _check_rule(build: Callable[..., Node | None], pattern: Any) -> None:
    where = f"{defined_at(build)}: rule {build.__name__}"
    if not isinstance(pattern, Pattern):
        raise RewriteError(
            f"{where} requires a pattern of operators and variables, got {pattern!r}"
        )
    takes, named = inspect.signature(build).parameters, _variables(pattern)
    every = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    missing = [name for name in ("out", *named) if name not in takes and not every]
    unknown = [name for name in takes if name not in ("out", *named)]
    if missing or (unknown and not every):
        wrong = f"does not take {', '.join(missing)}" if missing else f"takes {', '.join(unknown)}"
        needs = ", ".join(("out", *named))
        raise RewriteError(f"{where} {wrong}: its pattern requires the parameters {needs}")


def _variables(pattern: Pattern) -> tuple[str, ...]:
    """The names of a pattern's variables, in order."""
    inner = (*pattern.inputs, *pattern.attrs.values())
    names = (name for p in inner if isinstance(p, Pattern) for name in _variables(p))
    own = (pattern.name,) if pattern.op is None else ()
    return tuple(dict.fromkeys((*own, *names)))


def rules_in(module: Mapping[str, Any]) -> tuple[Rule, ...]:
    """A module's own rules in the order of their definition: ``RULES = rules_in(globals())``.

    Example:
        >>> RULES = extend.rules_in(globals())
    """
    return tuple(
        r
        for r in module.values()
        if isinstance(r, Rule) and r.build.__module__ == module["__name__"]
    )


def rewrite(graph: Graph, rules: Sequence[Rule], log: list[Event] | None = None) -> Graph:
    """Applies rules bottom-up until none fits, also in the bodies of loops.

    Each must move towards fewer or simpler nodes.

    Args:
        graph: what is rewritten; ``log``: gets an event for each application of a rule.
        rules: tried in their order.

    Example:
        >>> x = tg.input("x", 2)
        >>> graph = tg.Graph("f", (x,), (tg.relu(tg.relu(x)),))
        >>> print(tg.dump(extend.rewrite(graph, extend.RULES)))
        graph f(x: f32[2]) {
          %0 = relu(x) : f32[2]
          return %0
        }
    """
    return _Rewriter(rules, log).graph(graph)


def substitute(graph: Graph, replacements: Mapping[Node, Node]) -> Graph:
    """The graph with nodes replaced, also within the replacements, which read old nodes.

    Example:
        >>> x, y = tg.input("x", 2), tg.input("y", 2)
        >>> graph = tg.Graph("f", (x, y), (x * 2,))
        >>> print(tg.dump(extend.substitute(graph, {x: y})))
        graph f(x: f32[2], y: f32[2]) {
          %0 = mul(y, 2.0) : f32[2]
          return %0
        }
    """
    changed = {old: new for old, new in replacements.items() if old is not new}
    return _Rewriter((), None, changed).graph(graph) if changed else graph


class _Rewriter:
    """Memo and explicit stack: linear in nodes and rule applications, at any depth."""

    def __init__(
        self,
        rules: Sequence[Rule],
        log: list[Event] | None,
        replacements: Mapping[Node, Node] | None = None,
    ):
        self.rules, self.log = rules, log
        self.replacements = replacements or {}
        self.new: dict[Node, Node] = {}
        self.chain: dict[Node, int] = {}
        self.by_op: dict[Op | None, list[Rule]] = {}
        for r in rules:
            self.by_op.setdefault(r.pattern.op, []).append(r)

    def graph(self, graph: Graph) -> Graph:
        return with_outputs(graph, tuple(map(self.normal, graph.outputs)))

    def normal(self, root: Node) -> Node:
        stack: list[tuple[Node, Node | None]] = [
            (root, None)
        ]  # a node, and what it was rewritten to
        while stack:
            n, became = stack[-1]
            became = self.replacements.get(n) if became is None else became
            if n in self.new:
                stack.pop()
            elif became is not None:
                if became in self.new:
                    self.new[n] = carry(self.new[became], n)
                else:
                    stack.append((became, None))
            elif missing := [i for i in n.inputs if i not in self.new]:
                stack.extend((i, None) for i in reversed(missing))
            else:
                m = with_inputs(n, tuple(self.new[i] for i in n.inputs))
                if n.bodies and self.rules:
                    m = with_bodies(m, lambda body: rewrite(body, self.rules, self.log))
                m = self.apply_first(m)
                if m is n:
                    self.new[n] = n
                else:
                    stack[-1] = (n, m)
        return self.new[root]

    def apply_first(self, n: Node) -> Node:
        for r in (*self.by_op.get(n.op, ()), *self.by_op.get(None, ())):
            out = r.apply(n)
            if out is None:
                continue
            self.chain[out] = self.chain.get(n, 0) + 1
            if self.chain[out] > LONGEST_CHAIN:
                raise RewriteError(f"rule {r.name} and others undo each other at {n!r}")
            if self.log is not None:
                self.log.append(Event(r.name, n, out))
            return out
        return n
