"""A group as launches: lowerings are tried in order, and the first that suits it makes them."""

from __future__ import annotations

from ...graph.op import Kind
from ..fusion.group import Group
from ..records.lowered import Launches
from .contraction import contraction
from .loop import loop
from .lowerer import Lowerer
from .simple import nest, special

LOWERINGS = (
    loop,  # a loop: its body's launches, which are repeated
    contraction,  # products and convolutions: by the backend's own ways, or as tiles
    special,  # an operator with a template of its own
    nest,  # everything else, and contractions that suit no tile
)


def lower(s: Lowerer, group: Group) -> Launches:
    """The launches of a group; none if nothing asks for its values."""
    repeats = group.opaque is not None and group.opaque.op.kind is Kind.LOOP
    places = {} if repeats else {x: s.layout.destination(group, x) for x in group.stores}
    stores = [(x, place) for x, place in places.items() if x.value.type.size]
    group.stores = [x for x in group.stores if x.value.type.size]  # loops may read the others
    if not (stores or repeats):
        return Launches()
    for lowering in LOWERINGS:
        made = lowering(s, group, stores)
        if isinstance(made, Launches):
            return made
    raise AssertionError(f"no lowering takes kernel {group.number}")
