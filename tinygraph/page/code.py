"""Texts: the generated kernels, and the user's files, with what each line belongs to."""

from __future__ import annotations

import linecache
import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from ..codegen.program import KernelCode
from ..graph.origins import Origin
from ..inspect.inspection import Inspection
from ..plan.records.contraction import Contraction
from ..plan.records.plan import Launch
from .items import Items

WIDTH = 100
AROUND = 12  # lines that are shown around those that build nodes
LONG = 400  # lines of a file that is shown as a whole


# -- generated -------------------------------------------------------------------------------------


def generated(inspection: Inspection) -> list[dict[str, Any]]:
    """The text of each kernel. That of a register tile begins with its loop, as pseudo-code."""
    return [
        {"name": k.name, "lines": kernel_lines(k), "key": k.key} for k in inspection.code.kernels
    ]


def kernel_lines(kernel: KernelCode) -> list[str]:
    text = kernel.text.rstrip("\n").split("\n")
    if not isinstance(kernel.record, Contraction):
        return [part for line in text for part in folded(line)]
    return [*tile(kernel.name, kernel.record), "", *(p for line in text for p in folded(line))]


def folded(line: str) -> list[str]:
    """A line in the width of a page; records are long."""
    if len(line) <= WIDTH + 20:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    return wrap(line, WIDTH, subsequent_indent=indent + "    ", break_on_hyphens=False)


NAMED = re.compile(r"\s*(\w+?)(?:_\d+|_nan|\[[^=]*\])? \+?= ")  # unrolled windows number names
STORED = re.compile(r"\] = (\w+)$")


def lines_of(launch: Launch, text: Sequence[str], items: Items) -> dict[int, list[int]]:
    """For each line of a kernel's text that computes, loads or stores one value, its items."""
    values, found = dict(launch.values), {}
    for number, line in enumerate(text):
        matches = filter(None, (NAMED.match(line), STORED.search(line)))
        names = [match[1] for match in matches if match[1] in values]
        if names:
            found[number] = items.of([values[names[0]]])[:1]
    return found


def tile(name: str, c: Contraction) -> list[str]:
    """The loop that is emitted for a register tile, in words close to Python."""
    lanes = "columns" if c.lanes_along == "columns" else f"the {c.lanes_along}"
    dots = c.lanes_along == "reduction"
    inner = "broadcast(a[row, k])" if c.lanes_along == "columns" else "a[row, k] (a vector)"
    tail = [f"the last tile has {c.row_tail} rows"] if c.row_tail else []
    tail += [f"the last block has {c.vector_tail} vectors"] if c.vector_tail else []
    tail += ["the last vector is masked"] if c.masked else []
    text = [
        f"# {name}: a register tile of {c.rows} x {c.width}, {c.lanes} {lanes} in a vector",
        *([f"# {'; '.join(tail)}"] if tail else []),
        f"for row_block, column_block in tiles({c.rows}, {c.width}):",
        f"    acc[{c.rows}][{c.vectors}] = {'partial sums' if c.chunked else '0'}",
        "    for k in depth:                  # r, s (the window), then k",
        f"        b = load {c.vectors} vector{'s' * (c.vectors > 1)} of B[k]",
        f"        for row in range({c.rows}):     # unrolled, accumulators stay in registers",
        f"            acc[row] += {inner} * b",
        *(["    acc = sum of the lanes of each vector"] if dots else []),
    ]
    if c.blocked:
        text.append(
            f"        # a long reduction: sums are put aside after each step of {c.blocked}"
        )
    loads = [f"    {value} = operand{k}[row, column]" for value, k in c.body.loads]
    steps = [f"    {s.name} = {s.text()}" for s in c.body.statements]
    puts = [f"    operand{k}[row, column] = {value}" for k, value in c.body.stores]
    return text + loads + steps + puts


# -- the user's ------------------------------------------------------------------------------------


def files(places: Sequence[Origin]) -> list[dict[str, Any]]:
    """The files that places are in: their lines, those of a long file around the places only.

    A file's text is what Python knows of it, so that of a notebook's cell is there, too.
    """
    wanted: dict[str, set[int]] = {}
    for o in places:
        wanted.setdefault(o.file, set()).add(o.line)
    names = short_names(list(wanted))
    return [
        {"name": names[file], "blocks": blocks(linecache.getlines(file), sorted(numbers))}
        for file, numbers in wanted.items()
    ]


def blocks(lines: Sequence[str], wanted: Sequence[int]) -> list[dict[str, Any]]:
    """Runs of lines with the number of their first; none where the file cannot be read."""
    if len(lines) <= LONG:
        near = set(range(1, len(lines) + 1))
    else:
        near = {k for w in wanted for k in range(w - AROUND, w + AROUND + 1)}
        near &= set(range(1, len(lines) + 1))
    found: list[dict[str, Any]] = []
    for k in sorted(near):
        text = lines[k - 1].rstrip("\n")
        if found and found[-1]["first"] + len(found[-1]["lines"]) == k:
            found[-1]["lines"].append(text)
        else:
            found.append({"first": k, "lines": [text]})
    return found


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """As much of each path as tells it from the others: a page that is mailed shows no more."""
    found: dict[str, str] = {}
    for path in paths:
        parts = Path(path).parts
        ends = ("/".join(parts[-n:]) for n in range(1, len(parts) + 1))
        others = [p for p in paths if p != path]
        found[path] = next(
            (e for e in ends if not any(f"/{p}".endswith(f"/{e}") for p in others)), path
        )
    return found


def place_records(places: Sequence[Origin]) -> list[dict[str, Any]]:
    """Origins, with their files by number, in the order of ``files``."""
    number: dict[str, int] = {}
    for o in places:
        number.setdefault(o.file, len(number))
    records = []
    for o in places:
        record: dict[str, Any] = {"file": number[o.file], "line": o.line}
        record |= {k: v for k, v in (("scope", o.scope), ("how", o.how), ("call", o.call)) if v}
        records.append(record)
    return records
