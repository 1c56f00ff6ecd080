"""What a bundle found, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinygraph.plan.records.device import Roofline

if TYPE_CHECKING:
    from .replay import Result


def report(machine: str, results: Sequence[Result], roofline: Roofline) -> str:
    """One page: what failed, what was compared, how long kernels take."""
    failed = [r for r in results if r.fault]
    text = [
        "# tinygraph's CUDA kernels on a GPU",
        "",
        machine,
        "",
        f"{len(results) - len(failed)} of {len(results)} programs agree with the reference, and "
        "gave the same bits twice.",
    ]
    if failed:
        text += ["", "## Failed", "", *(f"- {r.name}: {r.fault}" for r in failed)]
    text += ["", "## Compared", "", "| program | launches | largest error |", "|---|---:|---:|"]
    text += [f"| {r.name} | {len(r.costs)} | {r.error:.1e} |" for r in results if not r.fault]
    for r in results:
        if r.seconds:
            text += ["", *times(r, roofline)]
    return "\n".join(text) + "\n"


def times(result: Result, roofline: Roofline) -> list[str]:
    """The launches of a program, the slowest first."""
    total = sum(result.seconds)
    text = [
        f"## {result.name}: {1e6 * total:,.1f} us",
        "",
        f"Medians; the roofline is {roofline.flops / 1e9:,.0f} GFLOP/s by the clock's rate and "
        f"{roofline.bandwidth / 1e9:,.0f} GB/s as measured by a copy.",
        "",
        "| launch | us | GFLOP/s | GB/s | roofline | blocks | threads | registers | occupancy |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    rows = zip(result.seconds, result.costs, result.cards, strict=True)
    for seconds, (name, flops, size), (blocks, card) in sorted(rows, key=lambda row: -row[0]):
        best = max(flops / roofline.flops, size / roofline.bandwidth)
        text.append(
            f"| {name} | {1e6 * seconds:,.1f} | {flops / seconds / 1e9:,.0f} "
            f"| {size / seconds / 1e9:,.0f} | {100 * best / seconds:.0f} % | {blocks} "
            f"| {card.threads} | {card.registers} | {100 * card.occupancy:.0f} % |"
        )
    return text
