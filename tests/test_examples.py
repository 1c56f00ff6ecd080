"""Every example runs, and the numbers that it prints are what it claims."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tinygraph.op import OPS

EXAMPLES = Path(__file__).parent.parent / "examples"

Example = Callable[..., dict[str, float]]


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Example]:
    """The ``main`` of the example after which the test is named; its operators go with it."""
    monkeypatch.syspath_prepend(EXAMPLES)
    known = set(OPS)
    yield importlib.import_module(request.node.name.removeprefix("test_")).main
    for name in OPS.keys() - known:
        del OPS[name]


def test_every_example_is_short_and_tested():
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) < 150
        assert "def main(" not in text or f"test_{path.stem}" in globals(), path.name


def test_custom_operator(example):
    found = example()
    assert found["value error"] < 1e-5
    assert found["gradient error"] < 1e-5
    assert found["gradient against finite differences"] < 1e-6
    assert found["launches of the value alone"] == 1


def test_custom_gradient(example):
    found = example()
    assert found["round: loss"] > 10
    assert found["straight_round: loss"] < 1e-8
    assert found["straight_round: weights found"] == 8


def test_custom_pass(example):
    found = example()
    assert found["plain: operations"] > 60 * found["ordered: operations"]
    assert found["difference"] < 1e-4


def test_inspect_stages(example):
    found = example()
    assert found["graph stages"] == 7
    assert found["divisions left"] == 0
    assert found["parsed text is the same"]
    assert found["parsed graph's error"] < 1e-5
