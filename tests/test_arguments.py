"""What calls are given: every mistake is named with the input, what it requires, and its line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.compiler.arguments import Arguments
from tinygraph.graph.ir import Graph

F = np.float32
IMAGE, LABEL = np.zeros((4, 3), F), np.zeros(4, np.int32)


def step() -> Arguments:
    x, y = tg.input("image", 4, 3), tg.input("label", 4, dtype="int32")
    return Arguments(Graph("step", (x, y), (x,)))


@pytest.mark.parametrize(
    ("given", "named", "message"),
    [
        (
            (IMAGE.T, LABEL),
            {},
            r"image f32\[4,3\] \(.*py:\d+\) got an array of shape \(3, 4\)$",
        ),
        ((IMAGE[:2], LABEL), {}, r"shape \(2, 3\); None in place of the first size leaves it open"),
        ((IMAGE[0], LABEL), {}, r"shape \(3,\); its first axis, the batch, is missing"),
        ((IMAGE, LABEL[:2]), {}, r"input label i32\[4\] .* got an array of shape \(2,\)$"),
        (
            (IMAGE.astype(float), LABEL),
            {},
            r"image f32\[4,3\] .* got float64; convert with ast",
        ),
        (
            (IMAGE, LABEL.astype(F)),
            {},
            r"label i32\[4\] \(test_arg.*py:\d+\) got float32",
        ),
        ((IMAGE, [0.5, 1, 2, 3]), {}, r"label i32\[4\] .* got float64; convert with"),
        ((IMAGE,), {}, r"step takes 2 arrays \(image: f32\[4,3\], label: i32\[4\]\), got 1"),
        ((IMAGE, LABEL, LABEL), {}, r"step takes 2 arrays .* got 3"),
        ((), {"label": LABEL}, r"step takes 2 arrays .* got 1"),
        ((IMAGE,), {"lable": LABEL}, r"no input 'lable'; did you mean 'label'\? it takes image:"),
        ((IMAGE,), {"image": IMAGE}, r"step got 'image' twice, by position and by name"),
        ((tg.input("image", 4, 3), LABEL), {}, r"a node has no value while the graph is built"),
    ],
)
def test_mistakes_are_named(given: tuple, named: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        step().arrays(given, named)


def test_lists_and_any_layout_are_taken() -> None:
    image, label = step().arrays(([[1, 2, 3]] * 4,), {"label": [True, 1, 2, 3]})
    assert image.dtype == F and image.tolist() == [[1, 2, 3]] * 4
    assert label.dtype == np.int32 and label.tolist() == [1, 1, 2, 3]
    big = np.arange(24, dtype=">f4").reshape(4, 6)[:, ::2]
    image, _ = step().arrays((big, LABEL), {})
    assert image.flags.c_contiguous and image.dtype == F
    np.testing.assert_array_equal(image, big)


def test_what_fits_is_not_copied() -> None:
    assert step().arrays((IMAGE, LABEL), {})[0] is IMAGE
