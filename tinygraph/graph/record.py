"""Checks of an operator's record: a field that is missing or wrong is one line that names it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from .expression import fault

if TYPE_CHECKING:
    from .ir import Node
    from .op import Loops, Op, Read


class OperatorError(ValueError):
    """An operator's record that cannot be right: 'file.py:12: operator softsign ...'."""


class Kind(Enum):
    """All that fusion needs to know of an operator."""

    SOURCE = "source"  # input, parameter, constant, iota: reads no node
    ELEMENTWISE = "elementwise"  # one output element from one element of each input, broadcast
    REDUCE = "reduce"  # folds over axes or windows
    VIEW = "view"  # moves indices only: transpose, slice, broadcast, pad
    ANCHOR = "anchor"  # a sum of products, lowered to a contraction: matmul, convolutions
    OPAQUE = "opaque"  # a kernel template of its own: scatter_add, cumsum
    COMPOSITE = "composite"  # made of others, unless the backend has a kernel for it: attention
    JOIN = "join"  # its inputs side by side along the attribute ``axis``: concat
    LOOP = "loop"  # repeats the graph in its attribute ``body``; has several results
    RESULT = "result"  # one of them


# The fields that an operator of each kind must have, and those that others may not. Any operator
# may have vjp or no_gradient, cost, example and version.
FIELDS: dict[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Kind.SOURCE: (("infer",), ("ref",)),
    Kind.ELEMENTWISE: (("infer", "ref", "expr"), ("commutative", "costly", "nonnegative")),
    Kind.REDUCE: (("infer", "ref", "loops", "fold"), ("expr", "stacked")),
    Kind.VIEW: (("infer", "ref", "loops"), ("transparent", "row_major", "stacked")),
    Kind.ANCHOR: (("infer", "ref", "loops", "fold", "expr"), ("stacked",)),
    Kind.OPAQUE: (
        ("infer", "ref", "template"),
        ("parts", "backend_templates", "stacked", "ordered", "keeps_order"),
    ),
    Kind.COMPOSITE: (("infer", "ref", "written_out"), ("stacked",)),
    Kind.JOIN: (("infer", "ref"), ("stacked",)),
    Kind.LOOP: (("infer", "ref"), ()),
    Kind.RESULT: (("infer", "ref"), ()),
}
ALWAYS = ("vjp", "no_gradient", "cost", "example", "version")
OWN = (Kind.SOURCE, Kind.JOIN, Kind.LOOP, Kind.RESULT)  # planned by operator: the compiler's own
FUNCTIONS = ("infer", "ref", "loops", "vjp", "cost", "example", "template", "parts", "stacked",
             "written_out")  # fmt: skip
FOLDS = ("sum", "max", "min")
# all that contractions compute, of floats, and of narrow integers
PRODUCTS = ("{0} * {1}", "int32({0}) * int32({1})")
VARIADIC = 0x04  # inspect.CO_VARARGS
MEANING = {
    "infer": "its type rule, (*types, **attrs) -> Type",
    "ref": "its NumPy meaning, (*arrays, **attrs) -> array",
    "expr": "the scalar Python of one element, as 'K(2) * {0}'",
    "loops": "its loop nest, (out, *types, **attrs) -> Loops",
    "fold": f"how elements are combined, one of {', '.join(FOLDS)}",
    "written_out": "the same in other operators, (node) -> node",
    "template": "what writes its kernel, (KernelWriter) -> None",
}


def check(op: Op, fields: Iterable[str]) -> None:
    """Checks a record, of which ``fields`` were given, against its kind.

    Raises:
        OperatorError: a field is missing, is not for this kind, or contradicts another one.
    """
    needs, may = FIELDS[op.kind]
    if op.kind in OWN and not op.built_in:
        raise error(
            op, f"has the kind {op.kind.name}, whose operators the compiler knows one by one"
        )
    for name in needs:
        if getattr(op, name) is None and not (name == "loops" and op.row_major):
            raise error(op, f"of kind {op.kind.name} requires {name}: {MEANING[name]}")
    for name in fields:
        if name not in (*needs, *may, *ALWAYS):
            takers = ", ".join(k.name for k, each in FIELDS.items() if name in each[0] + each[1])
            raise error(op, f"of kind {op.kind.name} takes no {name}, which is for {takers}")
        if name in FUNCTIONS and not callable(value := getattr(op, name)) and value is not None:
            raise error(op, f"requires a function as {name}, got {value!r}")
    if op.fold is not None and op.fold not in FOLDS:
        raise error(op, f"has the fold {op.fold!r}, which is not one of {', '.join(FOLDS)}")
    product = op.expr in PRODUCTS or (op.built_in and callable(op.expr))
    if op.kind is Kind.ANCHOR and not (product and op.fold == "sum"):
        raise error(op, f"of kind ANCHOR requires the fold 'sum' of an expr of {PRODUCTS}")
    if op.row_major and not op.built_in:
        raise error(op, "takes no row_major, which is for reshape: build it with tg.reshape")
    if op.vjp is not None and op.no_gradient:
        raise error(op, "has both vjp and no_gradient")
    inputs = arity(op)
    if op.expr is not None and not callable(op.expr):
        check_expression(op, op.expr, inputs)


