"""The official node tests: all that a static graph can express, by name; what is refused, why."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx_nodes
import tinygraph as tg

CHUNKS = 16
EMULATED = 8  # cases run on the emulated GPU
COMPILED = 24  # every so many cases are compiled: kernels are tested elsewhere


def _chunk(number: int, step: int = 1) -> list[onnx_nodes.Case]:
    refused = onnx_nodes.refused()
    kept = [c for c in onnx_nodes.cases().values() if c.name not in refused]
    return kept[::step][number::CHUNKS]


@pytest.mark.parametrize("number", range(CHUNKS))
def test_the_interpreter_passes(number: int) -> None:
    for case in _chunk(number):
        onnx_nodes.check(case)


@pytest.mark.parametrize("number", range(CHUNKS))
def test_compiled_programs_pass(number: int) -> None:
    for case in _chunk(number, COMPILED):
        onnx_nodes.check(case, "cpu")


@pytest.mark.parametrize("number", range(EMULATED))
def test_the_emulated_gpu_passes(number: int) -> None:
    """A sample of what is small enough for the emulator."""
    pytest.importorskip("numba_cuda", reason="requires numba-cuda")
    refused = onnx_nodes.refused()
    passed = (c for c in onnx_nodes.cases().values() if c.name not in refused)
    kept = [c for c in passed if onnx_nodes.elements(c) < 300]
    chosen = np.random.default_rng(0).choice(len(kept), EMULATED, replace=False)
    onnx_nodes.check(kept[chosen[number]], "cuda:emulate")


def test_what_is_not_passed_is_refused_for_the_reason_in_the_table() -> None:
    refused, found = onnx_nodes.refused(), onnx_nodes.cases()
    for name in refused:
        if name.startswith(onnx_nodes.DRAWN):
            continue
        with pytest.raises((tg.onnx.OnnxError, tg.ShapeError)) as caught:
            onnx_nodes.check(found[name])
        assert onnx_nodes.reason(caught.value) == refused[name], name


KINDS = {  # what the table in docs/onnx.md calls the reasons
    "the operator NonMaxSuppression": "an operator whose shape depends on its data",
}


def test_the_table_in_the_documentation_is_current() -> None:
    refused = onnx_nodes.refused()
    counts = {"passed": len(onnx_nodes.cases()) - len(refused)}
    for why in refused.values():
        other = "an operator on texts or pictures"
        kind = KINDS.get(why, other if why.startswith("the operator") else why)
        counts[kind] = counts.get(kind, 0) + 1
    text = (Path(__file__).parent.parent / "docs" / "onnx.md").read_text()
    (table,) = re.findall(r"<!-- node tests -->\n(.*?)<!-- /node tests -->", text, re.DOTALL)
    rows = (line.strip("|").split("|") for line in table.splitlines()[2:])
    assert {kind.strip(): int(count) for kind, count in rows} == counts
