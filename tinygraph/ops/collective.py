"""Operators that all ranks compute together: sums and copies of values of every rank.

All ranks run the same program, so that they meet in these operators, in the order of the plan. A
gradient is that of the sum of all ranks' losses: it flows back from every rank that a value went
to. Alone they are identities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph.convert import whole
from ..graph.dtype import DTYPES
from ..graph.ir import Node
from ..graph.op import Kind, Op, ShapeError, define, promote
from ..graph.template import KernelWriter
from ..graph.types import Type
from ..ranks.collectives import KINDS, collective
from ..ranks.world import world

__all__ = ("all_gather", "all_reduce", "broadcast", "reduce_scatter")

CODES = [*DTYPES]  # dtypes, as kernels number them


def _infer(kind: str) -> Callable[..., Type]:
    def infer(x: Type, *, ranks: int, root: int = 0) -> Type:
        if x.dtype == "bool" or x.dtype not in CODES:
            raise ShapeError(f"{kind} requires numbers, got {x}")
        if kind == "reduce_scatter" and (not x.shape or x.shape[0] % ranks):
            raise ShapeError(f"reduce_scatter requires a first axis of {ranks} equal parts, one "
                             f"for each rank, got {x}")  # fmt: skip
        if kind == "all_gather":
            if not x.shape:
                raise ShapeError(f"all_gather requires a first axis, got {x}")
            return Type((ranks * x.shape[0], *x.shape[1:]), x.dtype)
        return x

    return infer


def _ref(kind: str) -> Callable[..., np.ndarray]:
    def ref(x: Any, *, ranks: int, root: int = 0) -> np.ndarray:
        shape = (ranks * x.shape[0], *x.shape[1:]) if kind == "all_gather" else x.shape
        memory = np.zeros(shape, x.dtype)
        memory.reshape(-1)[: x.size] = np.reshape(x, -1)
        collective(_same(ranks), kind, memory.reshape(-1), root)
        return memory

    return ref


def _same(ranks: int) -> Any:
    found = world()
    if found.size != ranks:
        raise ShapeError(f"a graph of {ranks} ranks does not run on {found.size}")
    return found


def _template(kind: str) -> Callable[[KernelWriter], None]:
    def write(k: KernelWriter) -> None:
        """The input to the beginning of the result, then what all ranks make of it."""
        (x,), y = k.inputs, k.output
        k.array("x", x)
        k.array("y", y)
        port = k.port("port")
        size = k.argument("size", int(np.prod(y.shape, dtype=np.int64)))
        dtype = k.argument("dtype", CODES.index(y.dtype))
        root = k.argument("root", int(k.attrs.get("root", 0)))
        ranks = k.argument("ranks", int(k.attrs["ranks"]))
        depth = k.depth
        rows = [int(np.prod(x.shape[a + 1 :], dtype=np.int64)) for a in range(len(x.shape))]
        at = k.loops(range(len(x.shape)), x.shape, {"x": x.strides, "y": rows})
        k.line(f"y[{at['y']}] = x[{at['x']}]")
        k.depth = depth
        k.line(f"communicate(port, y, {KINDS.index(kind)}, {size}, {dtype}, {root}, {ranks})")
        assert port

    return write


def _define(kind: str, vjp: Callable[..., tuple]) -> Op:
    return define(
        kind, Kind.OPAQUE, ordered=True, infer=_infer(kind), ref=_ref(kind),
        template=_template(kind), vjp=vjp, cost=lambda out, *_, **__: out.size,
    )  # fmt: skip


def _write_shard_sum(k: KernelWriter) -> None:
    """The sum from where the shard's array is, if it is there as one row; else from a copy."""
    x, y = k.inputs[-1], k.output
    k.array("x", x)
    k.array("y", y)
    port = k.port("port")
    bytes = k.argument("bytes", int(np.prod(y.shape)) * DTYPES[y.dtype].bytes)
    row = x.strides == (1,)
    if not row:  # a copy, which fits what it becomes: slices are of rows
        depth = k.depth
        at = k.loops(range(len(x.shape)), x.shape, {"x": x.strides, "y": (1,)})
        k.line(f"y[{at['y']}] = x[{at['x']}]")
        k.depth = depth
    k.line(f"sum_shards({port}, {'x' if row else 'y'}, y, {bytes})")


def _infer_shard_sum(*types: Type, shards: int, wire: str = "") -> Type:
    x = types[-1]
    if x.dtype not in ("float32", "float64") or len(x.shape) != 1:
        raise ShapeError(f"shard_sum requires a row of f32 or f64, got {x}")
    if wire and (wire, x.dtype) != ("bfloat16", "float32"):
        raise ShapeError(f"shard_sum sends f32 as bfloat16, not {x.dtype} as {wire}")
    return x


def is_narrow(n: Node) -> bool:
    """True if a sum over shards is sent, and every sum in its tree rounded, as bfloat16."""
    return bool(dict(n.attrs).get("wire"))


def summed_size(n: Node) -> int:
    """Bytes of the row that a sum over shards adds up, as they are sent."""
    return n.inputs[-1].type.bytes // (2 if is_narrow(n) else 1)


def _ranks(n: Node) -> int:
    return int(n.attr("ranks"))


