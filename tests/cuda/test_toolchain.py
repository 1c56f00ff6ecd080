"""Text to PTX, PTX to machine code, and what a kernel takes of a GPU."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from emulated_kernels import KERNELS

import tinygraph_cuda
from tinygraph.compiler.backend import BackendError
from tinygraph_cuda.compile.budget import occupancy

HAS_NUMBA_CUDA = find_spec("numba_cuda") is not None
needs_numba_cuda = pytest.mark.skipif(
    not HAS_NUMBA_CUDA, reason="numba-cuda is not installed: pip install 'tinygraph[cuda]'"
)


def test_the_package_is_cheap_to_import():
    code = (
        "import sys, tinygraph_cuda, ptx_emulator\n"
        "assert not {'numba', 'llvmlite', 'networkx'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_a_missing_toolchain_is_named(monkeypatch):
    monkeypatch.setattr(tinygraph_cuda, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"pip install 'tinygraph\[cuda\]'") as caught:
        tinygraph_cuda.require_toolchain()
    assert "\n" not in str(caught.value)


@needs_numba_cuda
def test_ptx_is_readable_and_of_a_version_that_drivers_accept():
    from tinygraph_cuda.compile.toolchain import compile_ptx

    source = KERNELS["saxpy"]
    ptx = compile_ptx(source.text, "saxpy", source.signature, launch_bounds=128)
    assert ".version 9.0" in ptx and ".entry saxpy(" in ptx and ".maxntid 128" in ptx
    assert '.file\t1 "saxpy.py"' in ptx and "saxpy_param_3" in ptx


@needs_numba_cuda
def test_float64_is_never_silent():
    from tinygraph_cuda.compile.toolchain import compile_ptx

    text = "def scale(x):\n    x[0] = x[0] * 0.1\n"
    with pytest.raises(ValueError, match="scale computes in float64"):
        compile_ptx(text, "scale", ["float32*"])


@needs_numba_cuda
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_usage(arch):
    pytest.importorskip("cuda.core")
    from tinygraph_cuda.compile.toolchain import compile_ptx, link

    source = KERNELS["tiled"]
    cubin, used = link(compile_ptx(source.text, "tiled", source.signature), arch)
    assert cubin[:4] == b"\x7fELF"
    assert used.shared == 2 * 16 * 16 * 4 and used.spill_stores == used.spill_loads == 0
    assert 16 <= used.registers <= 64


@pytest.mark.parametrize(
    "architecture, registers, shared, threads, share",
    [
        ("sm_80", 32, 0, 256, 1.0),
        ("sm_80", 128, 0, 256, 0.25),  # by registers: two blocks of eight warps out of 64
        ("sm_80", 33, 0, 256, 0.75),  # registers come by eight a thread
        ("sm_90", 16, 48 * 1024, 256, 0.5),  # by shared memory: four blocks
        ("sm_86", 16, 0, 64, 16 * 64 / 1536),  # by blocks
        ("sm_88", 32, 0, 256, 1.0),  # as sm_87
    ],
)
def test_occupancy(architecture, registers, shared, threads, share):
    assert occupancy(architecture, registers, shared, threads) == share


def test_compilers_are_imported_in_one_place_each():
    """Whoever replaces numba-cuda or cuda-core has these files to look at, and no others."""
    found = {"numba": set(), "cuda": set()}
    for path in Path(tinygraph_cuda.__file__).parent.rglob("*.py"):
        for n in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in n.names] if isinstance(n, ast.Import) else []
            names += [n.module or ""] if isinstance(n, ast.ImportFrom) and not n.level else []
            for top in {name.partition(".")[0] for name in names} & set(found):
                found[top].add(path.name)
    assert found == {"numba": {"toolchain.py"}, "cuda": {"toolchain.py", "device.py"}}
