"""The emulator runs the PTX that numba-cuda makes, and names what is wrong with a kernel.

Three kernels' PTX is stored, so that parser and executor are tested where numba-cuda is not
installed.
"""

from __future__ import annotations

import math
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent, indent
from typing import NamedTuple

import numpy as np
import pytest
from emulated_kernels import KERNELS, Source

from tinygraph_cuda import emulator
from tinygraph_cuda.emulator import Counters, Fault, Kernel, Memory

STORED = Path(__file__).parent / "ptx"
HAS_NUMBA_CUDA = find_spec("numba_cuda") is not None
needs_numba_cuda = pytest.mark.skipif(
    not HAS_NUMBA_CUDA, reason="numba-cuda is not installed: pip install 'tinygraph[cuda]'"
)


@lru_cache
def compiled(source: Source, name: str) -> str:
    from tinygraph_cuda.intrinsics import SCOPE
    from tinygraph_cuda.toolchain import compile_ptx

    return compile_ptx(
        source.text,
        name,
        source.signature,
        launch_bounds=source.threads,
        scope=SCOPE | {"math": math},
    )


@pytest.fixture(params=["stored", "compiled"])
def kernel(request):
    """kernel(name): from the stored PTX, or compiled now."""

    def make(name: str) -> Kernel:
        path = STORED / f"{name}.ptx"
        if request.param == "stored":
            if not path.exists():
                pytest.skip("its PTX is not stored")
            return Kernel(path.read_text(), name, KERNELS[name].text)
        if not HAS_NUMBA_CUDA:
            pytest.skip("numba-cuda is not installed")
        ptx = compiled(KERNELS[name], name)
        if path.exists() and request.config.getoption("--update-golden"):
            path.write_text(ptx)
        return Kernel(ptx, name, KERNELS[name].text)

    return make


def run(kernel: Kernel, grid, block, *arguments, **options) -> list[np.ndarray]:
    """The arrays among the arguments, after the launch."""
    memory = Memory()
    given = [
        memory.upload(a, f"argument {i}") if isinstance(a, np.ndarray) else a
        for i, a in enumerate(arguments)
    ]
    kernel(memory, grid, block, given, **options)
    return [
        memory.read(p, a.shape, a.dtype)
        for p, a in zip(given, arguments, strict=True)
        if isinstance(a, np.ndarray)
    ]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def test_saxpy(kernel):
    x, y = normal(1000), normal(1000, seed=1)
    _, got = run(kernel("saxpy"), 8, 128, 2.5, x, y, 1000)
    np.testing.assert_array_equal(got, (2.5 * x.astype(float) + y).astype(np.float32))


def test_grid_stride(kernel):
    x = normal(1003)
    (got,) = run(kernel("grid_stride"), 3, 128, x, x.size)
    np.testing.assert_array_equal(got, x * x)