ALL_REDUCE: Op = _define("all_reduce", lambda g, out, x: (ALL_REDUCE(g, ranks=_ranks(out)),))
REDUCE_SCATTER: Op = _define(  # the rank's part of the sum, then zeros
    "reduce_scatter",
    lambda g, out, x: (ALL_GATHER(g[: x.shape[0] // _ranks(out)], ranks=_ranks(out)),),
)
ALL_GATHER: Op = _define(
    "all_gather",
    lambda g, out, x: (REDUCE_SCATTER(g, ranks=_ranks(out))[: x.shape[0]],),
)
BROADCAST: Op = _define(
    "broadcast",
    lambda g, out, x: (REDUCE(g, ranks=_ranks(out), root=out.attr("root")),),
)
REDUCE: Op = _define(
    "reduce",
    lambda g, out, x: (BROADCAST(g, ranks=_ranks(out), root=out.attr("root")),),
)

# The sum over all shards of a batch, each of which runs the graph up to here: what data_parallel is
# made of. A graph by itself is one shard, whose sum is its own array. Of two inputs the first is an
# earlier sum, which only stands for the order. ``wire``: how it is sent, if not as it is.
SHARD_SUM: Op = define(
    "shard_sum", Kind.OPAQUE, ordered=True, infer=_infer_shard_sum,
    ref=lambda *xs, shards, wire="": np.array(xs[-1]), template=_write_shard_sum,
    no_gradient="it adds up gradients", cost=lambda out, *_, **__: out.size,
)  # fmt: skip


def _infer_shard_slice(*types: Type, shards: int, first: int, last: int, wire: str = "") -> Type:
    x = _infer_shard_sum(*types, shards=shards, wire=wire)
    if not 0 <= first < last <= x.size:
        raise ShapeError(f"shard_slice requires a slice of {x}, got {first} to {last}")
    return Type((last - first,), x.dtype)


def _infer_gather_slices(x: Type, *, ranks: int, size: int) -> Type:
    if len(x.shape) != 1 or x.dtype not in ("float32", "float64"):
        raise ShapeError(f"gather_slices requires a row of f32 or f64, got {x}")
    return Type((size,), x.dtype)


def _alone(ranks: int, value: np.ndarray) -> np.ndarray:
    if ranks != 1:
        raise ShapeError(f"slices of {ranks} ranks are made by data_parallel's runs only")
    return np.array(value)


# As SHARD_SUM, of which a rank gets a slice only; and slices of all ranks, one after the other.
SHARD_SLICE: Op = define(
    "shard_slice", Kind.OPAQUE, ordered=True, infer=_infer_shard_slice,
    ref=lambda *xs, shards, first, last, wire="": _alone(
        1 + (last - first < xs[-1].size), xs[-1]
    ),
    template=_write_shard_sum, no_gradient="it adds up gradients",
    cost=lambda out, *_, **__: out.size,
)  # fmt: skip
GATHER_SLICES: Op = define(
    "gather_slices", Kind.OPAQUE, ordered=True, infer=_infer_gather_slices,
    ref=lambda x, *, ranks, size: _alone(ranks, x), template=_write_shard_sum,
    no_gradient="it gathers parameters", cost=lambda *_, **__: 0,
)  # fmt: skip


# A value that goes from one rank to another, where a plan has crossings: the first copies it to the
# message's memory, from which the other copies it to where that rank reads it.
def _write_message(sends: bool) -> Callable[[KernelWriter], None]:
    def write(k: KernelWriter) -> None:
        (x,), y = k.inputs, k.output
        k.array("x", x)
        k.array("y", y)
        call = f"pass_message({k.port('port')}, {k.argument('message', int(k.attrs['message']))})"
        if not sends:
            k.line(call)
        depth = k.depth
        at = k.loops(range(len(x.shape)), x.shape, {"x": x.strides, "y": y.strides})
        k.line(f"y[{at['y']}] = x[{at['x']}]")
        k.depth = depth
        if sends:
            k.line(call)

    return write


def _define_message(name: str, sends: bool) -> Op:
    return define(
        name, Kind.OPAQUE, infer=lambda x, *, message, rank: x,
        ref=lambda x, *, message, rank: np.array(x), template=_write_message(sends),
        no_gradient="it is part of a plan", cost=lambda *_, **__: 0,
    )  # fmt: skip


SEND: Op = _define_message("send", True)  # to a rank
RECEIVE: Op = _define_message("receive", False)  # from a rank


def all_reduce(x: Any) -> Node:
    """The sum of all ranks' x, on each of them: the same bits on all.

    Its gradient is that of the sum of all ranks' losses: ``all_reduce`` again.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.all_reduce(tg.constant([1.0, 2.0])))
        array([1., 2.], dtype=float32)
    """
    (x,) = promote("all_reduce", (x,))
    return ALL_REDUCE(x, ranks=world().size)


def reduce_scatter(x: Any) -> Node:
    """This rank's part of the sum of all ranks' x, whose first axis is cut into equal parts.

    Raises:
        ShapeError: the number of ranks does not divide the first axis.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.reduce_scatter(tg.constant([1.0, 2.0])))
        array([1., 2.], dtype=float32)
    """
    (x,), ranks = promote("reduce_scatter", (x,)), world().size
    return REDUCE_SCATTER(x, ranks=ranks)[: x.shape[0] // ranks]


def all_gather(x: Any) -> Node:
    """All ranks' x, one after the other along the first axis, on each of them.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.all_gather(tg.constant([1.0, 2.0])))
        array([1., 2.], dtype=float32)
    """
    (x,) = promote("all_gather", (x,))
    return ALL_GATHER(x, ranks=world().size)


def broadcast(x: Any, root: int = 0) -> Node:
    """Rank ``root``'s x, on all ranks.

    Raises:
        ShapeError: there is no such rank.

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.broadcast(tg.constant([1.0, 2.0])))
        array([1., 2.], dtype=float32)
    """
    (x,), ranks = promote("broadcast", (x,)), world().size
    root = whole("broadcast root", root)
    if not 0 <= root < ranks:
        raise ShapeError(f"broadcast requires a root among the {ranks} ranks, got {root}")
    return BROADCAST(x, ranks=ranks, root=root)
