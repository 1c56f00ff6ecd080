"""The text of kernels to object code, through Numba's front end and one run of LLVM.

A kernel is ``def name(part, tid, args)``. It begins with a prologue of lines ``n = args[3]`` and
``x = view_float32(args[0])``, and does not touch `args` after it. The prologue is lifted out: its
names become parameters, the pointers among them ``noalias``, so that loops over any number of
arrays vectorize without run-time checks. Two views of one kernel must therefore not overlap where
one of them is written. A small function, the kernel that the driver calls, loads and passes them.

Numba's own way, from a decorated function to an object, takes three times as long: it optimizes
everything twice, links the module and wraps it for calls from Python. Here Numba types the function
and lowers it to LLVM's language; the rest is tinygraph_cpu.machine.objects.

Importing this module does not import Numba; compiling does.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping

from llvmlite import ir

from tinygraph.codegen import library
from tinygraph.codegen.nest import SHORT_ROWS
from tinygraph_cpu.machine import objects
from tinygraph_scalar.prologue import PrologueLine, lift_prologue

I64 = ir.IntType(64)


def compile_kernels(
    source: str,
    symbols: Mapping[str, str],
    target: objects.LLVMTarget,
    filename: str = "<kernels>",
) -> dict[str, bytes]:
    """Objects of kernels, by name.

    Args:
        source: the text of a module. Only the functions named in `symbols` are read; they see what
            tinygraph_cpu.numba_code.intrinsics offers and nothing else.
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
    from . import front_end  # imports Numba, which takes a third of a second

    parameters, body = lift_prologue(function)
    module, native = front_end.lower(body, parameters, filename)
    _emit_entry(module, native, symbol, parameters)
    # Numba numbers its names; without, equal text gives equal objects in every process
    return str(module).replace(native.name, f"{symbol}.body")


def _emit_entry(
    module: ir.Module, native: ir.Function, symbol: str, parameters: Iterable[PrologueLine]
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
    module: str, target: objects.LLVMTarget, function: ast.FunctionDef, short_rows: bool
) -> bytes:
    optimized, machine = objects.optimize(module, target, masked_tails=short_rows)
    text = str(optimized)
    if ".const.picklebuf" in text:  # an exception, as Numba keeps it
        raise ValueError(f"kernel {function.name} could raise an exception")
    if re.search(r"\bdouble\b", text) and not library.names_float64(ast.unparse(function)):
        raise ValueError(f"kernel {function.name} computes in float64 without mentioning it")
    return objects.emit(optimized, machine)
