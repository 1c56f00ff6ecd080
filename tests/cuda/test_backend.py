"""``backend="cuda"``: what it means, what it refuses, and programs that agree with the CPU's."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import warnings
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from fake_core import SECONDS, FakeCore

import tinygraph as tg
import tinygraph_cuda
from tinygraph import data, nn, optim
from tinygraph.backend import BackendError, Card
from tinygraph.models.lenet import LeNet5
from tinygraph_cuda import budget, choice, probe
from tinygraph_cuda.runtimes import device, emulate

needs_toolchain = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="numba-cuda is not installed"
)
NO_DRIVER = "no NVIDIA driver is installed (libcuda.so.1 is missing)"


@pytest.fixture(autouse=True)
def no_device(monkeypatch):
    """Whatever this machine has."""

    def missing() -> str:
        raise BackendError(NO_DRIVER)

    monkeypatch.setattr(probe, "architecture", missing)
    choice.warn.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache folder of this file's own."""
    tg.settings.cache = tmp_path_factory.mktemp("cache")
    yield
    tg.settings.cache = None


class Small(nn.Module):
    """Convolutions, pooling, dropout: every kind of kernel that LeNet-5's training step has."""

    def __init__(self):
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(48, 5)

    def forward(self, x, training=False):
        hidden = nn.Flatten()(self.pool(tg.tanh(self.conv(x))))
        return self.fc(self.drop(hidden, training=training))


def step_of(net: nn.Module, *shape: int, backend: str | None = None, name: str = "step"):
    """A training step with momentum."""
    x, label = tg.input("image", *shape), tg.input("label", shape[0], dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), label)
    updates = optim.SGD(lr=0.1, momentum=0.9).updates(loss, net.parameters())
    return tg.compile([x, label], [loss], updates=updates, backend=backend, name=name)


def small_step(backend: str | None):
    """The same step each time: weights and masks depend on the seed only."""
    tg.manual_seed(1)
    return step_of(Small(), 3, 1, 8, 8, backend=backend)


PICTURES = np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32)
LABELS = np.array([0, 3, 1], np.int32)


def losses(step, count: int = 3) -> list[float]:
    return [float(step(PICTURES, LABELS)[0]) for _ in range(count)]


def square(backend: str):
    x = tg.input("x", 5)
    return tg.compile([x], [x * x], backend=backend)


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
    assert choice.choose(text) == choice.Choice(runtime, architecture)


def test_the_device_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr(probe, "architecture", lambda: "sm_90")
    for text in ("", "device", "device:sm_90"):
        assert choice.choose(text) == choice.Choice("device", "sm_90")
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
        assert choice.choose("") == choice.Choice("emulate", "sm_80")
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
    "fields, message",
    [
        ({"spills": 8}, "kernel k_1 spills 8 bytes of registers on sm_80, over the budget"),
        ({"registers": 136}, "kernel k_1 takes 136 registers of each of 256 threads"),
        ({"shared": 50_000}, "kernel k_1 takes 50,000 bytes of shared memory"),
    ],
)
def test_the_budget(monkeypatch, fields, message):
    card = replace(Card("sm_80", 256, 128, 0, 48 * 1024, 0.25), **fields)
    budget.check("k_1", replace(card, spills=0, registers=128, shared=48 * 1024))
    with pytest.raises(BackendError, match=message):
        budget.check("k_1", card)
    monkeypatch.setitem(budget.EXCEPTIONS, "k", (next(iter(fields)), "because"))
    budget.check("k_1", card)


@needs_toolchain
def test_compiling_checks_the_budget(monkeypatch):
    monkeypatch.setattr(budget, "REGISTERS", 1)
    with pytest.raises(BackendError, match=r"kernel \w+ takes \d+ registers of each of 256"):
        square("cuda:ptx")


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
    monkeypatch.setattr(tinygraph_cuda.compiled, "BUILT", {})
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


# ---------------------------------------------------------------------- the device, faked


@pytest.fixture
def core(monkeypatch):
    """A device that works late, in place of the GPU."""
    fake = FakeCore()
    runtime = device.DeviceRuntime(fake)
    monkeypatch.setattr(device, "runtime", lambda: runtime)
    monkeypatch.setattr(probe, "architecture", lambda: "sm_80")
    return fake


@needs_toolchain
def test_the_device_computes_what_the_emulator_does(core):
    assert losses(small_step("cuda")) == losses(small_step("cuda:emulate"))


@needs_toolchain
def test_launches_are_recorded_once_and_replayed(core):
    w = tg.parameter(np.ones(4, np.float32), name="w")
    x = tg.input("x", 4)
    step = tg.compile([x], [x * w], updates=[(w, w + x)], backend="cuda:device")
    one = np.ones(4, np.float32)
    assert core.log.count("allocate") == 3 and "sync" not in core.log  # arena, prepared, w
    core.log.clear()
    step(one)
    first = list(core.log)
    assert first.count("upload") == 2 and first.count("upload graph") == 1  # w and x
    core.log.clear()
    assert (step(one)[0] == 2).all()
    launches = [entry for entry in core.log if entry.startswith("replay: launch")]
    assert launches and core.log == ["upload", *launches, "download", "sync", "sync"]
    core.log.clear()
    assert (w.value == 3).all() and core.log == ["download", "sync"]
    assert (w.value == 3).all() and len(core.log) == 2  # it has not changed since


@needs_toolchain
def test_memory_is_not_freed_while_launches_are_recorded(core, monkeypatch):
    """A graph that frees would do so at each replay."""
    other, program, launch_on = square("cuda"), square("cuda"), device.DeviceRuntime.launch_on
    programs = [other]

    def collecting(self, target, launch):
        programs.clear()
        launch_on(self, target, launch)

    del other
    monkeypatch.setattr(device.DeviceRuntime, "launch_on", collecting)
    program(np.zeros(5, np.float32))
    assert not programs and "replay: free" not in core.log and "free" in core.log


@needs_toolchain
def test_large_arrays_pass_in_pieces(core, monkeypatch):
    monkeypatch.setattr(device, "STAGING", 4096)
    x = tg.input("x", 5000)
    program = tg.compile([x], [x + x], backend="cuda:device")
    values = np.arange(5000, dtype=np.float32)
    np.testing.assert_array_equal(program(values)[0], 2 * values)
    assert core.log.count("upload") == core.log.count("download") == 5


@needs_toolchain
def test_profile_of_the_device(core, monkeypatch):
    monkeypatch.setattr(device, "COPIED", 1 << 20)
    profile = square("cuda:device").profile(np.zeros(5, np.float32), repeat=2)
    assert [row.seconds for row in profile.launches] == [SECONDS]
    assert profile.peak.flops == 2 * 128 * 10 * 1e9 / 2  # 64 float32 units, of sm_80
    assert profile.peak.bandwidth == 2 * (1 << 20) / SECONDS
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
