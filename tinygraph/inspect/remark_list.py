"""Remarks as a list, and on a screen: those first that cost most, a few of each sort.

    remarks of lenet5: 12
    in two kernels; what one kernel for both would not write and read
      25.9 KB  %4 relu (conv1) and %5 window_max (pool): a contraction's tile holds sums, not whole
               rows; 2 times
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import shorten, wrap

from ..graph.ir import Node
from ..graph.origins import origins
from .remarks import Remark, kinds_of, size_text

WIDTH = 100
APART = " are in two kernels: "
SORTS = (  # about what, a heading, how many are shown
    ("apart", "in two kernels; what one kernel for both would not write and read", 8),
    ("transfer", "what crosses between devices", 4),
    ("card", "what a kernel takes too much of", 4),
    ("choice", "how products are computed", 5),
    ("", "what passes did", 5),
)


class Remarks(list[str]):
    """A line for each kind of remark; ``print`` shows a screen of them.

    Args:
        lines: the list.
        screen: makes the text.
    """

    def __init__(self, lines: Sequence[str], screen: Callable[[], str]):
        super().__init__(lines)
        self.screen = screen

    def __str__(self) -> str:
        return self.screen()

    __repr__ = __str__


def remarks_text(name: str, remarks: Sequence[Remark], label: Callable[[Node], str]) -> str:
    """The remarks of a program that cost most, on a screen; ``label`` gives nodes' names."""
    known = [about for about, _, _ in SORTS]
    groups = kinds_of(remarks)
    text = [f"remarks of {name}: {len(groups)}, those first that cost most"]
    for about, heading, shown in SORTS:
        mine = [g for g in groups if (g[0].about if g[0].about in known else "") == about]
        if mine:
            text += ["", heading, *(line for g in mine[:shown] for line in entry(g, label))]
        if len(mine) > shown:
            text.append(f"  and {len(mine) - shown} more")
    if len(groups) > sum(shown for _, _, shown in SORTS):
        text += ["", 'all: print(*program.remarks, sep="\\n"); of a layer: program.explain("name")']
    return "\n".join(text)


def entry(alike: Sequence[Remark], label: Callable[[Node], str]) -> list[str]:
    """One kind: its bytes, the first of its remarks, how many there are."""
    total = sum(r.bytes for r in alike)
    often = f"; {len(alike)} times" if len(alike) > 1 else ""
    head = f"{size_text(total):>10}  " if total else "  "
    text = brief(alike[0], label) + often
    return wrap(text, WIDTH, initial_indent=head, subsequent_indent="  " + " " * len(head))


def listing(remarks: Sequence[Remark], label: Callable[[Node], str]) -> list[str]:
    """A line for each kind, those first that cost most, with their bytes."""
    lines = []
    for alike in kinds_of(remarks):
        total, text = sum(r.bytes for r in alike), brief(alike[0], label)
        lines.append(f"{size_text(total)}: {text}" if total else text)
    return lines


def brief(remark: Remark, label: Callable[[Node], str]) -> str:
    """A remark with nodes by label, operator and layer."""
    if remark.about not in [about for about, _, _ in SORTS]:
        return shorten(remark.text, WIDTH - 2, placeholder=" …")
    if remark.about != "apart":
        return remark.text
    a, b = (f"{label(n)} {n.op.name}{layer(n)}" for n in remark.nodes)
    return f"{a} and {b}: {remark.text.partition(APART)[2]}"


def layer(n: Node) -> str:
    """Where a node is from: its layer, else the user's line."""
    found = [f"{o.how} {o.scope}".lstrip() if o.scope else str(o) for o in origins(n)]
    return f" ({found[0]})" if found else ""
