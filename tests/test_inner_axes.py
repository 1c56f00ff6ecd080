"""Functions along an axis that is not contiguous: the contiguous one runs across the lanes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of
from targets import schedule
from tinygraph.graph.ir import Node
from tinygraph.plan.records.plan import Launch
from tinygraph.plan.records.work import Nest

FUNCTIONS: dict[str, tuple[Callable[..., Node], Callable[[np.ndarray, int], np.ndarray]]] = {
    "softmax": (tg.softmax, lambda x, a: np.exp(x) / np.exp(x).sum(a, keepdims=True)),
    "log_softmax": (tg.log_softmax, lambda x, a: x - np.log(np.exp(x).sum(a, keepdims=True))),
    "logsumexp": (tg.logsumexp, lambda x, a: np.log(np.exp(x).sum(a))),
    "layer_norm": (
        tg.layer_norm,
        lambda x, a: (x - x.mean(a, keepdims=True)) / np.sqrt(x.var(a, keepdims=True) + 1e-5),
    ),
}
SHAPES = [(n, c, inner) for n, c, inner in product((0, 1, 2), (1, 5, 11, 33), (1, 15, 17, 80))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_along_inner_axes(name: str) -> None:
    """At the edges of vectors and blocks, of what is unrolled, and of size 0 and 1."""
    function, reference = FUNCTIONS[name]
    nodes = [tg.input(f"x{i}", *shape) for i, shape in enumerate(SHAPES)]
    arrays = [np.random.default_rng(i).standard_normal(x.shape) for i, x in enumerate(nodes)]
    program = tg.compile(nodes, [function(x, 1) for x in nodes])
    for x, got in zip(arrays, program(*(a.astype(np.float32) for a in arrays)), strict=True):
        np.testing.assert_allclose(got, reference(x, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_long_reductions_go_in_blocks_of_columns(name: str) -> None:
    """21 channels that are passed over several times would not stay in registers."""
    x = tg.input("x", 8, 21, 128, 128)
    assert styles(FUNCTIONS[name][0](x, 1)) == ["column"]


def test_short_reductions_and_single_passes_are_unrolled() -> None:
    x = tg.input("x", 8, 21, 128, 128)
    assert styles(tg.sum(x, 1)) == styles(tg.softmax(x[:, :8], 1)) == ["literal"]


@pytest.mark.parametrize("pieces", [1, 7])
def test_columns_of_less_than_a_vector_are_one_block(pieces: int) -> None:
    """Their number is a literal in the kernel, so that sums stay in registers."""
    x = tg.input("x", pieces, 500, 5)
    program = tg.compile([x], [tg.sum(tg.exp(x), 1)])
    (nest,) = (m.work for m in launches(program) if isinstance(m.work, Nest))
    assert (nest.style, nest.block) == ("column", 5)
    array = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    np.testing.assert_allclose(program(array)[0], np.exp(array).sum(1), rtol=1e-5)


@pytest.mark.parametrize("width", [4, 8, 12, 32, 64])
@pytest.mark.parametrize("fold", ["sum", "max", "min"])
def test_short_rows_of_a_long_reduction_fill_lanes(width: int, fold: str) -> None:
    """Groups of channels, stored last: what is stored in each row, too, and more rows than are
    summed at a time.
    """
    x = tg.input("x", 2, 300, 5, 3 * width)
    y = tg.reshape(tg.transpose(x, (0, 3, 1, 2)), (2, 3, width, 300, 5))
    z = getattr(tg, fold)(y * y, (2, 3, 4), keepdims=True)
    array = np.random.default_rng(width).standard_normal(x.shape).astype(np.float32)
    groups = array.astype(np.float64).transpose(0, 3, 1, 2).reshape(y.shape)
    want = getattr(np, fold)(groups * groups, (2, 3, 4), keepdims=True)
    last = (0, 3, 4, 1, 2)
    program = tg.compile([x], [z, tg.transpose(y / z, last)])
    assert "lanes" in [m.work.style for m in launches(program) if isinstance(m.work, Nest)]
    for got, right in zip(program(array), (want, (groups / want).transpose(last)), strict=True):
        np.testing.assert_allclose(got, right, rtol=2e-6, atol=1e-6)


def test_groups_of_channels_are_normalized_where_they_are() -> None:
    """One kernel whichever axis is contiguous; nothing is transposed."""
    array = np.random.default_rng(0).standard_normal((2, 16, 9, 7)).astype(np.float32)
    scale = np.linspace(0.5, 2, 16, dtype=np.float32)
    want = array.reshape(2, 2, -1).astype(np.float64)
    want = (want - want.mean(2, keepdims=True)) / np.sqrt(want.var(2, keepdims=True) + 1e-5)
    want = want.reshape(array.shape) * scale[:, None, None]
    for order, back in (((0, 1, 2, 3), (0, 1, 2, 3)), ((0, 2, 3, 1), (0, 3, 1, 2))):
        x, s = tg.input("x", *(array.shape[a] for a in order)), tg.input("s", 16)
        y = tg.transpose(tg.group_norm(tg.transpose(x, back), 2, s), order)
        program = tg.compile([x, s], [y])
        assert len(launches(program)) == 1
        (got,) = program(np.ascontiguousarray(array.transpose(order)), scale)
        np.testing.assert_allclose(got, want.transpose(order), rtol=1e-4, atol=1e-5)


def launches(program: tg.Program) -> list[Launch]:
    return [m for launch in program.inspection.plan.launches for m in launch.members]


def styles(n: Node) -> list[str]:
    works = (launch.work for launch in schedule(graph_of(n)).launches)
    return [work.style for work in works if isinstance(work, Nest)]


GROUPS = [(1, 5, 7), (3, 5, 7), (2, 8, 8), (3, 1, 4), (1, 8, 8), (2, 40, 5), (2, 3, 70), (3, 2, 1)]


@pytest.mark.parametrize(("images", "groups", "each"), GROUPS)
def test_groups_of_channels_that_are_stored_last(images: int, groups: int, each: int) -> None:
    """Whole groups lie side by side in a row: odd sizes, more than fit, one image, one group."""
    x = tg.input("x", images, 5, 9, groups * each)
    scale, shift = (
        tg.parameter(np.random.default_rng(i).standard_normal(groups * each).astype(np.float32), n)
        for i, n in enumerate("ab")
    )
    y = tg.group_norm(tg.transpose(x, (0, 3, 1, 2)), groups, scale, shift)
    program = tg.compile([x], [tg.transpose(y, (0, 2, 3, 1))])
    array = np.random.default_rng(2).standard_normal(x.shape).astype(np.float32) + 3
    apart = array.reshape(images, 5, 9, groups, each)
    moments = apart.mean((1, 2, 4), keepdims=True), apart.var((1, 2, 4), keepdims=True)
    expected = ((apart - moments[0]) / np.sqrt(moments[1] + 1e-5)).reshape(x.shape)
    got = program(array)[0]
    np.testing.assert_allclose(got, expected * scale.value + shift.value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("groups", "each", "block"), [(5, 7, 5), (8, 8, 8), (40, 5, 20), (3, 70, 0)]
)
def test_rows_side_by_side_are_one_row(groups: int, each: int, block: int) -> None:
    x = tg.input("x", 3, 5, 9, groups * each)
    y = tg.group_norm(tg.transpose(x, (0, 3, 1, 2)), groups)
    program = tg.compile([x], [tg.transpose(y, (0, 2, 3, 1))])
    (nest,) = (m.work for m in launches(program) if isinstance(m.work, Nest))
    assert (nest.style, nest.block) == (("lanes", block) if block else ("row", 0))


@pytest.mark.parametrize("width", [5, 12, 32, 64])
def test_one_result_of_short_rows(width: int) -> None:
    """All axes are summed, in rows that do not join."""
    x = tg.input("x", 1, 40, 9, width + 3)
    part = x[..., :width]
    program = tg.compile([x], [tg.sum(part * part), tg.layer_norm(part, (0, 1, 2, 3))])
    array = np.random.default_rng(width).standard_normal(x.shape).astype(np.float32)
    given = array[..., :width].astype(np.float64)
    total, normalized = program(array)
    np.testing.assert_allclose(total, (given**2).sum(), rtol=1e-5)
    np.testing.assert_allclose(normalized, (given - given.mean()) / given.std(), atol=1e-4)


@pytest.mark.parametrize("columns", [17, 50, 63, 64, 65, 100, 127, 129])
def test_blocks_of_columns_have_literal_widths(columns: int) -> None:
    """The last one, too, so that its sums stay in registers."""
    x = tg.input("x", 3, 70, columns)
    program = tg.compile([x], [tg.sum(tg.exp(x), 1), tg.max(x, 1)])
    assert "width" not in program.dump("source")
    array = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    sums, largest = program(array)
    np.testing.assert_allclose(sums, np.exp(array).sum(1), rtol=1e-4)
    np.testing.assert_array_equal(largest, array.max(1))
