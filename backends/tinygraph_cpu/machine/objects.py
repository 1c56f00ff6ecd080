"""LLVM modules to object code, and LLVM's loader."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


_chosen: dict[str, str] = {}


def _choose(option: str, value: str) -> None:
    if _chosen.get(option) != value:
        llvm.set_option("", f"-{option}={value}")
        _chosen[option] = value


def _choose_tails(masked: bool) -> None:
    """Chooses how loops do the rest of a vector: under a mask, or element by element."""
    way = "predicate-else-scalar-epilogue" if masked else "scalar-epilogue"
    _choose("prefer-predicate-over-epilogue", way)


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
    machine, text = _machine(target), str(module)
    parsed = llvm.parse_assembly(_header(target) + re.sub("(?m)^target .*$", "", text))
    parsed.verify()
    _run_passes(parsed, machine, target, masked_tails, loops)
    # passes call functions that the text does not, but not those of a quick target
    called = _declared(text) if target.quick else (f.name for f in _declarations(parsed))
    for name in called:
        if not name.startswith("llvm.") and llvm.address_of_symbol(name) is None:
            raise ValueError(f"a kernel calls {name!r}, which this process does not have")
    return parsed, machine


def _header(target: LLVMTarget) -> str:
    """The lines of a module that say what it is made for."""
    headers = _made.__dict__.setdefault("headers", {})
    machine = _machine(target)
    if machine not in headers:
        layout, triple = machine.target_data, machine.triple
        headers[machine] = f'target datalayout = "{layout}"\ntarget triple = "{triple}"\n'
    found: str = headers[machine]
    return found


def _declared(text: str) -> list[str]:
    """The functions that a module's text declares."""
    return re.findall(r'(?m)^declare [^@\n]*@"?([^"(\s]+)', text)


def _declarations(module: llvm.ModuleRef) -> Iterator[llvm.ValueRef]:
    return (f for f in module.functions if f.is_declaration)


def _run_passes(
    module: llvm.ModuleRef,
    machine: llvm.TargetMachine,
    target: LLVMTarget,
    masked_tails: bool,
    loops: bool,
) -> None:
    passes = llvm.create_pass_builder(machine, _tuning(loops))
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


def _tuning(loops: bool) -> llvm.PipelineTuningOptions:
    made = _made.__dict__.setdefault("tuning", {})
    if loops not in made:
        tuning = made[loops] = llvm.create_pipeline_tuning_options(speed_level=3 if loops else 1)
        tuning.loop_vectorization = tuning.slp_vectorization = loops
    return made[loops]


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
    _choose("enable-misched", str(reorder).lower())
    _choose("optimize-regalloc", str(not plain).lower())


@dataclass(frozen=True, slots=True)
class Draft:
    """The text of a module that defines a kernel, and how code is made of it.

    Attributes:
        name: of the kernel, for errors.
        loops, masked_tails, reorder: see optimize and emit.
        narrow: whether it must not compute in float64.
    """

    name: str
    text: str
    loops: bool = False
    masked_tails: bool = False
    reorder: bool = True
    narrow: bool = False


def finish(draft: Draft, target: LLVMTarget) -> bytes:
    """Object code of a draft. Its functions must have names that no other module uses.

    Raises:
        RuntimeError, ValueError: see optimize; or it computes in float64.
    """
    optimized, machine = optimize(
        draft.text, target, masked_tails=draft.masked_tails, loops=draft.loops
    )
    if draft.narrow and re.search(r"\bdouble\b", str(optimized)):
        raise ValueError(f"kernel {draft.name} computes in float64 without mentioning it")
    return emit(optimized, machine, draft.reorder, plain=draft.loops and target.quick)


def compile_module(module: ir.Module | str, target: LLVMTarget) -> bytes:
    """Object code of a module that is emitted as it shall run; see finish."""
    return finish(Draft("", str(module)), target)


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
