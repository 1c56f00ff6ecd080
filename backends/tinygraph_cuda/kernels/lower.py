"""Launches of a plan as CUDA kernels."""

from __future__ import annotations

from tinygraph.compiler.backend import BackendError
from tinygraph.plan.records.plan import Launch, Work
from tinygraph.plan.records.work import Nest, Special, Tile

from . import contraction, nest, special
from .kernel import CudaKernel


def lower(launch: Launch) -> tuple[CudaKernel, ...]:
    """The kernels that do the work of a launch, to be run one after the other.

    Raises:
        BackendError: there is no CUDA kernel for this work.
    """
    return tuple(kernel for member in launch.members for kernel in kernels(member.work))


def kernels(work: Work) -> tuple[CudaKernel, ...]:
    match work:
        case Nest():
            return (nest.emit(work),)
        case Tile():
            return contraction.emit(work)
        case Special():
            return (special.emit(work),)
    raise BackendError(f"backend 'cuda' has no kernel for {type(work).__name__}")
