"""Long reductions with few results are cut into pieces: right, and the same at any thread count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tinygraph as tg

CASES = [
    ((2048, 256), (0, 1)),
    ((1 << 19,), (0,)),
    ((40_000, 16), (0,)),
    ((30_000, 5), (0,)),
    ((1, 300_000), (1,)),
    ((8, 3, 128, 128), (0, 2, 3)),
    ((524_287,), (0,)),  # a prime: in one piece
]


def launches(program: tg.Program) -> list[str]:
    return [m.name for x in program.inspection.plan.launches for m in x.members]


@pytest.mark.parametrize("shape, axes", CASES)
@pytest.mark.parametrize("fold", [tg.sum, tg.max, tg.min])
def test_pieces_are_folded(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    fold: Callable[..., tg.Node],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two reductions, what comes before them and after them, and a value that is stored within."""
    x = tg.input("x", *shape)
    before, doubled = tg.exp(x * 0.1), x * 2
    outputs = [fold(before, axes) * 3 + 1, fold(x - 0.5, axes), doubled]
    array = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    numpy = getattr(np, fold.__name__)
    wide = array.astype("float64")
    wants = [numpy(np.exp(wide * 0.1), axes) * 3 + 1, numpy(wide - 0.5, axes), wide * 2]
    both = []
    for threads in (1, 2):
        monkeypatch.setattr(tg.settings, "threads", threads)
        both.append(tg.compile([x], outputs)(array))
    for got, same, want in zip(*both, wants, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6 * array.size**0.5)
        assert got.tobytes() == same.tobytes()


def test_where_there_are_pieces() -> None:
    """Where one part would do all the work, a divisor exists, and each piece is long."""
    found = {}
    for shape, axes in [*CASES, ((2, 1 << 19), (1,)), ((1 << 14, 64), (0,)), ((64, 64), (0, 1))]:
        x = tg.input("x", *shape)
        program = tg.compile([x], [tg.sum(x, axes)])
        found[shape] = "fold_pieces" in launches(program)
    whole = {(524_287,), (8, 3, 128, 128), (2, 1 << 19), (64, 64)}
    assert {shape for shape, cut in found.items() if not cut} == whole


def test_positions_and_edges_move_with_pieces() -> None:
    """What is read beyond an edge, and where an element stands, is the same in pieces."""
    x = tg.input("x", 700, 700)
    weighed = tg.pad(x, ((10, 14), (0, 0))) * tg.reshape(tg.arange(724.0), (724, 1))
    array = np.random.default_rng(0).random((700, 700), dtype=np.float32)
    program = tg.compile([x], [tg.sum(weighed)])
    want = (np.pad(array.astype("float64"), ((10, 14), (0, 0))) * np.arange(724)[:, None]).sum()
    assert "fold_pieces" in launches(program)
    np.testing.assert_allclose(program(array)[0], want, rtol=3e-6)


def test_pieces_of_what_stays() -> None:
    """Sums of parameters are prepared, with their pieces."""
    w = tg.parameter(np.arange(1 << 19, dtype=np.float32), "w")
    x = tg.input("x", 3)
    program = tg.compile([x], [x + tg.sum(w) * 1e-6])
    assert [m.name for m in program.inspection.plan.prepare][-1] == "fold_pieces"
    want = np.float32(np.arange(1 << 19).sum() * 1e-6)
    np.testing.assert_allclose(program(np.zeros(3, np.float32))[0], want, rtol=1e-6)
