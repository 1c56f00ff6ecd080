"""Memory of prepared values, of which programs that prepare the same have one copy.

Programs of several batch sizes, or for prediction and for training, pack and transform the same
weights, mostly in the same way. So each value is shared by itself: a program has memory for those
that no other one has already prepared.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from tinygraph.codegen.program import Argument, Call, Code, Rearranged, Work
from tinygraph.graph.ir import Parameter
from tinygraph.graph.state import APART, aligned
from tinygraph.graph.types import Type

LARGE = 32 << 20  # bytes of a parameter that is not to be in memory twice, even for a moment
PIECE = 8 << 20  # bytes of it that are moved at a time


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A parameter in prepared memory only.

    Attributes:
        found: in which order.
        memory: from its first element on.
    """

    found: Rearranged
    memory: np.ndarray

    def copy(self, array: np.ndarray) -> None:
        self.found.copy(self.memory.view(array.dtype), array)

    def take(self, array: np.ndarray) -> Generator[int, None, None]:
        found, memory = self.found, self.memory.view(array.dtype)
        bytes = array.nbytes // found.shape[0] * found.rows
        step = max(PIECE // bytes, 1)
        end = 0
        try:
            for first in range(0, found.blocks, step):
                found.fill(memory, array, first, first + step)
                end = first + step
                yield end * bytes
            end = 0
        finally:
            if end:  # Ctrl-C: what has gone comes back
                found.copy(memory, array, end)


class PreparedMemory:
    """Values that are prepared together, in memory that programs have in common.

    It changes only while none of them runs, since who prepares holds the lock of a parameter that
    they have in common: the one whose value is prepared.

    Attributes:
        places: the address of each value.
        memory: where they are.
        parameters: what they are made of, whose identities are in the key.
        versions: of the parameters that the values were made from; None before they are made.
    """

    known: ClassVar[WeakValueDictionary[tuple[Any, ...], PreparedMemory]] = WeakValueDictionary()

    def __init__(
        self, places: tuple[int, ...], memory: np.ndarray, parameters: Sequence[Parameter]
    ):
        self.places, self.memory, self.parameters = places, memory, parameters
        self.versions: tuple[int, ...] | None = None


@dataclass(slots=True)
class Together:
    """What kernels make of each other, or at once, in one program.

    Attributes:
        values: the prepared values, by number; temporary ones are numbered among themselves.
        calls: the kernels, in the order in which they run.
        parameters: numbers of those that they read.
    """

    values: list[int]
    temporary: list[int]
    calls: list[Call]
    parameters: list[int]
    share: PreparedMemory = field(init=False)

    def works(self) -> Iterator[Work]:
        return (w for call in self.calls for w in call.work)


class Prepared:
    """The prepared values of one program.

    Attributes:
        starts: where the values begin in the program's places.
        addresses: where they are in memory.
        groups: what is prepared apart from the rest, in order.
        own: bytes of those that no other program had prepared.
        rearranged: by the parameter's number, a value from which it can be read back.
    """

    def __init__(
        self, code: Code, constants: Sequence[np.ndarray], parameters: Sequence[Parameter]
    ) -> None:
        self.starts, self.parameters = code.pieces, parameters
        self.sizes = [b - a for a, b in pairwise((*code.pieces, code.prepared))]
        self.addresses = [0] * len(self.starts)
        self.groups = [*self.together(code.prepare)]
        if code.ranks:  # others prepare what they read
            args = (a for call in code.calls for w in call.work for a in w.arguments)
            read = {self.piece(a[2]) for a in args if type(a) is tuple and a[0] == "prepared"}
            self.groups = [g for g in self.groups if not read.isdisjoint(g.values)]
        new: list[tuple[Together, tuple[Any, ...] | None]] = []
        for group in self.groups:
            key = self.key(code, group, constants, parameters)
            share = PreparedMemory.known.get(key) if key is not None else None
            if share is None:
                new.append((group, key))
            else:
                self.take(group, share)
        self.own = sum(self.sizes[p] for group, _ in new for p in group.values)
        self.allocate(new, parameters)
        sizes = {x.parameter: parameters[x.parameter].type.bytes for x in code.rearranged}
        here = {p for group in self.groups for p in group.values}
        large = (x for x in code.rearranged if sizes[x.parameter] >= APART)
        self.rearranged = {x.parameter: x for x in large if self.piece(x.offset) in here}

    def allocate(
        self, new: Sequence[tuple[Together, tuple[Any, ...] | None]], parameters: Sequence[Any]
    ) -> None:
        """Memory for new values, in the order of their places: what is read one after the other
        is fetched as one stream.
        """
        memory = aligned(Type((max(self.own, 1),), "uint8"), "prepared weights")
        at = memory.ctypes.data
        for piece in sorted(p for group, _ in new for p in group.values):
            self.addresses[piece] = at
            at += self.sizes[piece]
        for group, key in new:
            read = [parameters[i] for i in group.parameters]
            addresses = tuple(self.addresses[p] for p in group.values)
            self.take(group, PreparedMemory(addresses, memory, read))
            if key is not None:
                PreparedMemory.known[key] = group.share

    def elsewhere(self, number: int) -> Elsewhere | None:
        """A parameter in the value that is made of it; None if it cannot be read back."""
        found = self.rearranged.get(number)
        if found is None:
            return None
        piece = self.piece(found.offset)
        (memory,) = (g.share.memory for g in self.groups if piece in g.values)
        return Elsewhere(found, memory[self.address(found.offset) - memory.ctypes.data :])

    def moved(self, group: Together) -> bool:
        """Prepares what is only a large parameter in another order while that goes, a piece after
        the other, so that there are never two of it; False for others.
        """
        if len(group.parameters) != 1 or sum(len(call.work) for call in group.calls) > 1:
            return False
        (number,) = group.parameters
        state, found = self.parameters[number].state, self.elsewhere(number)
        return found is not None and state.type.bytes >= LARGE and state.move_elsewhere(found)

    def take(self, group: Together, share: PreparedMemory) -> None:
        group.share = share
        for piece, address in zip(group.values, share.places, strict=True):
            self.addresses[piece] = address

    def piece(self, offset: int) -> int:
        """The number of the value at an offset."""
        return max(bisect_right(self.starts, offset) - 1, 0)

    def address(self, offset: int) -> int:
        """The address of a place in the prepared memory."""
        piece = self.piece(offset)
        return self.addresses[piece] + offset - self.starts[piece]

    def together(self, calls: Sequence[Call]) -> Iterator[Together]:
        """The groups: what kernels have in common with others, directly or not."""
        joined: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for work in (w for call in calls for w in call.work):
            touched = dict.fromkeys(self.named(work))
            merged = [*dict.fromkeys(x for name in touched for x in joined.get(name, [name]))]
            joined.update((name, merged) for name in merged)
        shares: dict[int, list[tuple[Call, list[Work]]]] = {}
        for call in calls:
            for work in call.work:
                share = shares.setdefault(id(joined[self.named(work)[0]]), [])
                if not share or share[-1][0] is not call:
                    share.append((call, []))
                share[-1][1].append(work)
        for names in {id(names): names for names in joined.values()}.values():
            mine = [
                replace(call, work=tuple(kernels), waits=(i - 1,) if i else ())
                for i, (call, kernels) in enumerate(shares[id(names)])
            ]
            read = (a for c in mine for w in c.work for a in w.arguments if type(a) is tuple)
            yield Together(
                sorted(number for home, number in names if home == "prepared"),
                [number for home, number in names if home == "temporary"],
                mine,
                sorted({number for home, number, _ in read if home == "parameter"}),
            )

    def named(self, work: Work) -> list[tuple[str, int]]:
        """The prepared and temporary values that a kernel reads and writes."""
        places = [a for a in work.arguments if type(a) is tuple]
        return [
            (home, self.piece(offset) if home == "prepared" else number)
            for home, number, offset in places
            if home in ("prepared", "temporary")
        ]

    def key(
        self,
        code: Code,
        group: Together,
        constants: Sequence[np.ndarray],
        parameters: Sequence[Parameter],
    ) -> tuple[Any, ...] | None:
        """Equal for values that are the same; None if they depend on no parameter, whose lock
        keeps programs apart.
        """
        if not group.parameters:
            return None
        places = [a for w in group.works() for a in w.arguments if type(a) is tuple]
        begins: dict[int, int] = {}  # of temporary values
        for home, number, offset in places:
            if home == "temporary":
                begins[number] = min(offset, begins.get(number, offset))

        def argument(a: Argument) -> Any:
            match a:
                case ("parameter", number, offset):
                    return ("parameter", id(parameters[number].state), offset)
                case ("constant", number, offset):
                    return ("constant", sha256(constants[number].tobytes()).digest(), offset)
                case ("temporary", number, offset):
                    return ("temporary", group.temporary.index(number), offset - begins[number])
                case ("prepared", _, offset):
                    piece = self.piece(offset)
                    return ("prepared", group.values.index(piece), offset - self.starts[piece])
            return a

        done = tuple(
            (code.kernels[w.kernel].key, w.parts, w.steps, tuple(map(argument, w.arguments)))
            for w in group.works()
        )
        return (tuple(self.sizes[p] for p in group.values), done)
