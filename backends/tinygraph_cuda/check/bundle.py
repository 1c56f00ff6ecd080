"""Writes bundles: a folder that checks kernels on a machine with a GPU, without a compiler there.

run.py              the runner
source/             this project's own files, of which the runner needs what loads and launches
kernels/KEY.json    a kernel for one architecture: PTX, machine code, card
cases/N.json, .npz  a program's manifest; its parameters and expected outputs, large ones in part
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph
from tinygraph.codegen.program import Code
from tinygraph.compile import compile
from tinygraph.compiler import manifest
from tinygraph.compiler.fixed_program import FixedProgram
from tinygraph.compiler.program import Program
from tinygraph.compiler.store import Store, default_store
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Parameter, among

from ..compile.compiled import compile_missing, entry_key, fetch, write
from .drawing import drawn_inputs, drawn_parameters, sample
from .suite import Case

CORE = Path(tinygraph.__file__ or "").parent
BACKENDS = Path(__file__).parent.parent.parent
PACKAGES = (CORE, *(BACKENDS / n for n in ("tinygraph_cuda", "tinygraph_scalar", "ptx_emulator")))
TORCH = BACKENDS.parent / "benchmarks" / "torch_networks.py"  # where this is a checkout
RUNS = 3  # of a step
RUNNER = '''"""Checks CUDA kernels on this machine's GPU and writes a report: --help lists options.

Needs numpy and cuda-core only: pip install numpy 'cuda-core[cu13]'
"""

import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here / "source"))

from tinygraph_cuda.check.drive import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(here))
'''


def write_bundle(
    folder: Path, cases: Sequence[Case], architectures: Sequence[str]
) -> Iterator[str]:
    """Writes a bundle, and yields the name of each case when it is done.

    Raises:
        ValueError: the folder is there already.
        BackendError: a kernel cannot be compiled.
    """
    if folder.exists():
        raise ValueError(f"{folder} is there already")
    for name in ("kernels", "cases"):
        (folder / name).mkdir(parents=True)
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "datasets")
        shutil.copytree(package, folder / "source" / package.name, ignore=ignored)
    if TORCH.exists():
        shutil.copy(TORCH, folder / "source")
    (folder / "run.py").write_text(RUNNER)
    for number, case in enumerate(cases):
        write_case(folder, f"{number:03}", case, architectures)
        yield case.name


def write_case(folder: Path, number: str, case: Case, architectures: Sequence[str]) -> None:
    """Compiles a case for every architecture, and computes what is expected of it."""
    program = compiled(case, f"cuda:ptx:{architectures[0]}")
    code = (program.built.compiled or program.source.translate()).code
    store = default_store()
    kernels = {a: write_kernels(folder / "kernels", code, store, a) for a in architectures}
    parameters = [described(p, program) for p in program.parameters]
    content = {
        "name": case.name,
        "tolerance": case.tolerance,
        "timed": case.timed,
        "runs": RUNS if case.step else 1,
        "torch": case.torch,
        "manifest": manifest.write(program.built).decode(),
        "kernels": kernels,
        "costs": [(cost.launch.name, cost.flops, cost.bytes) for cost in program.costs()],
        "parameters": parameters,
        "inputs": inputs_of(case),
        "outputs": [(t.shape, t.dtype) for t in program.types],
    }
    (folder / "cases" / f"{number}.json").write_text(json.dumps(content))
    arrays = losses(case, parameters) if case.step else arrays_of(case, program)
    np.savez(folder / "cases" / f"{number}.npz", **arrays)


def inputs_of(case: Case) -> list[tuple[str, tuple[int, ...], str]]:
    return [(x.attr("name"), x.shape, x.dtype) for x in case.inputs]


def compiled(case: Case, backend: str) -> FixedProgram:
    program = compile(
        case.inputs, case.outputs, updates=case.updates, backend=backend, name=case.name
    )
    assert isinstance(program, FixedProgram)
    return program


def write_kernels(folder: Path, code: Code, store: Store, architecture: str) -> list[str]:
    """The keys of a program's kernels."""
    compile_missing(code, store, architecture)
    keys = [entry_key(kernel, architecture) for kernel in code.kernels]
    for key, built in zip(keys, fetch(code, store, architecture), strict=True):
        (folder / f"{key}.json").write_bytes(write(built))
    return keys


def described(p: Parameter, program: Program) -> dict[str, Any]:
    value = p.value
    return {
        "name": p.name,
        "shape": p.shape,
        "dtype": p.dtype,
        "order": p.state.order,
        "updated": among(p, program.updates),
        "mean": float(np.mean(value)),
        "deviation": float(np.std(value)),
    }


def arrays_of(case: Case, program: Program) -> dict[str, Any]:
    """Parameters, and by the reference interpreter outputs and parameters' new values."""
    results = run(program.graph, *drawn_inputs(inputs_of(case)).values())
    count = len(program.types)
    new = dict(zip(program.updates, results[count:], strict=True))
    expected = [*results[:count], *(new[p] for p in program.parameters if p in new)]
    values = [p.value for p in program.parameters]
    return numbered("parameter", values) | numbered("expected", map(sample, expected))


def losses(case: Case, parameters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Outputs of the first steps from drawn parameters, by the CPU backend."""
    program = compiled(case, "cpu")
    kept = [p.value for p in program.parameters]
    inputs = drawn_inputs(inputs_of(case)).values()
    for p, value in zip(program.parameters, drawn_parameters(parameters), strict=True):
        p.value = value
    found = [output for _ in range(RUNS) for output in program(*inputs)]
    for p, value in zip(program.parameters, kept, strict=True):
        p.value = value
    return numbered("expected", found)


def numbered(kind: str, arrays: Iterable[np.ndarray]) -> dict[str, Any]:
    return {f"{kind}{i}": a for i, a in enumerate(arrays)}
