"""What users see of plans, code and errors, word for word; CONTRIBUTING.md says how to read them.

A change of the planner or of a text shows here as a diff of tests/golden/test_goldens/.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import pytest

import wrong_programs
from golden_networks import NETWORKS
from tinygraph.inspect.inspection import Inspection


@cache
def network(name: str) -> Inspection:
    return NETWORKS[name][0]()


def groups(name: str) -> str:
    """The nodes that share a kernel, by their labels in the optimized graph."""
    found, text = network(name), []
    for title, launches in (("prepare", found.plan.prepare), ("run", found.plan.launches)):
        for number, launch in enumerate(launches):
            for member in launch.members:
                nodes = (f"{found.names.get(n, '?')} {n.op.name}" for n in member.nodes)
                text.append(f"{title} {number}: {', '.join(nodes)}")
    return "\n".join(text)


def source(name: str) -> str:
    """The generated module; of LeNet-5's step only what is launched, the kernels are 25 KB."""
    text = network(name).dump("source")
    return text[text.index("def main(") :] if name == "lenet_step" else text


TEXTS: dict[str, Callable[[str], str]] = {
    "fused": lambda name: network(name).dump("fused"),
    "plan": lambda name: network(name).dump("plan"),
    "groups": groups,
    "source": source,
    "remarks": lambda name: "\n".join(network(name).remarks),
    "explain": lambda name: network(name).explain(NETWORKS[name][1]),
    "cost": lambda name: "\n".join(f"{k} {v:,}" for k, v in network(name).cost().items()),
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", NETWORKS)
def test_network(name, text, golden):
    assert golden == TEXTS[text](name)


def test_errors(golden):
    assert golden == "\n".join(map(wrong_programs.message, wrong_programs.WRONG))


def test_texts_are_the_same_in_every_process():
    """Sets and dictionaries by hash would show: these are other seeds than the goldens'."""
    program = (
        "import test_goldens as t\nfor n in t.NETWORKS:\n for f in t.TEXTS.values(): print(f(n))"
    )
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1 and "launch(" in texts.pop()
