"""A small compiler from the text of a kernel to LLVM IR.

It eats what kernels are made of: ``for`` over ``range``, ``while``, ``if``, ``break``,
``continue``, assignments to names and to elements of views, and around them the expressions that
tinygraph_scalar.scalar compiles. A name has one dtype, that of its first value in the text; an
integer literal makes it an int64, a float literal a float32.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from llvmlite import ir

from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.records.work import COMMUNICATE, PASS_MESSAGE, SUM_SHARDS
from tinygraph_scalar.arithmetic import Operand, Value, scalar_type
from tinygraph_scalar.builder import TextBuilder
from tinygraph_scalar.prologue import reads_memory
from tinygraph_scalar.scalar import SYMBOLS, ExpressionEmitter

from .functions import FLOAT64, FUNCTIONS, I64, IndexArithmetic, computes_in_float64


@dataclass(frozen=True, slots=True)
class View:
    """Elements of ``dtype`` in memory."""

    address: ir.Value
    dtype: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A name that the text assigns, in memory until LLVM puts it into a register."""

    address: ir.Value
    dtype: str


@dataclass(frozen=True, slots=True)
class Exits:
    """Where ``continue`` and ``break`` go."""

    next: ir.Block
    end: ir.Block


class Names(Mapping[str, Operand]):
    """The names of a kernel as the expression that reads them sees them."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder
        self.known: dict[str, Value | View | Variable] = {}

    def __getitem__(self, name: str) -> Operand:
        match self.known[name]:
            case Variable(address, dtype):
                return Value(self.builder.load(address), dtype)
            case View():
                raise TypeError(f"{name} is a view: read an element of it")
            case value:
                return value

    def __contains__(self, name: object) -> bool:  # without a load, as Mapping's would have
        return name in self.known

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


class StatementEmitter(ExpressionEmitter):
    """Emits the statements of a kernel into a function without blocks.

    Args:
        function: returns nothing.
        names: what its arguments stand for.
    """

    def __init__(self, function: ir.Function, names: Mapping[str, Value | View]) -> None:
        self.entry = function.append_basic_block("entry")  # for the memory of names
        self.builder = TextBuilder(function.append_basic_block("start"))
        super().__init__(IndexArithmetic(self.builder, 1))
        self.names = Names(self.builder)
        self.names.known.update(names)
        self.loops: list[Exits] = []

    def emit(self, statements: list[ast.stmt]) -> None:
        start = self.builder.block
        self.suite(statements)
        if not self.builder.block.is_terminated:
            self.builder.ret_void()
        TextBuilder(self.entry).branch(start)

    # ------------------------------------------------------------------ statements

    def suite(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if self.builder.block.is_terminated:  # after a break
                return
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.assign(name, value)
            case ast.Assign(targets=[ast.Subscript() as target], value=value):
                self.store(target, self.visit(value, self.names))
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                self.assign(name, ast.BinOp(ast.Name(name, ast.Load()), op, value))
            case ast.AugAssign(target=ast.Subscript() as target, op=op, value=value):
                old = self.read(target)
                new = self.visit(value, self.names)
                self.store(target, self.arithmetic.binary(SYMBOLS[type(op)], old, new))
            case ast.For(
                target=ast.Name(id=name),
                iter=ast.Call(func=ast.Name(id="range"), args=args, keywords=[]),
                body=body,
                orelse=[],
            ):
                self.count(name, args, body)
            case ast.While(test=test, body=body, orelse=[]):
                self.repeat(test, body)
            case ast.If(test=test, body=body, orelse=orelse):
                self.branch(test, body, orelse)
            case ast.Expr(ast.Call(ast.Name("communicate"), [port, memory, *numbers], [])):
                self.communicate(port, memory, numbers)
            case ast.Expr(ast.Call(ast.Name("sum_shards"), [port, own, total, bytes], [])):
                self.sum_shards(port, own, total, bytes)
            case ast.Expr(ast.Call(ast.Name("pass_message"), [port, number], [])):
                self.pass_message(port, number)
            case ast.Break() if self.loops:
                self.builder.branch(self.loops[-1].end)
            case ast.Continue() if self.loops:
                self.builder.branch(self.loops[-1].next)
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case _:
                raise NotImplementedError(f"no statement of a kernel: {ast.unparse(node)}")

    def assign(self, name: str, value: ast.expr) -> None:
        if (memory := self.stack(value)) is not None:
            self.names.known[name] = memory
            return
        self.set(name, self.visit(value, self.names))

    def set(self, name: str, value: Operand) -> None:
        variable = self.names.known.get(name)
        if variable is None:
            dtype = value.dtype if isinstance(value, Value) else _LITERALS[type(value)]
            variable = Variable(self.reserve(scalar_type(dtype), name), dtype)
            self.names.known[name] = variable
        if not isinstance(variable, Variable):
            raise TypeError(f"{name} is an argument: assign to another name")
        if isinstance(value, Value) and not _fits(value.dtype, variable.dtype):
            raise TypeError(f"{name} is {variable.dtype}, and cannot become {value.dtype}")
        converted = self.arithmetic.convert(value, variable.dtype)
        self.builder.store(converted.ir, variable.address)

    def reserve(self, kind: ir.Type, name: str = "") -> ir.Value:
        """Memory of the function, which is there from its start to its end."""
        return TextBuilder(self.entry).alloca(kind, name=name)

    def stack(self, node: ast.expr) -> View | None:
        """``stack_float32(128)``: 128 elements on the stack; the number must be a literal."""
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=int() as count)]):
                kind, _, dtype = name.partition("_")
                if kind == "stack" and dtype in DTYPES:
                    element = scalar_type(dtype, memory=True)
                    memory = self.reserve(ir.ArrayType(element, count))
                    return View(self.builder.bitcast(memory, element.as_pointer()), dtype)
        return None

    def count(self, name: str, args: list[ast.expr], body: list[ast.stmt]) -> None:
        """``for name in range(...)``; what the body assigns to ``name`` does not move the loop."""
        b = self.builder
        bounds = [self.index(x) for x in args]
        if len(bounds) == 1:
            bounds.insert(0, I64(0))
        first, stop, step = (*bounds, I64(1))[:3]
        if not isinstance(step, ir.Constant) or step.constant == 0:
            raise TypeError(f"a loop steps by a literal, got {ast.unparse(args[-1])}")
        counter = self.reserve(I64)
        b.store(first, counter)
        head, inside, following, end = self.blocks("head", "body", "next", "end")
        b.branch(head)
        b.position_at_end(head)
        before = "<" if step.constant > 0 else ">"
        b.cbranch(b.icmp_signed(before, b.load(counter), stop), inside, end)
        b.position_at_end(inside)
        self.set(name, Value(b.load(counter), "int64"))
        self.inside(Exits(following, end), body)
        b.position_at_end(following)
        b.store(b.add(b.load(counter), step, flags=("nsw",)), counter)
        b.branch(head)
        b.position_at_end(end)

    def repeat(self, test: ast.expr, body: list[ast.stmt]) -> None:
        b = self.builder
        head, inside, end = self.blocks("head", "body", "end")
        b.branch(head)
        b.position_at_end(head)
        b.cbranch(self.condition(test), inside, end)
        b.position_at_end(inside)
        self.inside(Exits(head, end), body)
        b.position_at_end(end)

    def inside(self, loop: Exits, body: list[ast.stmt]) -> None:
        self.loops.append(loop)
        self.suite(body)
        self.loops.pop()
        if not self.builder.block.is_terminated:
            self.builder.branch(loop.next)

    def branch(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> None:
        b = self.builder
        yes, no, end = self.blocks("yes", "no", "end")
        b.cbranch(self.condition(test), yes, no)
        for block, suite in ((yes, body), (no, orelse)):
            b.position_at_end(block)
            self.suite(suite)
            if not b.block.is_terminated:
                b.branch(end)
        b.position_at_end(end)

    def communicate(self, port: ast.expr, memory: ast.expr, numbers: list[ast.expr]) -> None:
        """Calls the function whose address is the port's first word."""
        block, address = self.addresses(port, memory)
        words = [self.builder.ptrtoint(address, I64), *map(self.index, numbers)]
        self.call_out(block, COMMUNICATE, words)

    def sum_shards(
        self, port: ast.expr, own: ast.expr, total: ast.expr, bytes: ast.expr
    ) -> None:
        """Calls the function whose address is the port's second word, with the port."""
        addresses = self.addresses(port, own, total)
        words = [self.builder.ptrtoint(x, I64) for x in addresses]
        self.call_out(addresses[0], SUM_SHARDS, [*words, self.index(bytes)])

    def pass_message(self, port: ast.expr, number: ast.expr) -> None:
        """Calls the function whose address is the port's third word, with the port."""
        (block,) = self.addresses(port)
        words = [self.builder.ptrtoint(block, I64), self.index(number)]
        self.call_out(block, PASS_MESSAGE, words)

    def addresses(self, *names: ast.expr) -> list[ir.Value]:
        views = [self.names.known[ast.unparse(x)] for x in names]
        return [x.address for x in views if isinstance(x, View)]

    def call_out(self, port: ir.Value, word: int, arguments: list[ir.Value]) -> None:
        b, kind = self.builder, ir.FunctionType(ir.VoidType(), [I64] * len(arguments))
        words = b.bitcast(port, I64.as_pointer())
        b.call(b.inttoptr(b.load(b.gep(words, [I64(word)])), kind.as_pointer()), arguments)

    def blocks(self, *names: str) -> list[ir.Block]:
        return [self.builder.append_basic_block(name) for name in names]

    # ------------------------------------------------------------------ expressions

    def visit(self, node: ast.expr, names: Mapping[str, Operand]) -> Operand:
        match node:
            case ast.Subscript():
                return self.read(node)
            case ast.IfExp(test=test, body=x, orelse=y) if reads_memory(x) or reads_memory(y):
                return self.choose(test, x, y)
            case ast.BoolOp(op=op, values=[first, *rest]) if any(map(reads_memory, rest)):
                last = ast.BoolOp(op, rest) if len(rest) > 1 else rest[0]
                sides = (last, _FALSE) if isinstance(op, ast.And) else (_TRUE, last)
                return self.arithmetic.convert(self.choose(first, *sides), "bool")
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
                return FUNCTIONS[name](self.arithmetic, *(self.visit(x, names) for x in args))
        return super().visit(node, names)

    def read(self, node: ast.Subscript) -> Value:
        view, address = self.locate(node)
        value = self.builder.load(address)
        if view.dtype == "bool":
            value = self.builder.icmp_unsigned("!=", value, value.type(0))
        return Value(value, view.dtype)

    def store(self, node: ast.Subscript, value: Operand) -> None:
        view, address = self.locate(node)
        converted = self.arithmetic.convert(value, view.dtype).ir
        if view.dtype == "bool":
            converted = self.builder.zext(converted, scalar_type("bool", memory=True))
        self.builder.store(converted, address)

    def locate(self, node: ast.Subscript) -> tuple[View, ir.Value]:
        view = self.names.known.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if not isinstance(view, View):
            raise TypeError(f"{ast.unparse(node.value)} is no view")
        return view, self.builder.gep(view.address, [self.index(node.slice)])

    def index(self, node: ast.expr) -> ir.Value:
        value = self.visit(node, self.names)
        if isinstance(value, Value) and value.is_float:
            raise TypeError(f"{ast.unparse(node)} is {value.dtype}, where an index is needed")
        return self.arithmetic.convert(value, "int64").ir

    def condition(self, node: ast.expr) -> ir.Value:
        return self.value(node, self.names, "bool").ir

    def choose(self, test: ast.expr, body: ast.expr, orelse: ast.expr) -> Value:
        """``body if test else orelse`` where one of them reads memory that may not be there."""
        b = self.builder
        yes, no, end = self.blocks("yes", "no", "end")
        b.cbranch(self.condition(test), yes, no)
        found = []
        for block, node in ((yes, body), (no, orelse)):
            b.position_at_end(block)
            found.append((self.visit(node, self.names), b.block))
        dtype = _common([value for value, _ in found])
        incoming = []
        for value, block in found:
            b.position_at_end(block)
            incoming.append((self.arithmetic.convert(value, dtype).ir, block))
            b.branch(end)
        b.position_at_end(end)
        phi = b.phi(scalar_type(dtype))
        for value, block in incoming:
            phi.add_incoming(value, block)
        return Value(phi, dtype)

    def _call(self, name: str, args: list[Operand]) -> Operand:
        if computes_in_float64(name, args):
            return FLOAT64[name](self.arithmetic, *args)
        return super()._call(name, args)


_TRUE, _FALSE = ast.Constant(True), ast.Constant(False)
_LITERALS = {bool: "bool", int: "int64", float: "float32"}


def _fits(dtype: str, name: str) -> bool:
    """Whether a value of ``dtype`` may be assigned to a name of another."""
    a, b = DTYPES[dtype], DTYPES[name]
    return a is b or (a.is_integer and b.is_integer and np.can_cast(dtype, name))


def _common(values: list[Operand]) -> str:
    """The dtype of a choice between values."""
    strong = {x.dtype for x in values if isinstance(x, Value)}
    if not strong:
        return _LITERALS[max((type(x) for x in values), key=list(_LITERALS).index)]
    if len(strong) == 1:
        return strong.pop()
    if not all(DTYPES[d].is_integer for d in strong):
        raise TypeError(f"{' or '.join(sorted(strong))}: convert one of them")
    return np.result_type(*strong).name
