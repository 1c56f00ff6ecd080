"""Text of a kernel to PTX, and PTX to machine code; no GPU and no driver is needed.

The one module that imports numba.cuda, and with runtimes/device.py, for what runs, cuda.core: so
that what comes after them can be swapped in. What others need of them, to write intrinsics, they
import from here.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from numba import cuda
from numba.cuda.debuginfo import CUDADIBuilder
from numba.cuda.extending import intrinsic

from tinygraph.codegen import library
from tinygraph.graph.dtype import DTYPES, DType

__all__ = ["Usage", "compile_ptx", "cuda", "intrinsic", "link", "types"]

types: Any = cuda.types

Capability = tuple[int, int]


def scalar_type(dtype: DType) -> Any:
    """Numba's type of a number in a register of the GPU; PTX follows from it."""
    return getattr(types, dtype.constructor)


# uint64 is for addresses in the text of kernels; floats of 16 bits are their bits, and Numba's own
# arithmetic on them, which calls functions that nobody links, is never asked for
SCALARS = {d.name: scalar_type(d) for d in DTYPES.values()}
SCALARS["uint64"] = types.uint64


@dataclass(frozen=True, slots=True)
class Usage:
    """A kernel's use of a GPU: registers and bytes per thread, shared bytes per block."""

    registers: int
    spill_stores: int
    spill_loads: int
    stack: int
    shared: int


def compile_ptx(
    text: str,
    name: str,
    signature: Sequence[str],
    cc: Capability = (8, 0),
    launch_bounds: int | tuple[int, int] | None = None,
    scope: Mapping[str, Any] | None = None,
) -> str:
    """The PTX of one kernel, with line information.

    Args:
        text: Python; defines a function `name`, the kernel, in Numba's subset of the language.
        name: of the kernel, in the PTX too.
        signature: a type for each parameter: 'uint32', or 'float32*' for a pointer.
        cc: the lowest compute capability that the kernel runs on.
        launch_bounds: the most threads of a block; also the least blocks of a multiprocessor.
        scope: further names that the text may use; `cuda` and the scalar types it may always.

    Raises:
        numba.core.errors.NumbaError: Numba cannot type or lower the text.
        ValueError: the kernel computes in float64 without mentioning it.
    """
    filename = f"<kernel {name}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    names = {"cuda": cuda, "bool_": types.boolean, **SCALARS, **(scope or {})}
    exec(compile(text, filename, "exec"), names)
    with only_lines():
        ptx, _ = cuda.compile(
            names[name],
            types.void(*map(parameter_type, signature)),
            cc=cc,
            device=False,
            abi="numba",
            lineinfo=True,
            launch_bounds=launch_bounds,
        )
    if re.search(r"\.f64\s", ptx) and not library.names_float64(" ".join((text, *signature))):
        raise ValueError(f"kernel {name} computes in float64 without mentioning it")
    return readable(ptx, name)


@contextmanager
def only_lines() -> Iterator[None]:
    """Numba describes no variables to NVVM, only lines.

    NVVM refuses some descriptions: 'Symbol name with unsupported characters' (numba-cuda, issue
    876), for instance where a loop stores a constant.
    """
    emitters = {name: getattr(CUDADIBuilder, name) for name in ("mark_variable", "update_variable")}
    for name in emitters:
        setattr(CUDADIBuilder, name, lambda *arguments, **options: None)
    try:
        yield
    finally:
        for name, emitter in emitters.items():
            setattr(CUDADIBuilder, name, emitter)


def parameter_type(text: str) -> Any:
    """A bool in memory is a byte; the text of a kernel puts bool_(...) around what it loads."""
    if not text.endswith("*"):
        return SCALARS[text]
    return types.CPointer(SCALARS["uint8" if text == "bool*" else text[:-1]])


def readable(ptx: str, name: str) -> str:
    """The PTX with the kernel's own name for Numba's, and nothing that names the machine."""
    mangled = re.search(r"\.entry\s+(\w+)", ptx)
    assert mangled is not None
    ptx = re.sub(
        r"^\.common .*\n", "", ptx.replace(mangled[1], name), flags=re.M
    )  # an environment that nothing reads
    return re.sub(r'(\.file\s+\d+) "[^"]*"', rf'\1 "{name}.py"', ptx)


def link(
    ptx: str, arch: str = "sm_80", name: str = "kernel", registers: int | None = None
) -> tuple[bytes, Usage]:
    """(cubin, what the kernel takes), by nvJitLink; ``registers`` bounds those of a thread.

    Raises:
        ImportError: cuda.core or nvJitLink is not installed.
        RuntimeError: the assembler refuses the PTX.
    """
    from cuda.core import Linker, LinkerOptions, ObjectCode

    options = LinkerOptions(
        arch=arch, ptxas_options=["-v"], verbose=True, max_register_count=registers
    )
    linker = Linker(ObjectCode.from_ptx(ptx.encode(), name=name), options=options)
    cubin = bytes(linker.link("cubin").code)
    log = linker.get_info_log() or ""

    def figure(pattern: str) -> int:
        found = re.search(pattern, log)
        return int(found[1]) if found else 0

    usage = Usage(
        figure(r"Used (\d+) registers"),
        figure(r"(\d+) bytes spill stores"),
        figure(r"(\d+) bytes spill loads"),
        figure(r"(\d+) bytes stack"),
        sum(
            int(n) for n in re.findall(r"^\s*(?:\.visible )?\.shared\b.*\[(\d+)\]", ptx, flags=re.M)
        ),
    )
    return cubin, usage
