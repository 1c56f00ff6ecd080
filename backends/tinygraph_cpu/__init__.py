"""The CPU backend: kernels as machine code, run by a team of threads.

Loops are compiled from their Python text, contractions are emitted with llvmlite; both become
object code that later processes load.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import llvmlite
import numpy as np

from tinygraph.codegen.program import Code, KernelCode
from tinygraph.compiler.backend import BackendError, Finding, Runner
from tinygraph.compiler.store import Store
from tinygraph.graph.ir import Parameter
from tinygraph.plan.records.device import Card

from .costs.caches import measured
from .machine.features import QUICK, features_for

if TYPE_CHECKING:
    from tinygraph.plan.records.plan import Plan
    from tinygraph.plan.records.target import Target


SHORT = 48  # steps of a loop below which vectors are narrow: three of the widest processor's


def target(runtime: str) -> Target:
    from .processor import CpuPrefetch, CpuTarget

    features, caches = features_for(runtime), measured()
    return CpuTarget(
        features.lanes,
        features.registers,
        devices=None,
        winograd=not features.quick,
        matrix=features.matrix and not features.quick,
        plain=features.quick,
        caches=caches,
        prefetch=None if features.quick else CpuPrefetch(limit=caches.last),
    )


def fingerprint(runtime: str) -> str:
    if runtime not in ("", QUICK):
        raise BackendError(f"backend 'cpu' has no runtime {runtime!r}: it is 'cpu' or 'cpu:quick'")
    if os.name != "posix":
        raise BackendError(
            "backend 'cpu' does not support Windows: install tinygraph in WSL, where it runs as on "
            "Linux; tg.run computes graphs anywhere"
        )
    return f"{features_for(runtime)!r} {measured()!r} llvmlite {llvmlite.__version__}"


def start() -> None:
    from .driver.native import start

    start()


def assemble(plan: Plan) -> Code:
    from tinygraph.codegen.assemble import assemble

    return assemble(plan, SHORT)


def build(code: Code, store: Store, runtime: str) -> None:
    from .kernels import compile_missing

    compile_missing(code, store, features_for(runtime))


def cards(code: Code, store: Store, runtime: str) -> Sequence[Card]:
    return ()


def inner_loop(kernel: KernelCode, runtime: str) -> str:
    from .compilation import inner_loop

    return inner_loop(kernel.record, features_for(runtime)) if kernel.record is not None else ""


def load(
    code: Code,
    constants: Sequence[np.ndarray],
    parameters: Sequence[Parameter],
    store: Store,
    runtime: str,
) -> Runner:
    from .runner import CpuRunner

    return CpuRunner(code, constants, parameters, store, features_for(runtime))


def examine() -> Sequence[Finding]:
    from .machine.examination import examine

    return examine()
