"""The CUDA backend: numba-cuda compiles kernels to PTX, a device or the emulator runs them.

Importing this package imports neither numba nor anything of CUDA's; compiling
does, and needs the extra: ``pip install 'tinygraph[cuda]'``.
"""

from __future__ import annotations

from importlib.util import find_spec

from tinygraph.compiler.backend import BackendError

INSTALL = "backend 'cuda' needs numba-cuda and cuda-core: pip install 'tinygraph[cuda]'"


def require_toolchain() -> None:
    """Raises BackendError, in one line, where the extra is not installed."""
    if find_spec("numba_cuda") is None or not find_spec("cuda") or not find_spec("cuda.core"):
        raise BackendError(INSTALL)
