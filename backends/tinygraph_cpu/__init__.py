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
from .machine.features import detect

if TYPE_CHECKING:
    from tinygraph.plan.records.plan import Plan
    from tinygraph.plan.records.target import Target


SHORT = 48  # steps of a loop below which vectors are narrow: three of the widest processor's


def target(runtime: str) -> Target:
    from .processor import CpuPrefetch, CpuTarget

    features, caches = detect(), measured()
    return CpuTarget(
        features.lanes,
        features.registers,
        devices=None,
        caches=caches,
        prefetch=CpuPrefetch(limit=caches.last),
    )


def fingerprint(runtime: str) -> str:
    if runtime:
        raise BackendError(f"backend 'cpu' has no runtime {runtime!r}: it is chosen as 'cpu'")
    if os.name != "posix":
        raise BackendError(
            "backend 'cpu' does not support Windows: install tinygraph in WSL, where it runs as on "
            "Linux; tg.run computes graphs anywhere"
        )
    return f"{detect()!r} {measured()!r} llvmlite {llvmlite.__version__}"


def assemble(plan: Plan) -> Code:
    from tinygraph.codegen.assemble import assemble

    return assemble(plan, SHORT)


def build(code: Code, store: Store, runtime: str) -> None:
    from .kernels import compile_missing

    compile_missing(code, store)


def cards(code: Code, store: Store, runtime: str) -> Sequence[Card]:
    return ()


def inner_loop(kernel: KernelCode, runtime: str) -> str:
    from .compilation import inner_loop

    return inner_loop(kernel.record, detect()) if kernel.record is not None else ""


def load(
    code: Code,
    constants: Sequence[np.ndarray],
    parameters: Sequence[Parameter],
    store: Store,
    runtime: str,
) -> Runner:
    from .runner import CpuRunner

    return CpuRunner(code, constants, parameters, store)


def examine() -> Sequence[Finding]:
    from .machine.examination import examine

    return examine()
