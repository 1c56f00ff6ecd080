"""One rank's part of a program whose devices are of several ranks.

All ranks have the same program. Each makes the calls of its own devices, in the program's order,
and keeps only what those read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinygraph.codegen.program import CallLoop, Code
from tinygraph.compiler.backend import BackendError
from tinygraph.ranks.world import World


def is_spread(code: Code, world: World) -> bool:
    """Whether other ranks make a part of a program. A rank that is alone makes all of it.

    Raises:
        BackendError: there are not as many ranks as it is placed on.
    """
    needed = max(code.ranks, default=-1) + 1
    if needed and world.size not in (1, needed):
        raise BackendError(
            f"program {code.name} is placed on {needed} ranks, and there are {world.size}: start "
            f"as many, as in mpiexec -n {needed}, or one, which makes all of it"
        )
    return needed > 0 and world.size > 1


def own_calls(code: Code, rank: int) -> list[int]:
    """The numbers of the calls of a rank."""
    return [i for i, call in enumerate(code.calls) if code.ranks[call.device] == rank]


def own_part(code: Code, rank: int) -> Code:
    """The calls of a rank, with its devices. A call waits for those of its rank that it waited for,
    or that what it waited for did: other ranks' are waited for by messages.
    """
    numbers = own_calls(code, rank)
    place = {number: i for i, number in enumerate(numbers)}
    near: list[frozenset[int]] = []
    for i, call in enumerate(code.calls):
        found = (near[w] if w not in place else {w} for w in call.waits)
        near.append(frozenset().union(*found))
        assert i in place or all(w not in place for w in call.back)
    devices = sorted({code.calls[i].device for i in numbers})
    renamed = {device: i for i, device in enumerate(devices)}
    calls = tuple(
        replace(
            code.calls[i],
            waits=tuple(sorted(place[w] for w in near[i])),
            back=tuple(place[w] for w in code.calls[i].back),
            device=renamed[code.calls[i].device] if len(devices) > 1 else 0,
        )
        for i in numbers
    )
    loops = tuple(
        CallLoop(place[x.first], place[x.first] + x.last - x.first, x.length)
        for x in code.loops
        if x.first in place
    )
    names = tuple(code.devices[d] for d in devices) if len(devices) > 1 else ()
    return replace(code, calls=calls, loops=loops, devices=names)


def away(code: Code, rank: int) -> dict[int, int]:
    """The parameters that change, by number, but not on all ranks: a rank that has each."""
    ranks = {*code.ranks}
    return {number: held[0] for number, held in code.holders if {*held} != ranks}


def spread_seconds(code: Code, numbers: Sequence[int], seconds: Sequence[float]) -> list[float]:
    """The seconds of a rank's calls as those of all calls: other ranks' take none here."""
    found = [0.0] * len(code.calls)
    for number, spent in zip(numbers, seconds, strict=False):
        found[number] = spent
    return found
