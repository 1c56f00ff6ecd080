"""Writes a page of the reference for each part of the library, from the names that it exports.

Sections are the files that names come from, so that a new function is in the reference once it is
in its module's ``__all__``. A name that no page has stops the build.
"""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import tinygraph as tg

# A page of ``tg``: its title, and the files of tinygraph/ops/ whose functions it has.
FUNCTIONS = {
    "elementwise": ("Element-wise functions", "arithmetic math trigonometry logic bits"),
    "activations": ("Activations", "activation"),
    "reductions": ("Reductions, running sums, sorting", "reduce along order"),
    "shapes": ("Shapes, indices, new arrays", "view indexing arranging gather source"),
    "products": ("Products", "linalg einsum"),
    "images": ("Convolution, pooling, resizing", "convolution pool resample"),
    "normalization": ("Normalization and attention", "normalization attention"),
    "losses": ("Losses", "loss distance ctc"),
    "control": ("Loops, random numbers, gradients of your own", "scan random identity"),
}
# A page for a module: its title, and what it begins with.
MODULES = {
    "nn": "Layers: `tinygraph.nn`",
    "nn.init": "Initial values: `tinygraph.nn.init`",
    "optim": "Optimizers and schedules: `tinygraph.optim`",
    "data": "Data: `tinygraph.data`",
    "train": "Training: `tinygraph.train`",
    "metrics": "Metrics: `tinygraph.metrics`",
    "pictures": "Pictures: `tinygraph.pictures`",
    "distributed": "Several processes: `tinygraph.distributed`",
    "checkpoint": "Checkpoints: `tinygraph.checkpoint`",
    "models": "Networks: `tinygraph.models`",
    "onnx": "ONNX: `tinygraph.onnx`",
    "extend": "For authors of operators and backends: `tinygraph.extend`",
}
WITH_METHODS = {
    "Program", "Node", "Parameter", "Module", "Optimizer", "Batches", "Callback", "Evaluation",
    "History", "Run",
}  # fmt: skip


FIRST: dict[int, str] = {}  # the full name under which an object is described, by its identity


def write(folder: Path) -> None:
    """Replaces the pages in a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in pages().items():
        (folder / f"{name}.md").write_text(text)


def pages() -> dict[str, str]:
    """The text of each page, by name.

    Raises:
        ValueError: a public name is on none of them.
    """
    placed: set[str] = set()
    found = {}
    for name, (title, files) in FUNCTIONS.items():
        homes = [importlib.import_module(f"tinygraph.ops.{f}") for f in files.split()]
        placed |= {n for home in homes for n in home.__all__}
        parts = [(sentence(home), tg, home.__all__) for home in homes]
        found[name] = page(title, parts)
    core = [n for n in tg.__all__ if n not in placed and not inspect.ismodule(getattr(tg, n))]
    found["programs"] = page("Graphs and programs", kinds(tg, core))
    for name, title in MODULES.items():
        module = importlib.import_module(f"tinygraph.{name}")
        found[name] = page(title, sections(module), sentence(module))
    missing = {
        n for n in tg.__all__ if inspect.ismodule(getattr(tg, n)) and n not in {*MODULES, "ops"}
    }
    if missing:
        raise ValueError(f"no page of the reference has {', '.join(sorted(missing))}")
    return found


def sentence(module: ModuleType) -> str:
    return (module.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def kinds(module: ModuleType, names: Sequence[str]) -> list[tuple[str, ModuleType, list[str]]]:
    """Functions, types and errors apart."""

    def kind(name: str) -> str:
        value = getattr(module, name)
        if not inspect.isclass(value):
            return "Functions"
        return "Errors" if issubclass(value, Exception) else "Types"

    grouped = {k: [n for n in names if kind(n) == k] for k in ("Functions", "Types", "Errors")}
    return [(k, module, found) for k, found in grouped.items() if found]


def sections(module: ModuleType) -> list[tuple[str, ModuleType, list[str]]]:
    """The names of a module by the file that they come from; its own ones first."""
    grouped: dict[str, list[str]] = {}
    for name in module.__all__:
        value = getattr(module, name)
        if not inspect.ismodule(value):
            home = getattr(value, "__module__", module.__name__)
            grouped.setdefault(home, []).append(name)
    if len(grouped) < 3:
        return kinds(
            module, [n for n in module.__all__ if not inspect.ismodule(getattr(module, n))]
        )
    order = sorted(grouped, key=lambda home: home.startswith("tinygraph.ops"))
    return [(sentence(importlib.import_module(home)), module, grouped[home]) for home in order]


def page(
    title: str, parts: Sequence[tuple[str, ModuleType, Sequence[str]]], intro: str = ""
) -> str:
    lines = [f"# {title}", "", intro, ""]
    for heading, module, names in parts:
        if len(parts) > 1:
            lines += [f"## {heading.rstrip('.:')}", ""]
        lines += [*table(module, names), ""]
        for name in names:
            lines += entry(module, name)
    return "\n".join(lines)


def table(module: ModuleType, names: Sequence[str]) -> Iterator[str]:
    """Names with the first sentence of each."""
    yield "| | |"
    yield "|---|---|"
    for name in names:
        first = (inspect.getdoc(getattr(module, name)) or "").partition("\n")[0]
        text = first.replace("|", "\\|").replace("``", "`").replace("*", "\\*").replace("[", "\\[")
        full = FIRST.setdefault(id(getattr(module, name)), f"{module.__name__}.{name}")
        yield f"| {{py:obj}}`{name} <{full}>` | {text} |"


def entry(module: ModuleType, name: str) -> Iterator[str]:
    """The place where Sphinx puts the docstring; once for each object, and not for tables."""
    value: Any = getattr(module, name)
    full = f"{module.__name__}.{name}"
    if FIRST[id(value)] != full or isinstance(value, (dict, tuple)):
        return
    directive = "autoclass" if inspect.isclass(value) else "autofunction"
    if inspect.isclass(value) and issubclass(value, Exception):
        directive = "autoexception"
    if not callable(value):
        directive = "autodata"
    yield "```{eval-rst}"
    yield f".. {directive}:: {full}"
    if name in WITH_METHODS:
        yield "   :members:"
    yield "```"
    yield ""


SECTIONS = ("Args:", "Attributes:", "Returns:", "Raises:", "Example:")
MARKS = re.compile(r"``.*?``|[*|_](?!\w)|[*|]")


def as_rst(lines: list[str]) -> list[str]:
    """A docstring with what has a meaning in reStructuredText escaped, but for literals, and with
    indented examples as code.
    """
    made, section, code, example = [], False, False, False
    for number, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        section = line in SECTIONS or (section and (not line or line[0] == " "))
        indented = line.startswith("    ") and not section
        if indented and not code and not lines[number - 1].strip():
            made += [".. code-block:: python", ""]
        code = indented or (code and not line.strip())
        made.append(line if example or code else MARKS.sub(_escaped, line))
    return made


def _escaped(found: re.Match[str]) -> str:
    text = found[0]
    return text if text.startswith("``") else f"\\{text}"
