"""One word, one meaning: no class of the compiler and its backends shares its name with another."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
# The emulator is a package of its own, which knows nothing of tinygraph: its words are its own.
VOCABULARIES = {
    "tinygraph": ["tinygraph", "backends/tinygraph_*"],
    "ptx_emulator": ["backends/ptx_emulator"],
}
# The networks' authors gave two of their layers one name.
SHARED = {"AuxiliaryClassifier"}


def classes(patterns: list[str]) -> dict[str, list[str]]:
    """Where each class name is defined."""
    found = defaultdict(list)
    folders = [folder for pattern in patterns for folder in ROOT.glob(pattern)]
    for path in sorted(p for folder in folders for p in folder.rglob("*.py")):
        for n in ast.walk(ast.parse(path.read_text())):
            if isinstance(n, ast.ClassDef):
                found[n.name].append(f"{path.relative_to(ROOT)}:{n.lineno}")
    return found


def test_no_class_name_has_two_meanings():
    twice = {
        name: places
        for patterns in VOCABULARIES.values()
        for name, places in classes(patterns).items()
        if len(places) > 1 and name not in SHARED
    }
    assert not twice, f"rename one of each: {twice}"
