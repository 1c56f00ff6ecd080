"""The door for authors: what operators, rules, passes and backends of your own are made of.

Import from here; the modules that these names come from may move. A mistake in what you define is
one line, with its name and your file and line.

**An operator** is one record, ``define(name, kind, ...)``: its type rule, its NumPy meaning, and
what its kind needs (``FIELDS``): a scalar expression (ELEMENTWISE; it may call ``FUNCTIONS``), a
loop nest (``Loops`` of ``Read`` of ``Index``) with a fold (REDUCE) or without one (VIEW), a
template that writes its kernel (OPAQUE), or the same in other operators (COMPOSITE), which also
give its gradient. ``check_operator`` compares its fields with each other on the record's example.

    softsign = define("softsign", Kind.ELEMENTWISE, infer=broadcast("softsign"),
                      ref=lambda x: x / (1 + np.abs(x)), expr="{0} / (K(1) + abs({0}))",
                      vjp=lambda g, out, x: (g * (1 - tg.abs(out)) ** 2,),
                      example=lambda: softsign(input("x", 4, 3)))

**A rule** is a pattern of operators and variables, and a function that builds the replacement. Its
parameters are ``out``, the matched node, and the pattern's variables.

    x = var("x")

    @rule(OPS["exp"](OPS["log"](x)), example=lambda: tg.exp(tg.log(input("x", 4))))
    def exp_of_log(out, x):
        return x

**A pass** is a function of a graph (and, if it has a parameter ``log``, of a list of ``Event``)
that returns a graph: ``compile(..., passes=(mine, *PIPELINE))``. ``rewrite(graph, rules, log)``
and ``rebuild(graph, build)`` enter the bodies of loops. A pass that walks ``graph.nodes`` itself
must enter them too: ``with_bodies(n, change)`` is the node with changed bodies, and
``graph.everywhere`` lists the nodes of all bodies. Graphs are immutable; ``substitute`` replaces
nodes.

**A backend** is a module with the functions of ``Backend``; ``docs/backends.md`` explains them.

Programs with an operator, pass or backend of yours are kept on disk only if it has a ``version``.
Change the version whenever you change the code.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .autodiff import GradientError, check_grad
from .codegen import python
from .codegen.assemble import assemble
from .codegen.program import Call, Code, KernelCode, Work
from .compile import compile
from .compiler.backend import Backend, BackendError, Runner, register
from .compiler.store import Store
from .graph.expression import FUNCTIONS
from .graph.interpret import WrongReference, run
from .graph.ir import Graph, Node, Parameter
from .graph.op import (
    INPUT,
    OPS,
    Index,
    Kind,
    Loops,
    Op,
    Read,
    ShapeError,
    Stacked,
    broadcast,
    broadcast_shapes,
    constant,
    define,
    identity,
    input,
    promote,
    same_dtype,
)
from .graph.origins import Origin, built_from, described, origins
from .graph.rebuild import carry, rebuild, with_bodies, with_inputs
from .graph.record import FIELDS, OperatorError
from .graph.rewrite import (
    Event,
    Pattern,
    RewriteError,
    Rule,
    filled,
    is_filled,
    rewrite,
    rule,
    rules_in,
    substitute,
    var,
)
from .graph.state import DeviceMemory
from .graph.template import KernelWriter, TemplateOperand
from .graph.types import Type
from .graph.verify import VerifyError
from .ops.arithmetic import floats, integers, numbers
from .passes import PIPELINE, RULES
from .plan.records.device import Card, Roofline
from .plan.records.plan import Plan
from .plan.records.target import PlainTarget, Target

__all__ = [
    "FIELDS",
    "FUNCTIONS",
    "OPS",
    "PIPELINE",
    "RULES",
    "Backend",
    "BackendError",
    "Call",
    "Card",
    "Code",
    "DeviceMemory",
    "Event",
    "Graph",
    "Index",
    "KernelCode",
    "KernelWriter",
    "Kind",
    "Loops",
    "Node",
    "Op",
    "OperatorError",
    "Origin",
    "Parameter",
    "Pattern",
    "PlainTarget",
    "Plan",
    "Read",
    "RewriteError",
    "Roofline",
    "Rule",
    "Runner",
    "ShapeError",
    "Stacked",
    "Store",
    "Target",
    "TemplateOperand",
    "Type",
    "VerifyError",
    "Work",
    "assemble",
    "broadcast",
    "broadcast_shapes",
    "built_from",
    "carry",
    "check_operator",
    "constant",
    "define",
    "described",
    "filled",
    "floats",
    "identity",
    "input",
    "integers",
    "is_filled",
    "numbers",
    "origins",
    "promote",
    "python",
    "rebuild",
    "register",
    "rewrite",
    "rule",
    "rules_in",
    "same_dtype",
    "substitute",
    "var",
    "with_bodies",
    "with_inputs",
]


def check_operator(op: Op, *arrays: Any, backend: str = "cpu", tolerance: float = 1e-5) -> None:
    """Checks that the fields of an operator agree, on its example: for the tests of its author.

    Its NumPy meaning must have the type that is inferred, compiled code must compute the same, and
    its gradient, if there is one, must agree with finite differences.

    Args:
        arrays: values of the example's inputs; drawn from a normal distribution where left out.
        tolerance: of compiled code and gradients, relative to max(1, |value|).
        op: what ``define`` returned; ``backend`` is the one that it is compiled for.

    Raises:
        OperatorError: there is no example, or what disagrees, by how much.

    Example:
        >>> extend.check_operator(tg.tanh)
    """
    if op.example is None:
        raise OperatorError(f"{op.defined}: operator {op.name} has no example to check it on")
    n = op.example()
    inputs = tuple(m for m in Graph(op.name, (), (n,)).nodes if m.op is INPUT)
    given = [np.asarray(a, i.dtype) for a, i in zip(arrays, inputs, strict=False)]
    given += [_drawn(i.type) for i in inputs[len(given) :]]
    try:
        (expected,) = run(Graph(op.name, inputs, (n,)), *given)
        (got,) = compile(inputs, [n], backend=backend, name=op.name)(*given)
        np.testing.assert_allclose(got, expected, tolerance, tolerance)
        if (op.vjp or op.written_out) and any(i.dtype.startswith("float") for i in inputs):
            check_grad((inputs, n), *given, tolerance=tolerance)
    except (AssertionError, GradientError, WrongReference) as e:
        raise OperatorError(f"{op.defined}: operator {op.name} disagrees with itself: {e}") from e


def _drawn(type: Type) -> np.ndarray:
    rng = np.random.default_rng(0)
    if type.dtype.startswith("float"):
        return rng.standard_normal(type.shape).astype(type.dtype)
    return rng.integers(0, 2, type.shape).astype(type.dtype)
