"""Shared by all tests: golden files, and hypothesis profiles (TINYGRAPH_FUZZ=deep, or --deep)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from difflib import unified_diff
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import tinygraph
from guarded import SIDES, guarded
from tinygraph.graph.op import OPS

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    "default",
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=SLOW,
    database=None,
)
settings.register_profile("deep", deadline=None, max_examples=3000, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("TINYGRAPH_FUZZ", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")
    parser.addoption("--deep", action="store_true", help="fuzz with many fresh examples")
    parser.addoption(
        "--guard",
        choices=SIDES,
        help="run programs for the CPU with pages that nobody may touch next to each buffer",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--deep"):
        settings.load_profile("deep")


@pytest.fixture(scope="session", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Pages that errors name are left where pytest cleans up."""
    kept, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("pages"))
    yield
    tempfile.tempdir = kept


class Golden:
    """Equal to the text in tests/golden/<module>/<test>.txt, which --update-golden writes."""

    def __init__(self, path: Path, update: bool):
        self.path, self.update = path, update

    def __eq__(self, actual: object) -> bool:
        assert isinstance(actual, str)
        if self.update:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(actual + "\n")
        return self.path.exists() and self.path.read_text() == actual + "\n"

    def __repr__(self) -> str:
        return (
            self.path.read_text().removesuffix("\n")
            if self.path.exists()
            else f"<no {self.path.name}>"
        )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    name = request.node.name.replace("[", "-").replace("]", "").replace("/", "-")
    path = request.path.parent / "golden" / request.path.stem / f"{name}.txt"
    return Golden(path, request.config.getoption("--update-golden"))


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """A golden text that differs is shown as a diff."""
    if not isinstance(left, Golden) or not isinstance(right, str) or op != "==":
        return None
    lines = unified_diff(repr(left).splitlines(), right.splitlines(), "golden", "now", lineterm="")
    return [f"{left.path.name} differs: read this, then pytest --update-golden", *lines]


@pytest.fixture
def own_operators(tmp_path: Path) -> Iterator[None]:
    """What a test defines goes with it, and so do its programs."""
    known, before = set(OPS), tinygraph.settings.cache
    tinygraph.settings.cache = tmp_path
    yield
    tinygraph.settings.cache = before
    for name in OPS.keys() - known:
        del OPS[name]


@pytest.fixture(autouse=True)
def settings_as_before() -> Iterator[None]:
    """A setting that a test made explicitly would hide the environment from later tests."""
    before = dict(vars(tinygraph.settings))
    yield
    vars(tinygraph.settings).clear()
    vars(tinygraph.settings).update(before)


@pytest.fixture(autouse=True)
def memory_guarded(request: pytest.FixtureRequest) -> Iterator[None]:
    side = request.config.getoption("--guard")
    with guarded(side) if side else nullcontext():
        yield
