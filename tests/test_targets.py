"""The planner plans for any processor: one that no backend has, and those with small caches."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from compiled import execute_plan, graph_of
from targets import SMALL, WIDE
from tinygraph.compiler.pipeline import run_passes
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph
from tinygraph.graph.op import input
from tinygraph.passes import strip_effects
from tinygraph.plan.records.plan import Plan
from tinygraph.plan.records.target import (
    NEVER,
    Copying,
    Cut,
    Lowering,
    PlainTarget,
    Prefetch,
    Product,
    Shaping,
    Target,
)
from tinygraph.plan.schedule import schedule
from tinygraph.plan.verify import verify_plan
from tinygraph_cpu.costs.caches import NOMINAL, Caches, measured
from whole_networks import WHOLE

L2 = 32 * 1024


@dataclass(frozen=True)
class Toy:
    """A processor of this test's own: 4 lanes, 32 KB of second-level cache, dear launches."""

    lanes: int = 4
    devices: int | None = 1
    packs: bool = True
    winograd: bool = False
    lowerings: tuple[Lowering, ...] = ()
    copying: Copying = Copying(  # noqa: RUF009
        heavy=L2, few=16, many=64, turned=64, turned_once=NEVER, reused=8, near=0,
        crowded=256, gap=16, deep=4, ways=4,
    )
    shaping: Shaping = Shaping(unrolled=9, blocks=(16, 8, 4))  # noqa: RUF009
    prefetch: Prefetch | None = None
    resident: int = L2
    near: int = 4096

    def cut(self, product: Product) -> Cut:
        rows, vectors = min(3, product.rows), min(2, -(-product.columns // self.lanes))
        s = product.reduction[1]
        if product.across and product.depth * product.columns * 4 > L2 and s > 1:
            return Cut(rows, vectors, 2, 1, chunk=max(1, s // 2))
        return Cut(rows, vectors, 2, 1)

    def parts(self, work: int) -> int:
        return min(16, work // 1024)

    def across(self, columns: Product, reduction: Product) -> bool:
        return False

    def duration(self, operations: int, bytes: int) -> float:
        return 1e6 + operations + bytes


TARGETS: dict[str, Target] = {
    "toy": Toy(),
    "plain": PlainTarget(),
    "one lane": PlainTarget(lanes=1, packs=False),
    "small caches": replace(SMALL, caches=Caches(4096, L2, 2 * L2), resident=L2),
}
LARGE = ("googlenet", "inception_v3", "mobilenet_v2", "resnet50")


def graph_and_plan(name: str, target: Target) -> tuple[Graph, Plan]:
    inputs, outputs, updates = WHOLE[name]()
    graph, pairs = strip_effects(Graph("net", tuple(inputs), tuple(outputs)), tuple(updates))
    whole = Graph("net", graph.inputs, (*graph.outputs, *(new for _, new in pairs)))
    ready = run_passes(whole)[-1].graph
    return ready, schedule(ready, tuple(p for p, _ in pairs), target=target)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("kind", ["toy", "small caches"])
def test_all_networks_are_planned(name, kind, request):
    if name.startswith(LARGE) and not request.config.getoption("--deep"):
        pytest.skip("takes seconds: --deep")
    _, plan = graph_and_plan(name, TARGETS[kind])
    verify_plan(plan)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("m, k, n", [(1, 1, 1), (7, 5, 9), (4, 8, 12), (33, 70, 17)])
def test_products_are_right(kind, m, k, n):
    graph = graph_of(input("a", m, k) @ (input("b", k, n) + 1) + 1)
    plan = verify_plan(schedule(graph, target=TARGETS[kind]))
    arrays = [np.arange(x.type.size, dtype=np.float32).reshape(x.shape) % 5 for x in graph.inputs]
    (found,), (want,) = execute_plan(plan, graph, *arrays), run(graph, *arrays)
    np.testing.assert_array_equal(found, want)


# ---------------------------------------------------------------------- caches of this machine


def folder(path: Path, *caches: tuple[str, int, str]) -> Path:
    """As Linux describes caches: (type, level, size)."""
    for number, (kind, level, size) in enumerate(caches):
        (index := path / f"index{number}").mkdir()
        for name, value in (("type", kind), ("level", level), ("size", size)):
            (index / name).write_text(f"{value}\n")
    return path


def test_caches_are_read_and_count_at_most_as_nominal(tmp_path):
    small = (("Data", 1, "16K"), ("Instruction", 1, "8K"), ("Unified", 2, "256K"))
    assert measured(folder(tmp_path, *small)) == Caches(16 * 1024, 128 * 1024, 128 * 1024)


def test_large_or_unknown_caches_are_nominal(tmp_path):
    assert measured(tmp_path / "nowhere") == NOMINAL
    large = (("Data", 1, "48K"), ("Unified", 2, "2048K"), ("Unified", 3, "480M"))
    assert measured(folder(tmp_path, *large)) == NOMINAL


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("m, n, k", [(1, 4096, 4096), (256, 1024, 2048), (64, 64, 9000)])
def test_caches_do_not_change_the_order_of_sums(m, n, k, packed, across):
    product = Product(1, 1, m, n, (1, k // 4, 4), packed, across, longest=8)
    tiny = replace(WIDE, caches=Caches(4096, 16 * 1024, 64 * 1024))
    usual, other = WIDE.cut(product), tiny.cut(product)
    order = [(c.chunk, c.inner, c.splits, c.pieces) for c in (usual, other)]
    assert order[0] == order[1]


# ---------------------------------------------------------------------- no processor in the core

CORE = Path(__file__).parent.parent / "tinygraph"
PROCESSOR = re.compile(
    r"(^|_)(L[123]|CACHES?|CYCLES|LINE|LANES?|REGISTERS?|FETCH|STREAM|PREFETCH|GRAINS?|CROWDED)"
    r"(_|$)"
)


def test_no_number_of_a_processor_is_in_the_core():
    """By the names of constants; sizes of caches, cycles and lanes belong to backends."""
    found = []
    for path in CORE.rglob("*.py"):
        for n in ast.walk(ast.parse(path.read_text())):
            names = [t for t in getattr(n, "targets", []) if isinstance(n, ast.Assign)]
            for t in (t for x in names for t in getattr(x, "elts", [x])):
                if isinstance(t, ast.Name) and PROCESSOR.search(t.id) and t.id.isupper():
                    found.append(f"{path.relative_to(CORE)}: {t.id}")
    assert found == []
