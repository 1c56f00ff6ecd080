"""``backend="cuda"``: what it means, what it refuses, and programs that agree with the CPU's."""

from __future__ import annotations

import ctypes
import gc
import re
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from small_programs import (
    NO_DRIVER,
    losses,
    needs_toolchain,
    small_step,
    square,
    step_of,
)

import tinygraph as tg
import tinygraph_cuda
from tinygraph import data, nn
from tinygraph.compiler.backend import BackendError
from tinygraph.models.lenet import LeNet5
from tinygraph.plan.records.device import Card
from tinygraph_cuda import choice
from tinygraph_cuda.compile import budget, compiled
from tinygraph_cuda.runtimes import emulate, probe

pytestmark = pytest.mark.usefixtures("no_device", "cache")


# ---------------------------------------------------------------------- what is meant


@pytest.mark.parametrize(
    "text, setting, runtime, architecture",
    [
        ("emulate", None, "emulate", "sm_80"),
        ("emulate:sm_90", None, "emulate", "sm_90"),
        ("ptx:sm_120", None, "ptx", "sm_120"),
        ("", "emulate", "emulate", "sm_80"),
        ("", "ptx", "ptx", "sm_80"),
        ("ptx", "emulate", "ptx", "sm_80"),
    ],
)
def test_grammar(monkeypatch, text, setting, runtime, architecture):
    if setting:
        monkeypatch.setenv("TINYGRAPH_CUDA", setting)
    assert choice.choose(text) == choice.RuntimeChoice(runtime, architecture)


def test_the_device_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr(probe, "architecture", lambda: "sm_90")
    for text in ("", "device", "device:sm_90"):
        assert choice.choose(text) == choice.RuntimeChoice("device", "sm_90")
    with pytest.raises(BackendError, match=r"^backend 'cuda:device:sm_80': the device is sm_90$"):
        choice.choose("device:sm_80")


@pytest.mark.parametrize(
    "text, message",
    [
        ("emulated", "the runtime is one of device, emulate, ptx, got 'emulated'"),
        ("ptx:90", f"the architecture is one of {', '.join(budget.LIMITS)}, got '90'"),
        ("ptx:sm_70", "got 'sm_70'"),
        ("device", f"cannot run: {NO_DRIVER}"),
    ],
)
@needs_toolchain
def test_refusals_are_one_line(text, message):
    with pytest.raises(BackendError) as caught:
        square(f"cuda:{text}")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_no_silent_fallback_without_a_device(monkeypatch):
    monkeypatch.setenv("TINYGRAPH_CUDA", "device")
    with pytest.raises(BackendError, match="cannot run: no NVIDIA driver"):
        choice.choose("")


def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(tinygraph_cuda, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"pip install 'tinygraph\[cuda\]'$"):
        square("cuda")


def test_the_emulator_warns_once_a_process():
    with pytest.warns(RuntimeWarning, match="for checking, not for speed: no NVIDIA") as caught:
        assert choice.choose("") == choice.RuntimeChoice("emulate", "sm_80")
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choice.choose("")


class Driver:
    """libcuda.so.1 that answers as it is told."""

    def __init__(self, version=13000, init=0, count=1, capability=(9, 0)):
        self.version, self.init, self.count, self.capability = version, init, count, capability

    @staticmethod
    def put(reference, value: int) -> int:
        reference._obj.value = value
        return 0

    def cuDriverGetVersion(self, out) -> int:
        return self.put(out, self.version)

    def cuInit(self, flags: int) -> int:
        return self.init

    def cuDeviceGetCount(self, out) -> int:
        return self.put(out, self.count)

    def cuDeviceGet(self, out, number: int) -> int:
        return self.put(out, number)

    def cuDeviceGetAttribute(self, out, attribute: int, number: int) -> int:
        return self.put(out, self.capability[attribute - probe.MAJOR])


@pytest.mark.parametrize(
    "driver, message",
    [
        ({"version": 12080}, r"supports CUDA 12\.8; 13\.0 is needed"),
        ({"init": 100}, "the driver finds no GPU"),
        ({"count": 0}, "the driver finds no GPU"),
        ({"init": 803}, "different versions"),
        ({"init": 999}, "reports error 999"),
        ({"capability": (7, 5)}, r"compute capability 7\.5; 8\.0 is needed"),
    ],
)
def test_a_broken_driver_is_named(driver, message):
    with pytest.raises(BackendError, match=message) as caught:
        probe.probe(lambda name: Driver(**driver))
    assert "\n" not in str(caught.value)


