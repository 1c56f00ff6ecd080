"""Groups over the same axes that read the same values, or each other's, become one kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from ...graph.ir import Node
from ..indexing.index import Leaf
from ..indexing.reads import is_gather
from .group import LIMIT, Group
from .state import Fusion


def join_siblings(fusion: Fusion) -> None:
    """Joins groups pairwise, later ones to the first that fits."""
    alike: dict[tuple, Readers] = {}
    leaves: dict[Group, set[Leaf]] = {}
    for group in fusion.groups:
        template = group.opaque is not None or group.anchor is not None or group.windows
        folds = any(n in fusion.reduction_axes for n in group.index)
        if template or group.copy or not group.index or (folds and not group.reduce):
            continue
        leaves[group] = known_leaves(fusion, group)
        readers = alike.setdefault((group.axes, group.reduce, group.device), Readers())
        for other in readers.near(group, leaves[group]):
            if share(other, group, leaves) and join(fusion, other, group):
                leaves[other] = known_leaves(fusion, other)
                readers.add(other, leaves[other])
                break
        else:
            readers.add(group, leaves[group])


class Readers:
    """Groups over the same axes, by the values that they compute or read."""

    def __init__(self) -> None:
        self.groups: dict[Node, set[Group]] = {}

    def add(self, group: Group, leaves: set[Leaf]) -> None:
        for n in (*group.index, *(x.root for x in leaves)):
            self.groups.setdefault(n, set()).add(group)

    def near(self, group: Group, leaves: set[Leaf]) -> list[Group]:
        """Those that have a value in common with a group, in order of their creation."""
        values = (*group.index, *(x.root for x in leaves))
        found = set[Group]().union(*(self.groups.get(n, ()) for n in values))
        return sorted(found, key=lambda g: g.number)


def known_leaves(fusion: Fusion, group: Group) -> set[Leaf]:
    return {x for x in fusion.leaves(group) if x is not None}


def join(fusion: Fusion, first: Group, second: Group) -> bool:
    """Moves the second group's nodes to the first, if they are one nest without a detour."""
    if len(first.index) + len(second.index) > LIMIT or not one_nest(fusion, first, second):
        return False
    if fusion.depends(second.needs - {first.number}, first):
        return False
    if fusion.depends(first.needs - {second.number}, second):
        return False
    ahead, after = (second, first) if second.number in first.needs else (first, second)
    first.index = {**ahead.index, **after.index}
    first.stores += second.stores
    first.needs = (first.needs | second.needs) - {first.number, second.number}
    second.index, second.stores, second.needs = {}, [], set()
    for n, writers in fusion.writers.items():
        if second in writers:
            fusion.writers[n] = list(dict.fromkeys(first if g is second else g for g in writers))
    for group in fusion.groups:
        if second.number in group.needs:
            group.needs = group.needs - {second.number} | {first.number}
    fusion.refused = [
        r for r in fusion.refused if fusion.writers.get(r[0]) != fusion.writers.get(r[1])
    ]
    return True


def share(first: Group, second: Group, leaves: Mapping[Group, set[Leaf]]) -> bool:
    """True if one reads the other's values, or both read one that is as large as their nest."""
    a, b = leaves[first], leaves[second]
    direct = any(x.root in first.index for x in b) or any(x.root in second.index for x in a)
    return direct or any(2 * x.root.type.size >= prod(first.axes) for x in a & b)


def one_nest(fusion: Fusion, first: Group, second: Group) -> bool:
    """True if all that they read of each other is at the very index where it is computed."""
    if any(second.index.get(n, at) != at for n, at in first.index.items()):
        return False
    both = replace(first, index={**first.index, **second.index})
    if any(is_gather(n) and fusion.root(n.inputs[0]) in both.index for n in both.index):
        return False  # what is looked up must be in memory

    def fits(leaf: Leaf | None) -> bool:
        if leaf is None:
            return False
        if leaf.root in both.index:
            return leaf == Leaf(leaf.root, both.index[leaf.root])
        writers = fusion.writers.get(leaf.root, ())  # of parts: it is whole when they are through
        return first not in writers and second not in writers

    return all(map(fits, fusion.leaves(both)))
