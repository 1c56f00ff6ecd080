"""Records that hold nodes can be compared: a node's ``==`` gives a node, not a bool."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest

import tinygraph
import tinygraph_cpu
from tinygraph.graph.ir import same_nodes

SINGLE = re.compile(r"(Node|Parameter)( \| None)?")


def records() -> Iterator[type]:
    """All dataclasses with a field that is a node, and that compare their fields."""
    for package in (tinygraph, tinygraph_cpu):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if ".onnx." in found.name or found.name.endswith("__main__"):  # onnx may be missing
                continue
            for kind in vars(importlib.import_module(found.name)).values():
                if inspect.isclass(kind) and dataclasses.is_dataclass(kind):
                    compared = [str(f.type) for f in dataclasses.fields(kind) if f.compare]
                    single = any(SINGLE.fullmatch(c) for c in compared)
                    if single and kind.__dataclass_params__.eq:
                        yield kind


@pytest.mark.parametrize("kind", sorted(set(records()), key=str), ids=lambda k: k.__name__)
def test_compares_the_same_nodes_in_every_version_of_python(kind):
    assert kind.__eq__.__qualname__.startswith(same_nodes.__name__)
