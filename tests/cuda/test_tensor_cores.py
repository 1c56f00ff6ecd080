"""Contractions of bfloat16 by tensor cores: shapes around the edges of tiles, operands in every
order, faults planted into the pipeline of copies, and what ptxas makes of it.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

from emulated import compile_kernel, compiled, kernels, run_emulated
from sass import disassembled, disassembler, loops

import tinygraph as tg
from compiled import graph_of
from ptx_emulator import Counters, Fault, Kernel, Memory, Race, Unfinished
from tinygraph import nn, optim
from tinygraph.compiler.arguments import draw
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import input
from tinygraph.passes import widen
from tinygraph.passes.narrow_products import narrow_products
from tinygraph_cuda.kernels import blocking
from tinygraph_cuda.kernels.blocking import TENSOR_BLOCKINGS, Sizes, choose_tensor
from tinygraph_cuda.kernels.kernel import CudaKernel

BF16 = {"dtype": "bfloat16"}


def narrow(*outputs: Node) -> Graph:
    return narrow_products(widen(graph_of(*outputs)))


def product(m: int, k: int, n: int, a_across: bool = False, b_across: bool = False) -> Node:
    """Rows times columns; ``across`` gives an operand's axes in the other order."""
    a = tg.transpose(input("a", k, m, **BF16), (1, 0)) if a_across else input("a", m, k, **BF16)
    b = tg.transpose(input("b", n, k, **BF16), (1, 0)) if b_across else input("b", k, n, **BF16)
    return tg.matmul(a, b, accumulate="float32")


def arrays_of(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [draw(i.type, rng) for i in graph.inputs]


def agree(graph: Graph, tolerance: float = 1e-6) -> list[np.ndarray]:
    """With NumPy on the rounded operands, to ``tolerance`` of the largest number."""
    assert any("multiply_matrices" in made.text for made in kernels(graph))
    arrays = arrays_of(graph)
    found = run_emulated(graph, *arrays)
    for got, want in zip(found, tg.run(graph, *arrays), strict=True):
        assert got.dtype == want.dtype
        got, want = (tg.astype(x, "float64") for x in (got, want))
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())
    return found


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):
    """Allows one blocking, and no splits of the reduction."""

    def allow(way: blocking.TensorBlocking) -> None:
        monkeypatch.setattr(blocking, "ways", lambda sizes, blockings: iter([(way, 1)]))

    return allow


ODD = [
    (3, 5, 3), (5, 7, 33), (31, 31, 31), (33, 33, 9), (9, 65, 7), (7, 17, 65), (63, 63, 33),
    (15, 97, 31), (17, 33, 17), (35, 15, 97), (45, 99, 5), (65, 35, 63), (3, 257, 5), (97, 9, 11),
    (129, 19, 35), (1, 1, 1),
]  # fmt: skip
EVEN = [(34, 14, 30), (36, 68, 28), (40, 24, 72), (72, 104, 40)]


@pytest.mark.parametrize("m, k, n", ODD + EVEN)
def test_odd_sizes(m, k, n):
    """In every order: single elements, and 2, 4 and 8 of them at a time."""
    turn = ODD.index((m, k, n)) if m % 2 else 0
    agree(narrow(product(m, k, n, bool(turn & 1), bool(turn & 2))))


@pytest.mark.parametrize("way", TENSOR_BLOCKINGS, ids=lambda w: f"{w.rows}x{w.columns}x{w.depth}")
def test_blockings(only, way):
    """Edges in rows, columns and the reduction; three steps fill all stages, a fourth the first."""
    only(way)
    agree(narrow(product(way.rows + 4, 4 * way.depth - 8, way.columns + 8)))


@pytest.mark.parametrize("a_across, b_across", [(True, False), (False, True), (True, True)])
def test_large_tiles_in_every_order(only, a_across, b_across):
    only(TENSOR_BLOCKINGS[0])
    agree(narrow(product(136, 72, 136, a_across, b_across)))


def test_batches():
    a, b = input("a", 3, 2, 24, 16, **BF16), input("b", 3, 2, 16, 8, **BF16)
    agree(narrow(tg.matmul(a, b, accumulate="float32")))
    agree(narrow(tg.matmul(a, input("b", 16, 8, **BF16), accumulate="float32")))


def test_split_reductions_give_the_same_bits_again():
    graph = narrow(tg.relu(product(8, 4000, 12) + input("bias", 12)))
    first, second = kernels(graph)
    assert "split" in first.text and "accumulate" in second.text
    np.testing.assert_array_equal(agree(graph, 1e-5), agree(graph, 1e-5))


@pytest.mark.parametrize("n", [24, 23])
def test_epilogues(n):
    """Bias, residual, mask, rounding; columns in pairs and one by one."""
    bias, rest = input("bias", n), input("rest", 20, n, **BF16)
    mask = input("mask", 20, n, dtype="bool")
    y = product(20, 16, n) + bias
    wide = tg.cast(rest, "float32")
    outputs = tg.relu(y) + wide, tg.where(mask, y, wide), tg.cast(tg.relu(y), "bfloat16"), y > wide
    agree(narrow(*outputs), 2.0**-8)  # of one rounding to bfloat16


def test_convolutions():
    """An implicit product, with taps and a step of the reduction that channels do not fill."""
    for channels, options in ((16, {"padding": 1}), (3, {"stride": 2, "padding": 1})):
        x = tg.transpose(input("x", 2, 9, 7, channels, **BF16), (0, 3, 1, 2))
        weight = tg.transpose(input("w", 3, 3, channels, 24, **BF16), (3, 2, 0, 1))
        agree(narrow(tg.conv2d(x, weight, accumulate="float32", **options)))


