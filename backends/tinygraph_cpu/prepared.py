"""Memory of prepared values, of which programs that prepare the same have one copy.

Programs of several batch sizes, or for prediction and for training, pack and transform the same
weights, mostly in the same way. So each value is shared by itself: a program has memory for those
that no other one has already prepared.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from tinygraph.codegen.program import Argument, Code, Work
from tinygraph.graph.ir import Parameter
from tinygraph.graph.state import aligned
from tinygraph.graph.types import Type


class Share:
    """Values that are prepared together, in memory that programs have in common.

    It changes only while none of them runs, since who prepares holds the lock of a parameter that
    they have in common: the one whose value is prepared.

    Attributes:
        places: the address of each value.
        kept: what has to stay in memory for that; the parameters, whose identities are in the key,
            too.
    """

    known: ClassVar[WeakValueDictionary[tuple[Any, ...], Share]] = WeakValueDictionary()

    def __init__(self, places: tuple[int, ...], kept: Sequence[Any]):
        self.places, self.kept = places, kept


class Prepared:
    """The prepared values of one program.

    Attributes:
        starts: where the values begin in the program's places.
        addresses: where they are in memory.
        own: bytes of those that no other program had prepared.
    """

    def __init__(
        self, code: Code, constants: Sequence[np.ndarray], parameters: Sequence[Parameter]
    ) -> None:
        self.starts = code.pieces
        self.sizes = [b - a for a, b in pairwise((*code.pieces, code.prepared))]
        self.addresses = [0] * len(self.starts)
        self.shares: list[Share] = []
        works = [w for call in code.prepare for w in call.work]
        new: list[tuple[list[int], tuple[Any, ...] | None]] = []
        for pieces, mine in self.together(works):
            key = self.key(code, pieces, mine, constants, parameters)
            share = Share.known.get(key) if key is not None else None
            if share is None:
                new.append((pieces, key))
            else:
                self.take(pieces, share)
        self.own = sum(self.sizes[p] for pieces, _ in new for p in pieces)
        self.allocate(new, parameters)

    def allocate(
        self, new: Sequence[tuple[list[int], tuple[Any, ...] | None]], parameters: Sequence[Any]
    ) -> None:
        """Memory for new values, in the order of their places: what is read one after the other
        is fetched as one stream.
        """
        memory = aligned(Type((max(self.own, 1),), "uint8"), "prepared weights")
        at = memory.ctypes.data
        for piece in sorted(p for pieces, _ in new for p in pieces):
            self.addresses[piece] = at
            at += self.sizes[piece]
        for pieces, key in new:
            share = Share(tuple(self.addresses[p] for p in pieces), (memory, parameters))
            self.take(pieces, share)
            if key is not None:
                Share.known[key] = share

    def take(self, pieces: Sequence[int], share: Share) -> None:
        self.shares.append(share)
        for piece, address in zip(pieces, share.places, strict=True):
            self.addresses[piece] = address

    def piece(self, offset: int) -> int:
        """The number of the value at an offset."""
        return max(bisect_right(self.starts, offset) - 1, 0)

    def address(self, offset: int) -> int:
        """The address of a place in the prepared memory."""
        piece = self.piece(offset)
        return self.addresses[piece] + offset - self.starts[piece]

    def together(self, works: Sequence[Work]) -> Iterator[tuple[list[int], list[Work]]]:
        """The values that kernels make of each other, or at once, with the work on them."""
        group = {piece: [piece] for piece in range(len(self.starts))}
        touched = [
            [self.piece(a[2]) for a in w.arguments if type(a) is tuple and a[0] == "prepared"]
            for w in works
        ]
        for pieces in touched:
            joined = sorted({p for piece in pieces for p in group[piece]})
            group.update(dict.fromkeys(joined, joined))
        for first, pieces in group.items():
            if pieces[0] == first:
                yield pieces, [w for w, t in zip(works, touched, strict=True) if t[:1] and
                               t[0] in pieces]  # fmt: skip

    def key(
        self,
        code: Code,
        pieces: Sequence[int],
        works: Sequence[Work],
        constants: Sequence[np.ndarray],
        parameters: Sequence[Parameter],
    ) -> tuple[Any, ...] | None:
        """Equal for values that are the same; None if they depend on no parameter, whose lock
        keeps programs apart.
        """

        def argument(a: Argument) -> Any:
            match a:
                case ("parameter", number, offset):
                    return ("parameter", id(parameters[number].state), offset)
                case ("constant", number, offset):
                    return ("constant", sha256(constants[number].tobytes()).digest(), offset)
                case ("prepared", _, offset):
                    piece = self.piece(offset)
                    return ("prepared", pieces.index(piece), offset - self.starts[piece])
            return a

        done = tuple(
            (code.kernels[w.kernel].key, w.parts, w.steps, tuple(map(argument, w.arguments)))
            for w in works
        )
        named = (a for *_, args in done for a in args if type(a) is tuple)
        if not any(a[0] == "parameter" for a in named):
            return None
        return (tuple(self.sizes[p] for p in pieces), done)
