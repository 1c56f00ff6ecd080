"""What is wrong with a kernel is found, and named with its line and thread."""

from __future__ import annotations

from textwrap import dedent, indent
from typing import NamedTuple

import numpy as np
import pytest
from emulated_kernels import KERNELS, Source
from kernel_runs import STORED, compiled, needs_numba_cuda, normal, run

import ptx_emulator
from ptx_emulator import Fault, Kernel, Memory


class Planted(NamedTuple):
    kind: type[Fault]
    body: str
    line: str  # part of the line that the fault names
    thread: tuple[int, int, int] | None = None


PLANTED = {
    "out of bounds": Planted(ptx_emulator.OutOfBounds, "y[t] = x[t + 1]", "x[t + 1]", (127, 0, 0)),
    "misaligned": Planted(
        ptx_emulator.Misaligned,
        """
        odd = uint32(1) if t == uint32(9) else uint32(0)
        a, b, c, d = load4(x, uint32(t * uint32(4) + odd))
        y[t] = a + b + c + d""",
        "load4",
        (9, 0, 0),
    ),
    "missing barrier": Planted(
        ptx_emulator.Race,
        """
        shared[t] = x[t]
        y[t] = shared[uint32(127) - t]""",
        "y[t] = shared",
    ),
    "wrong barrier": Planted(
        ptx_emulator.Race,
        """
        shared[t] = x[t]
        cuda.syncwarp()
        y[t] = shared[uint32(127) - t]""",
        "y[t] = shared",
    ),
    "race": Planted(ptx_emulator.Race, "y[t // uint32(2)] = x[t]", "y[t // uint32(2)]"),
    "race between blocks": Planted(
        ptx_emulator.Race,
        """
        if cuda.blockIdx.x == 0:
            y[t] = x[t]
        else:
            x[t] = y[t]""",
        "y[t]",
    ),
    "race with an atomic operation": Planted(
        ptx_emulator.Race,
        """
        atomic_add(y, 0, x[t])
        x[t] = y[0]""",
        "x[t] = y[0]",
    ),
    "divergent barrier": Planted(
        ptx_emulator.DivergentBarrier,
        """
        if t < uint32(40):
            shared[t] = x[t]
            cuda.syncthreads()
            y[t] = shared[t]""",
        "cuda.syncthreads()",
        (0, 0, 0),
    ),
    "two barriers": Planted(
        ptx_emulator.DivergentBarrier,
        """
        if t < uint32(40):
            y[t] = float32(1)
            cuda.syncthreads()
            y[t] += float32(1)
        else:
            y[t] = float32(2)
            cuda.syncthreads()
            y[t] += float32(3)""",
        "cuda.syncthreads()",
        (0, 0, 0),
    ),
    "lanes missing in a shuffle": Planted(
        ptx_emulator.DivergentWarp,
        """
        if t < uint32(7):
            y[t] = cuda.shfl_sync(0xFFFFFFFF, x[t], 3)""",
        "cuda.shfl_sync",
        (0, 0, 0),
    ),
    "uninitialized": Planted(
        ptx_emulator.Uninitialized,
        """
        if t < uint32(100):
            shared[t] = x[t]
        cuda.syncthreads()
        y[t] = shared[t]""",
        "y[t] = shared[t]",
        (100, 0, 0),
    ),
    "outside of shared memory": Planted(
        ptx_emulator.OutOfBounds,
        """
        shared[t + uint32(1)] = x[t]
        cuda.syncthreads()
        y[t] = other[t] + shared[t]""",
        "shared[t + uint32(1)]",
        (127, 0, 0),
    ),
}
PLANT = """
def planted(x, y):
    shared = cuda.shared.array(128, float32)
    other = cuda.shared.array(128, float32)
    t = uint32(cuda.threadIdx.x)
"""


def planted(body: str) -> tuple[str, Kernel]:
    """The text of a kernel with this body, and the kernel."""
    text = PLANT + indent(dedent(body), "    ") + "\n"
    source = Source(text, ("float32*", "float32*"))
    return text, Kernel(compiled(source, "planted"), source=text)


@needs_numba_cuda
@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_are_named(name):
    kind, body, line, thread = PLANTED[name]
    text, kernel = planted(body)
    elements = 128 if name != "misaligned" else 1024
    with pytest.raises(Fault) as caught:
        run(kernel, 2 if "blocks" in name else 1, 128, normal(elements), normal(elements))
    fault = caught.value
    assert type(fault) is kind
    assert fault.kernel == "planted"
    assert line in text.splitlines()[fault.line - 1]
    assert thread is None or fault.thread == thread
    assert line in str(fault) and f"line {fault.line}" in str(fault)
    assert "planted" in str(fault) and f"thread {fault.thread}" in str(fault)


@pytest.mark.parametrize("missing", [0, 1], ids=["behind the stores", "before the next stores"])
def test_missing_barriers_of_a_stored_kernel(missing):
    parts = (STORED / "tiled.ptx").read_text().split("bar.sync \t0;")
    assert len(parts) == 3
    ptx = "bar.sync 0;".join(
        [parts[0] + parts[1], parts[2]] if missing == 0 else [parts[0], parts[1] + parts[2]]
    )
    a = normal(32, 32)
    with pytest.raises(ptx_emulator.Race) as caught:
        run(Kernel(ptx), (2, 2), (16, 16), a, a, np.zeros_like(a), 32, 32, 32)
    line = KERNELS["tiled"].text.splitlines()[caught.value.line - 1]
    assert ("tile_a[y, j]" if missing == 0 else "tile_a[y, x] =") in line or "tile_b" in line


@needs_numba_cuda
def test_barriers_make_the_order():
    """A thread may read what it wrote itself, and what its warp wrote before a warp barrier."""
    body = """
    shared[t] = x[t]
    shared[t] = shared[t] + float32(1)
    cuda.syncwarp()
    value = shared[t ^ uint32(1)]
    cuda.syncthreads()
    shared[uint32(127) - t] = value
    cuda.syncthreads()
    y[t] = shared[t]"""
    x = normal(128)
    _, got = run(planted(body)[1], 1, 128, x, np.zeros_like(x))
    np.testing.assert_array_equal(got, (x + 1)[np.arange(128) ^ 1][::-1])


def test_freed_memory_is_out_of_bounds():
    memory, a = Memory(), normal(32, 32)
    x, y, z = (memory.upload(a, name) for name in "xyz")
    memory.free(x)
    with pytest.raises(ptx_emulator.OutOfBounds):
        Kernel((STORED / "tiled.ptx").read_text())(memory, (2, 2), (16, 16), [x, y, z, 32, 32, 32])
