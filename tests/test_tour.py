"""docs/tour.md shows what the compiler prints: each block is made again here and compared.

``pytest tests/test_tour.py --update-golden`` writes them.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

import tinygraph as tg
from golden_networks import WIDE, inspected
from tinygraph.inspect.inspection import Inspection
from tinygraph.inspect.profile import Timing
from tinygraph.plan.records.device import Roofline
from tinygraph_cpu.gemm.contraction import emit_contraction
from tinygraph_cpu.machine import objects
from tinygraph_cpu.machine.features import Features

TOUR = Path(__file__).parent.parent / "docs" / "tour.md"
BLOCK = "<!-- {name} -->\n```{kind}\n{text}```\n"
AVX512 = Features(16, 32, True, "skylake-avx512", "")
LLVM = 22  # the version that the machine code in the document is of
# What program.profile measured on one thread of an Intel Xeon with AVX-512, in seconds.
MEASURED = Timing([0.219e-6, 1.900e-6, 0.494e-6], 6.243e-6, Roofline(1, 249e9, 11.3e9))


def block(name: str) -> str:
    """The text of a block of the document, found by the comment above it."""
    (found,) = re.findall(rf"<!-- {name} -->\n```\w*\n(.*?)```\n", TOUR.read_text(), re.DOTALL)
    return found


@cache
def user() -> SimpleNamespace:
    """What the program of the document has made."""
    names: dict[str, Any] = {"__name__": "tour"}
    exec(compile(block("program"), "tour.py", "exec"), names)
    return SimpleNamespace(**names)


@cache
def compiled() -> Inspection:
    """The same as compiled for a processor with AVX-512, whatever this machine has."""
    return inspected(WIDE, [user().image], [user().pooled])


def launch(kind: str) -> Any:
    (found,) = (x for x in compiled().plan.launches if x.name.startswith(kind))
    return found


def record() -> str:
    """The record of the contraction, a field a line, and the sizes in its argument block."""
    work = launch("conv2d").work
    fields = re.split(r"(?<=[)\w]), (?=\w+=(?!None))", repr(work.contraction))
    sizes = [f"{name}={size}" for name, size in work.sizes.items()]
    return "\n".join([*_wrapped(fields, ", "), "", *_wrapped(sizes, " ")])


def _wrapped(words: list[str], between: str) -> list[str]:
    lines = [""]
    for number, word in enumerate(words):
        end = between if number < len(words) - 1 else ""
        if len(lines[-1]) + len(word) > 96:
            lines.append("    ")
        lines[-1] += word + end
    return [line.rstrip() for line in lines]


def kernel(kind: str) -> str:
    text = compiled().dump("source")
    (found,) = re.findall(rf"^(def {kind}\w*\(.*?)\n\n\n", text, re.DOTALL | re.MULTILINE)
    return found


def main() -> str:
    text = compiled().dump("source")
    lines = text[text.index("def main(") :].rstrip().splitlines()
    return "\n".join(part for line in lines for part in _broken(line))


def _broken(line: str) -> list[str]:
    """A long line in several, as a reader would break it."""
    if len(line) <= 100:
        return [line]
    cut = line.rindex(" ", 0, 100)
    return [line[:cut], *_broken("        " + line[cut + 1 :])]


def machine() -> str:
    """The innermost loop of the register tile: one step of the reduction."""
    module = ir.Module(name="tour", context=ir.Context())
    emit_contraction(module, "tour", launch("conv2d").work.contraction)
    lines = objects.assembly(module, AVX512).splitlines()
    last = max(i for i, line in enumerate(lines) if "vfmadd231ps" in line and "1to16" in line)
    label = max(i for i in range(last) if lines[i].endswith(":"))
    jump = next(i for i in range(last, len(lines)) if lines[i].strip().startswith("j"))
    loop = (line.expandtabs(8) for line in lines[label : jump + 1])
    return "\n".join(line for line in loop if "APP" not in line)  # empty assembly pins addresses


def profile() -> str:
    return str(compiled().profile(MEASURED))


STOPS = {
    "graph": lambda: compiled().dump("graph", lines=True),
    "passes": lambda: compiled().diff("fold_batch_norm"),
    "optimized": lambda: compiled().dump(),
    "fused": lambda: compiled().dump("fused"),
    "plan": lambda: compiled().dump("plan"),
    "remarks": lambda: "\n".join(compiled().remarks),
    "record": record,
    "contraction": lambda: kernel("conv2d").partition("Contraction(")[0] + "Contraction(...))",
    "pooling": lambda: kernel("window_max"),
    "machine": machine,
    "main": main,
    "profile": profile,
}


@pytest.mark.parametrize("name", STOPS)
def test_the_document_shows(name, request):
    if name == "machine" and llvm.llvm_version_info[0] != LLVM:
        pytest.skip(f"the document shows the machine code of LLVM {LLVM}")
    text, shown = STOPS[name]() + "\n", block(name)
    if request.config.getoption("--update-golden"):
        head, tail = TOUR.read_text().split(f"<!-- {name} -->\n", 1)
        kind, rest = re.match(r"```(\w*)\n.*?```\n(.*)", tail, re.DOTALL).groups()
        TOUR.write_text(head + BLOCK.format(name=name, kind=kind, text=text) + rest)
    assert shown == text


def test_the_documents_program_computes_what_numpy_does():
    user_ = user()
    rng = np.random.default_rng(0)
    for p in user_.stem.parameters():
        p.value = rng.uniform(0.5, 1.5, p.shape)
    x = rng.normal(size=(1, 3, 16, 16)).astype(np.float32)
    (found,) = user_.program(x)
    graph = tg.Graph("g", (user_.image,), (user_.pooled,))
    np.testing.assert_allclose(found, tg.run(graph, x)[0], rtol=1e-4)
