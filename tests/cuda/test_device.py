"""The runtime of a real GPU: cuda-core over a driver that works late, without a GPU."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec

import numpy as np
import pytest
from fake_driver.functions import KHZ, MILLISECONDS, MULTIPROCESSORS
from small_programs import (
    losses,
    needs_toolchain,
    small_step,
    square,
)

import tinygraph as tg
from tinygraph_cuda.runner import COPIES
from tinygraph_cuda.runtimes import device

pytestmark = pytest.mark.usefixtures("no_device", "cache")


@needs_toolchain
def test_the_device_computes_what_the_emulator_does(gpu):
    assert losses(small_step("cuda")) == losses(small_step("cuda:emulate"))


@needs_toolchain
def test_launches_are_recorded_once_and_replayed(gpu):
    w = tg.parameter(np.ones(4, np.float32), name="w")
    x = tg.input("x", 4)
    step = tg.compile([x], [x * w], updates=[(w, w + x)], backend="cuda:device")
    one = np.ones(4, np.float32)
    assert gpu.log.count("allocate") == 3 and "sync" not in gpu.log  # arena, prepared, w
    gpu.log.clear()
    step(one)
    first = list(gpu.log)
    assert first.count("upload") == 2 and first.count("upload graph") == 1  # w and x
    gpu.log.clear()
    assert (step(one)[0] == 2).all()
    launches = [entry for entry in gpu.log if entry.startswith("replay: launch")]
    assert launches and gpu.log == ["upload", *launches, "download", "sync", "sync"]
    gpu.log.clear()
    assert (w.value == 3).all() and gpu.log == ["download", "sync"]
    assert (w.value == 3).all() and len(gpu.log) == 2  # it has not changed since


@needs_toolchain
def test_memory_is_not_freed_while_launches_are_recorded(gpu, monkeypatch):
    """A graph that frees would do so at each replay."""
    other, program, launch_on = square("cuda"), square("cuda"), device.DeviceRuntime.launch_on
    programs = [other]

    def collecting(self, target, launch):
        programs.clear()
        launch_on(self, target, launch)

    del other
    monkeypatch.setattr(device.DeviceRuntime, "launch_on", collecting)
    program(np.zeros(5, np.float32))
    assert not programs and "replay: free" not in gpu.log and "free" in gpu.log


@needs_toolchain
def test_large_arrays_pass_in_pieces(gpu, monkeypatch):
    monkeypatch.setattr(device, "STAGING", 4096)
    x = tg.input("x", 5000)
    program = tg.compile([x], [x + x], backend="cuda:device")
    values = np.arange(5000, dtype=np.float32)
    np.testing.assert_array_equal(program(values)[0], 2 * values)
    assert gpu.log.count("upload") == gpu.log.count("download") == 5


@needs_toolchain
def test_profile_of_the_device(gpu, monkeypatch):
    monkeypatch.setattr(device, "COPIED", 1 << 20)
    profile = square("cuda:device").profile(np.zeros(5, np.float32), repeat=2)
    assert [row.seconds for row in profile.launches] == [MILLISECONDS / 1e3 / COPIES]
    assert profile.peak.flops == 2 * 64 * MULTIPROCESSORS * KHZ * 1e3  # sm_80 has 64 float32 units
    assert profile.peak.bandwidth == 2 * (1 << 20) / MILLISECONDS * 1e3
    assert profile.peak.threads == 1


@pytest.mark.skipif(find_spec("cuda") is None, reason="cuda-core is not installed")
def test_arguments_as_cuda_core_packs_them():
    """An address takes eight bytes, an integer four: from the real cuda.core, without a driver."""
    handler = pytest.importorskip("cuda.core._kernel_arg_handler")
    pairs = [("float32*", 0x7F0012345678), ("int32", -7), ("uint32", 2**32 - 1), ("float32", 1.5)]
    holder = handler.ParamHolder([device.typed(kind, value) for kind, value in pairs])
    places = (ctypes.c_void_p * 4).from_address(holder.ptr)
    kinds = (ctypes.c_uint64, ctypes.c_int32, ctypes.c_uint32, ctypes.c_float)
    got = [kind.from_address(place).value for kind, place in zip(kinds, places, strict=True)]
    assert got == [value for _, value in pairs]
