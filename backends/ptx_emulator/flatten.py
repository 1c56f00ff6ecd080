"""A kernel as basic blocks: calls in place, labels resolved, registers that live on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from .faults import UnsupportedInstruction
from .parse import NAME, Function, Instruction, Label, Module, split

ENDS = ("bra", "ret", "exit", "bar", "barrier")
LOCAL_ALIGN = 16


@dataclass(slots=True)
class Block:
    """Instructions without a jump, then how it ends.

    Attributes:
        end: a branch, barrier or exit; None where the next block follows.
        next, target: numbers of the blocks that follow, and that a branch leads to.
    """

    body: list[Instruction] = field(default_factory=list)
    end: Instruction | None = None
    next: int = -1
    target: int = -1


@dataclass(slots=True)
class Flat:
    """A kernel without calls.

    Attributes:
        registers: {name: type}; parameters of calls have become registers.
        local: {name: offset} within a thread's local memory of `local_bytes`.
    """

    blocks: list[Block]
    registers: dict[str, str]
    local: dict[str, int]
    local_bytes: int


def flatten(module: Module, kernel: Function) -> Flat:
    inliner = Inliner(module)
    inliner.add(kernel, "", {}, None)
    return Flat(cut(inliner.code), inliner.registers, inliner.local, inliner.local_bytes)


class Inliner:
    """Copies a function's code, and that of the functions it calls, under names of their own."""

    def __init__(self, module: Module):
        self.module = module
        self.code: list[Instruction | Label] = []
        self.registers: dict[str, str] = {}
        self.local: dict[str, int] = {}
        self.local_bytes = 0
        self.calls = 0

    def add(
        self, function: Function, prefix: str, parameters: dict[str, str], after: str | None
    ) -> None:
        """`parameters` name the caller's registers; `after` is the label that a return jumps to."""
        names = {
            name: f"%{prefix}{name[1:]}" if name[0] == "%" else prefix + name
            for name in function.registers
        }
        self.registers |= {names[name]: kind for name, kind in function.registers.items()}
        for name, variable in function.local.items():
            names[name] = prefix + name
            self.local[prefix + name] = self.local_bytes
            self.local_bytes += -(-variable.bytes // LOCAL_ALIGN) * LOCAL_ALIGN
        names |= parameters
        for item in function.code:
            if isinstance(item, Label):
                self.code.append(Label(prefix + item.name))
            elif item.opcode == "call":
                self.call(item, names)
            else:
                self.code.append(self.copy(item, prefix, names, after))

    def copy(
        self, item: Instruction, prefix: str, names: dict[str, str], after: str | None
    ) -> Instruction:
        predicate = names[item.predicate] if item.predicate else None
        if item.opcode == "bra":
            return replace(item, operands=(prefix + item.operands[0],), predicate=predicate)
        if item.opcode in ("ret", "exit") and after is not None:
            return replace(item, opcode="bra", operands=(after,), predicate=predicate)
        operands = tuple(re.sub(NAME, lambda m: names.get(m[0], m[0]), o) for o in item.operands)
        if item.opcode in ("ld", "st") and "param" in item.modifiers:
            self.declare_parameters(item, operands)
        return replace(item, operands=operands, predicate=predicate)

    def declare_parameters(self, item: Instruction, operands: tuple[str, ...]) -> None:
        """Parameters of calls are registers, one for each offset that is used."""
        place = slot(operands[1 if item.opcode == "ld" else 0])
        if item.opcode == "st" or place in self.registers:
            self.registers.setdefault(place, item.type())

    def call(self, item: Instruction, names: dict[str, str]) -> None:
        """``call (results), function, (arguments)``; both are parameters of this scope."""
        if item.predicate:
            raise UnsupportedInstruction(f"a predicated call: {item.text}")
        lists = [split(o[1:-1]) if o.startswith("(") else o for o in item.operands]
        if isinstance(lists[0], str):
            lists.insert(0, [])
        results, name, arguments = lists[0], lists[1], lists[2] if len(lists) > 2 else []
        callee = self.module.functions.get(str(name))
        if callee is None:
            raise UnsupportedInstruction(f"a call of {name}, which the module does not define")
        self.calls += 1
        prefix, after = f"call{self.calls}_", f"after_call{self.calls}"
        given = zip((*callee.results, *callee.parameters), (*results, *arguments), strict=True)
        self.add(callee, prefix, {p.name: names.get(g, g) for p, g in given}, after)
        self.code.append(Label(after))


def slot(operand: str) -> str:
    """``[name+offset]`` of a parameter, without brackets and with the offset."""
    name, _, offset = re.sub(r"\s|[][]", "", operand).partition("+")
    return f"{name}+{offset or 0}"


def cut(code: list[Instruction | Label]) -> list[Block]:
    """Basic blocks; the numbers of labels replace their names."""
    blocks, labels = [Block()], {}
    for item in code:
        if isinstance(item, Label):
            if blocks[-1].body:
                blocks.append(Block())
            labels[item.name] = len(blocks) - 1
        elif item.opcode in ENDS and "warp" not in item.modifiers:
            blocks[-1].end = item
            blocks.append(Block())
        else:
            blocks[-1].body.append(item)
    if not blocks[-1].body and len(blocks) - 1 not in labels.values():
        blocks.pop()
    else:
        blocks[-1].end = Instruction("ret", (), (), None, False, 0, "ret")
    for number, block in enumerate(blocks):
        block.next = number + 1
        if block.end is not None and block.end.opcode == "bra":
            block.target = labels[block.end.operands[0]]
    return blocks


def live_registers(
    uses: list[set[int]], defines: list[set[int]], follows: list[list[int]]
) -> list[set[int]]:
    """For each block, the registers whose values are needed after it."""
    wanted = [set(u) for u in uses]  # at the block's beginning
    after: list[set[int]] = [set() for _ in uses]
    changed = True
    while changed:
        changed = False
        for b in reversed(range(len(uses))):
            after[b] = set().union(*(wanted[f] for f in follows[b]))
            before = uses[b] | (after[b] - defines[b])
            if before != wanted[b]:
                wanted[b], changed = before, True
    return after
