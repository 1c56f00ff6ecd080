"""What kernels take of a device, as text: ``program.dump("cards")``."""

from __future__ import annotations

from collections.abc import Sequence

from ..plan.records.cost import LaunchCost

HEAD = (
    "launch", "blocks", "threads", "registers", "spills", "shared", "occupancy", "flops", "bytes"
)  # fmt: skip


def cards_text(name: str, costs: Sequence[LaunchCost]) -> str:
    """A line for each kernel of each launch; work is shown at the first kernel of its launch."""
    rows = [HEAD, *(row for cost in costs for row in cells(cost))]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEAD))]
    architecture = next((card.architecture for c in costs for _, card in c.kernels), "no kernel")
    text = [f"cards of {name} for {architecture}: registers of a thread, bytes of a block"]
    for first, *rest in rows:
        fields = (f"{value:>{w}}" for value, w in zip(rest, widths[1:], strict=True))
        text.append("  ".join([f"{first:<{widths[0]}}", *fields]).rstrip())
    return "\n".join(text) + "\n"


def cells(cost: LaunchCost) -> list[tuple[str, ...]]:
    """The kernels of one launch, in the order of HEAD."""
    work = (f"{cost.flops:,}", f"{cost.bytes:,}")
    return [
        (
            cost.launch.name if number == 0 else "  and",
            f"{blocks:,}",
            str(card.threads),
            str(card.registers),
            str(card.spills),
            f"{card.shared:,}",
            f"{100 * card.occupancy:.0f} %",
            *(work if number == 0 else ("", "")),
        )
        for number, (blocks, card) in enumerate(cost.kernels)
    ]
