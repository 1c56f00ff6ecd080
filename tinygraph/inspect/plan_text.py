"""Plans as text: buffers, launches, the arena as a chart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import wrap

from ..graph.origins import origins
from ..plan.records.plan import Bundle, Launch, Plan, Repeat, Transfer
from ..plan.records.work import Access, Emitted, Nest, Tile

WIDTH = 100  # of a line
COLUMNS = 40  # of the memory chart


def plan_text(plan: Plan, lines: bool = False) -> str:
    """A plan to read: what is launched, on which memory, and what is live when.

    ``lines`` adds the user's lines that a launch comes from.
    """
    names = buffer_names(plan)
    live = f"{plan.live_bound:,} are live at the peak"
    text = [f"plan {plan.name}", f"  arena {plan.arena:,} bytes, {live}"]
    for title, launches in (("prepare", plan.prepare), ("run", plan.launches)):
        devices = plan.devices if launches is plan.launches else ()
        if launches:
            on = f" on {' and '.join(devices)}" if devices else ""
            text += ["", f"{title}: {len(launches)} launches{on}"]
            chains = {x.first: x for x in plan.chains} if launches is plan.launches else {}
            loops = {x.first: x for x in plan.loops} if launches is plan.launches else {}
            for number, launch in enumerate(launches):
                if loop := loops.get(number):
                    span = f"launches {loop.first} to {loop.last - 1}"
                    text.append(f"    for t in range({loop.length}): {span}")
                if chain := chains.get(number):
                    span = f"launches {chain.first} to {chain.last - 1}"
                    text.append(f"    {span} may run in {chain.slices} slices, one after the other")
                text += launch_text(str(number), launch, names, lines, devices)
    if plan.transfers:
        text += ["", "transfers: what one device computes and another reads"]
        numbers = {id(launch): i for i, launch in enumerate(plan.launches)}
        text += [transfer_text(t, plan, names, numbers) for t in plan.transfers]
    rest = [b for b in plan.buffers if b.home != "arena"]
    text += [
        "",
        "buffers",
        *(f"  {names[id(b)]:<40.40} {b.home:<9} {b.bytes:>14,} bytes" for b in rest),
    ]
    text += ["", "arena: address, bytes, the launches in which it is live", *chart(plan, names)]
    return "\n".join(text) + "\n"


def transfer_text(
    t: Transfer, plan: Plan, names: Mapping[int, str], numbers: Mapping[int, int]
) -> str:
    """What crosses, from where to where; of a message its shape, and who sends and receives it."""
    text = f"  {t.bytes:>14,} bytes, {plan.devices[t.source]} to {plan.devices[t.target]}, "
    text += f"{names[id(t.buffer)]}: "
    if t.message is None:
        return text + str(t.value.type)
    shape = ",".join(map(str, t.sizes))
    sent, received = numbers[id(t.sends)], numbers[id(t.receives)]
    return text + f"[{shape}], sent by launch {sent}, received by {received}"


def buffer_names(plan: Plan) -> dict[int, str]:
    """A name for each buffer, by its id: unique."""
    seen: Counter[str] = Counter()
    names = {}
    for b in plan.buffers:
        seen[b.name] += 1
        names[id(b)] = b.name if seen[b.name] == 1 else f"{b.name}.{seen[b.name]}"
    return names


def launch_text(
    number: str,
    launch: Launch,
    names: Mapping[int, str],
    lines: bool = False,
    devices: Sequence[str] = (),
) -> list[str]:
    """A launch in a few lines: where it runs what, what it writes and reads."""
    waits = f", waits for {', '.join(map(str, launch.waits))}" if launch.waits else ""
    if launch.back:
        waits += f", one step before for {', '.join(map(str, launch.back))}"
    where = f" on {devices[launch.device]}" if devices else ""
    head = f"  {number:>3} {launch.name}{where}: {work_text(launch)}, parts {launch.parts}{waits}"
    text = wrap(head, WIDTH, subsequent_indent=" " * 8, drop_whitespace=True)
    text[0] = "  " + f"{number:>3}" + text[0].lstrip()[len(number) :]
    if isinstance(launch.work, Bundle):
        return text + [line for m in launch.members for line in launch_text("-", m, names, lines)]
    writes = launch.writes
    reads = [access_text(a, names) for i, a in enumerate(launch.accesses) if i not in writes]
    target = [access_text(a, names) for i, a in enumerate(launch.accesses) if i in writes]
    data = f"{', '.join(target)} <- {', '.join(reads) or 'nothing'}"
    text += wrap(data, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 10)
    if launch.ahead:
        start, bytes = launch.ahead.start, launch.ahead.part * launch.parts
        place = f"{names[id(start.buffer)]} from byte {start.offset:,} on"
        text.append(f"        fetches {bytes:,} bytes ahead, {place}"[:WIDTH])
    if lines and (places := launch_places(launch)):
        text += wrap(
            f"# {'; '.join(places)}",
            WIDTH,
            initial_indent=" " * 8,
            subsequent_indent=" " * 8 + "# ",
        )
    return text


def launch_places(launch: Launch) -> list[str]:
    """The user's lines that a launch comes from."""
    nodes = (n for m in launch.members for n in m.nodes)
    return list(dict.fromkeys(str(o) for n in nodes for o in origins(n)))


