"""Numba's front end alone: from a Python function to LLVM's language, not optimized.

Importing this module imports Numba. It uses compiler classes that Numba does not promise to keep:
they are all here.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import (
    compiler,
    cpu,
    funcdesc,
    lowering,
    registry,
    typed_passes,
    untyped_passes,
)
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import LoweringPass, PassManager, register_pass

from tinygraph_cpu.numba_code.intrinsics import SCOPE, VIEWS
from tinygraph_scalar.arithmetic import FAST
from tinygraph_scalar.prologue import PrologueLine


class _Library:
    """Takes the place of Numba's code library: keeps the module instead of compiling it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.module: ir.Module

    def create_ir_module(self, name: str) -> ir.Module:
        return ir.Module(name)

    def add_ir_module(self, module: ir.Module) -> None:
        self.module = module

    def add_linking_library(self, library: Any) -> None:
        # Numba's runtime for reference counts is offered to every function; kernels have none.
        if library.name != "nrt":
            raise ValueError(f"kernel {self.name} needs {library.name} of Numba's own functions")


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(LoweringPass):
    """Typed Numba IR to an LLVM module."""

    _name = "tinygraph_lowering"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        description = funcdesc.PythonFunctionDescriptor.from_specialized_function(
            state.func_ir,
            state.typemap,
            state.return_type,
            state.calltypes,
            mangler=state.targetctx.mangler,
            inline=False,
            noalias=True,
            abi_tags=(),
        )
        # Sizes are only asked for debug information, which is off, and each costs a call of LLVM,
        # where another thread may be busy.
        state.targetctx.get_abi_sizeof = lambda kind: 0
        with state.targetctx.push_code_library(state.library):
            lower = lowering.Lower(state.targetctx, state.library, description, state.func_ir)
            lower.lower()
        module = state.library.module
        state.cr = module, module.get_global(description.mangled_name)
        return True


class _Pipeline(compiler.CompilerBase):
    """The passes that straight loops over scalars need.

    Names stay as they are instead of being numbered by assignment: a name of a kernel has one type,
    LLVM does the numbering itself, and Numba takes time for it that grows with names x statements.
    """

    passes = (
        untyped_passes.TranslateByteCode,
        untyped_passes.FixupArgs,
        untyped_passes.IRProcessing,
        typed_passes.NopythonTypeInference,
        typed_passes.PreLowerStripPhis,
        typed_passes.IRLegalization,
        _Lowering,
    )

    def define_pipelines(self) -> list[PassManager]:
        manager = PassManager("kernel")
        for each in self.passes:
            manager.add_pass(each, each.__name__)
        manager.finalize()
        return [manager]


def _flags() -> compiler.Flags:
    flags: Any = compiler.Flags()
    flags.enable_ssa = False
    flags.error_model = "numpy"  # a division by zero does not raise
    flags.fastmath = cpu.FastMathOptions(set(FAST))
    return flags


@global_compiler_lock
def lower(
    tree: ast.Module, parameters: Sequence[PrologueLine], filename: str
) -> tuple[ir.Module, ir.Function]:
    """The module of the one function in `tree`, and in it the function in Numba's convention.

    Its arguments are: address for the result, address for the exception, part, tid, parameters.
    """
    function_name = tree.body[0].name  # type: ignore[attr-defined]
    scope = dict(SCOPE)
    exec(compile(tree, filename, "exec"), scope)
    kinds = [VIEWS[p.view] if p.view else types.int64 for p in parameters]
    module, native = compiler.compile_extra(
        registry.cpu_target.typing_context,
        registry.cpu_target.target_context,
        scope[function_name],
        (types.int64, types.int64, *kinds),
        types.void,
        _flags(),
        {},
        library=_Library(function_name),
        pipeline_class=_Pipeline,
    )
    return module, native
