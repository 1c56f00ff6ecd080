"""What ``compile`` is given: one clear error for each mistake, before anything is built from it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..graph.batch import batch_axis
from ..graph.ir import Graph, Node, Parameter, among
from ..graph.op import INPUT, Kind
from ..graph.origins import described, origins
from ..graph.verify import VerifyError
from ..passes import Update, mixed_precision
from ..passes.mixed_precision import PRECISIONS
from ..plan.records.steps import CHOICES, OPTIONAL
from ..plan.winograd.choice import at_or_below, tile_of
from .options import Pass


def nodes(given: Any, what: str) -> tuple[Node, ...]:
    """``inputs`` or ``outputs`` as a tuple.

    Raises:
        TypeError: it is one node, whose elements a loop would walk over, or has something else.
    """
    if isinstance(given, Node):
        raise TypeError(f"{what} requires a list of nodes, got one: {described(given)}")
    for number, n in enumerate(found := tuple(given)):
        if not isinstance(n, Node):
            raise TypeError(f"{what}[{number}] must be a node, got {type(n).__name__}")
    return found


def kept(graph: Graph, keep_parameters: bool) -> None:
    """Raises ValueError if parameters are not kept though a batch size is open."""
    if not keep_parameters:
        sizes = next(i for i in graph.inputs if batch_axis(Graph("", (i,), (i,))) is not None)
        raise ValueError(
            f"keep_parameters=False requires inputs of fixed sizes, {described(sizes)} has a batch "
            "size that is bound at the call: each size may pack the parameters in another way"
        )


def pairs(given: Iterable[Any]) -> tuple[Update, ...]:
    """``updates`` as a tuple.

    Raises:
        TypeError: something is not a pair of a parameter and a node of its type.
    """
    for number, pair in enumerate(found := tuple(given)):
        kinds = [type(x).__name__ for x in pair] if isinstance(pair, tuple) else []
        if len(kinds) != 2 or not all(isinstance(x, Node) for x in pair):
            got = f"({', '.join(kinds)})" if kinds else type(pair).__name__
            raise TypeError(
                f"updates[{number}] requires a parameter and the node of its new value, as an "
                f"optimizer's updates(loss, parameters) returns them, got {got}"
            )
        p, new = pair
        if not isinstance(p, Parameter):
            raise TypeError(f"updates[{number}] changes no parameter, but {described(p)}")
        if new.type != p.type:
            raise TypeError(f"parameter {p.name} is {p.type}, its update {described(new)}")
    return found


def declared(graph: Graph) -> None:
    """Checks that the inputs are inputs, and that all inputs that are read are declared.

    Raises:
        VerifyError: names the node, and the user's line.
    """
    for number, n in enumerate(graph.inputs):
        if n.op is not INPUT:
            raise VerifyError(f"inputs[{number}] is not made by tg.input, but {described(n)}")
        if among(n, graph.inputs[:number]):
            raise VerifyError(f"inputs[{number}] is listed before: {described(n)}")
    for n in graph.nodes:
        if n.op is INPUT and not among(n, graph.inputs):
            listed = ", ".join(str(i.name) for i in graph.inputs) or "none"
            raise VerifyError(
                f"{described(n)} is read, but is not among the inputs of {graph.name}: {listed}"
            )


def options(without: Iterable[str], passes: Sequence[Pass], verify: str | None) -> frozenset[str]:
    """``without`` as a set.

    Raises:
        ValueError: a name that means nothing.
    """
    if isinstance(without, str):
        raise TypeError(f"without requires a list of names, got {without!r}; write [{without!r}]")
    known = (*(p.__name__ for p in passes), *CHOICES, *OPTIONAL)
    left_out = frozenset(without)
    for each in sorted(left_out.difference(known)):
        raise ValueError(f"without={each!r} is not one of {', '.join(known)}")
    if verify not in (None, "values"):
        raise ValueError(f"verify is 'values' or None, got {verify!r}")
    return left_out


def ways(conv: str | Mapping[str, str] | None, graph: Graph) -> tuple[tuple[str, str], ...]:
    """``conv`` as pairs of a name, "" for all others, and a word.

    Raises:
        ValueError: no such way, or a name that no contraction and no scope around one has.
    """
    found = {"": conv} if isinstance(conv, str) else dict(conv or {})
    for key, way in found.items():
        tile_of(way)
        names = layers(graph) if key else []
        if key and not any(at_or_below(name, key) for name in names):
            close = difflib.get_close_matches(key, names, 3) or names[:3]
            raise ValueError(f"conv={key!r} names no layer; there is {', '.join(close) or 'none'}")
    return tuple(sorted(found.items()))


def precision(name: str | None, passes: Sequence[Pass]) -> str | None:
    """``precision``, checked; "float32" is None, what the graph says.

    Raises:
        ValueError: there is no such precision, or the pass that sees to it is not run.
    """
    if name not in (None, *PRECISIONS):
        known = ", ".join(PRECISIONS)
        raise ValueError(f"precision requires one of {known}, or None; got {name!r}")
    if name in (None, PRECISIONS[0]):
        return None
    if mixed_precision not in passes:
        raise ValueError(f"precision={name!r} requires the pass mixed_precision among passes")
    return name


def layers(graph: Graph) -> list[str]:
    """Names of convolutions and matrix products, and of the scopes around them."""
    anchors = [n for n in graph.everywhere if n.op.kind is Kind.ANCHOR]
    names = (x for n in anchors for x in (n.name, *(o.scope for o in origins(n))))
    return list(dict.fromkeys(filter(None, names)))
