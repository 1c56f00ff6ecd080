"""What every group stores, and the locations that are known before anything is lowered: of inputs,
parameters, constants and outputs.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from ...graph.ir import Graph, Node, Parameter
from ...graph.op import CONSTANT, Kind
from ..fusion.group import Slot, Write
from ..fusion.held import leading_root
from ..fusion.state import Fusion
from ..indexing.accesses import is_row_major, ordered_strides, row_major
from ..records.work import Location
from .memory import Memory


def sources(memory: Memory, graph: Graph, parameters: Sequence[Parameter]) -> None:
    """Locations of inputs, parameters and constants."""
    for number, n in enumerate(graph.inputs):
        if n in memory.locations:
            continue
        buffer = memory.buffer(n.name or f"input{number}", n.type.size, n.dtype, "input", number)
        memory.locations[n] = Location(buffer, 0, row_major(n.shape), n.dtype)
    for number, p in enumerate(parameters):
        buffer = memory.buffer(
            p.name or f"parameter{number}", p.type.size, p.dtype, "parameter", number
        )
        memory.locations[p] = Location(buffer, 0, ordered_strides(p.shape, p.state.order), p.dtype)
    for n in graph.nodes:
        if n.op is CONSTANT:
            buffer = memory.buffer(
                f"constant{len(memory.constants)}",
                n.type.size,
                n.dtype,
                "constant",
                len(memory.constants),
            )
            memory.constants.append(n)
            memory.locations[n] = Location(buffer, 0, row_major(n.shape), n.dtype)


def store_outputs(
    memory: Memory, graph: Graph, updates: Sequence[Node], fusion: Fusion, fixed: Set[Node]
) -> None:
    """Outputs and new values of parameters go to their locations; ``fixed`` values are computed
    only once, and so in other memory.
    """
    count = len(graph.outputs) - len(updates)
    for number, n in enumerate(graph.outputs):
        slot = Slot("output", number) if number < count else Slot("update", number - count)
        if slot in memory.locations:
            if lives_in(memory, fusion, n, slot):
                continue
        elif slot.kind == "output":
            buffer = memory.buffer(
                n.name or f"output{number}", n.type.size, n.dtype, "output", number
            )
            memory.locations[slot] = Location(buffer, 0, row_major(n.shape), n.dtype)
            alone = n not in fixed and is_written_only(graph, n)
            if alone and lives_in(memory, fusion, n, slot):
                continue
        else:
            memory.locations[slot] = memory.locations[updates[slot.number]]
        group = fusion.group_for(n)
        group.stores.append(Write(n, slot, group.index[n]))


def is_written_only(graph: Graph, n: Node) -> bool:
    """True for a concatenation that is one output and nothing else: what programs return is not
    read again, and its parts can be written there at once.
    """
    if n.op.kind is not Kind.JOIN or sum(o is n for o in graph.outputs) > 1:
        return False
    return not any(x is n for reader in graph.nodes for x in reader.inputs)


def lives_in(memory: Memory, fusion: Fusion, n: Node, slot: Slot) -> bool:
    """Stores a value directly in its destination if nothing else fixes its location."""
    writers = fusion.writers.get(n, ())
    bound = n in memory.locations or n in fusion.aliases or n in fusion.housed
    bound |= is_aliased(fusion, n) and not is_row_major(memory.locations[slot], n.shape)
    if slot.kind != "output" or n.op.kind is Kind.SOURCE or bound:
        return False
    if n.op.kind is not Kind.JOIN:
        if len(writers) != 1 or n not in writers[0].index:
            return False
        writers[0].stores.append(Write(n, n, writers[0].index[n]))
    memory.locations[n] = memory.locations[slot]
    return True


def is_aliased(fusion: Fusion, n: Node) -> bool:
    """True if another value is this one's memory, in row-major order."""
    return any(n is leading_root(x) for x in fusion.aliases.values())


def store_values(fusion: Fusion) -> None:
    """Every value that another group reads goes to memory, once."""
    needed: dict[Node, None] = {}
    for group in fusion.groups:
        for n in group.index:
            for x in (n,) if group.copy else n.inputs:
                root = fusion.root(x)
                if root not in group.index or n is group.anchor or group.copy:
                    needed[root] = None
    for root in needed:
        for group in fusion.writers.get(root, ()) if root not in fusion.housed else ():
            if root in group.index and all(s.dest is not root for s in group.stores):
                group.stores.append(Write(root, root, group.index[root]))
