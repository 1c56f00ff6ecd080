"""What checks find: plain values that processes pass on as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tinygraph.plan.records.device import Card, Roofline


@dataclass(slots=True)
class Machine:
    """What a bundle runs on.

    Attributes:
        versions: of everything that matters, by name; found without importing any of it.
        device: GPU and driver, in a line.
        problem: why no case can run, in a line; "" if they can.
        roofline: None where it could not be measured.
    """

    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    architecture: str = ""
    problem: str = ""
    roofline: Roofline | None = None


@dataclass(slots=True)
class Result:
    """The outcome of a case.

    Attributes:
        ran: whether it was tried at all.
        error: the largest, relative to 1 or to the value.
        fault: why it failed; "" if it did not.
        notes: what went otherwise than it should, though well.
        costs: name, operations and bytes of each launch.
        cards: blocks and card of each launch's first kernel.
        seconds: of each launch, where they were timed.
        replay: seconds of a whole run on the device, transfers left out; 0 if it was not timed.
        call: seconds of a whole call, transfers included.
        peers: milliseconds of the same step in PyTorch, by its mode, or why there are none.
    """

    name: str
    ran: bool = False
    error: float = 0.0
    fault: str = ""
    notes: list[str] = field(default_factory=list)
    costs: list[tuple[str, int, int]] = field(default_factory=list)
    cards: list[tuple[int, Card]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    replay: float = 0.0
    call: float = 0.0
    peers: dict[str, float | str] = field(default_factory=dict)


def write(path: Path, found: Machine | Result | dict[str, float | str]) -> None:
    """All of it or nothing, whenever the process is stopped."""
    content = found if isinstance(found, dict) else asdict(found)
    replace_text(path, json.dumps(content))


def replace_text(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def read_machine(path: Path) -> Machine:
    content = json.loads(path.read_text())
    rates = content.pop("roofline")
    return Machine(**content, roofline=Roofline(**rates) if rates else None)


def read_result(path: Path) -> Result:
    content = json.loads(path.read_text())
    cards = [(blocks, Card(**card)) for blocks, card in content.pop("cards")]
    costs = [(name, flops, size) for name, flops, size in content.pop("costs")]
    return Result(**content, cards=cards, costs=costs)
