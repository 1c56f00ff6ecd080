"""PTX text to functions, variables and instructions.

Source: NVIDIA, Parallel Thread Execution ISA; the subset that compilers emit (numba-cuda, nvcc,
inline assembly in braces).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from .types import DTYPES, immediate

NAME = r"%?[A-Za-z_$][\w$]*"
VARIABLE = re.compile(r"\.([bsuf]\d+)\s+([\w$.%]+)\s*(?:\[\s*(\d*)\s*\])?\s*(?:=\s*(.*))?$", re.S)
PARAMETER = re.compile(r"\.param\s+(?:\.align\s+(\d+)\s+)?\.([bsuf]\d+)\s+([\w$.]+)(?:\[(\d+)\])?")
HEAD = re.compile(r"\.(entry|func)\s*(\([^)]*\))?\s*([\w$.]+)\s*(?:\(([^)]*)\))?", re.S)
SKIPPED = (".pragma", ".branchtargets", ".callprototype")


@dataclass(frozen=True, slots=True)
class Instruction:
    """``@predicate opcode.modifiers operands``; ``line`` is that of the source it was made from."""

    opcode: str
    modifiers: tuple[str, ...]
    operands: tuple[str, ...]
    predicate: str | None
    negated: bool
    line: int
    text: str

    def type(self, position: int = -1) -> str:
        """One of the types among the modifiers, the last by default."""
        return [m for m in self.modifiers if m in DTYPES][position]


@dataclass(frozen=True, slots=True)
class Label:
    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """Memory that a module or function declares; zero bytes stand for dynamic shared memory."""

    name: str
    space: str
    align: int
    data: np.ndarray
    dynamic: bool

    @property
    def bytes(self) -> int:
        return 0 if self.dynamic else self.data.nbytes


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: str
    bytes: int
    align: int


@dataclass(slots=True)
class Function:
    name: str
    entry: bool
    parameters: tuple[Parameter, ...]
    results: tuple[Parameter, ...]
    registers: dict[str, str] = field(default_factory=dict)  # name: type
    local: dict[str, Variable] = field(default_factory=dict)
    code: list[Instruction | Label] = field(default_factory=list)


@dataclass(slots=True)
class Module:
    target: str
    functions: dict[str, Function] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)


def parse(ptx: str) -> Module:
    """The module that a PTX text describes."""
    text = re.sub(r"/\*.*?\*/", "", ptx, flags=re.S)
    text = re.sub(r"//[^\n]*", "", text)
    target = re.search(r"\.target\s+(\w+)", text)
    module = Module(target[1] if target else "")
    text = re.sub(r"^\s*\.(version|target|address_size|file)\b[^\n]*", "", text, flags=re.M)
    position = 0
    while match := re.compile(r"\s*([^;{]*)([;{])", re.S).match(text, position):
        head, end = match[1], match[2]
        if end == "{" and re.search(r"\.(entry|func)\b", head):
            close = closing(text, match.end() - 1)
            function = declare(head)
            Body(module, function, text[match.end() : close]).read()
            module.functions[function.name] = function
            position = close + 1
            continue
        if end == "{" and ".section" in head:  # debug information
            position = closing(text, match.end() - 1) + 1
            continue
        position = match.end() if end == ";" else text.index(";", match.end()) + 1
        statement = text[match.start() : position - 1]
        if re.search(r"\.(global|const|shared)\b", statement) and ".func" not in statement:
            found = variable(statement)
            module.variables[found.name] = found
    return module


def closing(text: str, start: int) -> int:
    """Where the brace at `start` is closed."""
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.start()
    raise ValueError("a brace is never closed")


def declare(head: str) -> Function:
    match = HEAD.search(head)
    assert match is not None
    kind, results, name, parameters = match.groups()
    return Function(
        name, kind == "entry", parameter_list(parameters), parameter_list((results or "")[1:-1])
    )


def parameter_list(text: str | None) -> tuple[Parameter, ...]:
    return tuple(parameter(p) for p in split(text or ""))


def parameter(text: str) -> Parameter:
    match = PARAMETER.search(text)
    assert match is not None, text
    size = DTYPES[match[2]].itemsize
    return Parameter(match[3], match[2], size * int(match[4] or 1), int(match[1] or size))


def variable(text: str) -> Variable:
    space = re.search(r"\.(global|const|shared|local)\b", text)
    assert space is not None
    align = re.search(r"\.align\s+(\d+)", text)
    declared = VARIABLE.search(text[space.end() :].strip())
    assert declared is not None, text
    kind, name, count, values = declared.groups()
    dynamic = ".extern" in text or count == "" or count == "0"
    data = np.zeros(int(count) if count else 1, DTYPES[kind])
    if values:
        for i, value in enumerate(values.strip().strip("{}").split(",")):
            data[i] = immediate(value, DTYPES[kind])
    return Variable(name, space[1], int(align[1]) if align else 8, data, dynamic)


def split(text: str) -> list[str]:
    """Operands between commas, those within brackets kept together."""
    parts, depth, current = [], 0, ""
    for c in text:
        depth += (c in "{[(") - (c in "}])")
        if c == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += c
    return [*parts, current.strip()] if current.strip() else parts


class Body:
    """Reads a function's statements; names declared in inner braces get a number of their own."""

    def __init__(self, module: Module, function: Function, text: str):
        self.module, self.function, self.text = module, function, text
        self.scopes: list[dict[str, str]] = [{}]
        self.count = 0
        self.line = 0

    def read(self) -> None:
        text, position = self.text, 0
        token = re.compile(r"\s*(?:(\.loc\s)[^\n]*|([{}])|([\w$]+)\s*:(?!:)|([^;]+);)", re.S)
        while match := token.match(text, position):
            position = match.end()
            if match[1]:
                self.location(match[0])
            elif match[2]:
                self.scopes.append({}) if match[2] == "{" else self.scopes.pop()
            elif match[3]:
                self.function.code.append(Label(self.renamed(match[3])))
            else:
                self.statement(" ".join(match[4].split()))

    def location(self, text: str) -> None:
        """``.loc file line column[, ... inlined_at file line column]``; line 0 says nothing."""
        lines = [int(n) for n in re.findall(r"(?:\.loc|inlined_at)\s+\d+\s+(\d+)", text)]
        self.line = lines[-1] or self.line

    def statement(self, text: str) -> None:
        if text.startswith(".reg"):
            self.registers(text)
        elif text.startswith(".local"):
            found = variable(text)
            self.function.local[found.name] = found
        elif text.startswith(".shared"):
            found = variable(text)
            self.module.variables[found.name] = found
        elif text.startswith(".param"):
            self.fresh(parameter(text).name)
        elif not text.startswith(SKIPPED):
            self.instruction(self.renamed(text))

    def registers(self, text: str) -> None:
        _, kind, names = text.split(maxsplit=2)
        for name in names.split(","):
            many = re.match(r"(.*)<(\d+)>$", name.strip())
            each = [f"{many[1]}{i}" for i in range(int(many[2]))] if many else [name.strip()]
            for register in each:
                self.function.registers[self.fresh(register)] = kind[1:]

    def fresh(self, name: str) -> str:
        if len(self.scopes) == 1:
            return name
        self.count += 1
        self.scopes[-1][name] = f"{name}__{self.count}"
        return self.scopes[-1][name]

    def renamed(self, text: str) -> str:
        names = {k: v for scope in self.scopes for k, v in scope.items()}
        return re.sub(NAME, lambda m: names.get(m[0], m[0]), text) if names else text

    def instruction(self, text: str) -> None:
        match = re.match(rf"(?:@(!?)({NAME})\s+)?(\S+)\s*(.*)", text)
        assert match is not None
        opcode, *modifiers = match[3].split(".")
        self.function.code.append(
            Instruction(
                opcode,
                tuple(modifiers),
                tuple(split(match[4])),
                match[2],
                match[1] == "!",
                self.line,
                text,
            )
        )
