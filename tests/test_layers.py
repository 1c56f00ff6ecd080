"""The architecture, as a test: a room imports only rooms below it, and the core no backend.

A room is a folder of either source root, or a module that lies directly in ``tinygraph/``. A folder
and a folder within it are two rooms. CONTRIBUTING.md shows the same list to people.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [ROOT, ROOT / "backends"]
PACKAGES = [
    "tinygraph", "tinygraph_scalar", "tinygraph_cpu", "tinygraph_cuda", "tinygraph_mpi",
    "ptx_emulator",
]  # fmt: skip

# Lowest first; rooms of one line do not import each other.
FLOORS = [
    ["tinygraph.settings"],
    ["tinygraph.ranks"],
    ["tinygraph.graph"],
    ["tinygraph.ops", "tinygraph.tracebacks"],
    ["tinygraph.autodiff"],
    ["tinygraph.plan.records"],
    ["tinygraph.plan.indexing"],
    ["tinygraph.plan.fusion"],
    ["tinygraph.plan.nests"],
    ["tinygraph.plan.contraction"],
    ["tinygraph.plan.winograd"],
    ["tinygraph.plan.launches"],
    ["tinygraph.plan.memory"],
    ["tinygraph.plan.lower"],
    ["tinygraph.plan"],
    ["tinygraph.passes"],
    ["tinygraph.codegen"],
    ["tinygraph.inspect"],
    ["tinygraph.page"],
    ["tinygraph.compiler"],
    ["tinygraph.compile", "tinygraph.view"],
    ["tinygraph.calibrate"],
    ["tinygraph.extend"],
    ["tinygraph.pictures", "tinygraph.metrics"],
    ["tinygraph.nn", "tinygraph.datasets", "tinygraph.checkpoints"],
    ["tinygraph.optim", "tinygraph.data"],
    ["tinygraph.models", "tinygraph.checkpoint"],
    ["tinygraph.train"],
    ["tinygraph.distributed"],
    ["tinygraph.onnx.reading"],
    ["tinygraph.onnx.writing"],
    ["tinygraph.onnx.operators"],
    ["tinygraph.onnx"],
    ["tinygraph"],
    ["tinygraph.cli"],
    ["tinygraph.__main__"],
    ["tinygraph_scalar", "ptx_emulator"],
    ["tinygraph_cpu.machine"],
    ["tinygraph_cpu.costs"],
    ["tinygraph_cpu.gemm", "tinygraph_cpu.loops", "tinygraph_cpu.driver"],
    ["tinygraph_cpu.attention", "tinygraph_cpu.winograd"],
    ["tinygraph_cpu"],
    ["tinygraph_cuda.compile"],
    ["tinygraph_cuda.kernels", "tinygraph_cuda.runtimes"],
    ["tinygraph_cuda"],
    ["tinygraph_cuda.check"],
    ["tinygraph_mpi"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = ("numba", "llvmlite", "torch", *PACKAGES[1:])  # what the core does not import
NUMPY_ONLY = ("ptx_emulator",)


def name_of(path: Path) -> str:
    """The full name of the module in a file."""
    root = next(r for r in reversed(SOURCES) if path.is_relative_to(r))
    return ".".join(path.relative_to(root).with_suffix("").parts)


FILES = sorted(p for r in SOURCES for k in PACKAGES for p in (r / k).rglob("*.py"))
FOLDERS = {name_of(p).rpartition(".")[0] for p in FILES}


def room_of(module: str) -> str:
    """The room of a module, or of a folder: what users import by name is a room of its own."""
    name = module.removesuffix(".__init__")
    if name in FOLDERS:
        return name
    folder = name.rpartition(".")[0]
    return name if folder == "tinygraph" else folder


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
    package = name_of(path).split(".")
    for n in ast.walk(tree):
        if id(n) in skipped:
            continue
        if isinstance(n, ast.Import):
            yield from (a.name for a in n.names)
        elif isinstance(n, ast.ImportFrom):
            above = package[: -n.level] if n.level else []
            base = ".".join([*above, *([n.module] if n.module else [])])
            yield from (full if is_module(full := f"{base}.{a.name}") else base for a in n.names)


def is_module(name: str) -> bool:
    path = Path(*name.split("."))
    return any((r / path).is_dir() or (r / path).with_suffix(".py").exists() for r in SOURCES)


@pytest.mark.parametrize("path", FILES, ids=lambda p: name_of(p))
def test_imports_point_down(path):
    me = room_of(name_of(path))
    assert me in FLOOR, f"{me} is a new room: put it on a floor, here and in CONTRIBUTING.md"
    for name in imports(path):
        top = name.partition(".")[0]
        if me.partition(".")[0] in NUMPY_ONLY:
            assert top in (*sys.stdlib_module_names, "numpy", *NUMPY_ONLY), f"{me} imports {name}"
        if me.partition(".")[0] == "tinygraph" and me != "tinygraph.cli":
            assert top not in HEAVY, f"the core imports {name}"
            if top == "networkx":
                assert path.name == "networkx_graph.py"
        other = room_of(name) if top in PACKAGES else me
        if other != me:
            assert FLOOR[other] < FLOOR[me], f"{me} imports {other}, which is not below it"


def test_few_modules_lie_beside_the_rooms():
    assert len(list((ROOT / "tinygraph").glob("*.py"))) <= 12


def test_contributing_shows_the_same_floors():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (table,) = re.findall(r"<!-- floors -->\n(.*?)<!-- /floors -->", text, re.DOTALL)
    rows = [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    shown = [[r.removesuffix(".py").rstrip("/").replace("/", ".") for r in row] for row in rows]
    assert shown == FLOORS


def test_importing_the_core_loads_no_heavy_module():
    code = (
        "import sys, importlib; [importlib.import_module(m) for m in sys.argv[1:]];"
        "print([m for m in ('numba', 'llvmlite', 'networkx', 'torch') if m in sys.modules])"
    )
    rooms = ["graph", "ops", "autodiff", "passes", "plan", "inspect.networkx_graph", "compiler"]
    done = subprocess.run(
        [sys.executable, "-c", code, *(f"tinygraph.{n}" for n in rooms)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
