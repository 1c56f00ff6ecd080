"""Scalar Python text evaluated on NumPy arrays: the statements that backends compile."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache
from types import CodeType
from typing import Any

import numpy as np

from ..graph.dtype import DTYPES
from . import intrinsics, library

# what the text may call apart from its own names; `bool`, `round` and `abs` are not Python's, which
# know no arrays
SCOPE: dict[str, Any] = {
    **{name: f for name, f in vars(intrinsics).items() if not name.startswith("_")},
    **library.functions(),
    "inf": np.inf,
    "nan": np.nan,
    "bool": np.bool_,
    "round": np.rint,
    "abs": np.abs,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_not": np.logical_not,
}


def carried(dtype: str) -> str:
    """The dtype of NumPy's arrays for values of ``dtype``, of which memory may have another."""
    return DTYPES[dtype].compute if DTYPES[dtype].carrier else dtype


def evaluate(text: str, names: Mapping[str, Any], dtype: str) -> np.ndarray:
    """The value of `text` over `names`, arrays that broadcast, as an array of `dtype`."""
    with np.errstate(all="ignore"):
        return np.asarray(
            eval(_code(text), {"__builtins__": {}, **SCOPE}, dict(names)), carried(dtype)
        )


@lru_cache(maxsize=4096)
def _code(text: str) -> CodeType:
    tree = _Elementwise().visit(ast.parse(text, mode="eval"))
    return compile(ast.fix_missing_locations(tree), f"<{text}>", "eval")


class _Elementwise(ast.NodeTransformer):
    """Replaces what Python decides once by what NumPy decides for each element."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        return _call("where", node.test, node.body, node.orelse)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        name = "logical_and" if isinstance(node.op, ast.And) else "logical_or"
        return _reduce(name, node.values)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        return _call("logical_not", node.operand) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        values = [node.left, *node.comparators]
        pairs = [
            ast.Compare(left, [op], [right])
            for left, op, right in zip(values, node.ops, values[1:], strict=False)
        ]
        return _reduce("logical_and", pairs)


def _call(name: str, *args: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), list(args), [])


def _reduce(name: str, values: list[Any]) -> ast.expr:
    result, *rest = values
    for value in rest:
        result = _call(name, result, value)
    return result