# ---------------------------------------------------------------------- faults


def planted(made: CudaKernel, old: str, new: str) -> CudaKernel:
    """The kernel with one line replaced, the last of its kind."""
    assert old in made.text
    before, _, after = made.text.rpartition(old)
    return replace(made, text=before + new + after)


FAULTS = {
    "no wait": ("await_copies(1)", "", Unfinished, "reads what .* is still copying"),
    "a wait for too few groups": (
        "await_copies(1)", "await_copies(2)", Unfinished, "reads what .* is still copying"),
    "no commit": ("commit_copies()\n    step", "pass\n    step", Unfinished, "is still copying"),
    "no barrier": ("cuda.syncthreads()", "", Race, "has copied with no barrier between"),
    "a stage too early": ("fill = uint32(", "fill = uint32(0 * ", Unfinished, "is still copying"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_named(name):
    old, new, kind, words = FAULTS[name]
    graph = narrow(product(40, 160, 40))
    (made,) = kernels(graph)
    wrong = planted(made, old, new or "pass")
    kernel = Kernel(compile_kernel(wrong), source=wrong.text.replace("NAME", "kernel", 1))
    with pytest.raises(Fault, match=words) as caught:
        launch(wrong, kernel)
    assert type(caught.value) is kind and caught.value.kernel == "kernel"
    line = wrong.text.splitlines()[caught.value.line - 1]
    assert "multiply_matrices" in line or "copy_tile" in line


def launch(made: CudaKernel, kernel: Kernel, counters: Counters | None = None) -> None:
    """Runs a kernel on memory of its own."""
    memory = Memory()
    places = {id(a): memory.allocate(1 << 16) for a in made.arguments if not isinstance(a, int)}
    given = [a if isinstance(a, int) else places[id(a)] for a in made.arguments]
    kernel(memory, made.blocks, made.threads, given, counters=counters)


@pytest.mark.parametrize("a_across, b_across", [(False, False), (True, True)])
def test_no_bank_conflicts(a_across, b_across):
    """Matrices, and copies of 16 bytes, take the banks that they need and no more."""
    (made,) = kernels(narrow(product(64, 96, 64, a_across, b_across)))
    kernel, counters = compiled(made), Counters()
    launch(made, kernel, counters)
    names = {kernel.instructions[number].opcode for number in counters.passes}
    assert names == {"ldmatrix", "cp"}
    assert all(t.used == t.least for t in counters.passes.values())


# ---------------------------------------------------------------------- what is chosen, and emitted


@pytest.mark.parametrize(
    "sizes, way, splits",
    [
        (Sizes(1, 4096, 4096, 1, 1, 1024), (128, 128, 32), 1),
        (Sizes(1, 64, 64, 1, 1, 20_000), (32, 32, 32), 32),
        (Sizes(1, 10, 10, 1, 1, 16), (32, 32, 32), 1),
        (Sizes(1, 50_000, 64, 3, 3, 16), (64, 64, 16), 1),
    ],
)
def test_choices(sizes, way, splits):
    chosen, count = choose_tensor(sizes)
    assert (chosen.rows, chosen.columns, chosen.depth) == way and count == splits


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_machine_code(arch, tmp_path):
    """Accepted, without spills, and with at least 0.45 of the inner loop's instructions tensor
    products, at most 0.4 loads of matrices for each; 16 bytes a copy.
    """
    pytest.importorskip("cuda.core")
    from tinygraph_cuda.compile.toolchain import link

    (made,) = kernels(narrow(product(4096, 4096, 4096)))
    ptx = compile_kernel(made)
    assert ptx.count("mma.sync") == 64 and "ld.local" not in ptx
    cubin, used = link(ptx, arch)
    assert used.spill_stores == used.spill_loads == used.stack == 0
    assert used.registers <= 255 and used.shared == 48 * 1024
    if disassembler() is None:
        return
    inner = max(loops(disassembled(cubin, tmp_path)), key=lambda loop: loop["HMMA"])
    print(arch, f"{inner['HMMA']} HMMA of {inner.total()}", dict(inner.most_common(6)))
    assert inner["HMMA"] >= 0.45 * inner.total()
    assert inner["LDSM"] <= 0.4 * inner["HMMA"] and inner["LDGSTS"] == 8


def test_a_training_step_in_bfloat16(no_device, cache):
    """As on the CPU, to the digits of float32; its product and the gradient of that by tensor
    cores, from parameters that stay in float32.
    """
    x = np.random.default_rng(0).random((4, 64), np.float32)
    losses = {}
    for backend in ("cpu", "cuda:emulate"):
        tg.manual_seed(1)
        net, given = nn.Linear(64, 32), tg.input("x", 4, 64)
        loss = tg.mean(tg.square(net(given) - 1.0))
        updates = optim.SGD(lr=0.5).updates(loss, net.parameters())
        step = tg.compile([given], [loss], updates=updates, backend=backend, precision="bfloat16")
        losses[backend] = [float(step(x)[0]) for _ in range(4)]
    assert step.dump("source").count("acc = multiply_matrices(") == 2
    assert losses["cpu"][-1] < losses["cpu"][0]
    np.testing.assert_allclose(losses["cuda:emulate"], losses["cpu"], rtol=1e-5)
