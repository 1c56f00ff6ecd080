"""llvmlite's builder, faster where kernels have thousands of instructions.

llvmlite keeps an instruction as its parts and formats them when the module is printed; most of the
time goes into formatting and into names. Here an instruction is its line of text from the start,
and its name a number. Types, constants, functions, blocks and whatever is rare are llvmlite's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from llvmlite import ir

_COMPARISONS = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_BIT = ir.IntType(1)


class TextInstruction(ir.NamedValue):
    """An instruction as text, and what its result is called."""

    def __init__(self, kind: ir.Type, reference: str, text: str) -> None:
        self.type, self.reference, self.text = kind, reference, text

    def get_reference(self) -> str:
        return self.reference

    def __str__(self) -> str:
        return self.text


class Phi(TextInstruction):
    """A phi, which learns where values come from after it was made."""

    def add_incoming(self, value: ir.Value, block: ir.Block) -> None:
        sign = ", " if self.text.endswith("]") else " "
        self.text += f"{sign}[{value.get_reference()}, {block.get_reference()}]"


def _require_one_type(opcode: str, lhs: ir.Value, rhs: ir.Value) -> None:
    if lhs.type is not rhs.type and lhs.type != rhs.type:
        raise ValueError(f"{opcode} of two types: {lhs.type} and {rhs.type}")


def _binary(opcode: str) -> Callable[..., TextInstruction]:
    def emit(
        self: TextBuilder, lhs: ir.Value, rhs: ir.Value, name: str = "", flags: Sequence[str] = ()
    ) -> TextInstruction:
        _require_one_type(opcode, lhs, rhs)
        words = " ".join((opcode, *flags)) if flags else opcode
        operands = f"{lhs.get_reference()}, {rhs.get_reference()}"
        return self.line(lhs.type, f"{words} {lhs.type} {operands}")

    return emit


def _cast(opcode: str) -> Callable[..., ir.Value]:
    def emit(self: TextBuilder, value: ir.Value, typ: ir.Type, name: str = "") -> ir.Value:
        if value.type == typ:
            return value
        return self.line(typ, f"{opcode} {value.type} {value.get_reference()} to {typ}")

    return emit


def _compare(opcode: str, prefix: str) -> Callable[..., TextInstruction]:
    def emit(
        self: TextBuilder, cmpop: str, lhs: ir.Value, rhs: ir.Value, name: str = ""
    ) -> TextInstruction:
        _require_one_type(opcode, lhs, rhs)
        word = _COMPARISONS.get(cmpop)
        equal = opcode == "icmp" and cmpop in ("==", "!=")  # it has no sign
        word = cmpop if word is None else word if equal else prefix + word
        kind = ir.VectorType(_BIT, lhs.type.count) if isinstance(lhs.type, ir.VectorType) else _BIT
        operands = f"{lhs.get_reference()}, {rhs.get_reference()}"
        return self.line(kind, f"{opcode} {word} {lhs.type} {operands}")

    return emit


class TextBuilder(ir.IRBuilder):
    """An IRBuilder whose common methods take what llvmlite's take, except that names are left out:
    a result has a number.
    """

    def line(self, kind: ir.Type, text: str, make: type[TextInstruction] = TextInstruction) -> Any:
        """Adds an instruction whose result has a type."""
        function = self._block.parent
        numbers = function.__dict__.get("line_numbers")
        if numbers is None:
            numbers = function.line_numbers = count()
        reference = f"%_{next(numbers)}"
        made = make(kind, reference, f"{reference} = {text}")
        self._insert(made)
        return made

    add, sub, mul, sdiv, udiv, srem, urem = map(
        _binary, ("add", "sub", "mul", "sdiv", "udiv", "srem", "urem")
    )
    fadd, fsub, fmul, fdiv, frem = map(_binary, ("fadd", "fsub", "fmul", "fdiv", "frem"))
    and_, or_, xor, shl, ashr, lshr = map(_binary, ("and", "or", "xor", "shl", "ashr", "lshr"))
    trunc, zext, sext, fptrunc, fpext = map(_cast, ("trunc", "zext", "sext", "fptrunc", "fpext"))
    fptosi, fptoui, sitofp, uitofp = map(_cast, ("fptosi", "fptoui", "sitofp", "uitofp"))
    bitcast, inttoptr, ptrtoint = map(_cast, ("bitcast", "inttoptr", "ptrtoint"))
    icmp_signed, icmp_unsigned = _compare("icmp", "s"), _compare("icmp", "u")
    fcmp_ordered, fcmp_unordered = _compare("fcmp", "o"), _compare("fcmp", "u")

    def select(
        self,
        cond: ir.Value,
        lhs: ir.Value,
        rhs: ir.Value,
        name: str = "",
        flags: Sequence[str] = (),
    ) -> TextInstruction:
        words = " ".join(("select", *flags))
        sides = ", ".join(f"{x.type} {x.get_reference()}" for x in (cond, lhs, rhs))
        return self.line(lhs.type, f"{words} {sides}")

    def load(
        self,
        ptr: ir.Value,
        name: str = "",
        align: int | None = None,
        typ: ir.Type | None = None,
    ) -> TextInstruction:
        kind = typ or getattr(ptr, "allocated_type", None) or ptr.type.pointee
        aligned = f", align {align}" if align is not None else ""
        return self.line(kind, f"load {kind}, {ptr.type} {ptr.get_reference()}{aligned}")

    def store(self, value: ir.Value, ptr: ir.Value, align: int | None = None) -> None:
        if not ptr.type.is_opaque and ptr.type.pointee != value.type:
            raise TypeError(f"cannot store {value.type} to memory of {ptr.type.pointee}")
        aligned = f", align {align}" if align is not None else ""
        operands = f"{value.type} {value.get_reference()}, {ptr.type} {ptr.get_reference()}"
        made = TextInstruction(ir.VoidType(), "", f"store {operands}{aligned}")
        self._insert(made)

    def gep(
        self,
        ptr: ir.Value,
        indices: Sequence[ir.Value],
        inbounds: bool = False,
        name: str = "",
        source_etype: ir.Type | None = None,
    ) -> ir.Value:
        if len(indices) != 1 or inbounds:
            return super().gep(ptr, indices, inbounds, name, source_etype)
        (index,) = indices
        operands = f"{ptr.type} {ptr.get_reference()}, {index.type} {index.get_reference()}"
        return self.line(ptr.type, f"getelementptr {source_etype or ptr.type.pointee}, {operands}")

    def phi(self, typ: ir.Type, name: str = "", flags: Sequence[str] = ()) -> Phi:
        made: Phi = self.line(typ, f"phi {typ}", Phi)
        return made
