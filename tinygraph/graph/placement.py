"""Where nodes are computed: ``with device("cpu:1"):`` places what is built inside.

A placement must survive interning (the same product on two devices is two nodes) and every pass.
So it is not a note next to the graph: where a value goes to a device there is an identity operator,
``place``, and all that is computed from it is there too. ``Op.__call__`` inserts it, so that placed
inputs of one node are always on one device.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable

from .ir import Node

_NAME = re.compile(r"(?:rank:(\d+)/)?(?!rank:)([a-z]\w*):(\d+)")
VARIABLE = ("input", "parameter")  # sources whose readers are placed
_CURRENT = threading.local()
_ANYWHERE = ""  # the device of constants, and of what depends on nothing else
_USED: set[str] = set()  # the devices named in this process: nothing is placed while it is empty


class device:
    """``with device("cpu:1"):`` what is built inside is computed there; None: where its inputs are.

    The name is a backend's and a number: ``cpu:1`` is a second thread, ``cuda:1`` a second GPU.
    ``rank:1/cpu:0`` is one of another process, where a launcher has started several; what is placed
    on one rank and read on another is sent. All devices of a program name a rank, or none does.

    Inputs, parameters and constants have no place of their own: they go to the nodes that read
    them.

    Example:
        >>> x = tg.input("x", 8, 8)
        >>> with tg.device("cpu:1"):
        ...     y = x @ x
        >>> total = tg.sum(y)  # computed where y is
    """

    def __init__(self, name: str | None):
        if name is not None:
            check_device(name)
        self.name = name

    def __enter__(self) -> None:
        self.outer = current()
        _CURRENT.device = self.name

    def __exit__(self, *_: object) -> None:
        _CURRENT.device = self.outer


def check_device(name: str) -> None:
    """Raises ValueError for what is not a device's name."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"a device is called name:number, as 'cpu:0', or rank:number/name:number, as "
            f"'rank:1/cpu:0'; got {name!r}"
        )
    _USED.add(name)


def parts_of(name: str) -> tuple[int | None, str, int]:
    """The rank of a device, None if its name has none; the backend's name; the number.

    Example:
        >>> parts_of("rank:1/cpu:0"), parts_of("cuda:2")
        ((1, 'cpu', 0), (None, 'cuda', 2))
    """
    found = _NAME.fullmatch(name)
    assert found is not None, name
    rank, kind, number = found.groups()
    return None if rank is None else int(rank), kind, int(number)


def rank_of(name: str) -> int | None:
    """The rank that a device belongs to; None if it is of any."""
    return parts_of(name)[0]


def numbered(names: Iterable[str]) -> dict[str, int]:
    """A number for each device: its own, or where ranks are named its place among all of them."""
    known = {name: parts_of(name) for name in names}
    if any(rank is None for rank, _, _ in known.values()):
        return {name: number for name, (_, _, number) in known.items()}
    return {name: i for i, name in enumerate(sorted(known, key=known.__getitem__))}


def current() -> str | None:
    """The device of the enclosing ``with``."""
    return getattr(_CURRENT, "device", None)


def device_of(n: Node) -> str | None:
    """Where a node is computed: what ``place`` says, else where its placed inputs are."""
    return _known(n) or None


def _known(n: Node) -> str | None:
    """The device, _ANYWHERE or None; found without recursion, once for each node."""
    stack = [n]
    while "device" not in n.notes:
        top = stack[-1]
        missing = [i for i in top.inputs if "device" not in i.notes]
        if missing:
            stack.extend(missing)
            continue
        known = [i.notes["device"] for i in top.inputs]
        rest = None if None in known or top.op.name in VARIABLE else _ANYWHERE
        said = [top.attr("device")] if top.op.name == "place" else known
        top.notes["device"] = next(filter(None, said), rest)
        stack.pop()
    return n.notes["device"]


def gathered(inputs: tuple[Node, ...], place: Callable[[Node, str], Node]) -> tuple[Node, ...]:
    """A node's inputs, brought to one device.

    That is the enclosing ``device``; without one, that of the largest placed input, since moving
    the others moves the fewest bytes.
    """
    target = current()
    if target is None:
        return _to_largest(inputs, place) if _USED else inputs
    moved = tuple(place(i, target) if i.inputs and _known(i) != _ANYWHERE else i for i in inputs)
    if any(device_of(i) == target for i in moved):
        return moved
    first = next((k for k, i in enumerate(moved) if i.op.name in VARIABLE), None)
    return tuple(place(i, target) if k == first else i for k, i in enumerate(moved))


def _to_largest(inputs: tuple[Node, ...], place: Callable[[Node, str], Node]) -> tuple[Node, ...]:
    placed = [i for i in inputs if device_of(i) is not None]
    if len({device_of(i) for i in placed}) < 2:
        return inputs
    target = device_of(max(placed, key=lambda i: i.type.bytes))
    assert target is not None
    return tuple(place(i, target) if device_of(i) is not None else i for i in inputs)
