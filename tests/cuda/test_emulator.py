"""The emulator runs the PTX that numba-cuda makes, and names what is wrong with a kernel.

Three kernels' PTX is stored, so that parser and executor are tested where numba-cuda is not
installed.
"""

from __future__ import annotations

import numpy as np
import pytest
from emulated_kernels import KERNELS
from kernel_runs import HAS_NUMBA_CUDA, STORED, compiled, normal, run

import ptx_emulator
from ptx_emulator import Counters, Kernel


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


def test_unknown_instructions_are_refused():
    ptx = (STORED / "tiled.ptx").read_text().replace("bar.sync", "wgmma.fence", 1)
    with pytest.raises(ptx_emulator.UnsupportedInstruction, match=r"wgmma\.fence"):
        Kernel(ptx)
