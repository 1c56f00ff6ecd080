"""One kernel to object code: compiled from its text, or emitted from its record."""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING

from tinygraph.codegen.program import KernelCode
from tinygraph.plan.records.body import Body, Statement
from tinygraph.plan.records.contraction import Contraction, TileOperand

from .attention.records import AttentionForward, AttentionGradient
from .machine import assembly, objects
from .machine.features import Features
from .winograd.records import WinogradGradient, WinogradTile, WinogradWeights

if TYPE_CHECKING:
    from llvmlite import ir

WINOGRAD = (WinogradTile, WinogradGradient, WinogradWeights)
ATTENTION = (AttentionForward, AttentionGradient)
Record = (
    Contraction
    | WinogradTile
    | WinogradGradient
    | WinogradWeights
    | AttentionForward
    | AttentionGradient
)
RECORDS = (Contraction, *WINOGRAD, *ATTENTION, Body, Statement, TileOperand)


def compile_kernel(kernel: KernelCode, symbol: str, features: Features) -> bytes:
    """The object of a kernel, which it defines as ``symbol``.

    Raises:
        ValueError: see loops.kernels.compile_kernels.
    """
    return objects.finish(draft_kernel(kernel, symbol, features), features)


def draft_kernel(kernel: KernelCode, symbol: str, features: Features) -> objects.Draft:
    """What a kernel is compiled from, its text in LLVM's language.

    Raises:
        ValueError: see loops.kernels.compile_kernels.
    """
    if kernel.record is not None:
        return draft_record(kernel.record, symbol, features)
    from .loops.kernels import draft_kernel

    return draft_kernel(kernel.text, symbol)


def draft_record(record: Record, symbol: str, features: Features) -> objects.Draft:
    if isinstance(record, Contraction) and record.matrix and not features.matrix:
        raise ValueError(f"a kernel in matrix registers, planned for another than {features.cpu}")
    module = emitted(record, symbol, features)
    return objects.Draft(symbol, str(module), reorder=reordered(record))


def reordered(record: Record) -> bool:
    """Whether LLVM may put instructions into another order than the emitter's."""
    from .gemm.contraction import is_tight

    return not (isinstance(record, Contraction) and is_tight(record))


def emitted(record: Record, symbol: str, features: Features) -> ir.Module:
    """The function of a record."""
    from llvmlite import ir

    from .attention.forward import emit_forward
    from .attention.gradient import emit_gradient as emit_attention_gradient
    from .gemm.contraction import emit_contraction
    from .winograd.convolution import emit_winograd
    from .winograd.gradient import emit_gradient
    from .winograd.weights import emit_weights

    module = ir.Module(name=symbol, context=ir.Context())
    match record:
        case Contraction():
            dot = features.dot_of(record.factors[0])
            emit_contraction(module, symbol, record, dot, plain=features.quick)
        case WinogradTile():
            emit_winograd(module, symbol, record)
        case WinogradGradient():
            emit_gradient(module, symbol, record)
        case WinogradWeights():
            emit_weights(module, symbol, record)
        case AttentionForward():
            emit_forward(module, symbol, record)
        case AttentionGradient():
            emit_attention_gradient(module, symbol, record)
    return module


@cache
def inner_loop(record: Record, features: Features) -> str:
    """The machine code of the innermost loop of a record's kernel, where it multiplies."""
    module = emitted(record, "kernel", features)
    text = objects.assembly(module, features, reorder=reordered(record))
    return "\n".join(assembly.inner_loop(text))


def record_of(text: str) -> Record:
    """The record in the text of an emitted kernel, where it is the last argument of the twin."""
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    (statement,) = function.body
    assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    expression = compile(ast.Expression(statement.value.args[-1]), "<record>", "eval")
    return eval(expression, {"__builtins__": {}} | {kind.__name__: kind for kind in RECORDS})
