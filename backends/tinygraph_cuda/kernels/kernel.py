"""A CUDA kernel as data: its text, what the text may call, and one launch of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygraph.codegen.writer import Address, Argument
from tinygraph.compiler.backend import BackendError
from tinygraph.plan.records.work import Access

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
        """A digest of what its machine code depends on, apart from compiler and architecture."""
        content = repr((self.text, self.signature, self.launch_bounds))
        return hashlib.sha256(content.encode()).hexdigest()[:24]

    def scope(self) -> Mapping[str, Any]:
        """The functions that the text may call, for toolchain.compile_ptx; imports numba-cuda."""
        from ..compile import intrinsics
        from . import epilogue, matrix, tile

        return {**intrinsics.SCOPE, **tile.SCOPE, **matrix.SCOPE, **epilogue.SCOPE}


def require_32_bits(*values: int) -> None:
    """
    Raises:
        BackendError: a size, a stride or an offset that kernels cannot count with.
    """
    if not all(-(2**31) <= value < 2**31 for value in values):
        raise BackendError("backend 'cuda' counts elements with 32 bits: a tensor is too large")


def require_reach(sizes: Sequence[int], strides: Sequence[int]) -> None:
    """Raises BackendError where an element of an access is too far from its first."""
    require_32_bits(sum((n - 1) * abs(s) for n, s in zip(sizes, strides, strict=True)))


class KernelText:
    """Collects a kernel's parameters, with their values for one launch, and its lines."""

    def __init__(self) -> None:
        self.parameters: dict[str, tuple[str, Argument]] = {}
        self.lines: list[str] = []
        self.depth = 1

    def line(self, text: str, deeper: int = 0) -> None:
        self.lines.append("    " * (self.depth + deeper) + text)

    def argument(self, name: str, value: int) -> str:
        """An integer parameter, int32.

        Raises:
            BackendError: it does not fit.
        """
        require_32_bits(value)
        self.parameters[name] = ("int32", value)
        return name

    def pointer(self, name: str, access: Access) -> str:
        self.parameters[name] = (f"{access.dtype}*", Address(access))
        return name

    def made(self, blocks: int, threads: int = THREADS, resident: int = 1) -> CudaKernel:
        head = f"def NAME({', '.join(self.parameters)}):"
        signature = tuple(kind for kind, _ in self.parameters.values())
        arguments = tuple(value for _, value in self.parameters.values())
        text = "\n".join([head, *self.lines, ""])
        return CudaKernel(text, signature, arguments, blocks, threads, resident)
