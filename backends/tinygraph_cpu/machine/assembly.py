"""The loop of a kernel in which its time goes, out of LLVM's assembly."""

from __future__ import annotations

import re
from collections.abc import Sequence

LABEL = re.compile(r"(\S+):")
JUMP = re.compile(r"\s+(?:j\w+|b\.?\w*|cbn?z|tbn?z)\s+(?:\S+,\s*)*(\S+)$")
SUM = re.compile(r"\s+(?:vfn?m(?:add|sub)\d+p|fml[as]|v?addps|fadd|vpdp|tdp)")
FUSED = re.compile(r"fm|dp[bw]")  # it adds to its target
REGISTER = re.compile(r"%?\w+(?:\.\w+)?")


def inner_loop(assembly: str) -> list[str]:
    """The instructions of the loop that sums into most registers, its label first; none if no loop
    sums. In a register tile it is that of the reduction, which holds all accumulators.

    Only loops of one basic block count: a label and, without another between, a jump back to it.
    Remarks and directives are left out.
    """
    best: list[str] = []
    block: list[str] = []
    for line in map(plain, assembly.splitlines()):
        if label := LABEL.match(line):
            block = [label[0]]
        elif line and block:
            block.append(line)
            jump = JUMP.match(line)
            if jump and f"{jump[1]}:" == block[0] and sums(block) > sums(best):
                best = [*block]
    return best


def plain(line: str) -> str:
    """A label or an instruction, without its remark; empty for what makes no code."""
    code = re.split(r"\s*(?:##|//|#(?!\d|-|0x))", line, maxsplit=1)[0].rstrip()
    if not code or (code.lstrip().startswith(".") and not code.startswith(".L")):
        return ""
    name, _, operands = code.strip().partition("\t")
    return code if LABEL.match(code) else f"    {name:<12} {operands}".rstrip()


def sums(block: Sequence[str]) -> int:
    """How many registers a loop adds to from one step to the next: nothing else writes them."""
    found: set[str] = set()
    others: set[str] = set()
    for line in block[1:]:
        register = target(line)
        added = SUM.match(line) and (FUSED.search(line) or line.count(register) > 1)
        (found if added else others).add(register)
    return len(found - others)


def target(instruction: str) -> str:
    """The register that an instruction writes, or the last or first operand that it has: x86 names
    it last, ARM first.
    """
    names = REGISTER.findall(re.sub(r"\([^)]*\)|\{[^}]*\}|\[[^]]*\]", "", instruction))[1:]
    return (names or [""])[-1 if "%" in instruction else 0]
