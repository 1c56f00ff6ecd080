"""What emitted kernels share: their signature, reading an argument block, cutting work into parts,
masks of lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from llvmlite import ir

from tinygraph_scalar.builder import TextBuilder

from . import tile
from .tile import i32, i64, pointer

Record = TypeVar("Record")


class KernelEmitter(Protocol):
    def emit(self) -> None: ...


def define_kernel(
    module: ir.Module,
    name: str,
    emitter: Callable[[ir.IRBuilder, Record, ir.Function], KernelEmitter],
    record: Record,
) -> ir.Function:
    """Adds `void name(i64 part, i64 tid, i64* args)` to `module`; the emitter writes its body."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [i64, i64, pointer]), name)
    b = TextBuilder(function.append_basic_block("entry"))
    emitter(b, record, function).emit()
    b.ret_void()
    return function


class ArgumentBlock:
    """Takes int64 words from an argument block, front to back."""

    def __init__(self, b: ir.IRBuilder, block: ir.Value) -> None:
        self.b, self.block, self.taken = b, block, 0

    def word(self) -> ir.Value:
        at = self.b.gep(self.block, [i64(self.taken)], source_etype=i64)
        self.taken += 1
        return self.b.load(at, typ=i64)

    def fields(self, names: Sequence[str]) -> dict[str, ir.Value]:
        return {name: self.word() for name in names}

    def operand(self, axes: Sequence[str]) -> tuple[ir.Value, dict[str, ir.Value]]:
        """A tensor: its pointer, its stride along each axis in elements."""
        base = self.b.inttoptr(self.word(), pointer)
        return base, self.fields(axes)


def ceil_divide(b: ir.IRBuilder, x: ir.Value, divisor: int | ir.Value) -> ir.Value:
    if isinstance(divisor, int):
        divisor = i64(divisor)
    return b.udiv(b.sub(b.add(x, divisor), i64(1)), divisor)


def minimum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return b.select(b.icmp_signed("<", x, y), x, y)


def share(
    b: ir.IRBuilder, total: ir.Value, part: ir.Value, parts: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """Where share number `part` of `parts` begins and ends. The larger ones come first, so that
    threads have less to wait for in the end.
    """
    end = b.add(part, i64(1))
    return ceil_divide(b, b.mul(total, part), parts), ceil_divide(b, b.mul(total, end), parts)


def lane_mask(b: ir.IRBuilder, left: ir.Value, lanes: int) -> ir.Value:
    """The first `left` lanes, all of them if `left` is more."""
    used = tile.splat(b, b.trunc(minimum(b, left, i64(lanes)), i32), lanes)
    return b.icmp_signed("<", ir.Constant(ir.VectorType(i32, lanes), list(range(lanes))), used)
