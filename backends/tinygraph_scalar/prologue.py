"""What compilers of a kernel's text must know of it: its prologue, and which expressions read.

The prologue is the lines ``n = args[3]`` and ``x = view_float32(args[0])`` with which a kernel
``def name(part, tid, args)`` begins.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

ARGUMENTS = ("part", "tid", "args")


@dataclass(frozen=True, slots=True)
class PrologueLine:
    """A line of the prologue: `name` is word `slot` of the arguments, as int64, or as a pointer to
    elements of `dtype`.
    """

    name: str
    slot: int
    dtype: str | None


def split_prologue(function: ast.FunctionDef) -> tuple[list[PrologueLine], list[ast.stmt]]:
    """The prologue, and the statements after it."""
    statements = list(function.body)
    if ast.get_docstring(function, clean=False) is not None:
        del statements[0]
    parameters = []
    while statements and (parameter := _parameter(statements[0])):
        parameters.append(parameter)
        del statements[0]
    return parameters, statements


def _parameter(statement: ast.stmt) -> PrologueLine | None:
    match statement:
        case ast.Assign([ast.Name(name)], ast.Call(ast.Name(view), [word], [])):
            kind, _, dtype = view.partition("view_")
            return _line(name, word, dtype) if dtype and not kind else None
        case ast.Assign([ast.Name(name)], word):
            return _line(name, word, None)
    return None


def _line(name: str, word: ast.expr, dtype: str | None) -> PrologueLine | None:
    match word:
        case ast.Subscript(ast.Name("args"), ast.Constant(int() as slot)):
            return PrologueLine(name, slot, dtype)
    return None


def reads_memory(node: ast.expr) -> bool:
    """Whether an expression reads elements of a view, which a branch may protect."""
    return any(
        isinstance(each, ast.Subscript) or (isinstance(each, ast.Name) and each.id == "load4")
        for each in ast.walk(node)
    )
