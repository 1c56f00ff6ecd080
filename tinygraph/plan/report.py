"""Plans as text: buffers, launches, the arena as a chart, and remarks that say why."""

from __future__ import annotations

from collections import Counter

from .plan import Access, Bundle, Emitted, Launch, Nest, Plan, Tile
from .winograd_kernel import WinogradTile

COLUMNS = 64  # of the memory chart


def plan_text(plan: Plan) -> str:
    """A plan to read: what is launched, on which memory, and who lives when."""
    names = buffer_names(plan)
    lines = [f"plan {plan.name}", f"  arena {plan.arena:,} bytes, {plan.live_bound:,} are live at the peak"]
    for title, launches in (("prepare", plan.prepare), ("run", plan.launches)):
        if launches:
            lines += ["", f"{title}: {len(launches)} launches"]
            lines += [line for i, launch in enumerate(launches) for line in launch_text(i, launch, names)]
    lines += ["", "buffers", *(f"  {names[id(b)]:<28} {b.home:<9} {b.bytes:>12,} bytes" for b in plan.buffers if b.home != "arena")]
    lines += ["", "arena (one column is a share of the launches)", *chart(plan, names)]
    return "\n".join(lines) + "\n"


def buffer_names(plan: Plan) -> dict[int, str]:
    seen: Counter[str] = Counter()
    names = {}
    for b in plan.buffers:
        seen[b.name] += 1
        names[id(b)] = b.name if seen[b.name] == 1 else f"{b.name}.{seen[b.name]}"
    return names


def launch_text(number: int, launch: Launch, names: dict[int, str]) -> list[str]:
    if isinstance(launch.work, Bundle):
        waits = f"  waits {', '.join(map(str, launch.waits))}" if launch.waits else ""
        inside = [line for m in launch.members for line in launch_text(-1, m, names)]
        return [f"  {number:>3} bundle of {len(launch.members)}, parts {launch.parts}{waits}", *inside]
    writes = launch.writes
    reads = ", ".join(access_text(a, names) for i, a in enumerate(launch.accesses) if i not in writes)
    target = ", ".join(access_text(a, names) for i, a in enumerate(launch.accesses) if i in writes)
    waits = f"  waits {', '.join(map(str, launch.waits))}" if launch.waits else ""
    return [
        f"  {number if number >= 0 else '   -':>3} {launch.name}  {work_text(launch)}, parts {launch.parts}{waits}",
        f"        {target} <- {reads or 'nothing'}",
    ]


def work_text(launch: Launch) -> str:
    work = launch.work
    if isinstance(work, Nest):
        loops = "x".join(str(n) for a, n in enumerate(work.axes) if a not in work.reduce) or "1"
        over = "x".join(str(work.axes[a]) for a in work.reduce)
        return f"nest {loops}" + (f" over {over} ({work.style})" if over else "")
    if isinstance(work, Tile):
        s, c = dict(work.sizes), work.contraction
        return (
            f"contraction {s['g']}x{s['z']}x{s['y']}x{s['m']} rows, {s['n']} columns, {s['r']}x{s['s']}x{s['k']} deep, "
            f"tile {c.rows}x{c.width}"
        )
    if isinstance(work, Emitted):
        return winograd_text(work)
    return f"template {work.template}"


def winograd_text(work: Emitted) -> str:
    f, record = dict(work.fields), work.record
    if isinstance(record, WinogradTile):
        return (
            f"winograd({record.m}) {record.r}x{record.r}, {f['z']}x{f['tiles_y']}x{f['tiles_x']} tiles, {f['n']} columns, "
            f"{f['k']} deep at {record.points} points, tile {record.rows}x{record.width}"
        )
    return f"weights of winograd({record.m}) {record.r}x{record.r}, {f['groups']}x{f['n']}x{f['k']}"


def access_text(access: Access, names: dict[int, str]) -> str:
    strides = ",".join(str(s) if s else "." for s in access.strides)
    offset = f"+{access.offset}" if access.offset else ""
    guards = f" {len(access.guards)} guards" if access.guards else ""
    return f"{names[id(access.buffer)]}{offset}[{strides}]{guards}"


def chart(plan: Plan, names: dict[int, str]) -> list[str]:
    """One line per arena buffer, by address; # where it is live."""
    count = max(len(plan.launches), 1)
    width = min(count, COLUMNS)
    lines = []
    for b in sorted((b for b in plan.buffers if b.home == "arena" and b.first >= 0), key=lambda b: (b.offset, b.first)):
        first, last = b.first * width // count, b.last * width // count
        bar = "." * first + "#" * (last - first + 1) + "." * (width - last - 1)
        lines.append(f"  {b.offset:>12,} {b.bytes:>12,}  {bar}  {names[id(b)]}")
    return lines


def remarks(plan: Plan) -> list[str]:
    """Why things are as they are, in the order of the plan."""
    return list(dict.fromkeys(plan.remarks))


