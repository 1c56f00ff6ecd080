"""Documents stay true: the files that they name exist, and the programs that they show print what
they show.
"""

from __future__ import annotations

import re
import runpy
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("backends/*/*.md")])
ROOTS = [ROOT, ROOT / "tinygraph", ROOT / "backends"]
NAMED = re.compile(r"(?<![\w/.*<])(?:[\w.-]+/)*[\w.-]+\.(?:py|md|svg|npz|gz)\b(?![\w/(])")
FOLDER = re.compile(r"`((?:\w+/)+)`")
# of a user, or written by a command
NOT_OURS = {
    "DIR/run.py", "report.md", "net.py", "tour.py", "x.npz", "best.npz", "run.npz", "curve.svg",
    "my_file.py", "confusion.svg", "net.svg", "FILE.py",
}  # fmt: skip
BLOCK = re.compile(r"```(\w*)\n(.*?)```\n(?:\nIt prints\n)?(?:\n```\n(.*?)```\n)?", re.DOTALL)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def exists(name: str, folders: list[Path]) -> bool:
    """A name without a folder may be that of any file; one with a folder must begin in one that
    the document names.
    """
    if "/" not in name:
        return any(True for _ in ROOT.glob(f"[!.]*/**/{name}")) or (ROOT / name).exists()
    return any((folder / name).exists() for folder in folders)


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_file_that_is_named_exists(document):
    text = document.read_text()
    folders = [*ROOTS, document.parent, *(r / f for r in ROOTS for f in FOLDER.findall(text))]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    named = set(NAMED.findall(prose)) - NOT_OURS
    assert [n for n in sorted(named) if not exists(n, folders)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_link_leads_somewhere(document):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def shown(document: str) -> list[tuple[str, str]]:
    """The Python programs of a document, each with the output that follows it, if any."""
    text = (ROOT / document).read_text()
    return [(code, out) for kind, code, out in BLOCK.findall(text) if kind == "python"]


@pytest.mark.parametrize("number", [0, 1])
def test_the_emulators_programs_print_what_they_show(number, tmp_path):
    code, out = shown("backends/ptx_emulator/README.md")[number]
    if "numba" in code:
        pytest.importorskip("numba_cuda")
    script, printed = tmp_path / "script.py", StringIO()
    script.write_text(code)
    with redirect_stdout(printed):
        runpy.run_path(str(script))
    assert out and printed.getvalue() == out
