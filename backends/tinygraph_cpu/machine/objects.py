"""LLVM modules to object code, and LLVM's loader."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache

import llvmlite.binding as llvm
from llvmlite import ir
from llvmlite.binding.newpassmanagers import NewPassManager

from tinygraph.graph.locks import TABLES, new_lock

from .loading import LLVMTarget, lock

_made = threading.local()  # LLVM's machines: emitting code changes parts of one, so by thread


def _machine(target: LLVMTarget) -> llvm.TargetMachine:
    # jit: 64-bit addresses of constants, which cost a move outside the loops. Code and constants
    # may be loaded more than 2 GiB apart, with large arrays between them.
    machines = _made.__dict__
    key = f"{target.cpu} {target.features} {target.quick}"
    if key not in machines:
        machines[key] = llvm.Target.from_default_triple().create_target_machine(
            cpu=target.cpu,
            features=target.features,
            opt=0 if target.quick else 3,
            reloc="static",
            jit=True,
        )
    return machines[key]


_OPTIONS = new_lock(TABLES)  # LLVM keeps its options once for the whole process


def _choose_tails(masked: bool) -> None:
    """Chooses how loops do the rest of a vector: under a mask, or element by element."""
    way = "predicate-else-scalar-epilogue" if masked else "scalar-epilogue"
    llvm.set_option("", f"-prefer-predicate-over-epilogue={way}")


def optimize(
    module: ir.Module | str, target: LLVMTarget, masked_tails: bool = False, loops: bool = True
) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    """Parses, verifies and optimizes a module, once.

    ``masked_tails`` is for loops of few steps on AVX-512: LeNet's pooling over 6 channels takes a
    fifth of the time, while long loops would take three times as long. Without ``loops``, code is
    cleaned up only: kernels that are emitted in vectors run no faster for more. For a ``quick``
    target names only become registers, which takes a tenth of the time.

    Raises:
        RuntimeError: LLVM refuses the module.
        ValueError: the module calls a function that this process does not have. Found out when
            the object is loaded, the same mistake would end the process.
    """
    with lock:
        initialize()
    machine = _machine(target)
    parsed = llvm.parse_assembly(str(module))
    parsed.triple = machine.triple
    parsed.data_layout = str(machine.target_data)
    parsed.verify()
    _run_passes(parsed, machine, target, masked_tails, loops)
    for function in parsed.functions:
        name = function.name
        external = function.is_declaration and not name.startswith("llvm.")
        if external and llvm.address_of_symbol(name) is None:
            raise ValueError(f"a kernel calls {name!r}, which this process does not have")
    return parsed, machine


def _run_passes(
    module: llvm.ModuleRef,
    machine: llvm.TargetMachine,
    target: LLVMTarget,
    masked_tails: bool,
    loops: bool,
) -> None:
    tuning = llvm.create_pipeline_tuning_options(speed_level=3 if loops else 1)
    tuning.loop_vectorization = tuning.slp_vectorization = loops
    passes = llvm.create_pass_builder(machine, tuning)
    with _OPTIONS:
        _choose_tails(masked_tails and "+avx512f" in target.features)
        if target.quick:
            manager = llvm.create_new_module_pass_manager()
            manager.add_sroa_pass()
        else:
            manager = passes.getModulePassManager()
        manager.run(module, passes)
        # what its own close() should do, which finds the empty method of another base class first:
        # 70 to 140 kilobytes for each kernel
        NewPassManager._dispose(manager)
        manager.detach()


def emit(
    module: llvm.ModuleRef, machine: llvm.TargetMachine, reorder: bool = True, plain: bool = False
) -> bytes:
    """Object code of an optimized module, in which LLVM may ``reorder`` instructions.

    ``plain``: for a quick target, registers hold values within a block only, which halves the time
    of emitting. Loops then run no slower than they do anyway, contractions half as fast.
    """
    with _OPTIONS:
        _choose_emission(reorder, plain)
        return machine.emit_object(module)


def _choose_emission(reorder: bool, plain: bool) -> None:
    llvm.set_option("", f"-enable-misched={str(reorder).lower()}")
    llvm.set_option("", f"-optimize-regalloc={str(not plain).lower()}")


def compile_module(module: ir.Module | str, target: LLVMTarget, reorder: bool = True) -> bytes:
    """Object code of a module that is emitted as it shall run. Its functions must have names that
    no other module uses.

    Raises:
        RuntimeError, ValueError: see optimize.
    """
    optimized, machine = optimize(module, target, loops=False)
    return emit(optimized, machine, reorder)


def assembly(module: ir.Module | str, target: LLVMTarget, reorder: bool = True) -> str:
    """The machine code that compile_module makes, as text."""
    optimized, machine = optimize(module, target, loops=False)
    with _OPTIONS:
        _choose_emission(reorder, plain=False)
        return str(machine.emit_assembly(optimized))


class Engine:
    """Code memory of a few objects, by LLVM's loader."""

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        initialize()
        machine = llvm.Target.from_default_triple().create_target_machine()
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        for code in dict.fromkeys(objects.values()):
            self.engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self.engine.finalize_object()
        self.addresses = {symbol: self.engine.get_function_address(symbol) for symbol in objects}


_kept: list[llvm.ExecutionEngine] = []


@cache
def initialize() -> None:
    """Makes LLVM, and to LLVM the symbols of the process, known."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    _kept.append(llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine))