def work_text(launch: Launch) -> str:
    """The kind of a kernel, and its sizes."""
    work = launch.work
    if isinstance(work, Bundle | Repeat):
        return f"bundle of {len(work.launches)}"
    if isinstance(work, Nest):
        loops = "x".join(str(n) for a, n in enumerate(work.axes) if a not in work.reduce) or "1"
        over = "x".join(str(work.axes[a]) for a in work.reduce)
        over = f" over {over}" if over else ""
        return f"nest {loops}{over}" + (f" ({work.style})" if over or work.block else "")
    if isinstance(work, Tile):
        s, c = work.sizes, work.contraction
        rows, depth = (
            "x".join(str(s[a]) for a in axes if s[a] > 1) or "1" for axes in ("gzym", "rsk")
        )
        kind = "matrix tile" if c.matrix else "tile"
        kind += f" {c.lines}x" if c.lines > 1 else " "
        return (
            f"contraction of {rows} rows, {s['n']} columns, {depth} deep, {kind}{c.rows}x{c.width}"
        )
    if isinstance(work, Emitted):
        kind, sizes = type(work.record).__name__, tuple(work.fields.items())
    else:
        kind = work.op.name
        sizes = tuple((k, v) for k, v in work.attrs if isinstance(v, int))
        sizes += tuple((f"n{i}_{a}", s) for i, shape in enumerate(work.shapes)
                       for a, s in enumerate(shape))  # fmt: skip
    return f"{kind} ({', '.join(f'{name} {size}' for name, size in sizes)})"


def access_text(access: Access, names: Mapping[int, str]) -> str:
    """An access as buffer+offset[strides], in elements; a dot is a stride of 0, t a loop's step."""
    strides = ",".join(str(s) if s else "." for s in access.strides)
    offset = f"+{access.offset}" if access.offset else ""
    offset += f"{access.step:+}t" if access.step else ""
    guards = f" {len(access.guards)} guards" if access.guards else ""
    return f"{names[id(access.buffer)]}{offset}[{strides}]{guards}"


def chart(plan: Plan, names: Mapping[int, str]) -> list[str]:
    """One line per arena buffer, by address; # where it is live."""
    count = max(len(plan.launches), 1)
    width = min(count, COLUMNS)
    lines = []
    held = (b for b in plan.buffers if b.home == "arena" and b.first >= 0)
    for b in sorted(held, key=lambda b: (b.offset, b.first)):
        first, last = b.first * width // count, b.last * width // count
        bar = "." * first + "#" * (last - first + 1) + "." * (width - last - 1)
        lines.append(f"  {b.offset:>12,} {b.bytes:>12,}  {bar}  {names[id(b)]}"[:WIDTH])
    return lines
