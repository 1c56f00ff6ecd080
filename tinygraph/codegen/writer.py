"""Kernels as text under construction: a prologue that fetches arguments, then lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..plan.records.work import Access


@dataclass(frozen=True, slots=True)
class Address:
    """An argument that is an address: ``element`` elements into what an access' buffer holds."""

    access: Access


Argument = int | Address


@dataclass(slots=True)
class WrittenKernel:
    """Text of a kernel, with NAME for its name, and the arguments of one launch."""

    text: str
    arguments: tuple[Argument, ...]


@dataclass(slots=True)
class Writer:
    """Collects the prologue, whose lines fetch arguments, and the lines of the loops."""

    prologue: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    arguments: list[Argument] = field(default_factory=list)
    depth: int = 1

    def argument(self, name: str, value: Argument, view: str | None = None) -> str:
        if any(line.startswith(f"    {name} = ") for line in self.prologue):
            return name  # a read in another stage fetches it already
        fetch = f"args[{len(self.arguments)}]"
        self.prologue.append(f"    {name} = {f'view_{view}({fetch})' if view else fetch}")
        self.arguments.append(value)
        return name

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)


def escaped(text: str) -> str:
    """A line of text as it may stand in a docstring or a comment: names can come from a file, and
    must not become code.
    """
    printed = (c if c.isprintable() else ascii(c)[1:-1] for c in text.replace("\\", r"\\"))
    return "".join(printed).replace('"', r"\"")
