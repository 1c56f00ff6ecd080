"""The text of a kernel as Numba is given it: its prologue lifted out, choices written as calls."""

from __future__ import annotations

import ast
from functools import reduce

from tinygraph.graph.dtype import DTYPES
from tinygraph_scalar.prologue import ARGUMENTS, PrologueLine, reads_memory, split_prologue

CONSTRUCTORS = {d.constructor for d in DTYPES.values()}


def lift_prologue(function: ast.FunctionDef) -> tuple[list[PrologueLine], ast.Module]:
    """The prologue, and the function without it, its names as further parameters.

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


class _ForNumba(ast.NodeTransformer):
    """Writes what Numba would branch for, or does badly, as calls.

    x ** y becomes power(x, y), which vectorizes, and what is read from a view of bools a bool. A
    choice or a logical operator that reads no memory evaluates all its sides. As a branch, LLVM
    would move earlier reads into it, and without AVX-512 the loop would not vectorize. Where there
    are floats of 16 bits, of which Numba knows no conversion, float32(x) becomes to_float32(x).
    """

    def __init__(self, parameters: list[PrologueLine]) -> None:
        self.bools = {p.name for p in parameters if p.dtype == "bool"}
        self.narrow = any(p.dtype and DTYPES[p.dtype].compute for p in parameters)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if self.narrow and isinstance(node.func, ast.Name) and node.func.id in CONSTRUCTORS:
            return _call(f"to_{node.func.id}", node, *node.args)
        return node

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
        if reads_memory(node.body) or reads_memory(node.orelse):
            return node
        return _call("where", node, node.test, node.body, node.orelse)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        if any(map(reads_memory, node.values[1:])):
            return node
        operator = ast.BitAnd() if isinstance(node.op, ast.And) else ast.BitOr()
        bits: list[ast.expr] = [_call("bool_", value, value) for value in node.values]
        return reduce(lambda x, y: ast.copy_location(ast.BinOp(x, operator, y), node), bits)


def _call(name: str, where: ast.expr, *args: ast.expr) -> ast.Call:
    return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), list(args), []), where)
