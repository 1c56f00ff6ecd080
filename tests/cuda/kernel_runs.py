"""Kernels of ``emulated_kernels``, compiled or from their stored PTX, run by the emulator."""

from __future__ import annotations

import math
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from emulated_kernels import Source

from ptx_emulator import Kernel, Memory

STORED = Path(__file__).parent / "ptx"
HAS_NUMBA_CUDA = find_spec("numba_cuda") is not None
needs_numba_cuda = pytest.mark.skipif(
    not HAS_NUMBA_CUDA, reason="numba-cuda is not installed: pip install 'tinygraph[cuda]'"
)


@lru_cache
def compiled(source: Source, name: str) -> str:
    from tinygraph_cuda.compile.intrinsics import SCOPE
    from tinygraph_cuda.compile.toolchain import compile_ptx

    return compile_ptx(
        source.text,
        name,
        source.signature,
        launch_bounds=source.threads,
        scope=SCOPE | {"math": math},
    )


def run(kernel: Kernel, grid, block, *arguments, **options) -> list[np.ndarray]:
    """The arrays among the arguments, after the launch."""
    memory = Memory()
    given = [
        memory.upload(a, f"argument {i}") if isinstance(a, np.ndarray) else a
        for i, a in enumerate(arguments)
    ]
    kernel(memory, grid, block, given, **options)
    return [
        memory.read(p, a.shape, a.dtype)
        for p, a in zip(given, arguments, strict=True)
        if isinstance(a, np.ndarray)
    ]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)
