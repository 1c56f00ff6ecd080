"""What a check found, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tinygraph.plan.records.device import Roofline

from .results import Machine, Result


def report(machine: Machine, results: Sequence[Result], running: bool = False) -> str:
    """What failed, what was compared, how long steps and kernels take: complete at any time."""
    ran = [r for r in results if r.ran]
    failed = [r for r in ran if r.fault]
    missing = [r.name for r in results if not r.ran]
    text = [
        "# tinygraph's CUDA kernels on a GPU",
        "",
        machine.device or "No GPU was reached.",
        "",
        ", ".join(f"{name} {version}" for name, version in machine.versions.items()) + ".",
        "",
        f"{len(ran) - len(failed)} of {len(results)} programs agree with the reference, and gave "
        f"the same bits twice; {len(failed)} failed, {len(missing)} were not run"
        + (" so far." if running else "."),
    ]
    if machine.problem:
        text += ["", f"**{machine.problem}**"]
    text += listed("Failed", [f"{r.name}: {r.fault}" for r in failed])
    text += listed("Otherwise than it should be", [f"{r.name}: {n}" for r in ran for n in r.notes])
    text += steps([r for r in ran if r.replay])
    text += ["", "## Compared", "", "| program | launches | largest error |", "|---|---:|---:|"]
    text += [f"| {r.name} | {len(r.costs)} | {r.error:.1e} |" for r in ran if not r.fault]
    for r in ran:
        if r.seconds:
            text += ["", *launches(r, machine.roofline)]
    text += listed("Not run", missing)
    return "\n".join(text) + "\n"


def listed(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *(f"- {line}" for line in lines)] if lines else []


def steps(results: Sequence[Result]) -> list[str]:
    """Whole runs, next to PyTorch's."""
    if not results:
        return []
    modes = list(dict.fromkeys(mode for r in results for mode in r.peers))
    text = [
        "",
        "## Whole runs",
        "",
        "Medians in milliseconds: as a CUDA graph without transfers, as a call with them; "
        "PyTorch's are without.",
        "",
        "| program | launches | graph | call |" + "".join(f" PyTorch {m} |" for m in modes),
        "|---|---:|---:|---:|" + "---:|" * len(modes),
    ]
    for r in results:
        peers = [r.peers.get(mode, "") for mode in modes]
        shown = [f" {p:.3f} |" if isinstance(p, float) else f" {p} |" for p in peers]
        row = f"| {r.name} | {len(r.costs)} | {1e3 * r.replay:.3f} | {1e3 * r.call:.3f} |"
        text.append(row + "".join(shown))
    return text


def launches(result: Result, roofline: Roofline | None) -> list[str]:
    """The launches of a program, the slowest first."""
    text = [
        f"## {result.name}: launches, {1e6 * sum(result.seconds):,.1f} us together",
        "",
        "Each repeated in a CUDA graph. " + rates(roofline),
        "",
        "| launch | us | GFLOP/s | GB/s | roofline | blocks | threads | registers | occupancy |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    rows = zip(result.seconds, result.costs, result.cards, strict=True)
    for seconds, (name, flops, size), (blocks, card) in sorted(rows, key=lambda row: -row[0]):
        text.append(
            f"| {name} | {1e6 * seconds:,.1f} | {flops / seconds / 1e9:,.0f} "
            f"| {size / seconds / 1e9:,.0f} | {share(flops, size, seconds, roofline)} | {blocks} "
            f"| {card.threads} | {card.registers} | {100 * card.occupancy:.0f} % |"
        )
    return text


def rates(roofline: Roofline | None) -> str:
    if roofline is None:
        return "The roofline is not known."
    return (
        f"The roofline is {roofline.flops / 1e9:,.0f} GFLOP/s by the clock's rate and "
        f"{roofline.bandwidth / 1e9:,.0f} GB/s as measured by a copy."
    )


def share(flops: int, size: int, seconds: float, roofline: Roofline | None) -> str:
    if roofline is None:
        return ""
    best = max(flops / roofline.flops, size / roofline.bandwidth)
    return f"{100 * best / seconds:.0f} %"
