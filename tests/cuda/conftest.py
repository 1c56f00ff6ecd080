"""What tests of the GPU's backend begin with: no device, and a cache of their own."""

from __future__ import annotations

import pytest
from small_programs import NO_DRIVER

import tinygraph as tg
from tinygraph.compiler.backend import BackendError
from tinygraph_cuda import choice
from tinygraph_cuda.runtimes import probe


@pytest.fixture
def no_device(monkeypatch):
    """Whatever this machine has."""

    def missing() -> str:
        raise BackendError(NO_DRIVER)

    monkeypatch.setattr(probe, "architecture", missing)
    choice.warn.cache_clear()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder of this file's own."""
    tg.settings.cache = tmp_path_factory.mktemp("cache")
    yield
    tg.settings.cache = None
