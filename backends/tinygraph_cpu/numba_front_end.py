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
from numba.core import compiler, cpu, registry, typed_passes, untyped_passes
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager

from tinygraph_cpu.numba_intrinsics import SCOPE, VIEWS
from tinygraph_cpu.numba_kernels import FAST, Parameter


class _Pipeline(compiler.CompilerBase):
    """The passes that straight loops over scalars need."""

    passes = (
        untyped_passes.TranslateByteCode,
        untyped_passes.FixupArgs,
        untyped_passes.IRProcessing,
        untyped_passes.ReconstructSSA,
        typed_passes.NopythonTypeInference,
        typed_passes.PreLowerStripPhis,
        typed_passes.IRLegalization,
        typed_passes.NativeLowering,
        typed_passes.NoPythonBackend,
    )

    def define_pipelines(self) -> list[PassManager]:
        manager = PassManager("kernel")
        for each in self.passes:
            manager.add_pass(each, each.__name__)
        manager.finalize()
        return [manager]


class _Library:
    """Takes the place of Numba's code library: keeps the module instead of compiling it."""

    def __init__(self, codegen: Any, name: str) -> None:
        self.codegen = codegen
        self.name = name
        self.modules: list[ir.Module] = []
        self.recorded_timings: list[Any] = []
        self._reload_init: set[Any] = set()

    def create_ir_module(self, name: str) -> ir.Module:
        return self.codegen._create_empty_module(name)

    def add_ir_module(self, module: ir.Module) -> None:
        self.modules.append(module)

    def add_linking_library(self, library: Any) -> None:
        # Numba's runtime for reference counts is offered to every function; kernels have none.
        if library.name != "nrt":
            raise ValueError(f"a kernel needs {library.name}, which only Numba itself can link")

    def enable_object_caching(self) -> None:
        pass


def _flags() -> compiler.Flags:
    flags = compiler.Flags()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.enable_ssa = flags.noalias = True
    flags.error_model = "numpy"  # a division by zero does not raise
    flags.fastmath = cpu.FastMathOptions(set(FAST))
    return flags


@global_compiler_lock
def lower(
    tree: ast.Module, parameters: Sequence[Parameter], filename: str
) -> tuple[ir.Module, ir.Function]:
    """The module of the one function in `tree`, and in it the function in Numba's convention.

    Its arguments are: address for the result, address for the exception, part, tid, parameters.
    """
    function_name = tree.body[0].name  # type: ignore[attr-defined]
    scope = dict(SCOPE)
    exec(compile(tree, filename, "exec"), scope)
    kinds = [VIEWS[p.view] if p.view else types.int64 for p in parameters]
    context = registry.cpu_target.target_context
    library = _Library(context.codegen(), function_name)
    result = compiler.compile_extra(
        registry.cpu_target.typing_context,
        context,
        scope[function_name],
        (types.int64, types.int64, *kinds),
        types.void,
        _flags(),
        {},
        library=library,
        pipeline_class=_Pipeline,
    )
    (module,) = library.modules
    return module, module.get_global(result.fndesc.mangled_name)
