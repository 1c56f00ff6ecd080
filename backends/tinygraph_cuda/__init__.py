"""The CUDA backend: numba-cuda compiles kernels to PTX, a device or the emulator runs them.

Importing this package, or its emulator, imports neither numba nor anything of CUDA's; compiling
does, and needs the extra: ``pip install 'tinygraph[cuda]'``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.backend import BackendError, Card, Runner
from tinygraph.cache import Store
from tinygraph.codegen.program import Code
from tinygraph.ir import Parameter

if TYPE_CHECKING:
    from tinygraph.plan.plan import Plan
    from tinygraph.plan.tiling import Target

INSTALL = "backend 'cuda' needs numba-cuda and cuda-core: pip install 'tinygraph[cuda]'"


def require_toolchain() -> None:
    """Raises BackendError, in one line, where the extra is not installed."""
    if find_spec("numba_cuda") is None or not find_spec("cuda") or not find_spec("cuda.core"):
        raise BackendError(INSTALL)


def target(runtime: str) -> Target:
    from .target import TARGET

    return TARGET


def fingerprint(runtime: str) -> str:
    from .choice import choose
    from .compiled import toolchain_versions

    require_toolchain()
    return f"{choose(runtime).architecture} {toolchain_versions()}"


def assemble(plan: Plan) -> Code:
    from .program import assemble

    return assemble(plan)


def build(code: Code, store: Store, runtime: str) -> None:
    from .choice import choose
    from .compiled import compile_missing

    compile_missing(code, store, choose(runtime).architecture)


def cards(code: Code, store: Store, runtime: str) -> Sequence[Card]:
    from .choice import choose
    from .compiled import fetch

    return [built.card for built in fetch(code, store, choose(runtime).architecture)]


def load(
    code: Code,
    constants: Sequence[np.ndarray],
    parameters: Sequence[Parameter],
    store: Store,
    runtime: str,
) -> Runner:
    from .choice import choose
    from .compiled import fetch
    from .runner import CheckedRunner, CudaRunner

    choice = choose(runtime)
    kernels = fetch(code, store, choice.architecture)
    if choice.runtime == "ptx":
        return CheckedRunner(code, choice.architecture)
    runtime_module = import_module(f".runtimes.{choice.runtime}", __name__)
    return CudaRunner(code, constants, parameters, kernels, runtime_module.runtime())
