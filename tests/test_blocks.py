"""Every Python block of the documents runs, in order, in one namespace for each document.

In a document's source, which readers do not see:

    <!-- not run: why -->    before a block that cannot run, such as one that needs a GPU
    <!-- setup               code that runs at this point, for names that the text takes as given
    x = ...
    -->

What a document in Chinese shows is what its English one shows, so it is compared, not run.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import tinygraph as tg

ROOT = Path(__file__).parent.parent
ENGLISH = sorted(
    p
    for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    if not ({"zh", "api"} & set(p.parts) or p.name.endswith(".zh.md"))
)
PAIRS = {
    ROOT / "README.md": ROOT / "README.zh.md",
    ROOT / "docs/tutorial.md": ROOT / "docs/zh/tutorial.md",
}
ELSEWHERE = {"tour.md"}  # whose blocks another test runs
STEP = re.compile(
    r"<!-- setup\n(.*?)-->|(?:<!-- (not run): [^>]*-->\n)?```python\n(.*?)```", re.DOTALL
)


def steps(document: Path) -> list[tuple[int, str]]:
    """The line and the code of each block that runs."""
    text = document.read_text()
    return [
        (text[: found.start()].count("\n") + 1, found[1] or found[3])
        for found in STEP.finditer(text)
        if not found[2]
    ]


WITH_CODE = [p for p in ENGLISH if p.name not in ELSEWHERE and steps(p)]


@pytest.mark.parametrize("document", WITH_CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_run(document, tmp_path, monkeypatch, own_operators):
    if any("tg.onnx" in code for _, code in steps(document)):
        try:
            tg.onnx.require_package()
        except ImportError as error:
            pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": document.stem}
    for line, code in steps(document):
        source = "\n" * line + textwrap.dedent(code)  # so that tracebacks have the document's lines
        exec(compile(source, str(document), "exec"), names)
    tg.manual_seed(0)


def headings(text: str) -> list[str]:
    """The levels of a document's headings, in order."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^(#+) ", prose, flags=re.MULTILINE)


def blocks(text: str) -> list[str]:
    """The code of a document without its comments, which are translated."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [
        "\n".join(re.sub(r"\s+#.*|^#.*", "", line) if kind in ("python", "sh") else line
                  for line in code.splitlines())
        for kind, code in found
    ]  # fmt: skip


def spans(text: str) -> set[str]:
    """What the prose and the tables of a document name in code."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return {" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)}


def measured(text: str) -> list[list[str]]:
    """The numbers in the rows of tables, after the first column."""
    rows = [line.split("|")[2:] for line in text.splitlines() if line.startswith("| ")]
    return [re.findall(r"\d+\.\d+|\d{2,}", "|".join(cells)) for cells in rows]


@pytest.mark.parametrize("english", PAIRS, ids=lambda p: p.name)
def test_both_languages_say_the_same(english):
    first, second = english.read_text(), PAIRS[english].read_text()
    assert blocks(first) == blocks(second)
    assert headings(first) == headings(second)
    assert spans(first) == spans(second)
    figures, theirs = ([row for row in measured(t) if len(row) > 2] for t in (first, second))
    assert figures == theirs
    assert first.count("\n| ") == second.count("\n| ")