def test_the_probe():
    assert probe.probe(lambda name: Driver()) == "sm_90"
    with pytest.raises(BackendError, match=r"libcuda\.so\.1 is missing"):
        probe.probe(lambda name: ctypes.CDLL("no such library"))


# ---------------------------------------------------------------------- what is compiled


@needs_toolchain
def test_ptx_compiles_and_checks_only():
    program = square("cuda:ptx:sm_90")
    (card,) = [card for cost in program.costs() for _, card in cost.kernels]
    assert card.architecture == "sm_90" and card.registers > 0 == card.spills
    with pytest.raises(BackendError, match="checked for sm_90; backend 'cuda:ptx' runs nothing"):
        program(np.zeros(5, np.float32))


@needs_toolchain
def test_cards_and_source():
    program = small_step("cuda:emulate")
    cost, head = program.cost(), program.dump("cards").splitlines()[0]
    assert "cards" in program.stages and "for sm_80" in head
    for name in ("registers", "occupancy", "spills", "shared", "flops", "bytes"):
        assert name in program.dump("cards").splitlines()[1]
    assert 0 < cost["registers"] <= 128 and cost["spills"] == 0
    assert len(program.dump("cards").splitlines()) == 2 + sum(
        len(c.work) for c in program.built.code.calls
    )
    source = program.dump("source")
    assert "threads a block, parameters" in source and "cuda.blockIdx.x" in source
    assert "cards" not in small_step("cpu").stages
    compile(source, "source", "exec")


@pytest.mark.parametrize(
    "fields, excess",
    [
        ({}, ""),
        ({"spills": 8}, "spills 8 bytes of registers"),
        ({"registers": 136}, "takes 136 registers of each of 256 threads"),
        ({"registers": 255, "threads": 64}, ""),
        ({"shared": 50_000}, "takes 50,000 bytes of shared memory"),
        (
            {"spills": 8, "shared": 50_000},
            "spills 8 bytes of registers and takes 50,000 bytes of shared memory",
        ),
    ],
)
def test_the_budget(fields, excess):
    card = replace(Card("sm_80", 256, 128, 0, 48 * 1024, 0.25), **fields)
    assert budget.excess(card) == excess


@needs_toolchain
@pytest.mark.parametrize("spilled, kept", [(0, 128), (16, 148)])
def test_a_kernel_over_the_budget_is_linked_again(monkeypatch, spilled, kept):
    """With as many registers as there are, unless it then spills; the budget refuses no program."""
    from tinygraph_cuda.compile import toolchain

    (kernel,) = square("cuda:ptx").built.code.kernels
    usage = toolchain.Usage(148, 0, 0, 0, 0)
    bounded = replace(usage, registers=128, spill_stores=spilled)
    asked = []

    def link(ptx, architecture, name, registers=None):
        asked.append(registers)
        return b"", usage if registers is None else bounded

    monkeypatch.setattr(toolchain, "link", link)
    card = compiled.compile_kernel(kernel, "sm_80").card
    assert asked == [None, 128] and (card.registers, card.spills) == (kept, 0)
    assert card.excess == ("" if kept == 128 else "takes 148 registers of each of 256 threads")


@needs_toolchain
def test_remarks_name_what_is_over_the_budget(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "BUILT", {})
    monkeypatch.setattr(budget, "REGISTERS", 1)
    monkeypatch.setattr(tg.settings, "cache", tmp_path)
    (remark,) = (r for r in square("cuda:ptx").remarks if r.startswith("kernel "))
    assert re.fullmatch(
        r"kernel \w+ takes \d+ registers of each of 256 threads on sm_\d+", remark
    )


@needs_toolchain
def test_a_warm_start_imports_no_compiler():
    small_step("cuda:emulate")
    code = f"""
import sys, time
sys.path[:0] = {sys.path!r}
import test_backend as t
t.tg.settings.cache = {str(tg.settings.cache)!r}
start = time.process_time()
step = t.small_step("cuda:emulate")
seconds = time.process_time() - start
assert step.built.compiled is None, "it was not found in the store"
t.losses(step, 1)
found = {{"numba", "numba_cuda", "llvmlite", "networkx"}} & {{*sys.modules}}
assert not found, found
assert seconds < 1, seconds
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_toolchain
def test_a_lost_kernel_is_compiled_again(monkeypatch):
    program = square("cuda:emulate")
    monkeypatch.setattr(tinygraph_cuda.compile.compiled, "BUILT", {})
    for path in (tg.settings.cache / "kernel").iterdir():
        path.unlink()
    again = square("cuda:emulate")
    x = np.arange(5, dtype=np.float32)
    assert (again(x)[0] == program(x)[0]).all() and (again(x)[0] == x * x).all()


# ---------------------------------------------------------------------- what is computed


@needs_toolchain
def test_a_training_step_follows_the_cpu():
    expected = losses(small_step("cpu"))
    first, second = losses(small_step("cuda:emulate")), losses(small_step("cuda:emulate"))
    np.testing.assert_allclose(first, expected, rtol=1e-5)
    assert first == second and len(set(first)) == 3


class DroppingLeNet5(LeNet5):
    """LeNet-5 that sees four fifths of each picture."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.2)

    def forward(self, x, training=False):
        return super().forward(self.drop(x, training=training))


