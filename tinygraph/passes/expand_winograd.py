"""Winograd convolutions as nodes, for backends without kernels of their own: transforms are
convolutions with constant filters, between them is a product for each of the n x n positions in a
tile.

With the matrices of F(m, r), n = m + r - 1 (see toom_cook.py):

    V = (B (x) B)^T x    a convolution of stride m, each channel a group       [n * n, c, tiles]
    U = (G (x) G) w      a product; prepared where weights are fixed           [n * n, o, c]
    M = U V              products: 1x1 filters, each position a group          [n * n, o, tiles]
    Y = (A (x) A)^T M    1x1 filters, each channel a group; then interleaved   [m * m, o, tiles]

No cost model knows when this pays on a device, so it is done only where the user asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..graph.dtype import is_float
from ..graph.ir import Graph, Node
from ..graph.op import Kind, constant
from ..graph.origins import built_from, origins
from ..graph.rebuild import with_bodies
from ..graph.rewrite import Event, substitute
from ..ops.conv import CONV2D, CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT, Padding
from ..ops.linalg import MATMUL
from ..ops.view import broadcast_to, flip, reshape, transpose
from ..plan.indexing.phases import Unsuitable
from ..plan.records.target import Target
from ..plan.winograd.choice import place, tile_of, tiles_of, way_of
from ..plan.winograd.toom_cook import Matrix, transforms


def expand_winograd(
    graph: Graph,
    *,
    target: Target | None = None,
    conv: Mapping[str, str] | None = None,
    log: list[Event] | None = None,
    remarks: list[str] | None = None,
) -> Graph:
    """The graph with the convolutions that ``conv`` wants by Winograd's algorithm written out.

    ``target`` may have kernels for it: the graph stays as it is then. A remark for each convolution
    says that it was written out, or why not.
    """
    if not conv or (target is not None and target.winograd):
        return graph
    log, remarks = [] if log is None else log, [] if remarks is None else remarks
    within = partial(expand_winograd, target=target, conv=conv, log=log, remarks=remarks)
    replacements: dict[Node, Node] = {}
    for n in graph.nodes:
        if n.bodies:
            replacements[n] = with_bodies(n, within)
        if n.op not in (CONV2D, CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT):
            continue
        way = way_of(_with_epilogue(n, graph), conv)
        if way in (None, "implicit"):
            continue
        try:
            c = _choose(n, tile_of(way))
        except Unsuitable as reason:
            remarks.append(f"{place(n)}: implicit, because {reason}")
            continue
        with built_from(origins(n)):
            replacements[n] = _written_out(n, c)
        log.append(Event("winograd", n, replacements[n]))
        remarks.append(
            f"{place(n)}: winograd({c.m}) as transforms and products, {c.work:.2f} times the "
            "multiplications of the direct form"
        )
    return substitute(graph, replacements)


def _with_epilogue(n: Node, graph: Graph) -> Iterator[Node]:
    """A node, and the views and element-wise nodes that alone read it: the user may have named any
    of them.
    """
    yield n
    while len(users := graph.users[n]) == 1 and users[0].op.kind in (Kind.VIEW, Kind.ELEMENTWISE):
        n = users[0]
        yield n


@dataclass(frozen=True, slots=True)
class _Convolution:
    """How a convolution of stride one with r x r taps is cut: output tiles of m x m.

    Attributes:
        turned: it is a gradient to the input: a convolution of the gradient to the output with the
            filters turned round, from their output channels to their input channels.
        padding: above and to the left; on the other sides tiles take what they need.
        tiles: down, across.
        work: multiplications, as a fraction of the direct form's.
    """

    m: int
    r: int
    turned: bool
    padding: tuple[int, int]
    tiles: tuple[int, int]
    work: float

    @property
    def n(self) -> int:
        return self.m + self.r - 1


def _choose(node: Node, wanted: int | None) -> _Convolution:
    """The way with the fewest multiplications, by output tile ``wanted`` or any that is accurate.

    Raises:
        Unsuitable: with the reason.
    """
    turned = node.op is CONV2D_INPUT_GRADIENT
    if node.op is CONV2D_WEIGHT_GRADIENT:
        raise Unsuitable("its windows slide over the reduction")
    if {*node.attr("stride"), *node.attr("dilation")} != {1}:
        raise Unsuitable("its stride or dilation is not one")
    groups, *_, r, across = node.inputs[1].shape
    if groups > 1:
        raise Unsuitable("it has groups")
    if r != across or r == 1:
        raise Unsuitable("its filter is not square, or is a single tap")
    if not is_float(node.dtype):
        raise Unsuitable(f"it computes in {node.dtype}")
    padding: Padding = node.attr("padding")
    top, left = (r - 1 - p if turned else p for p, _ in padding)
    if min(top, left) < 0 or (turned and max(p for _, p in padding) >= r):
        raise Unsuitable("its padding is wider than its filter")
    options = [_cut(node, m, r, turned, (top, left)) for m in tiles_of(r, wanted)]
    return min(options, key=lambda c: (c.work, c.m))


def _cut(node: Node, m: int, r: int, turned: bool, padding: tuple[int, int]) -> _Convolution:
    height, width = node.shape[3:]
    down, across = -(-height // m), -(-width // m)
    c, o, n2 = node.inputs[0].shape[2], node.shape[2], (m + r - 1) ** 2
    each = n2 * n2 * c + n2 * c * o + m * m * n2 * o
    work = down * across * each / (height * width * r * r * c * o)
    return _Convolution(m, r, turned, padding, (down, across), work)


# ------------------------------------------------------------------------ the nodes

_ONE = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}


def _written_out(node: Node, c: _Convolution) -> Node:
    """Axes stay apart, so that no step needs a copy: positions are channels, then groups, then
    channels again.
    """
    x, w = node.inputs
    a_t, g, b_t = (_twice(matrix, node.dtype) for matrix in transforms(c.m, c.r))
    n2, o, (down, across), (height, width) = c.n**2, node.shape[2], c.tiles, node.shape[3:]
    need = ((t - 1) * c.m + c.n for t in c.tiles)
    padding = tuple((p, n - p - s) for p, n, s in zip(c.padding, need, x.shape[3:], strict=True))
    tiles = {"stride": (c.m, c.m), "padding": padding, "dilation": (1, 1)}

    v = CONV2D(_swap(x), _for_each(x.shape[2], reshape(b_t, n2, 1, c.n, c.n)), **tiles)
    products = CONV2D(_swap(v), _weights(w, g, c), **_ONE)
    y = CONV2D(_swap(products), _for_each(o, reshape(a_t, c.m**2, n2, 1, 1)), **_ONE)
    y = reshape(y, -1, 1, o, c.m, c.m, down, across)
    y = reshape(transpose(y, (0, 1, 2, 5, 3, 6, 4)), -1, 1, o, down * c.m, across * c.m)
    return y[..., :height, :width]


def _twice(matrix: Matrix, dtype: str) -> Node:
    """M (x) M: the transform of rows and columns of a tile, row by row; rounded once."""
    exact = np.array(matrix, object)
    return constant(np.kron(exact, exact).astype(dtype))


def _swap(x: Node) -> Node:
    """Groups as channels, channels as groups."""
    return transpose(x, (0, 2, 1, 3, 4))


def _for_each(groups: int, w: Node) -> Node:
    """The same weights [o, c, h, w] for every group."""
    return broadcast_to(w, (groups, *w.shape))


def _weights(w: Node, g: Node, c: _Convolution) -> Node:
    """U[n * n, o, c, 1, 1]."""
    taps = transpose(flip(w, (3, 4)) if c.turned else w, (0, 3, 4, 1, 2))
    u = MATMUL(g, reshape(taps, c.r**2, -1))
    u = reshape(u, c.n**2, *w.shape[1:3])
    u = transpose(u, (0, 2, 1)) if c.turned else u
    return reshape(u, *u.shape, 1, 1)
