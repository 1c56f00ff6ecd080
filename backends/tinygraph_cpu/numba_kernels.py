"""The text of kernels to object code, through Numba's front end and one run of LLVM.

A kernel is ``def name(part, tid, args)``. It begins with a prologue of lines ``n = args[3]`` and
``x = view_float32(args[0])``, and does not touch `args` behind it. The prologue is lifted out: its
names become parameters, the pointers among them ``noalias``, so that loops over any number of
arrays vectorize without run-time checks. Two views of one kernel must therefore not overlap where
one of them is written. A small function, the kernel that the driver calls, loads and passes them.

Numba's own way, from a decorated function to an object, takes three times as long: it optimizes
everything twice, links the module and wraps it for calls from Python. Here Numba types the function
and lowers it to LLVM's language; the rest is tinygraph_cpu.objects.

Importing this module does not import Numba; compiling does.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from llvmlite import ir

from tinygraph.codegen.nest import SHORT_ROWS
from tinygraph_cpu import objects

I64 = ir.IntType(64)
ARGUMENTS = ("part", "tid", "args")
FAST = ("contract", "nsz")  # never nnan or ninf: NaN must propagate; arcp: see tinygraph_cpu.scalar


@dataclass(frozen=True, slots=True)
class Parameter:
    """A line of the prologue: `name` is word `slot` of the arguments, as int64 or as a pointer."""

    name: str
    slot: int
    view: str | None


def compile_kernels(
    source: str,
    symbols: Mapping[str, str],
    target: objects.Target,
    filename: str = "<kernels>",
) -> dict[str, bytes]:
    """Objects of kernels, by name.

    Args:
        source: the text of a module. Only the functions named in `symbols` are read; they see what
            tinygraph_cpu.numba_intrinsics offers and nothing else.
        symbols: {name: the symbol that its object defines}.
        target: the processor.
        filename: for messages.

    Raises:
        KeyError: a name without a function.
        ValueError: a kernel that could raise, or computes in float64 without mentioning it.
        numba.core.errors.NumbaError: a kernel that Numba cannot type.
    """
    functions = {f.name: f for f in ast.parse(source).body if isinstance(f, ast.FunctionDef)}
    made = {}
    for name, symbol in symbols.items():
        module = kernel_module(functions[name], symbol, filename)
        short = SHORT_ROWS in (ast.get_source_segment(source, functions[name]) or "")
        made[name] = _compile(module, target, functions[name], short)
    return made


def kernel_module(function: ast.FunctionDef, symbol: str, filename: str) -> str:
    """The text of a kernel's LLVM module, as Numba lowers it, not yet optimized."""
    from tinygraph_cpu import numba_front_end  # imports Numba, which takes a third of a second

    parameters, body = lift_prologue(function)
    module, native = numba_front_end.lower(body, parameters, filename)
    _emit_entry(module, native, symbol, parameters)
    # Numba numbers its names; without, equal text gives equal objects in every process
    return str(module).replace(native.name, f"{symbol}.body")


def lift_prologue(function: ast.FunctionDef) -> tuple[list[Parameter], ast.Module]:
    """The prologue, and the function without it, its names as further parameters."""
    statements = list(function.body)
    if ast.get_docstring(function, clean=False) is not None:
        del statements[0]
    parameters = []
    while statements and (parameter := _parameter(statements[0])):
        parameters.append(parameter)
        del statements[0]
    if any(isinstance(n, ast.Name) and n.id == "args" for s in statements for n in ast.walk(s)):
        raise ValueError(f"kernel {function.name} uses args behind its prologue")
    names = [*ARGUMENTS[:2], *(p.name for p in parameters)]
    lifted = ast.FunctionDef(
        name=function.name,
        args=ast.arguments([], [ast.arg(n) for n in names], None, [], [], None, []),
        body=statements or [ast.Pass()],
        decorator_list=[],
    )
    module = ast.Module([ast.copy_location(lifted, function)], [])
    return parameters, ast.fix_missing_locations(_ForNumba(parameters).visit(module))


def _parameter(statement: ast.stmt) -> Parameter | None:
    line = ast.unparse(statement)
    if match := re.fullmatch(r"(\w+) = (?:(view_\w+)\()?args\[(\d+)\]\)?", line):
        return Parameter(match[1], int(match[3]), match[2])
    return None


class _ForNumba(ast.NodeTransformer):
    """Writes what Numba would branch for, or does badly, as calls.

    x ** y becomes power(x, y), which vectorizes, and what is read from a view of bools a bool. A
    choice or a logical operator that reads no memory evaluates all its sides. As a branch, LLVM
    would move earlier reads into it, and without AVX-512 the loop would not vectorize.
    """

    def __init__(self, parameters: list[Parameter]) -> None:
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


def _emit_entry(
    module: ir.Module, native: ir.Function, symbol: str, parameters: Iterable[Parameter]
) -> None:
    """Emits ``symbol(part, tid, args)``, which calls the function that Numba made."""
    for value in module.global_values:
        if isinstance(value, ir.GlobalVariable):
            value.linkage = "internal"
    native.linkage = "internal"
    native.attributes.add("noinline")  # as parameters of a function, pointers keep their noalias
    kind = ir.FunctionType(ir.VoidType(), [I64, I64, I64.as_pointer()])
    entry = ir.Function(module, kind, symbol)
    b = ir.IRBuilder(entry.append_basic_block("entry"))
    returned, raised, *kinds = native.function_type.args
    values = list(entry.args[:2])
    for parameter, want in zip(parameters, kinds[2:], strict=True):
        word = b.load(b.gep(entry.args[2], [I64(parameter.slot)]))
        values.append(b.inttoptr(word, want) if parameter.view else word)
    b.call(native, [b.alloca(returned.pointee), b.alloca(raised.pointee), *values])
    b.ret_void()


def _compile(
    module: str, target: objects.Target, function: ast.FunctionDef, short_rows: bool
) -> bytes:
    optimized, machine = objects.optimize(module, target, masked_tails=short_rows)
    text = str(optimized)
    if ".const.picklebuf" in text:  # an exception, as Numba keeps it
        raise ValueError(f"kernel {function.name} could raise an exception")
    if re.search(r"\bdouble\b", text) and "float64" not in ast.unparse(function):
        raise ValueError(f"kernel {function.name} computes in float64 without mentioning it")
    return machine.emit_object(optimized)
