"""Plans of convolutions and products at the edges of tiles compute what the reference computes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import pytest

from exact_plans import agree, network, planned, state, x
from targets import SMALL, WIDE
from tinygraph import ops
from tinygraph.autodiff import grad
from tinygraph.graph.ir import Node
from tinygraph.graph.op import input
from tinygraph.ops.conv import CONV2D, CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT
from tinygraph.ops.linalg import OUTER_SUM
from tinygraph.ops.view import TRANSPOSE
from tinygraph.plan.records.target import EVERY, Product
from tinygraph.plan.records.work import SLACK, Tile

GEOMETRIES = [
    # batch, groups, channels in, out, image, kernel, stride, padding, dilation
    (1, 1, 1, 1, (1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    (1, 1, 3, 5, (7, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    (2, 1, 3, 4, (6, 7), (3, 2), (2, 1), ((0, 1), (1, 0)), (1, 1)),
    (1, 2, 3, 3, (5, 6), (2, 3), (1, 2), ((1, 0), (0, 2)), (1, 1)),
    (2, 3, 1, 1, (5, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),  # depthwise
    (1, 1, 2, 9, (8, 8), (3, 3), (3, 3), ((0, 0), (0, 0)), (1, 1)),
    (2, 1, 1, 8, (9, 9), (5, 5), (2, 3), ((2, 2), (2, 1)), (1, 1)),
    (1, 1, 4, 3, (7, 7), (2, 2), (1, 1), ((1, 1), (1, 1)), (2, 3)),
    (1, 1, 3, 4, (9, 5), (1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1)),  # phases without taps
    (1, 1, 2, 3, (7, 9), (2, 1), (3, 3), ((0, 0), (1, 1)), (1, 1)),
    (3, 1, 5, 17, (4, 4), (4, 4), (1, 1), ((0, 0), (0, 0)), (1, 1)),  # the image is the kernel
    (1, 2, 2, 5, (6, 6), (3, 3), (2, 2), ((3, 2), (0, 3)), (2, 1)),
    (1, 1, 2, 3, (4, 1), (1, 1), (2, 2), ((1, 1), (1, 1)), (1, 1)),  # no tap reaches the image
    (2, 1, 1, 3, (3, 2), (2, 1), (3, 3), ((1, 1), (1, 1)), (2, 2)),
]


@pytest.mark.parametrize(
    "geometry", GEOMETRIES, ids=lambda g: "-".join(map(str, g)).replace(" ", "")
)
@pytest.mark.parametrize("way", ["forward", "input", "weight"])
def test_convolutions(geometry, way):
    """With a weight that is a parameter, and one that is not."""
    n, groups, c, o, image, kernel, stride, padding, dilation = geometry
    kind: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    a, w = x(n, groups, c, *image), input("w", groups, o, c, *kernel)
    out = CONV2D(a, w, **kind)
    g = input("g", *out.shape)
    p = state(groups, o, c, *kernel)
    if way == "forward":
        net = network(out, ops.relu(CONV2D(a, p, **kind) + 1))
    elif way == "input":
        net = network(*(CONV2D_INPUT_GRADIENT(g, v, size=image, **kind) * 2 for v in (w, p)))
    else:
        dw = CONV2D_WEIGHT_GRADIENT(a, g, kernel=kernel, **kind)
        net = network(dw, updates={p: p - dw})
    agree(net)


SKIPPING = {"stride": (2, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}


def test_what_no_tap_reaches_is_an_epilogue_of_zero():
    """The gradient of a 1x1 convolution with stride 2 is three quarters zeros."""
    g, w = ops.neg(x(2, 1, 5, 4, 4)), state(1, 5, 3, 1, 1)
    image = ops.neg(x(2, 1, 3, 8, 8, name="image"))
    dx = CONV2D_INPUT_GRADIENT(g, w, size=(8, 8), **SKIPPING)
    launches = agree(network(dx * 2 + image)).launches
    assert sum(isinstance(launch.work, Tile) for launch in launches) == 1


def test_a_large_operand_of_a_gradient_that_skips_is_repacked():
    """As it lies it suits no tile, and no memory for the sums alone is of use either."""
    g, w = x(1, 1, 512, 4, 4), state(1, 512, 1024, 1, 1, order=(0, 3, 4, 2, 1))
    dx = CONV2D_INPUT_GRADIENT(g, w, size=(8, 8), **SKIPPING)
    image = ops.neg(TRANSPOSE(x(1, 8, 8, 1, 1024, name="image"), axes=(0, 3, 4, 1, 2)))
    planned(network(ops.sum(image * (dx + image)), updates={w: w + 1}))


@pytest.mark.parametrize("batch, size", [(8, 4), (6, 5), (3, 6), (1, 9)])
@pytest.mark.parametrize("kernel, stride", [(1, 1), (3, 1), (3, 2)])
def test_long_reductions_in_pieces(batch, size, kernel, stride):
    """The pieces of a gradient to the weights are images, or rows of the only one."""
    p = state(1, 3, 4, kernel, kernel, order=(0, 3, 4, 2, 1))
    around = ((kernel // 2, kernel // 2),) * 2
    kind: dict[str, Any] = {"stride": (stride,) * 2, "padding": around, "dilation": (1, 1)}
    a = TRANSPOSE(x(batch, size * stride, size * stride, 1, 4), axes=(0, 3, 4, 1, 2))
    out = CONV2D(a, p, **kind)
    g = ops.relu(input("g", *out.shape) - out)
    dw = CONV2D_WEIGHT_GRADIENT(a, g, kernel=(kernel, kernel), **kind)
    net = network(ops.sum(g), updates={p: p - 2 * dw})
    plan = agree(net, target=replace(SMALL, chunk=64))
    (buffer,) = (b for b in plan.buffers if b.name == "pieces")
    pieces, rest = divmod(buffer.bytes - SLACK, 4 * p.type.size)
    assert pieces > 1 and max(batch, size) % pieces == 0 and rest == 0


@pytest.mark.parametrize("m", [3, 4, 5, 8, 9])
def test_products_around_the_edges_of_a_tile(m):
    for n, k in product((1, 3, 4, 5, 8, 9), (1, 2, 7)):
        a, b = x(m, k), input("b", k, n)
        agree(network(a @ b + 1))


@pytest.mark.parametrize(
    "rows, depth, columns, packed",
    [(512, 64, 512, True), (511, 64, 512, False), (512, 63, 512, False), (512, 64, 528, False)],
)
def test_a_second_operand_that_crowds_the_cache_is_packed_for_many_rows(
    rows, depth, columns, packed
):
    a, b = input("a", rows, depth), input("b", depth, columns)
    launches = planned(network(a @ (b + 1))).launches
    assert any("pack" in launch.name for launch in launches) == packed


@pytest.mark.parametrize(
    "batch, size, columns, transposed, reordered",
    [
        (4, 8, 6, True, True),
        (4, 16, 9, True, True),  # with gaps behind the copy's rows
        (3, 8, 6, True, False),  # few sequences
        (4, 7, 6, True, False),  # whose elements are in different sets of a cache
        (4, 8, 5, True, False),  # few columns
        (4, 8, 6, False, False),  # in the order of the gradient
    ],
)
def test_sequences_are_put_in_the_order_of_a_long_reduction(
    batch, size, columns, transposed, reordered
):
    copying = replace(SMALL.copying, ways=4, many=6, crowded=64)
    length = 4
    if transposed:
        a = ops.transpose(x(batch, length, size), (1, 0, 2))
    else:
        a = x(length, 2 * batch, size)[:, :batch]
    g = 2 * input("g", length, batch, columns)  # an input would be packed
    launches = agree(network(OUTER_SUM(a, g)), target=replace(SMALL, copying=copying)).launches
    assert any("reorder" in launch.name for launch in launches) == reordered
    (sizes,) = (launch.work.sizes for launch in launches if isinstance(launch.work, Tile))
    if reordered:  # the reduction is one walk
        assert (sizes["s"], sizes["k"]) == (1, length * batch)
        assert sizes["a_k"] == size + (copying.gap // 4 if size == 16 else 0)


@pytest.mark.parametrize("rows, columns, turned", [(6, 7, True), (5, 6, False), (6, 5, False)])
def test_a_reduction_across_the_rows_of_a_large_result_reads_a_copy_by_rows(rows, columns, turned):
    copying = replace(SMALL.copying, turned=6)
    a, b = x(2, 9, rows), input("b", 2, 9, columns)
    target = replace(SMALL, copying=copying)
    launches = agree(network(OUTER_SUM(a, ops.neg(b))), target=target).launches
    assert any("reorder" in launch.name for launch in launches) == turned
    (sizes,) = (launch.work.sizes for launch in launches if isinstance(launch.work, Tile))
    assert (sizes["a_m"], sizes["a_k"]) == ((18, 1) if turned else (1, rows))


@pytest.mark.parametrize("columns", [15, 16, 512])
def test_what_is_multiplied_in_chunks_is_not_packed(columns):
    """An input as B, across the rows of A: chunks of both are read from the cache as they are."""
    a, b = input("a", 20000, 60), input("b", 20000, columns)
    launches = planned(network(ops.transpose(a) @ b)).launches
    assert not any("pack" in m.name for launch in launches for m in launch.members)


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 9])
def test_gradients_to_weights_that_are_outputs_fill_the_lanes(channels):
    """Stored otherwise than they are computed, they are copied: none is plain loops."""
    for groups, across in ((1, "columns"), (channels, "batch")):
        image = ops.transpose(x(2, 6, 5, channels), (0, 3, 1, 2))
        w = state(channels, channels // groups, 3, 3)
        y = ops.conv2d(image, w, padding=1, groups=groups)
        g = ops.transpose(input("g", 2, 6, 5, channels), (0, 3, 1, 2))
        plan = agree(network(*grad(ops.sum(y * g), [w])))
        assert not any("plain loops" in remark for remark in plan.remarks)
        tiles = [m.work for p in plan.launches for m in p.members if isinstance(m.work, Tile)]
        if channels > 1:
            assert [t.contraction.lanes_along for t in tiles] == [across]


def test_a_carry_that_does_not_suit_its_product_is_copied_to_its_place():
    """The history of a carry is stored in order, the gradient of weights by channels."""
    image, g = x(2, 6, 5, 8), input("g", 3, 2, 6, 5, 8)

    def by_channels(n: Node) -> Node:
        return ops.transpose(ops.reshape(n, (2, 6, 5, 8, 1)), (0, 3, 4, 1, 2))

    def step(h: Node, g: Node) -> tuple[Node, Node]:
        scaled = by_channels(image * ops.clip(ops.max(h), 0, 1))
        kind = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
        dw = CONV2D_WEIGHT_GRADIENT(scaled, by_channels(g), kernel=(3, 3), **kind)
        return dw, dw

    (last,), (history,) = ops.scan(step, input("h", 8, 1, 1, 3, 3), ops.clip(g, 0, 1))
    plan = agree(network(last, history))
    tiles = [m.work for p in plan.launches for m in p.members if isinstance(m.work, Tile)]
    assert [t.contraction.lanes_along for t in tiles] == ["batch"]


@pytest.mark.parametrize("left", [False, True], ids=["a", "a.T"])
@pytest.mark.parametrize("right", [False, True], ids=["b", "b.T"])
@pytest.mark.parametrize("result", [False, True], ids=["c", "c.T"])
def test_products_in_all_transpositions(left, right, result):
    def swap(n: Node, yes: bool) -> Node:
        return ops.transpose(n, (*range(n.ndim - 2), n.ndim - 1, n.ndim - 2)) if yes else n

    for batch_a, batch_b in [
        ((), ()),
        ((2,), (2,)),
        ((2,), (1,)),
        ((), (3,)),
        ((2, 1), (1, 3)),
        ((2, 3), (2, 3)),
    ]:
        a = input("a", *batch_a, *((3, 5) if left else (5, 3)))
        b = input("b", *batch_b, *((6, 3) if right else (3, 6)))
        agree(network(ops.relu(swap(swap(a, left) @ swap(b, right), result))))


@pytest.mark.parametrize("heads", [2, 3, 5])
def test_batches_whose_axes_do_not_join_are_contractions_side_by_side(heads):
    """Attention: the batch is an image and a head, and rows lie between them in memory."""
    n, length, d = 3, 4, 5
    q, k, v = (
        ops.transpose(ops.reshape(part, n, length, heads, d), (0, 2, 1, 3))
        for part in ops.split(ops.neg(x(n, length, 3 * heads * d)), 3, axis=2)
    )
    scores = q @ ops.transpose(k, (0, 1, 3, 2))
    y = ops.reshape(ops.transpose(scores @ v, (0, 2, 1, 3)), n, length, heads * d)
    assert not any("plain loops" in remark for remark in agree(network(y)).remarks)


def test_a_batch_in_hundreds_of_pieces_is_left_to_loops():
    a, b = (ops.transpose(ops.neg(x(100, 2, 100, 2, name=s)), (0, 2, 1, 3)) for s in "ab")
    assert any("too many axes do not join" in remark for remark in agree(network(a @ b)).remarks)


def test_vectors_and_empty_products():
    agree(network(x(5) @ input("y", 5), x(5) @ input("w", 5, 3), input("v", 3, 5) @ x(5)))


def test_a_long_reduction_is_cut_by_what_a_part_of_the_result_reads():
    """The weight gradient of an LSTM, 256 x 1024 over 64 steps of 32 rows."""
    sizes = partial(Product, 1, 1, 256, 1024, packed=False, across=True, longest=32)
    rows_join, images = (WIDE.cut(sizes(reduction)) for reduction in ((1, 1, 2048), (1, 64, 32)))
    assert rows_join.inner == 128 and images.chunk * 32 == 128
    assert rows_join.column_parts == images.column_parts == 8
    assert rows_join.pieces == images.pieces == 1


@pytest.mark.parametrize("rows", [1, 3])
def test_few_rows_are_cut_by_what_they_read(rows):
    """A step of a recurrent network reads a matrix once: in wide tiles, by several threads."""
    cut = WIDE.cut(Product(1, 1, rows, 1024, (1, 1, 256), packed=True, across=False))
    assert cut.vectors > 4 and cut.column_parts == 4
    small = WIDE.cut(Product(1, 1, rows, 32, (1, 1, 64), packed=True, across=False))
    assert small.vectors == 2 and small.column_parts == 1


def test_rows_are_grouped_by_what_passes_the_second_cache():
    """Either all rows of a part for each block of columns, or all its columns for each group of
    rows that stays in that cache.
    """
    cut = WIDE.cut(Product(1, 1, 2048, 3072, (1, 1, 768), packed=True, across=False))
    rows, columns = 2048 // cut.row_parts, 3072 // cut.column_parts
    kept = cut.row_group * cut.rows
    assert 4 * 768 * kept <= WIDE.caches.second < 4 * 768 * rows
    assert rows + -(-rows // kept) * columns < columns + columns // (16 * cut.vectors) * rows

    group = partial(WIDE.core.row_group, (13, 2), depth=3072)
    assert group((512, 4096)) == WIDE.caches.second // (4 * 3072 * 13)
    assert group((512, 32)) == EVERY  # one block of columns
    assert group((39, 4096)) == EVERY  # all rows stay
