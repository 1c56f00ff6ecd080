"""Which Winograd convolution: what the user wants, which output tiles there are and are accurate
enough, and how remarks name one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ...graph.ir import Node
from ...graph.origins import origins
from ..indexing.phases import Unsuitable
from .toom_cook import POINTS

# The largest output tile that is chosen unasked. Rms errors against float64, relative to PyTorch's
# float32 (images without negative values, 32 to 192 channels): 3x3 filters 1.4 to 1.8 for tiles of
# 2, 4 to 5 for 4, 11 to 14 for 5; 5x5 filters 1.9 for 2, 6.7 for 4. After space to depth: 11x11
# filters of stride 4, 2.2 for 4, 6.1 for 5; 7x7 of stride 2, 1.8 for 2, 2.0 for 3, 5.5 for 4, 7.7
# for 5.
LARGEST = 4

WAY = re.compile(r"implicit|winograd(\((?P<m>\d+)\))?")


def at_or_below(name: str, scope: str) -> bool:
    """True if a dotted name is that of a scope, or of something within it."""
    return f"{name}.".startswith(f"{scope}.")


def way_of(nodes: Iterable[Node], conv: Mapping[str, str]) -> str | None:
    """The user's choice: 'implicit', 'winograd' or 'winograd(m)', by the name of a node, or of a
    scope around it.
    """
    names = [name for n in nodes for name in (n.name, *(o.scope for o in origins(n))) if name]
    for key, way in conv.items():
        if key and any(at_or_below(name, key) for name in names):
            return way
    return conv.get("")


def tile_of(way: str | None) -> int | None:
    """The m of 'winograd(m)'; None if the user leaves it to the cost model.

    Raises:
        ValueError: there is no such way.
    """
    found = WAY.fullmatch(way) if way is not None else None
    if way is not None and found is None:
        raise ValueError(f"conv requires 'implicit', 'winograd' or 'winograd(m)', got {way!r}")
    return int(found["m"]) if found and found["m"] else None


def place(anchor: Node) -> str:
    where = origins(anchor)
    return f"{anchor.name or anchor.op.name}" + (f" ({where[0]})" if where else "")


def tiles_of(r: int, wanted: int | None, largest: int = LARGEST) -> list[int]:
    """The output tiles for filters of r taps that may be chosen: ``wanted``, or those up to
    ``largest``.
    """
    tiles = [n - r + 1 for n in POINTS if n - r + 1 >= 2]
    if wanted is None:
        tiles = [m for m in tiles if m <= largest]
    else:
        if wanted not in tiles:
            raise Unsuitable(f"there are no points for output tiles of {wanted} and filters of {r}")
        tiles = [wanted]
    if not tiles:
        raise Unsuitable(f"there are no points for filters of {r}")
    return tiles
