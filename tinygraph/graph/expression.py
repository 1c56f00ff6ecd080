"""The scalar expressions of operators: what they may contain, checked before anything is compiled.

An expression is Python of one element: ``{0}``, ``{1}`` are the inputs' elements, ``{r}`` the flat
index within a reduction, ``K`` the constructor of the result's dtype. It is pasted into kernels, so
it may use only what every backend has: arithmetic, comparisons, ``x if c else y`` and FUNCTIONS.
"""

from __future__ import annotations

import ast
import difflib
import functools
import re

from .dtype import DTYPES

# How many arguments each takes. All have Python twins in tinygraph.codegen; backends know them.
FUNCTIONS = {
    "abs": 1, "floor": 1, "ceil": 1, "trunc": 1, "rint": 1, "sqrt": 1, "isnan": 1,
    "exp": 1, "expm1": 1, "exp2": 1, "log": 1, "log1p": 1, "log2": 1, "log10": 1,
    "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1, "atan2": 2,
    "sinh": 1, "cosh": 1, "tanh": 1, "asinh": 1, "acosh": 1, "atanh": 1,
    "sigmoid": 1, "softplus": 1, "erf": 1,
    "power": 2, "maximum": 2, "minimum": 2, "floor_divide": 2, "modulo": 2, "fma": 3, "where": 3,
    "shift_left": 2, "shift_right": 2, "rounded_product": 2, "nearest": 1,
    "float_bits": 1, "bits_float": 1, "float64_bits": 1, "bits_float64": 1,
    "random_uniform": 4,
}  # fmt: skip
CONSTRUCTORS = ("K", *(d.constructor for d in DTYPES.values()))
CONSTANTS = ("inf", "nan")

_FIELD = re.compile(r"\{(\w*)\}")
_ALLOWED = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.Name,
    ast.Constant, ast.Load, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip


@functools.cache
def fault(text: str, inputs: int | None, folds: bool) -> str:
    """The fault of an expression over this number of inputs (None: unknown); "" if there is none.

    ``folds``: it is an element of a reduction, where ``{r}`` is known.
    """
    for field in _FIELD.findall(text):
        if field == "r" and folds:
            continue
        if not field.isdecimal():
            known = "{0}, {1}, ... are the inputs" + (", {r} the index in the reduction" * folds)
            return f"{{{field}}} stands for nothing; {known}"
        if inputs is not None and int(field) >= inputs:
            return f"{{{field}}} is not among its inputs, {_inputs(inputs)}"
    try:
        tree = ast.parse(_FIELD.sub(r"_\1", text), mode="eval")
    except SyntaxError as e:
        return f"it is not a Python expression: {e.msg}"
    return next(filter(None, (_fault_of(n) for n in ast.walk(tree))), "") or _bare(tree.body)


def _fault_of(n: ast.AST) -> str:
    """The fault of one part, literals aside."""
    if isinstance(n, ast.Call):
        return _fault_of_call(n)
    if not isinstance(n, _ALLOWED) or isinstance(n, (ast.MatMult, ast.In, ast.NotIn)):
        return f"{type(n).__name__} is more than kernels can do: {_text(n)}"
    if isinstance(n, ast.Constant) and not isinstance(n.value, (bool, int, float)):
        return f"{n.value!r} is not a number"
    if isinstance(n, ast.Name) and n.id not in (*FUNCTIONS, *CONSTRUCTORS, *CONSTANTS):
        return "" if n.id.startswith("_") else f"the name {n.id} is unknown{_close(n.id)}"
    return ""


def _fault_of_call(n: ast.Call) -> str:
    """True if a known function is called, with as many arguments as it takes."""
    name = ast.unparse(n.func)
    takes = 1 if name in CONSTRUCTORS else FUNCTIONS.get(name)
    if takes is None:
        return f"the function {name} is unknown{_close(name.rpartition('.')[2])}"
    if n.keywords or len(n.args) != takes:
        return f"{name} takes {takes} argument{'s' * (takes > 1)}, got {_text(n)}"
    return ""


def _text(n: ast.AST) -> str:
    """A part as its author wrote it."""
    return re.sub(r"\b_(\w+)", r"{\1}", ast.unparse(n))


def _inputs(count: int) -> str:
    return ", ".join(f"{{{i}}}" for i in range(count)) or "of which it has none"


def _close(name: str) -> str:
    """The names that may have been meant, or all that there are."""
    close = difflib.get_close_matches(name, (*FUNCTIONS, *CONSTRUCTORS), 1, 0.8)
    return f"; did you mean {close[0]}?" if close else f"; there is {', '.join(FUNCTIONS)}"


def _bare(n: ast.AST) -> str:
    """The first number outside of a constructor: it would make a double of a float32 sum."""
    if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in CONSTRUCTORS:
        return "" if _is_number(n.args[0]) else _bare(n.args[0])
    if isinstance(n, ast.Constant) and not isinstance(n.value, bool):
        return f"the bare literal {n.value!r} would be a double; write K({n.value!r})"
    if isinstance(n, ast.Name) and n.id in CONSTANTS:
        return f"the bare name {n.id} would be a double; write K({n.id})"
    return next(filter(None, map(_bare, ast.iter_child_nodes(n))), "")


def _is_number(n: ast.AST) -> bool:
    """A literal, or one with a sign."""
    if isinstance(n, ast.UnaryOp):
        n = n.operand
    return isinstance(n, (ast.Constant, ast.Name))