def check_expression(op: Op, text: Any, inputs: int | None) -> str:
    """The scalar expression, if kernels with this number of inputs (None: any) may contain it.

    Raises:
        OperatorError: it cannot.
    """
    if not isinstance(text, str):
        raise error(op, f"requires a text as expr, or a function that returns one, got {text!r}")
    if wrong := fault(text, inputs, op.fold is not None):
        raise error(op, f"cannot compute {text!r}: {wrong}")
    return text


def arity(op: Op) -> int | None:
    """How many inputs an operator has, as far as its functions tell; None: any number.

    Raises:
        OperatorError: they contradict each other.
    """
    found = {"infer": _positional(op.infer), "ref": _positional(op.ref)}
    if op.kind is not Kind.LOOP:
        found["vjp"] = _positional(op.vjp, 2)
    if op.loops is not None:
        found["loops"] = _positional(op.loops, 1)
    counts = {name: n for name, n in found.items() if n is not None}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} of {n}" for name, n in counts.items())
        raise error(op, f"has functions of different numbers of inputs: {told}")
    return next(iter(counts.values()), None)


def _positional(function: Any, skipped: int = 0) -> int | None:
    """How many inputs a function takes, after ``skipped`` others; None if that is not fixed."""
    if isinstance(count := getattr(function, "nin", None), int):  # a NumPy ufunc
        return count
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & VARIADIC or function.__defaults__:
        return None
    return code.co_argcount - skipped - hasattr(function, "__self__")


def check_names(name: str, given: Iterable[str], known: Sequence[str], where: str) -> None:
    """
    Raises:
        OperatorError: a field that records do not have.
    """
    for each in given:
        if each not in known:
            close = difflib.get_close_matches(each, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"there is {', '.join(known)}"
            raise OperatorError(f"{where}: operator {name} has no field {each!r}; {hint}")


def check_loops(n: Node, loops: Loops) -> Loops:
    """A node's loop nest, if it can be one.

    Raises:
        OperatorError: it does not fit the shapes.
    """
    if wrong := _loops_fault(n, loops):
        types = ", ".join(str(i.type) for i in n.inputs)
        raise error(n.op, f"has loops that do not fit {types} -> {n.type}: {wrong}")
    return loops


def _loops_fault(n: Node, loops: Loops) -> str:
    """The fault of a loop nest; "" if there is none."""
    reads = getattr(loops, "reads", None)
    if reads is None:
        return f"they are {loops!r}, no Loops"
    if n.op.kind is Kind.VIEW and loops.reduce:
        return "a view does not reduce"
    if n.op.kind is Kind.VIEW and n.dtype != n.inputs[0].dtype:
        return "a view does not change the dtype"
    if len(reads) != len(n.inputs):
        return f"they have {len(reads)} reads of {len(n.inputs)} inputs"
    axes = (*n.shape, *loops.reduce)
    wrong = (_read_fault(n, k, read, axes) for k, read in enumerate(reads))
    return next(filter(None, wrong), "")


def _read_fault(n: Node, k: int, read: Read, axes: Sequence[int]) -> str:
    """The fault of how input k is read in a nest of these axes; "" if there is none."""
    x = n.inputs[k]
    if len(read.indices) != x.ndim:
        return f"input {k} is read at {len(read.indices)} indices, it has {x.ndim} axes"
    gathered = dict(read.gather)
    for axis, index in enumerate(read.indices):
        if any(not 0 <= a < len(axes) for a, _ in index.terms):
            return f"axis {axis} of input {k} is read along an axis beyond the nest's {len(axes)}"
        if read.outside is not None or axis in gathered or 0 in axes:
            continue
        ends = [sorted((0, c * (axes[a] - 1))) for a, c in index.terms]
        low, high = (index.constant + sum(e[side] for e in ends) for side in (0, 1))
        if index.divisor != 1 or low < 0 or high >= x.shape[axis]:
            return (
                f"axis {axis} of input {k} is read from {low} to {high}, it has {x.shape[axis]} "
                "elements, and no value outside is given"
            )
    return ""


def parts(n: Node) -> int:
    """Into how many parts a template's work is cut.

    Raises:
        OperatorError: the operator's ``parts`` returned no number from 1 up: nothing would run.
    """
    found = n.op.parts(n) if n.op.parts is not None else 1
    if not isinstance(found, int) or found < 1:
        raise error(n.op, f"requires parts that return a number from 1 up, got {found!r}")
    return found


def error(op: Op, what: str) -> OperatorError:
    return OperatorError(f"{op.defined}: operator {op.name} {what}")