def lenet_losses(backend: str, steps: int) -> list[float]:
    """Of a training from the beginning, two digits a step."""
    tg.manual_seed(1)
    images, labels = data.digits()[0]
    step = step_of(DroppingLeNet5(), 2, 1, 28, 28, backend=backend, name="lenet5_step")
    batches = (slice(2 * i, 2 * i + 2) for i in range(steps))
    return [float(step(images[batch], labels[batch])[0]) for batch in batches]


@needs_toolchain
def test_ten_steps_of_lenet():
    """Losses follow the CPU's, with the same dropout masks; a second training has the same bits."""
    expected, got = (lenet_losses(backend, 10) for backend in ("cpu", "cuda:emulate"))
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert lenet_losses("cuda:emulate", 3) == got[:3]


@needs_toolchain
def test_a_loop_follows_the_cpu():
    """Addresses that move from step to step, forward and backward."""
    x, w, start = tg.input("x", 5, 3, 4), tg.input("w", 4, 4), tg.input("start", 3, 4)
    (last,), (all_,) = tg.scan(lambda h, x: (tg.tanh(x + h @ w), h * x), (start,), x)
    loss = tg.sum(last * last) + tg.sum(all_)
    outputs = [loss, all_, *tg.grad(loss, [x, w, start])]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(i.shape).astype(np.float32) for i in (x, w, start)]
    cpu, cuda = (tg.compile([x, w, start], outputs, backend=b) for b in ("cpu", "cuda:emulate"))
    assert cuda.built.code.loops
    for got, want in zip(cuda(*arrays), cpu(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@needs_toolchain
def test_programs_of_two_backends_share_parameters():
    w = tg.parameter(np.ones(4, np.float32), name="w")
    x = tg.input("x", 4)
    steps = {
        b: tg.compile([x], [x * w], updates=[(w, w + x)], backend=b)
        for b in ("cpu", "cuda:emulate")
    }
    one, value = np.ones(4, np.float32), 1.0
    for backend in ("cuda:emulate", "cuda:emulate", "cpu", "cuda:emulate", "cpu", "cpu"):
        assert (steps[backend](one)[0] == value).all(), backend
        value += 1
    assert (w.value == value).all()
    steps["cuda:emulate"](one)
    w.value = np.full(4, 9)
    assert (steps["cuda:emulate"](one)[0] == 9).all() and (steps["cpu"](one)[0] == 10).all()


@needs_toolchain
def test_prepared_values_follow_their_parameters():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    x = tg.input("x", 1, 2, 5, 5)
    cpu, cuda = (tg.compile([x], [net(x)], backend=b) for b in ("cpu", "cuda:emulate"))
    assert cuda.built.code.prepare, "nothing is prepared: the test tests nothing"
    pictures = np.random.default_rng(0).random((1, 2, 5, 5), dtype=np.float32)
    for _ in range(2):
        np.testing.assert_allclose(cuda(pictures)[0], cpu(pictures)[0], rtol=1e-5, atol=1e-6)
        net.parameters()[0].value *= 2


@needs_toolchain
def test_leaving_a_buffer_is_a_fault():
    """Buffers are allocations of their own, so that an access next to one is seen."""
    runner = small_step("cuda:emulate")._runner
    regions = emulate.runtime().memory.regions
    sizes = [size for _, _, size in runner.code.buffers]
    assert sizes and [r.bytes for r in regions[-100:] if "buffer" in r.name][-len(sizes) :] == sizes


@needs_toolchain
def test_profiles_need_a_device():
    with pytest.raises(BackendError, match=r"the emulator has no clock; program\.dump\('cards'\)"):
        square("cuda:emulate").profile(np.zeros(5, np.float32))


@needs_toolchain
def test_memory_of_programs_is_given_back():
    gc.collect()
    emulate.runtime().collect()
    held = len(emulate.runtime().memory.regions)
    program = square("cuda:emulate")
    program(np.zeros(5, np.float32))
    assert len(emulate.runtime().memory.regions) > held
    del program
    gc.collect()
    emulate.runtime().collect()
    assert len(emulate.runtime().memory.regions) == held
