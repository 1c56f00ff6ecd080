"""Values that are cheaper to compute again than to store.

A normalized image is written by one kernel, say, and a gradient's kernel much later needs the
image less its mean. Both compute the difference from what is in memory anyway, which saves
writing and reading it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

from ...graph.dtype import DTYPES, computed
from ...graph.ir import Node, Parameter, among, same
from ...graph.op import Kind
from ...ops.logic import CAST
from ..indexing.index import Indices, Leaf
from ..indexing.reads import element_reads, is_gather
from ..records.reason import Reason
from .absorb import reads_of
from .group import LIMIT, Group
from .state import Fusion

# what makes floats of bytes, so that a reader has a quarter to read
DEQUANTIZED = re.compile(r"rounded_product\(float32\(.*?\) - float32\(.*?\)")
SMALL = 64  # what has this many times fewer elements costs nothing to read


@dataclass(frozen=True, slots=True)
class Recomputed:
    """Nodes that a reader would compute itself, each at an index, and what it reads for that."""

    reader: Group
    index: dict[Node, Indices]
    leaves: frozenset[Node]


def recompute(fusion: Fusion) -> None:
    """Copies cheap element-wise nodes into all kernels that would read them from memory."""
    work = Recomputation(fusion)
    for group in reversed(fusion.groups):
        if group.opaque is None and not group.copy:
            for n in reversed(list(group.index)):
                if movable(fusion, n, group):
                    work.spread(n, group)
                    work.drop_unused(n, group)
    fusion.refused = [
        (x, n, reason)
        for x, n, reason in fusion.refused
        if not all(x in g.index for g in fusion.writers.get(n, ()))
    ]


class Recomputation:
    def __init__(self, fusion: Fusion):
        self.fusion, self.users = fusion, fusion.users()

    def outside(self, n: Node, *groups: Group) -> list[Group]:
        """The other groups that read a value, in order."""
        readers = self.users.get(n, set()).difference(groups)
        return sorted(readers, key=lambda g: g.number)

    def roots(self, n: Node) -> list[Node]:
        """The nodes that hold the values that a node reads."""
        return [self.fusion.root(x) for x in n.inputs]

    def users_in(self, group: Group, n: Node) -> list[Node]:
        return [m for m in group.index if among(n, self.roots(m))]

    def spread(self, n: Node, group: Group) -> None:
        """Copies a node into all its readers, if all can take it and less is moved then."""
        copies = [self.copy(n, group, reader) for reader in self.outside(n, group)]
        found = [copy for copy in copies if copy is not None]
        if found and len(found) == len(copies) and self.pays(n, group, found):
            for copy in found:
                self.apply(copy, group)

    def copy(self, n: Node, group: Group, reader: Group) -> Recomputed | None:
        """n, and those of its inputs that are not in memory, at the index where n is needed."""
        at = self.needed_at(n, group, reader) if len(reader.index) < LIMIT else None
        if at is None:
            return None
        index, leaves, queue = {n: at}, set[Node](), [n]
        while queue:
            node = queue.pop()
            for x, i in element_reads(node, index[node], reader.axes):
                leaf = self.fusion.pull(x, i, reader.axes)
                if leaf is None or leaf.guards:
                    return None
                if reader.index.get(leaf.root, leaf.indices) != leaf.indices:
                    return None
                if leaf.root in reader.index:
                    continue
                if self.in_memory(leaf, n, group, reader):
                    leaves.add(leaf.root)
                elif movable(self.fusion, leaf.root, group):
                    if leaf.root not in index:
                        index[leaf.root] = leaf.indices
                        queue.append(leaf.root)
                    elif index[leaf.root] != leaf.indices:
                        return None
                else:
                    return None
        if any(isinstance(x, Parameter) for x in leaves):
            return None  # whose new value may have to wait for this reader
        if any(is_gather(m) and self.fusion.root(m.inputs[0]) in index for m in reader.index):
            return None  # what is looked up must be in memory
        return Recomputed(reader, index, frozenset(leaves))

    def needed_at(self, n: Node, group: Group, reader: Group) -> Indices | None:
        """The index at which a kernel reads n; None for several, or if it must be in memory."""
        if reader.opaque is not None or reader.copy or reader.device != group.device:
            return None
        alone = Group(group.number, group.axes, {n: group.index[n]})
        found: set[Indices] = set()
        for node, at in reader.index.items():
            reads = reads_of(self.fusion, alone, reader, node, at)
            if reads is None:
                return None
            for x, i in reads:
                if self.fusion.root(x) is n:
                    leaf = self.fusion.pull(x, i, reader.axes)
                    if leaf is None or leaf.guards:
                        return None
                    found.add(leaf.indices)
        if len(found) != 1:
            return None
        (indices,) = found
        inner = any(a in reader.reduce for i in indices for a, _ in i.terms)
        points = prod(s for a, s in enumerate(reader.axes) if inner or a not in reader.reduce)
        barred = inner and reader.anchor is not None
        return None if barred or points > n.type.size else indices

    def in_memory(self, leaf: Leaf, n: Node, group: Group, reader: Group) -> bool:
        """True if n's inputs are in memory in any case, or cost nothing to be put there."""
        x = leaf.root
        stored = x not in group.index or bool(self.outside(x, group, reader))
        if DEQUANTIZED.match(n.op.element(n)):  # bytes are stored instead of what they stand for
            stored = stored or bool(self.users_in(reader, x)) or size_of(x) < size_of(n)
        return stored or small(x, n)

    def pays(self, n: Node, group: Group, copies: list[Recomputed]) -> bool:
        """True if writing and reading n moves more bytes than reading its inputs."""
        saved = size_of(n) * (1 + len(copies))
        if not self.users_in(group, n):  # its group need not read that any more, either
            only = [x for x in self.roots(n) if same(self.users_in(group, x), [n])]
            saved += sum(size_of(x) for x in only if x not in group.index)
        extra = 0
        for copy in copies:
            known = {x for m in copy.reader.index for x in self.roots(m)}
            extra += sum(size_of(x) for x in copy.leaves - known if not small(x, n))
        return extra < saved

    def apply(self, copy: Recomputed, group: Group) -> None:
        reader = copy.reader
        copied = {n: copy.index[n] for n in group.index if n in copy.index}
        reader.index = {**copied, **reader.index}
        for n in copied:
            for x in self.roots(n):
                self.users.setdefault(x, set()).add(reader)
        for n in copied:
            self.users[n].discard(reader)
        for x in copy.leaves:
            reader.needs |= {g.number for g in self.fusion.writers.get(x, ())} - {reader.number}

    def drop_unused(self, n: Node, group: Group) -> None:
        """Takes a node out of its group if only copies of it are read."""
        if self.outside(n, group) or self.users_in(group, n):
            return
        copies = [g for g in self.fusion.groups if g is not group and n in g.index and not g.copy]
        if copies:
            del group.index[n]
            self.fusion.writers[n] = copies
            for x in self.roots(n):
                self.fusion.refused.append((x, n, Reason.COPIED))
                if not self.users_in(group, x):
                    self.users[x].discard(group)


def movable(fusion: Fusion, n: Node, group: Group) -> bool:
    """True if a node is element-wise, a few instructions, and nothing else asks for its value."""
    return (
        n.op.kind is Kind.ELEMENTWISE
        and ("(" not in DEQUANTIZED.sub("", n.op.element(n)).replace("K(", "") or is_widening(n))
        and n not in fusion.results
        and n not in fusion.housed
        and not among(n, fusion.aliases.values())
        and all(s.value is not n for s in group.stores)
    )


def is_widening(n: Node) -> bool:
    """True of a float of memory only that is converted to be computed with: a shift."""
    return n.op is CAST and computed(n.inputs[0].dtype) == n.dtype != n.inputs[0].dtype


def small(x: Node, n: Node) -> bool:
    return x.type.size * SMALL <= n.type.size


def size_of(n: Node) -> int:
    """In bytes."""
    return n.type.size * DTYPES[n.dtype].bytes
