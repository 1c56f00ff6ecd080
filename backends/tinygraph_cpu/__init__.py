"""The CPU backend: kernels as machine code, run by a team of threads.

Scalar loops go through Numba's front end, contractions are emitted with llvmlite; both become object code that later
processes load without Numba.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygraph.cache import Store
from tinygraph.codegen.program import Code
from tinygraph.ir import Parameter
from tinygraph.plan.contract import Target

from .features import detect


def target(runtime: str) -> Target:
    features = detect()
    return Target(features.lanes, features.registers)


def fingerprint(runtime: str) -> str:
    return repr(detect())


def build(code: Code, store: Store, runtime: str) -> None:
    from .kernels import compile_missing

    compile_missing(code, store)


def load(
    code: Code, constants: Sequence[np.ndarray], parameters: Sequence[Parameter], store: Store, runtime: str
) -> object:
    from .runner import CpuRunner

    return CpuRunner(code, constants, parameters, store)
