"""What tests of the GPU's backend begin with: no device, or a fake one; a cache of their own."""

from __future__ import annotations

import ctypes

import fake_driver
import pytest
from small_programs import NO_DRIVER

import tinygraph as tg
from tinygraph.compiler.backend import BackendError
from tinygraph_cuda import choice
from tinygraph_cuda.compile import compiled
from tinygraph_cuda.runtimes import device, probe


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


@pytest.fixture
def gpu(monkeypatch):
    """A driver whose device works late, under the real cuda-core."""
    if reason := fake_driver.unusable():
        pytest.skip(reason)
    driver = fake_driver.install()
    driver.reset()
    driver.compiled = kernel_of_this_process
    from cuda import core

    runtime = device.DeviceRuntime(core)
    monkeypatch.setattr(device, "runtime", lambda: runtime)
    monkeypatch.setattr(probe, "architecture", lambda: probe.probe(ctypes.CDLL))
    yield driver
    driver.devices = 0


def kernel_of_this_process(symbol: str) -> tuple[str, str]:
    found = next(built for built in compiled.BUILT.values() if built.symbol == symbol)
    return found.ptx, found.text
