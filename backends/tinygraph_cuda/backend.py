"""``backend="cuda"``: what tinygraph.backend asks of a backend. Imports no compiler."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.codegen.program import Code
from tinygraph.compiler.backend import BackendError, Finding, Runner
from tinygraph.compiler.store import Store
from tinygraph.graph.ir import Parameter
from tinygraph.plan.records.device import Card

from . import require_toolchain
from .choice import choose
from .compile.compiled import compile_missing, fetch, toolchain_versions
from .runtimes import probe

if TYPE_CHECKING:
    from tinygraph.plan.records.plan import Plan
    from tinygraph.plan.records.target import Target


def target(runtime: str) -> Target:
    from .target import TARGET

    return TARGET


def fingerprint(runtime: str) -> str:
    require_toolchain()
    return f"{choose(runtime).architecture} {toolchain_versions()}"


def assemble(plan: Plan) -> Code:
    from .assemble import assemble

    return assemble(plan)


def build(code: Code, store: Store, runtime: str) -> None:
    compile_missing(code, store, choose(runtime).architecture)


def cards(code: Code, store: Store, runtime: str) -> Sequence[Card]:
    return [built.card for built in fetch(code, store, choose(runtime).architecture)]


def load(
    code: Code,
    constants: Sequence[np.ndarray],
    parameters: Sequence[Parameter],
    store: Store,
    runtime: str,
) -> Runner:
    from .runner import CheckedRunner, CudaRunner

    choice = choose(runtime)
    kernels = fetch(code, store, choice.architecture)
    if choice.runtime == "ptx":
        return CheckedRunner(code, choice.architecture)
    runtime_module = import_module(f".runtimes.{choice.runtime}", __package__)
    return CudaRunner(code, constants, parameters, kernels, runtime_module.runtime())


def examine() -> Sequence[Finding]:
    try:
        found, version = probe.architecture(), probe.driver_version()
    except BackendError as reason:
        advice = "for GPUs; without one, backend='cuda' runs in the emulator"
        return [Finding("GPU", f"none: {reason}", "hint", advice)]
    try:
        require_toolchain()
    except BackendError as reason:
        return [Finding("GPU", found, "hint", str(reason))]
    return [Finding("GPU", f"{found}, a driver for CUDA {version // 1000}.{version % 1000 // 10}")]
