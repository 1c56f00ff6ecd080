"""The architecture, as a test: modules import only lower layers, and the core no backend."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "tinygraph"
LAYERS = [
    ["size", "types", "origins"],
    ["state"],
    ["ir"],
    ["placement"],
    ["op", "settings"],
    ["arguments", "interpret"],
    ["ops", "parameter", "dump", "cache", "tracebacks"],
    ["parse", "diff", "rewrite", "analysis", "verify"],
    ["float64", "batch"],
    ["autodiff"],
    ["passes", "debug"],
    ["plan"],
    ["codegen"],
    ["pipeline", "backend"],
    ["store", "explain", "profiler", "cards"],
    ["inspect", "checks"],
    ["program"],
    ["compile"],
    ["nn", "data", "picture"],
    ["optim", "torch_file"],
    ["checkpoint"],
    ["models", "train"],
    ["demo", "networks"],
    ["profile", "show"],
    ["__main__"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
FORBIDDEN = ("numba", "llvmlite", "backends", "tinygraph_cpu", "tinygraph_cuda", "torch")


def _for_checkers_only(tree: ast.AST) -> set[int]:
    blocks = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)
    ]
    return {id(n) for block in blocks for n in ast.walk(block)}


def imports(path: Path) -> Iterator[str]:
    """Full names of all modules that a file imports, at any depth of indentation."""
    tree = ast.parse(path.read_text())
    skipped = _for_checkers_only(tree)
    package = path.relative_to(ROOT).parts
    for n in ast.walk(tree):
        if id(n) in skipped:
            continue
        if isinstance(n, ast.Import):
            yield from (a.name for a in n.names)
        elif isinstance(n, ast.ImportFrom):
            above = package[: -n.level] if n.level else ()
            base = ".".join((*above, n.module)) if n.module else ".".join(above)
            yield from [base] if n.module else [f"{base}.{a.name}" for a in n.names]


def layer_of(name: str) -> str:
    """The part of the core that a module belongs to; tinygraph itself (its __init__) has none."""
    parts = name.removesuffix(".py").split(".")
    return parts[1] if parts[0] == "tinygraph" and len(parts) > 1 else ""


FILES = sorted(CORE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CORE)))
def test_imports_point_down(path):
    me = path.relative_to(CORE).parts[0].removesuffix(".py")
    for name in imports(path):
        assert name.split(".")[0] not in FORBIDDEN, f"the core imports {name}"
        if name.split(".")[0] == "networkx":
            assert me == "analysis", "networkx belongs to analysis.py"
        other = layer_of(name)
        if me != "__init__" and other and other != me:
            assert RANK[other] < RANK[me], (
                f"{me} (layer {RANK[me]}) imports {other} (layer {RANK[other]})"
            )


def test_importing_the_core_loads_no_heavy_module():
    code = (
        "import sys, importlib; [importlib.import_module(m) for m in sys.argv[1:]];"
        "print([m for m in ('numba', 'llvmlite', 'networkx', 'torch') if m in sys.modules])"
    )
    names = ["ops", "dump", "parse", "autodiff", "passes", "analysis", "debug", "verify"]
    done = subprocess.run(
        [sys.executable, "-c", code, *(f"tinygraph.{n}" for n in names)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
