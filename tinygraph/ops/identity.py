"""Nodes that pass their first input on: effects, stopped gradients, the user's gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from ..graph.ir import Node, Parameter
from ..graph.op import Index, Kind, Loops, Op, Read, ShapeError, define, identity, input
from ..graph.types import Type
from .view import free

__all__ = ("custom_gradient", "effect", "stop_gradient")


def loops_first(out: Type, x: Type, *others: Type, **_: Any) -> Loops:
    """Element by element from the first input; the others are named but not used."""
    unused = (Read((Index(),) * len(t.shape), outside=0) for t in others)
    return Loops((), (Read(identity(len(out.shape))), *unused))


# -- state -----------------------------------------------------------------------------------------


def _infer_effect(y: Type, p: Type, new: Type) -> Type:
    if p != new:
        raise ShapeError(f"effect requires a new value of the parameter's type {p}, got {new}")
    return y


EFFECT: Op = define(
    "effect",
    Kind.VIEW,
    infer=_infer_effect,
    ref=lambda y, p, new: y,
    loops=loops_first,
    vjp=lambda g, out, y, p, new: (g, None, None),
    cost=free,
)


def effect(y: Node, parameter: Node, new: Node) -> Node:
    """y itself; says that ``parameter`` becomes ``new`` once the program has run.

    Raises:
        ShapeError: the parameter is none, or ``new`` has another shape or dtype.

    Example:
        >>> calls = tg.parameter(0.0)
        >>> x = tg.input("x", 2)
        >>> y = tg.effect(x * 2, calls, calls + 1)  # a program of y counts its calls
    """
    if not isinstance(parameter, Parameter):
        raise ShapeError(
            f"effect requires a parameter to change, got {parameter.op.name} of {parameter.type}"
        )
    return EFFECT(y, parameter, new)


# -- gradients -------------------------------------------------------------------------------------

STOP_GRADIENT: Op = define(
    "stop_gradient",
    Kind.VIEW,
    transparent=True,
    infer=lambda x: x,
    ref=lambda x: x,
    loops=loops_first,
    vjp=lambda g, out, x: (None,),
    cost=free,
    example=lambda: stop_gradient(input("x", 4, 3)),
)


def stop_gradient(x: Node) -> Node:
    """x, through which no gradient flows.

    Example:
        >>> x = tg.parameter(3.0)
        >>> tg.run(tg.grad(x * tg.stop_gradient(x), [x])[0])
        array(3., dtype=float32)
    """
    return STOP_GRADIENT(x)


_RULES: dict[str, Callable[..., Any]] = {}
_NUMBERS = count(1)


def _vjp_custom(g: Node, out: Node, y: Node, *inputs: Node) -> tuple[Node | None, ...]:
    rule = _RULES.get(out.attr("rule"))
    if rule is None:
        raise ShapeError(
            f"custom_gradient requires its rule {out.attr('rule')!r}, got another process' graph"
        )
    gradients = rule(g, y, *inputs)
    gradients = tuple(gradients) if isinstance(gradients, Sequence) else (gradients,)
    if len(gradients) != len(inputs):
        raise ShapeError(
            f"custom_gradient requires {len(inputs)} gradients of its backward, "
            f"got {len(gradients)}"
        )
    return (None, *gradients)


# custom_gradient(y, *inputs) is y. Functions cannot be attributes, so the node names its rule.
CUSTOM_GRADIENT: Op = define(
    "custom_gradient",
    Kind.VIEW,
    transparent=True,
    infer=lambda y, *inputs, rule: y,
    ref=lambda y, *inputs, rule: y,
    loops=loops_first,
    vjp=_vjp_custom,
    cost=free,
)


def custom_gradient(
    forward: Callable[..., Node], backward: Callable[..., Any]
) -> Callable[..., Node]:
    """A function that computes ``forward(*inputs)`` and has the gradient ``backward``.

    ``backward(g, y, *inputs)`` gets the result's gradient, the result and the inputs as nodes, and
    returns a gradient node (or None) for each input. For example, a round that gradients pass
    straight through:

        straight_round = tg.custom_gradient(tg.round, lambda g, y, x: g)

    Example:
        >>> straight_round = tg.custom_gradient(tg.round, lambda g, y, x: g)
        >>> x = tg.parameter([0.4, 1.6])
        >>> tg.run(tg.grad(tg.sum(straight_round(x)), [x])[0])
        array([1., 1.], dtype=float32)
    """
    name = str(getattr(forward, "__name__", None) or getattr(forward, "name", "function"))
    rule = f"{name}#{next(_NUMBERS)}"
    _RULES[rule] = backward

    def function(*inputs: Node) -> Node:
        return CUSTOM_GRADIENT(forward(*inputs), *inputs, rule=rule)

    function.__name__ = function.__qualname__ = name
    return function
