"""The text of kernels to object code, through one run of LLVM.

A kernel is ``def name(part, tid, args)``. It begins with a prologue of lines ``n = args[3]`` and
``x = view_float32(args[0])``, and does not touch `args` after it. The prologue is lifted out: its
names become parameters, the pointers among them ``noalias``, so that loops over any number of
arrays vectorize without run-time checks. Two views of one kernel must therefore not overlap where
one of them is written. A small function, the kernel that the driver calls, loads and passes them.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from llvmlite import ir

from tinygraph.codegen import library
from tinygraph.codegen.nest import SHORT_ROWS
from tinygraph_cpu.machine import objects
from tinygraph_cpu.machine.loading import LLVMTarget
from tinygraph_scalar.arithmetic import Value, scalar_type
from tinygraph_scalar.builder import TextBuilder
from tinygraph_scalar.prologue import PrologueLine, split_prologue

from .emitter import StatementEmitter, View
from .functions import I64


def compile_kernels(
    source: str, symbols: Mapping[str, str], target: LLVMTarget
) -> dict[str, bytes]:
    """Objects of kernels, by name.

    Args:
        source: the text of a module. Only the functions named in `symbols` are read; they see the
            functions of tinygraph.codegen and nothing else.
        symbols: {name: the symbol that its object defines}.
        target: the processor.

    Raises:
        KeyError: a name without a function.
        ValueError: a kernel that says what no kernel can, or computes in float64 without
            mentioning it.
    """
    functions = {f.name: f for f in ast.parse(source).body if isinstance(f, ast.FunctionDef)}
    lines = source.split("\n")
    made = {}
    for name, symbol in symbols.items():
        function = functions[name]
        text = "\n".join(lines[function.lineno - 1 : function.end_lineno])
        made[name] = objects.finish(draft(function, text, symbol), target)
    return made


def draft_kernel(text: str, symbol: str) -> objects.Draft:
    """The draft of the one function of a text, as ``symbol``.

    Raises:
        ValueError: it says what no kernel can.
    """
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    return draft(function, text, symbol)


def draft(function: ast.FunctionDef, text: str, symbol: str) -> objects.Draft:
    module = kernel_module(function, symbol)
    narrow = "double" in module and not library.names_float64(text)
    return objects.Draft(
        function.name, module, loops=True, masked_tails=SHORT_ROWS in text, narrow=narrow
    )


def kernel_module(function: ast.FunctionDef, symbol: str) -> str:
    """The text of a kernel's LLVM module, not yet optimized.

    Raises:
        ValueError: it says what no kernel can.
    """
    parameters, body = split_prologue(function)
    module = ir.Module(symbol, context=ir.Context())
    inner = _define(module, f"{symbol}.body", parameters)
    part, tid, *given = inner.args
    names: dict[str, Value | View] = {"part": Value(part, "int64"), "tid": Value(tid, "int64")}
    for p, value in zip(parameters, given, strict=True):
        names[p.name] = View(value, p.dtype) if p.dtype else Value(value, "int64")
    try:
        StatementEmitter(inner, names).emit(body)
    except (TypeError, NameError, NotImplementedError) as error:
        raise ValueError(f"kernel {function.name}: {error}") from error
    _define_entry(module, inner, symbol, parameters)
    return str(module)


def _define(module: ir.Module, symbol: str, parameters: Sequence[PrologueLine]) -> ir.Function:
    """``symbol(part, tid, parameters)``; its pointers share no memory."""
    kinds = [scalar_type(p.dtype, memory=True).as_pointer() if p.dtype else I64 for p in parameters]
    inner = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64, I64, *kinds]), symbol)
    inner.linkage = "internal"
    inner.attributes.add("noinline")  # as parameters of a function, pointers keep their noalias
    for argument in inner.args:
        if isinstance(argument.type, ir.PointerType):
            argument.add_attribute("noalias")
    return inner


def _define_entry(
    module: ir.Module, inner: ir.Function, symbol: str, parameters: Sequence[PrologueLine]
) -> None:
    """``symbol(part, tid, args)``, which loads the parameters and calls ``inner``."""
    kind = ir.FunctionType(ir.VoidType(), [I64, I64, I64.as_pointer()])
    entry = ir.Function(module, kind, symbol)
    b = TextBuilder(entry.append_basic_block("entry"))
    values = list(entry.args[:2])
    for parameter, want in zip(parameters, inner.args[2:], strict=True):
        word = b.load(b.gep(entry.args[2], [I64(parameter.slot)]))
        values.append(b.inttoptr(word, want.type) if parameter.dtype else word)
    b.call(inner, values)
    b.ret_void()
