"""A step that fails midway leaves its parameters without values: whatever needs them says so."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from small_programs import LABELS, PICTURES, Small, needs_toolchain, step_of

import tinygraph as tg
from ptx_emulator import Fault
from tinygraph.compiler.backend import BackendError
from tinygraph.graph.state import LostValueError
from tinygraph_cuda.runtimes import device, emulate

ONES = np.ones(4, np.float32)
pytestmark = [pytest.mark.usefixtures("no_device", "cache"), needs_toolchain]


def failing(monkeypatch, runtime: type, method: str, number: int, error: BaseException) -> None:
    """The launch of this number fails, once."""
    launch, left = getattr(runtime, method), [number]

    def counted(self, *arguments):
        left[0] -= 1
        if left[0] == -1:
            raise error
        return launch(self, *arguments)

    monkeypatch.setattr(runtime, method, counted)


def planted() -> Fault:
    return Fault("planted", "kernel", 1, (0, 0, 0), (0, 0, 0), "nop")


fail_emulated = partial(failing, runtime=emulate.EmulateRuntime, method="launch")


def test_each_launch_of_a_training_step(monkeypatch):
    """Whichever fails: no value that a part of a step has made is ever seen; with all values
    assigned again, the step goes on as if nothing had happened.
    """
    tg.manual_seed(1)
    step = step_of(Small(), 3, 1, 8, 8, backend="cuda:emulate")
    step(PICTURES, LABELS)
    kept = {p: p.value for p in step.parameters}
    want = [*step(PICTURES, LABELS), *(p.value for p in step.updates)]
    fixed = [p for p in step.parameters if p not in set(step.updates)]
    names = [c.name for c in step.built.code.calls for _ in c.work]
    assert len(names) > 10 and fixed
    for number, name in enumerate(names):
        for p, value in kept.items():
            p.value = value
        with monkeypatch.context() as patch:
            fail_emulated(patch, number=number, error=planted())
            with pytest.raises(Fault, match="planted"):
                step(PICTURES, LABELS)
        story = rf"step failed in launch {number + 1} of {len(names)}, {name} \(fault .* planted"
        for p in step.updates:
            with pytest.raises(LostValueError, match=f"{p.name}: .* is lost: program {story}"):
                _ = p.value
        assert all((p.value == kept[p]).all() for p in fixed)
        with pytest.raises(LostValueError, match=story):
            step(PICTURES, LABELS)
    for p, value in kept.items():
        p.value = value
    got = [*step(PICTURES, LABELS), *(p.value for p in step.updates)]
    assert all(g.tobytes() == w.tobytes() for g, w in zip(got, want, strict=True))


@pytest.fixture
def lost(monkeypatch):
    """Two parameters of which a program has lost the second, and what makes that program."""
    kept, w = (tg.parameter(ONES, name=n) for n in ("kept", "w"))
    x = tg.input("x", 4)
    step = tg.compile([x], [x * kept], updates=[(w, w + x)], backend="cuda:emulate", name="step")
    with monkeypatch.context() as patch:
        fail_emulated(patch, number=0, error=planted())
        with pytest.raises(Fault):
            step(ONES)
    return kept, w, x


@pytest.mark.parametrize("backend", ["cpu", "cuda:emulate"])
def test_programs_that_read_a_lost_value_say_so(lost, backend):
    kept, w, x = lost
    assert (kept.value == 1).all()
    other = tg.compile([x], [x + kept], backend=backend)
    assert (other(ONES)[0] == 2).all()
    w.value = ONES
    reading = tg.compile([x], [x + w], backend=backend)
    w.state.lose("a test")
    with pytest.raises(LostValueError, match=r"^the value of parameter w: f32\[4\] is lost: a"):
        reading(ONES)
    w.value = 3 * ONES
    assert (reading(ONES)[0] == 4).all() and (w.value == 3).all()


@pytest.mark.parametrize("backend", ["cpu", "cuda:emulate"])
def test_a_program_that_only_writes_a_value_brings_it_back(lost, backend):
    _, w, x = lost
    w.value = ONES
    writing = tg.compile([x], [], updates=[(w, x * 2)], backend=backend)
    w.state.lose("a test")
    writing(ONES)
    assert (w.value == 2).all()


def test_an_error_before_the_first_launch_loses_nothing(monkeypatch):
    w, x = tg.parameter(ONES, name="w"), tg.input("x", 4)
    step = tg.compile([x], [x], updates=[(w, w + x)], backend="cuda:emulate")
    with monkeypatch.context() as patch:
        patch.setattr(emulate.EmulateRuntime, "capture", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            step(ONES)
    assert (w.value == 1).all()
    step(ONES)
    assert (w.value == 2).all()


# ---------------------------------------------------------------------- a device


def test_a_fault_ends_the_context(gpu):
    """What was changed by the step, and what was on the device only, is lost; all else is not."""
    w, v, c = (tg.parameter(ONES, name=n) for n in "wvc")
    x = tg.input("x", 4)
    first = tg.compile([x], [x], updates=[(v, v + x)], backend="cuda:device")
    step = tg.compile([x], [x * c], updates=[(w, w + x)], backend="cuda:device", name="step")
    first(ONES)
    step(ONES)

    gpu.faulty = f"tg_{step.built.code.kernels[0].key}"
    with pytest.raises(BackendError, match="the GPU stopped at an error, CUDAError: CUDA_ERROR_LA"):
        step(ONES)
    with pytest.raises(LostValueError, match=r"w: .* step failed in one of its launches \("):
        _ = w.value
    with pytest.raises(BackendError, match="what was in its memory only is lost"):
        _ = v.value
    assert (c.value == 1).all()
    with pytest.raises(BackendError, match="this process can use it no more: start another"):
        first(ONES)
    w.value = v.value = 5 * ONES
    cpu = tg.compile([x], [x * v], updates=[(w, w + x)], backend="cpu")
    assert (cpu(ONES)[0] == 5).all() and (w.value == 6).all()


def test_an_interrupted_wait_loses_nothing(gpu, monkeypatch):
    """What was launched runs to its end, and the new values count."""
    w, x = tg.parameter(ONES, name="w"), tg.input("x", 4)
    step = tg.compile([x], [x], updates=[(w, w + x)], backend="cuda:device")
    step(ONES)
    with monkeypatch.context() as patch:
        failing(patch, device.DeviceRuntime, "download", 0, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            step(ONES)
    assert (w.value == 3).all()


# ---------------------------------------------------------------------- a processor


def test_an_interrupt_after_a_run_on_the_cpu_keeps_its_values(monkeypatch):
    """They are whole, and prepared values of other programs follow them."""
    from tinygraph_cpu.driver.team import Team

    net = tg.nn.Sequential(tg.nn.Conv2d(2, 3, 3), tg.nn.BatchNorm2d(3))
    weight, x, n = net.parameters()[0], tg.input("x", 1, 2, 5, 5), tg.input("n")
    predict = tg.compile([x], [net(x)], backend="cpu")
    assert predict.built.code.prepare, "nothing is prepared: the test tests nothing"
    step = tg.compile([n], [n], updates=[(weight, weight * n)], backend="cpu")
    picture, run = np.ones((1, 2, 5, 5), np.float32), Team.run
    before = predict(picture)[0]

    def interrupted(*arguments):
        run(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Team, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            step(2.0)
    after, fresh = predict(picture)[0], tg.compile([x], [net(x)], name="fresh", backend="cpu")
    assert not np.allclose(after, before)
    np.testing.assert_array_equal(after, fresh(picture)[0])
