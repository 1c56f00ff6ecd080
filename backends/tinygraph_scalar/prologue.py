"""A kernel's prologue, lifted out of its text; for Numba, choices are written as calls, too.

The prologue is the lines ``n = args[3]`` and ``x = view_float32(args[0])`` with which a kernel
``def name(part, tid, args)`` begins.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import reduce

ARGUMENTS = ("part", "tid", "args")


@dataclass(frozen=True, slots=True)
class PrologueLine:
    """A line of the prologue: `name` is word `slot` of the arguments, as int64 or as a pointer."""

    name: str
    slot: int
    view: str | None


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


def lift_prologue(function: ast.FunctionDef) -> tuple[list[PrologueLine], ast.Module]:
    """The prologue, and the function without it, its names as further parameters, for Numba.

    Raises:
        ValueError: the function uses ``args`` after its prologue.
    """
    parameters, statements = split_prologue(function)
    if any(isinstance(n, ast.Name) and n.id == "args" for s in statements for n in ast.walk(s)):
        raise ValueError(f"kernel {function.name} uses args after its prologue")
    names = [*ARGUMENTS[:2], *(p.name for p in parameters)]
    lifted = ast.FunctionDef(
        name=function.name,
        args=ast.arguments([], [ast.arg(n) for n in names], None, [], [], None, []),
        body=statements or [ast.Pass()],
        decorator_list=[],
    )
    module = ast.Module([ast.copy_location(lifted, function)], [])
    return parameters, ast.fix_missing_locations(_ForNumba(parameters).visit(module))


def _parameter(statement: ast.stmt) -> PrologueLine | None:
    match statement:
        case ast.Assign([ast.Name(name)], ast.Call(ast.Name(view), [word], [])):
            return _line(name, word, view)
        case ast.Assign([ast.Name(name)], word):
            return _line(name, word, None)
    return None


def _line(name: str, word: ast.expr, view: str | None) -> PrologueLine | None:
    match word:
        case ast.Subscript(ast.Name("args"), ast.Constant(int() as slot)):
            return PrologueLine(name, slot, view)
    return None


class _ForNumba(ast.NodeTransformer):
    """Writes what Numba would branch for, or does badly, as calls.

    x ** y becomes power(x, y), which vectorizes, and what is read from a view of bools a bool. A
    choice or a logical operator that reads no memory evaluates all its sides. As a branch, LLVM
    would move earlier reads into it, and without AVX-512 the loop would not vectorize.
    """

    def __init__(self, parameters: list[PrologueLine]) -> None:
        self.bools = {p.name for p in parameters if p.view == "view_bool"}

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        match node:
            case ast.Assign([ast.Name(name)], ast.Call(ast.Name("stack_bool"))):
                self.bools.add(name)
        self.generic_visit(node)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Pow):
            return node
        return _call("power", node, node.left, node.right)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        view = node.value.id if isinstance(node.value, ast.Name) else None
        if view not in self.bools or isinstance(node.ctx, ast.Store):
            return node
        return _call("bool_", node, node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        if _reads_memory(node.body) or _reads_memory(node.orelse):
            return node
        return _call("where", node, node.test, node.body, node.orelse)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        if any(map(_reads_memory, node.values[1:])):
            return node
        operator = ast.BitAnd() if isinstance(node.op, ast.And) else ast.BitOr()
        bits: list[ast.expr] = [_call("bool_", value, value) for value in node.values]
        return reduce(lambda x, y: ast.copy_location(ast.BinOp(x, operator, y), node), bits)


def _reads_memory(node: ast.expr) -> bool:
    return any(
        isinstance(each, ast.Subscript) or (isinstance(each, ast.Name) and each.id == "load4")
        for each in ast.walk(node)
    )


def _call(name: str, where: ast.expr, *args: ast.expr) -> ast.Call:
    return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), list(args), []), where)
