"""Groups without a contraction: a loop nest, or a kernel with a template of its own."""

from __future__ import annotations

from ...graph.ir import Node
from ...graph.op import Kind
from ...graph.record import parts
from ..fusion.group import Group
from ..indexing.accesses import resolve
from ..indexing.index import Leaf
from ..memory.fixed import is_fixed
from ..nests.arrange import arrange, copy_nest
from ..nests.builder import NestBuilder
from ..nests.pieces import NewBuffer, in_pieces
from ..records.lowered import Declined, Launches
from ..records.plan import Launch
from ..records.target import OperatorKernel
from ..records.work import Emitted, Special
from .copies import worth
from .lowerer import Lowerer, Stores, label


def nest(s: Lowerer, group: Group, stores: Stores) -> Launches | Declined:
    """All nodes of the group in one loop nest, or in two if it is a long reduction with few
    results.
    """
    if group.opaque is not None:
        return Declined("its kernel has a template of its own")
    builder = NestBuilder(s.fusion, group, s.layout)
    built, nodes = arrange(builder.build(stores)), tuple(group.index)
    made = [s.nest(label(group), built, nodes)]
    if made[0].parts == 1 and (
        cut := in_pieces(built, worth(s.target, built), pieces_of(s, group))
    ):
        names = label(group), "fold_pieces"
        made = [s.nest(name, part, nodes) for name, part in zip(names, cut, strict=True)]
    return Launches(made).naming(builder.values)


def pieces_of(s: Lowerer, group: Group) -> NewBuffer:
    """Makes memory for the results of pieces, so many elements of a dtype."""
    home = "prepared" if is_fixed(group, s.fixed) else "arena"
    return lambda elements, dtype: s.memory.buffer("pieces", elements, dtype, home)


def special(s: Lowerer, group: Group, stores: Stores) -> Launches | Declined:
    """A kernel with a template, or of the backend's own, reads whole values and writes one, which
    is copied to where else it belongs.
    """
    n = group.opaque
    if n is None or n.op.kind is Kind.LOOP:
        return Declined("it has no template of its own")
    targets = [resolve(place, Leaf(n, store.indices), len(n.shape)) for store, place in stores]
    operands = (*map(s.located, n.inputs), targets[0])
    work: Special | Emitted
    if n.op.kind is Kind.COMPOSITE:
        work, count = own_kernel(s, n).work(n, operands, s.memory.scratch())
    else:
        work = Special(n.op, n.attrs, tuple(x.shape for x in (*n.inputs, n)), operands)
        count = parts(n)
    first = Launch(n.op.name, work, tuple(group.index), count)
    copies = (copy_nest(n.shape, targets[0], other) for other in targets[1:])
    return Launches([first, *(s.nest("copy", copy, (n,)) for copy in copies)])


def own_kernel(s: Lowerer, n: Node) -> OperatorKernel:
    """The backend's kernel for an operator that is made of others.

    Raises:
        ValueError: it has none, and the pass that writes such operators out has been left out.
    """
    if n.op.name not in s.target.kernels:
        raise ValueError(
            f"{n.op.name} is made of other operators, and this backend has no kernel for it: the "
            "pass expand_composites writes it out"
        )
    return s.target.kernels[n.op.name]
