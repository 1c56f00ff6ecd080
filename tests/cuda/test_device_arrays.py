"""Arrays on a device in and out of programs: no copy by way of the host, no wait."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from small_programs import needs_toolchain

import tinygraph as tg
from tinygraph.compiler.backend import BackendError
from tinygraph.graph.dtype import DTYPES
from tinygraph_cuda import dlpack
from tinygraph_cuda.arrays import DeviceArray, to_device
from tinygraph_cuda.runtimes import emulate

pytestmark = [pytest.mark.usefixtures("no_device", "cache"), needs_toolchain]
OTHER = 0x77  # another library's stream


class Foreign:
    """An array of another library, in the fake driver's memory."""

    def __init__(self, gpu, array: np.ndarray, offset: int = 0):
        self.gpu, self.array = gpu, array
        room = np.zeros(array.nbytes + offset, np.uint8)
        room[offset:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.address = gpu.memory.upload(room) + offset
        self.shape, self.streams = array.shape, []


class ByDlpack(Foreign):
    number = 0

    def __dlpack_device__(self):
        return 2, self.number

    def __dlpack__(self, *, stream):
        self.streams.append(stream)
        kind = DTYPES[self.array.dtype.name]
        return dlpack.lend(self, self.address, self.shape, kind, self.number)


class ByInterface(Foreign):
    @property
    def __cuda_array_interface__(self):
        return {"shape": self.shape, "typestr": self.array.dtype.str, "strides": None,
                "data": (self.address, False), "stream": OTHER, "version": 3}  # fmt: skip


def scaled(backend: str = "cuda:device"):
    """A step that updates w, and gives x * w and a sum."""
    w = tg.parameter(np.float32([1, 2, 3, 4]), name="w")
    x = tg.input("x", 3, 4)
    outputs = [x * w, tg.sum(x, axis=1)]
    return w, tg.compile([x], outputs, updates=[(w, w + 1)], backend=backend)


X = np.arange(12, dtype=np.float32).reshape(3, 4)
W = np.float32([1, 2, 3, 4])


@pytest.mark.parametrize("kind", [ByDlpack, ByInterface])
def test_no_copy_and_no_wait(gpu, kind):
    """The log of the driver: launches, and nothing that the host takes part in."""
    w, step = scaled()
    x = kind(gpu, X)
    first, _ = step(x)  # w is uploaded once
    gpu.log.clear()
    product, total = step(x)
    kinds = {entry.partition(":")[0] for entry in gpu.log}
    print(gpu.log)
    assert kinds <= {"allocate", "free", "replay", "upload graph", "event", "wait for event"}
    launches = [entry for entry in gpu.log if entry.startswith("replay: launch")]
    assert len(launches) == sum(len(call.work) for call in step.built.code.calls)
    assert gpu.waiting  # nobody has waited
    assert isinstance(product, DeviceArray) and product.shape == (3, 4)
    np.testing.assert_array_equal(first.numpy(), X * W)
    np.testing.assert_array_equal(np.asarray(product), X * (W + 1))
    np.testing.assert_array_equal(np.asarray(total), X.sum(1))
    assert (w.value == W + 2).all()
    if kind is ByDlpack:
        assert set(x.streams) == {product.runtime.handle}


def test_results_are_inputs_again_and_launches_are_recorded_once(gpu):
    x = tg.input("x", 4)
    double = tg.compile([x], [x * 2], backend="cuda:device")
    value = to_device(np.ones(4, np.float32))
    places = set()
    for _ in range(6):
        (value,) = double(value)
        places.add(value.address)
        gpu.finish()
    assert gpu.log.count("download") == 0 and gpu.log.count("upload graph") <= len(places) + 1
    np.testing.assert_array_equal(value.numpy(), np.full(4, 64, np.float32))


def test_arrays_of_the_host_may_be_mixed_in(gpu):
    x, y = tg.input("x", 4), tg.input("y", 4)
    program = tg.compile([x, y], [x - y], backend="cuda:device")
    (found,) = program(y=np.ones(4, np.float32), x=ByDlpack(gpu, W))
    np.testing.assert_array_equal(np.asarray(found), W - 1)
    assert isinstance(program(W, W)[0], np.ndarray)


def test_other_libraries_read_results_where_they_are(gpu):
    x = tg.input("x", 3, 4)
    narrow = tg.cast(x, "bfloat16")
    program = tg.compile([x], [x + 1, narrow, x > 1], backend="cuda:device")
    wide, half, flags = program(ByDlpack(gpu, X))
    gpu.log.clear()
    assert wide.__dlpack_device__() == (2, 0)
    capsules = [a.__dlpack__(stream=OTHER) for a in (wide, half, flags)]
    assert "wait for event" in gpu.log and not {"download", "sync"} & set(gpu.log)
    found = [dlpack.describe(c) for c in capsules]
    assert [f.dtype for f in found] == ["float32", "bfloat16", "bool"]
    assert all(f.shape == (3, 4) and f.strides is None and f.number == 0 for f in found)
    given = wide.__cuda_array_interface__
    assert given["data"][0] == wide.address == found[0].address and given["typestr"] == "<f4"
    assert given["stream"] == wide.runtime.handle and given["shape"] == (3, 4)
    with pytest.raises(AttributeError, match="use DLPack"):
        _ = half.__cuda_array_interface__
    gpu.finish()
    np.testing.assert_array_equal(gpu.memory.read(wide.address, (3, 4), "f4"), X + 1)
    assert (half.numpy().view("uint16") == tg.astype(X, "bfloat16").view("uint16")).all()


def test_memory_lives_as_long_as_somebody_has_it(gpu):
    x = tg.input("x", 3, 4)
    program = tg.compile([x], [x + 1], backend="cuda:device")
    (found,) = program(ByDlpack(gpu, X))
    capsule, runtime = found.__dlpack__(stream=OTHER), found.runtime
    runtime.collect()
    del found
    gc.collect()
    assert not runtime.unused and len(dlpack._lent) == 1
    del capsule
    gc.collect()
    assert len(runtime.unused) == 1 and not dlpack._lent
    gpu.log.clear()
    runtime.collect()
    assert gpu.log == ["event", "wait for event", "free"]  # after what the other stream did


def test_what_does_not_fit_is_refused(gpu):
    x = tg.input("x", 3, 4)
    program = tg.compile([x], [x + 1], backend="cuda:device")
    with pytest.raises(TypeError, match="got float64 on a device; convert it there to float32"):
        program(ByDlpack(gpu, X.astype(np.float64)))
    with pytest.raises(ValueError, match=r"got an array of shape \(4,\)"):
        program(ByInterface(gpu, W))
    with pytest.raises(ValueError, match="not at a multiple of 16 bytes"):
        program(ByDlpack(gpu, X, offset=4))
    far = ByDlpack(gpu, X)
    far.number = 1
    with pytest.raises(ValueError, match="on GPU 1; programs run on 0"):
        program(far)
    with pytest.raises(ValueError, match="out is for NumPy's arrays"):
        program(ByDlpack(gpu, X), out=[np.empty((3, 4), np.float32)])
    strided = ByInterface(gpu, X)
    strided.shape = (4, 3)
    kept = type(strided).__cuda_array_interface__.fget

    class Transposed(ByInterface):
        @property
        def __cuda_array_interface__(self):
            return {**kept(self), "strides": (4, 16)}

    strided.__class__ = Transposed
    with pytest.raises(
        ValueError, match=r"strides \(1, 4\) on a device, which is not C-contiguous"
    ):
        program(strided)


def test_in_the_emulator_arrays_stay_where_they_are(gpu):
    _, step = scaled("cuda:emulate")
    product, total = step(to_device(X, "emulate"))
    np.testing.assert_array_equal(product.numpy(), X * W)
    np.testing.assert_array_equal(np.asarray(total), X.sum(1))
    with pytest.raises(BufferError, match="an array of the emulator"):
        product.__dlpack__()
    with pytest.raises(BackendError, match="the emulator cannot read a GPU's memory"):
        step(ByDlpack(gpu, X))
    assert product.runtime is emulate.runtime()
