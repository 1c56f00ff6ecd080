"""A CUDA kernel as data: its text, what the text may call, and one launch of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinygraph.codegen.nest import Argument

THREADS = 256
MOST_BLOCKS = 2048  # beyond, threads loop: enough to fill any GPU
WARP = 32


@dataclass(frozen=True, slots=True)
class CudaKernel:
    """A kernel's text, with NAME for its name, and one launch of it.

    Attributes:
        signature: a type for each parameter, as toolchain.compile_ptx takes them.
        arguments: what the parameters are: integers, and addresses as accesses.
        blocks, threads: of the launch, both along x.
        resident: blocks that a multiprocessor must have registers for at once.
    """

    text: str
    signature: tuple[str, ...]
    arguments: tuple[Argument, ...]
    blocks: int
    threads: int = THREADS
    resident: int = 1

    @property
    def launch_bounds(self) -> tuple[int, int]:
        return (self.threads, self.resident)

    @property
    def key(self) -> str:
        """What its machine code depends on, besides compiler and architecture."""
        content = repr((self.text, self.signature, self.launch_bounds))
        return hashlib.sha256(content.encode()).hexdigest()[:24]

    def scope(self) -> Mapping[str, Any]:
        """What the text may call, for toolchain.compile_ptx; imports numba-cuda."""
        from . import epilogue, intrinsics, tile

        return {**intrinsics.SCOPE, **tile.SCOPE, **epilogue.SCOPE}
