"""Errors about values end in the picture: a page whose path the error names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.compiler import check_kernels
from tinygraph.compiler.check_kernels import KernelError
from tinygraph.page.failure import histogram


def shown(error: BaseException) -> dict:
    """The data of the page that an error names."""
    (note,) = error.__notes__
    path = Path(note.rpartition(": ")[2])
    text = path.read_text(encoding="utf-8")
    path.unlink()
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    (program,) = json.loads(data[1])["programs"]
    return program


def test_the_first_nan_is_selected_with_its_values():
    x = tg.input("x", 4)
    program = tg.compile([x], [tg.log(x) * 2.0 + 1.0], check_nan=True, name="logs")
    with pytest.raises(FloatingPointError, match="NaN in log") as caught:
        program(np.array([1, -1, 2, 0], np.float32))
    page = shown(caught.value)
    first = page["failure"]["items"][0]
    assert page["items"][first]["op"] == "log" and first in page["stages"][0]["items"]
    assert page["failure"]["histogram"]["nan"] == 1 and page["failure"]["histogram"]["-inf"] == 1


def test_the_first_nan_within_a_loop():
    x = tg.input("x", 5, 3)
    (last,), _ = tg.scan(lambda c, s: (tg.sqrt(c + s), c), tg.zeros(3), x)
    program = tg.compile([x], [last], check_nan=True)
    with pytest.raises(FloatingPointError, match="in step 2") as caught:
        program(np.array([1, 1, -9, 1, 1], np.float32)[:, None] * np.ones((5, 3), np.float32))
    page = shown(caught.value)
    assert page["items"][page["failure"]["items"][0]]["op"] == "sqrt"


def test_the_first_wrong_kernel_is_selected(monkeypatch):
    monkeypatch.setattr(check_kernels, "disagreement", wrong_tanh(check_kernels.disagreement))
    x = tg.input("x", 6, 4)
    with pytest.raises(KernelError) as caught:
        tg.compile([x], [tg.tanh(x) * 3.0], verify="values")
    page = shown(caught.value)
    ops = {page["items"][n]["op"] for n in page["failure"]["items"]}
    assert ops & {"tanh", "mul"} and page["failure"]["histogram"]["size"] == 24
    assert "the interpreter" in page["failure"]["text"]


def wrong_tanh(right):
    """Every compiled value counts as wrong."""
    from tinygraph.compiler.agreement import Difference

    def disagreement(n, known, want, got, compiled=False):
        if not compiled or want.size < 2:
            return right(n, known, want, got, compiled=compiled)
        return Difference((0, 0), float(want.flat[0]), float(got.flat[0]), 1.0)

    return disagreement


def test_histograms_count_every_value():
    values = np.array([0.0, 0.0, 1.0, -2.5, np.nan, np.inf, -np.inf, -np.inf])
    found = histogram(values)
    assert sum(found["counts"]) == 4 and found["edges"][0] == -2.5 and found["edges"][-1] == 1
    assert [found[k] for k in ("size", "nan", "inf", "-inf", "zero")] == [8, 1, 1, 2, 2]
    assert histogram(np.zeros((0, 3), np.float32))["counts"] == []
    assert sum(histogram(np.array([True, False]))["counts"]) == 2
