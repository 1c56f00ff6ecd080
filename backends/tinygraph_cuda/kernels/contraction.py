"""Contractions as CUDA kernels: C = epilogue(A B), whose operands are affine accesses.

A block of threads computes a tile of C: of float32 as an SGEMM, of bfloat16 by tensor cores. Rows
and columns beyond the edge are read in place of the last one, and never stored.

A reduction that is split has one block of threads for each tile and split; their sums are added up
by a loop nest, which has the epilogue too.
"""

from __future__ import annotations

from dataclasses import replace

from tinygraph.plan.nests.arrange import arrange
from tinygraph.plan.nests.shape import shaped
from tinygraph.plan.records.body import Body
from tinygraph.plan.records.work import Fold, Load, Nest, NestStatement, Put, Stage, Tile

from . import nest
from .blocking import BY_TENSOR_CORES, SHAPING
from .kernel import CudaKernel
from .sgemm import SgemmWriter
from .tensor import TensorWriter
from .writer import ContractionWriter


def emit(work: Tile) -> tuple[CudaKernel, ...]:
    """The kernel, and where the reduction is split the one that adds up and has the epilogue.

    Raises:
        BackendError: sizes or strides beyond 32 bits.
    """
    if work.splits == 1:
        return (writer(work).kernel(),)
    assert work.partial is not None
    s = work.sizes
    box = [s[axis] for axis in "gzymn"]
    sums = replace(work.partial, strides=dense(box))
    store = replace(work.contraction, body=Body(stores=((0, "acc"),)))
    parts = replace(work, contraction=store, operands=(sums,))
    return writer(parts).kernel(), nest.emit(combine(work))


def writer(work: Tile) -> ContractionWriter:
    """By what multiplies such operands."""
    return (TensorWriter if work.contraction.factors[0] in BY_TENSOR_CORES else SgemmWriter)(work)


def dense(sizes: list[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(sizes):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def combine(work: Tile) -> Nest:
    """Adds up the splits of a reduction, one after the other, then the epilogue."""
    s, body, record = work.sizes, work.contraction.body, work.contraction
    axes = (*(s[axis] for axis in "gzymn"), work.splits)
    assert work.partial is not None
    strides = dense([work.splits, *axes[:5]])
    sums = replace(work.partial, strides=(*strides[1:], strides[0]))
    operands = (*(replace(o, strides=(*o.strides, 0)) for o in work.operands), sums)
    steps: list[NestStatement] = [Load(name, o, record.operands[o].dtype) for name, o in body.loads]
    steps += body.statements
    steps += [Put(operand, value) for operand, value in body.stores]
    inner = (Load("sum", len(operands) - 1), Fold("acc", "sum", "sum", "float32"))
    nest = Nest(axes, (5,), operands, (Stage((), inner), Stage(tuple(steps), ())))
    return shaped(arrange(nest), SHAPING)