@pytest.mark.parametrize(("m", "n", "k"), [(64, 64, 64), (17, 37, 29)])
def test_tiled_product(kernel, m, n, k):
    a, b = normal(m, k), normal(k, n, seed=1)
    *_, got = run(
        kernel("tiled"),
        (-(-n // 16), -(-m // 16)),
        (16, 16),
        a,
        b,
        np.zeros((m, n), np.float32),
        m,
        n,
        k,
    )
    np.testing.assert_allclose(got, a @ b, rtol=1e-5, atol=1e-5)


def test_reduction_through_warps_and_shared_memory(kernel):
    x = normal(5, 1000)
    _, got = run(kernel("reduce"), 5, 256, x, np.zeros(5, np.float32), 1000)
    np.testing.assert_allclose(got, x.sum(axis=1), rtol=1e-5, atol=1e-5)


def test_atomics(kernel):
    x = np.random.default_rng(0).integers(0, 10, 700).astype(np.int32)
    counts, order, total = np.zeros(12, np.int32), np.zeros(700, np.uint32), np.zeros(1, np.float32)
    _, counts, order, total = run(kernel("histogram"), 6, 128, x, counts, order, total, 700)
    np.testing.assert_array_equal(counts[:10], np.bincount(x))
    assert (counts[10], counts[11], total[0]) == (700, x.max(), x.sum())
    np.testing.assert_array_equal(np.sort(order), np.arange(700))


def test_float64_with_calls_and_local_memory(kernel):
    x = np.concatenate([np.random.default_rng(0).standard_normal(300) * 3, [1e7, -3e12, 0.0]])
    _, got = run(kernel("double"), 3, 128, x, np.zeros_like(x), x.size)
    with np.errstate(all="ignore"):
        want = np.exp(x) * np.sin(x) + np.sqrt(np.abs(x)) / (1 + x * x)
    np.testing.assert_allclose(got, want, rtol=1e-13)


def test_integers(kernel):
    rng = np.random.default_rng(0)
    a = rng.integers(-(2**31), 2**31, 300).astype(np.int32)
    b = rng.integers(1, 1000, 300).astype(np.int32) * rng.choice([-1, 1], 300).astype(np.int32)
    wide = rng.integers(-(2**31), 2**31, 300)
    *_, got_wide, got = run(
        kernel("integers"), 3, 128, a, b, wide, np.zeros((6, 300), np.int32), 300
    )
    bits = [f"{x & 0xFFFFFFFF:032b}" for x in a.tolist()]
    reverse = [int(f"{x & 0xFFFFFFFF:032b}"[::-1], 2) >> 5 for x in b.tolist()]
    first = [s[::-1].find("1") + 1 for s in bits]
    counted = [
        s.count("1") + len(s) - len(s.lstrip("0")) + f + r
        for s, f, r in zip(bits, first, reverse, strict=True)
    ]
    with np.errstate(over="ignore"):
        last = (
            (a.astype(np.float32) * np.float32(1e-3)).astype(np.int32)
            + np.abs(b)
            + np.minimum(a, b)
        )
    want = [
        a // b,
        a % b,
        (a.view(np.uint32) // 7).view(np.int32),
        (a << 3) ^ (a >> 2),
        np.array(counted, np.int32),
        last,
    ]
    np.testing.assert_array_equal(got, want)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(
            got_wide, (wide * 2654435761) // 1000003 + (wide >> 7) % 12345
        )


def test_predicated_loads_and_divergent_loops(kernel):
    x = normal(500)
    _, got = run(kernel("edges"), 4, 128, x, np.zeros_like(x), x.size)
    left, right = np.concatenate([[-1], x[:-1]]), np.concatenate([x[1:], [-2]])
    totals = []
    for i, v in enumerate(x.tolist()):
        steps = i % 5
        totals.append(v * steps if v > 0 else -sum(range(min(steps, 3))))
    np.testing.assert_allclose(got, left + right * 3 + np.array(totals), rtol=1e-5, atol=1e-5)


def test_shuffles_and_votes(kernel):
    x = normal(64)
    _, y, counts = run(
        kernel("warp"), 1, 64, x, np.zeros((4, 64), np.float32), np.zeros((3, 64), np.int32)
    )
    lane, base = np.arange(64) % 32, np.arange(64) // 32 * 32
    sources = [np.where(lane > 0, lane - 1, lane), 5, lane ^ 3, np.where(lane < 30, lane + 2, lane)]
    np.testing.assert_array_equal(y, [x[base + s] for s in sources])
    halves = (x > 0).reshape(2, 32)
    ballots = [sum(1 << int(i) for i in np.flatnonzero(h)) for h in halves]
    np.testing.assert_array_equal(counts[0].view(np.uint32)[::32], ballots)
    np.testing.assert_array_equal(counts[1][::32], 2 + (x > 2).reshape(2, 32).any(axis=1))
    assert (counts[2] == (x > 0).sum()).all()


def test_vectors_of_128_bits(kernel):
    x = normal(400)
    vector = kernel("vector")
    _, got = run(vector, 1, 128, x, np.zeros_like(x), 100)
    np.testing.assert_array_equal(got.reshape(-1, 4), x.reshape(-1, 4)[:, ::-1])
    wide = [i.text for i in vector.instructions if "v4" in i.modifiers]
    assert [w.split()[0] for w in wide] == ["ld.global.v4.f32", "st.global.v4.f32"]


def test_functions_of_the_project(kernel):
    import tinygraph.codegen.math as library

    special = [0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 1e-40, 88.9, -103.0, 1e30]
    x = np.concatenate([normal(300) * 5, np.array(special, np.float32)]).astype(np.float32)
    _, got = run(kernel("functions"), 3, 128, x, np.zeros((9, x.size), np.float32), x.size)
    names = ("exp", "log", "tanh", "erf", "sigmoid", "expm1")
    with np.errstate(all="ignore"):
        want = [getattr(library, name)(x) for name in names]
        want += [library.power(x, np.float32(1.5)), np.maximum(x, 0), np.rint(x)]
    np.testing.assert_allclose(got, np.array(want), rtol=1e-6, atol=1e-44)


def test_random_generator(kernel):
    from tinygraph.codegen.random import random_uniform

    (got,) = run(
        kernel("uniform"), 8, 128, np.zeros(1000, np.float32), 0x12345678, 0xFEDCBA98, 1000
    )
    counter = np.arange(1000, dtype=np.uint32)
    with np.errstate(over="ignore"):
        want = random_uniform(np.uint32(0x12345678), np.uint32(0xFEDCBA98), counter, np.uint32(7))
    np.testing.assert_array_equal(got, want)


def test_counters(kernel):
    """Rows of 64 bytes are read whole: no sector more than needed; a 16-wide tile has no bank
    conflict.
    """
    a = normal(32, 32)
    counters, tiled = Counters(), kernel("tiled")
    run(tiled, (2, 2), (16, 16), a, a, np.zeros_like(a), 32, 32, 32, counters=counters)
    for table in (counters.sectors, counters.passes):
        assert table and all(t.used == t.least for t in table.values())


# ---------------------------------------------------------------------- planted faults


class Planted(NamedTuple):
    kind: type[Fault]
    body: str
    line: str  # part of the line that the fault names
    thread: tuple[int, int, int] | None = None


PLANTED = {
    "out of bounds": Planted(emulator.OutOfBounds, "y[t] = x[t + 1]", "x[t + 1]", (127, 0, 0)),
    "misaligned": Planted(
        emulator.Misaligned,
        """
        odd = uint32(1) if t == uint32(9) else uint32(0)
        a, b, c, d = load4(x, uint32(t * uint32(4) + odd))
        y[t] = a + b + c + d""",
        "load4",
        (9, 0, 0),
    ),
    "missing barrier": Planted(
        emulator.Race,
        """
        shared[t] = x[t]
        y[t] = shared[uint32(127) - t]""",
        "y[t] = shared",
    ),
    "wrong barrier": Planted(
        emulator.Race,
        """
        shared[t] = x[t]
        cuda.syncwarp()
        y[t] = shared[uint32(127) - t]""",
        "y[t] = shared",
    ),
    "race": Planted(emulator.Race, "y[t // uint32(2)] = x[t]", "y[t // uint32(2)]"),
    "race between blocks": Planted(
        emulator.Race,
        """
        if cuda.blockIdx.x == 0:
            y[t] = x[t]
        else:
            x[t] = y[t]""",
        "y[t]",
    ),
    "race with an atomic operation": Planted(
        emulator.Race,
        """
        atomic_add(y, 0, x[t])
        x[t] = y[0]""",
        "x[t] = y[0]",
    ),
    "divergent barrier": Planted(
        emulator.DivergentBarrier,
        """
        if t < uint32(40):
            shared[t] = x[t]
            cuda.syncthreads()
            y[t] = shared[t]""",
        "cuda.syncthreads()",
        (0, 0, 0),
    ),
    "two barriers": Planted(
        emulator.DivergentBarrier,
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
        emulator.DivergentWarp,
        """
        if t < uint32(7):
            y[t] = cuda.shfl_sync(0xFFFFFFFF, x[t], 3)""",
        "cuda.shfl_sync",
        (0, 0, 0),
    ),
    "uninitialized": Planted(
        emulator.Uninitialized,
        """
        if t < uint32(100):
            shared[t] = x[t]
        cuda.syncthreads()
        y[t] = shared[t]""",
        "y[t] = shared[t]",
        (100, 0, 0),
    ),
    "outside of shared memory": Planted(
        emulator.OutOfBounds,
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
    with pytest.raises(emulator.Race) as caught:
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


def test_freed_memory_is_out_of_bounds(kernel):
    memory = Memory()
    x, y = memory.upload(normal(100), "x"), memory.upload(normal(100), "y")
    memory.free(x)
    with pytest.raises(emulator.OutOfBounds):
        kernel("saxpy")(memory, 1, 128, [2.0, x, y, 100])


def test_unknown_instructions_are_refused():
    ptx = (STORED / "tiled.ptx").read_text().replace("bar.sync", "wgmma.fence", 1)
    with pytest.raises(emulator.UnsupportedInstruction, match=r"wgmma\.fence"):
        Kernel(ptx)
