"""tinygraph_scalar.builder emits what llvmlite's builder does."""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from tinygraph_scalar.builder import TextBuilder

I8, I32, I64, F32, F64 = *(ir.IntType(n) for n in (8, 32, 64)), ir.FloatType(), ir.DoubleType()
CONTRACT = ("contract",)
SIGNS = ("==", "!=", "<", "<=", ">", ">=")


def arguments(name: str, i: list, f: list, p: ir.Value, q: ir.Value) -> list[tuple]:
    """Ways to call a method; `i` and `f` are numbers and vectors, `p` and `q` point to memory."""
    if name.startswith("icmp"):
        return [(sign, x, x) for sign in SIGNS for x in i]
    if name.startswith("fcmp"):
        return [(sign, x, x) for sign in (*SIGNS, "uno", "ord") for x in f]
    ways: dict[str, list[tuple]] = {
        "trunc": [(i[0], I8), (i[0], I32)],
        "zext": [(i[0], I64)],
        "sext": [(i[0], I64)],
        "fptrunc": [(ir.Constant(F64, 0.5), F32)],
        "fpext": [(f[0], F64)],
        "fptosi": [(f[0], I32)],
        "fptoui": [(f[0], I32)],
        "sitofp": [(i[0], F32)],
        "uitofp": [(i[0], F32)],
        "bitcast": [(f[0], I32), (f[0], F32)],
        "inttoptr": [(ir.Constant(I64, 64), ir.PointerType())],
        "ptrtoint": [(p, I64)],
        "load": [(p, "", None, F32), (p, "", 4, i[1].type), (q,)],
        "store": [(f[0], p), (f[1], p, 4), (i[0], q)],
        "gep": [(p, [i[0]], False, "", I8), (q, [I64(3)]), (p, [i[0], I32(1)], True, "", _PAIR)],
        "select": [(ir.Constant(ir.IntType(1), 1), x, x) for x in (*i, *f)],
        "phi": [(F32,)],
    }
    if name in ways:
        return ways[name]
    numbers = f if name.startswith("f") else i
    flags = [("", CONTRACT)] if name.startswith("f") else [("", ("nsw",))] if name == "add" else []
    return [(x, x, *more) for x in numbers for more in [(), *flags]]


_PAIR = ir.LiteralStructType([I32, I32])
METHODS = sorted({*vars(TextBuilder)} & {*vars(ir.IRBuilder)} - {"__module__", "__doc__"})


def emitted(kind: type[ir.IRBuilder], name: str) -> str:
    """What LLVM reads of a function that calls a method in all ways, with names by number."""
    module = ir.Module(context=ir.Context())
    whole, parts = ir.VectorType(I32, 4), ir.VectorType(F32, 4)
    kinds = [I32, whole, F32, parts, ir.PointerType(), I32.as_pointer()]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "f")
    entry, b = function.append_basic_block("entry"), kind(function.append_basic_block("start"))
    kind(entry).branch(b.block)
    i, f = list(function.args[:2]), list(function.args[2:4])
    for given in arguments(name, i, f, *function.args[4:]):
        made = getattr(b, name)(*given)
        if name == "phi":
            made.add_incoming(f[0], entry)
    b.ret_void()
    read = llvm.parse_assembly(str(module))
    read.verify()
    numbers: dict[str, str] = {}
    called = re.compile(r'%[\w.]+|%"[^"]*"')
    return called.sub(lambda m: numbers.setdefault(m[0], f"%{len(numbers)}"), str(read))


@pytest.mark.parametrize("name", METHODS)
def test_it_is_what_llvmlite_emits(name: str) -> None:
    assert emitted(TextBuilder, name) == emitted(ir.IRBuilder, name)


def test_all_common_methods_are_walked() -> None:
    assert len(METHODS) > 30 and {"add", "fcmp_ordered", "gep", "phi", "load"} <= {*METHODS}


@pytest.mark.parametrize("name", ["add", "fmul"])
def test_two_types_are_refused(name: str) -> None:
    block = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), []), "f").append_basic_block()
    with pytest.raises(ValueError, match="of two types: i32 and i64"):
        getattr(TextBuilder(block), name)(I32(1), I64(1))


def test_memory_of_another_type_is_refused() -> None:
    kind = ir.FunctionType(ir.VoidType(), [I32.as_pointer()])
    function = ir.Function(ir.Module(), kind, "f")
    with pytest.raises(TypeError, match="cannot store i64 to memory of i32"):
        TextBuilder(function.append_basic_block()).store(I64(1), function.args[0])
