"""Updates read old values: which parameter its new value's kernel may overwrite at once.

Others get their new value aside, in the arena, and a copy at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...graph.ir import Node
from ...graph.op import Kind
from ...ops.identity import STOP_GRADIENT
from ..fusion.group import Group, Slot, Write
from ..fusion.state import Fusion
from ..indexing.index import Leaf, own

Predecessors = dict[int, set[int]]  # group -> groups that run before it


def order_updates(fusion: Fusion, updates: Sequence[Node]) -> Predecessors:
    """The groups that each group waits for: a parameter is overwritten after all that read its old
    value.

    Stores that would overwrite too early are led aside.
    """
    before: Predecessors = {g.number: set(g.needs) for g in fusion.groups}
    users = fusion.users()
    owners = {s.dest: g for g in fusion.groups for s in g.stores}
    for number, p in enumerate(updates):
        slot = Slot("update", number)
        owner, readers = owners[slot], {g.number for g in users.get(p, ())}
        safe = owner.number not in readers or in_place(fusion, owner, slot, p)
        if not safe or owner.number in ancestors(before, readers - {owner.number}):
            owner = lead_aside(fusion, owner, slot, before)
        before[owner.number] |= readers - {owner.number}
    return before


def ancestors(before: Predecessors, groups: set[int]) -> set[int]:
    """The groups themselves and all that run before them."""
    found: set[int] = set()
    stack = list(groups)
    while stack:
        number = stack.pop()
        if number not in found:
            found.add(number)
            stack.extend(before[number])
    return found


def lead_aside(fusion: Fusion, group: Group, slot: Slot, before: Predecessors) -> Group:
    """Gives a new value a place of its own and a group that copies it to the parameter."""
    (store,) = (s for s in group.stores if isinstance(s.dest, Slot) and s.dest == slot)
    group.stores.remove(store)
    value = store.value
    if value.op.kind is Kind.SOURCE:  # another parameter: its old value
        value = STOP_GRADIENT(value)
        fusion.held.add(value)
        fusion.writers[value] = [group]
        group.copy, group.index = False, {value: own(value.shape)}
    copy = fusion.copy(value)
    copy.stores.append(Write(value, slot, copy.index[value]))
    before[copy.number] = set(copy.needs)
    return copy


def in_place(fusion: Fusion, group: Group, slot: Slot, p: Node) -> bool:
    """True if only the iteration that overwrites an element reads it, and no later stage does."""
    (store,) = (s for s in group.stores if isinstance(s.dest, Slot) and s.dest == slot)
    if group.opaque is not None:
        return False
    depth = fusion.depths(group)
    if depth[store.value] < max(depth.values()):
        return False
    return all(
        leaf == Leaf(p, store.indices)
        for leaf in fusion.leaves(group)
        if leaf is None or leaf.root is p
    )
