"""What users see of the compiler's work: stages, remarks, costs, profiles, explanations."""

from __future__ import annotations

import io
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.graph.ir import Graph
from tinygraph.graph.rewrite import Event
from tinygraph.inspect.remarks import unfused
from tinygraph.plan.records.cost import elements
from tinygraph.plan.records.reason import Reason
from tinygraph.plan.records.work import Access, Buffer

HERE = Path(__file__).name


class Small(nn.Module):
    """Convolution with batch normalization, pooling, dropout and a linear layer."""

    def __init__(self):
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(64, 10)

    def forward(self, x, training=False):
        x = tg.relu(self.norm(self.conv1(x), training=training))
        return self.fc(tg.reshape(self.pool(x), (-1, 64)))


def predicting(**options):
    x = tg.input("image", 3, 1, 8, 8)
    return tg.compile([x], [Small()(x)], name="predict", **options)


def training():
    x, y = tg.input("image", 3, 1, 8, 8), tg.input("label", 3, dtype="int32")
    net = Small()
    loss = nn.cross_entropy(net(x, training=True), y)
    updates = optim.SGD(0.1, momentum=0.9).updates(loss, net.parameters())
    return tg.compile([x, y], [loss], updates=updates, name="train")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache folder of this file's own."""
    tg.settings.cache = tmp_path_factory.mktemp("cache")
    yield
    tg.settings.cache = None


@pytest.fixture(scope="module")
def predict(cache):
    return predicting()


@pytest.fixture(scope="module")
def train(cache):
    return training()


@pytest.fixture(params=["predict", "train"])
def program(request):
    return request.getfixturevalue(request.param)


# ---------------------------------------------------------------------- stages


def test_every_graph_stage_parses_back(program):
    for stage in program.stages[:-3]:
        text = program.dump(stage)
        assert tg.dump(tg.parse(text)) == text, stage


def test_stages_tell_the_pipeline(predict):
    assert predict.stages[0] == "graph"
    assert predict.stages[-3:] == ("fused", "plan", "source")
    assert predict.dump() == predict.dump(predict.stages[-4])


def test_stages_fit_100_columns(program):
    for stage in (*program.stages[:-1], "plan"):
        for lines in (False, True):
            wide = [x for x in program.dump(stage, lines=lines).split("\n") if len(x) > 100]
            assert not wide, (stage, wide)


@pytest.mark.parametrize("stage", ["graph", None, "fused", "plan", "source"])
def test_stages_show_the_users_lines(program, stage):
    assert HERE in program.dump(stage, lines=True)
    assert HERE not in program.dump(stage)


def test_the_source_is_python_and_names_its_nodes(program):
    text = program.dump("source", lines=True)
    compile(text, "source", "exec")
    assert "= conv2d: f32[3,1,4,8,8]" in text
    assert Path(program.source_path).read_text().startswith(program.dump("source"))


def test_an_unknown_stage_names_the_others(predict):
    with pytest.raises(ValueError, match="did you mean 'simplify'"):
        predict.dump("simplfy")


def test_a_program_prints_on_half_a_page(program):
    text = str(program)
    assert len(text.splitlines()) < 25
    assert max(map(len, text.splitlines()[1:])) <= 100
    assert all(word in text for word in ("passes", "launches", "memory", "layer", "loops"))
    assert "conv2d" in program._repr_markdown_()


def test_dump_folder(tmp_path):
    tg.settings.dump = tmp_path
    try:
        program = predicting()
    finally:
        tg.settings.dump = None
    assert not (tmp_path / "predict.2").exists()
    written = sorted(p.name for p in (tmp_path / "predict").iterdir())
    assert written[0] == "00-graph.graph" and "remarks.txt" in written
    assert len(written) == len(program.stages) + 1
    for path in (tmp_path / "predict").glob("*.graph"):
        tg.parse(path.read_text())


def test_layers_fold(predict):
    folded = predict.dump("graph", scopes=True)
    assert "... conv1 (" in folded and "conv2d(" not in folded


def test_networkx_and_dot_show_the_optimized_graph(predict):
    graph = predict.to_networkx()
    conv = next(d for _, d in graph.nodes(data=True) if d["op"] == "conv2d")
    assert len(conv["launches"]) == 1 and "conv2d" in conv["kernels"][0]
    assert any(HERE in line for line in conv["lines"])
    assert predict.dot().startswith("digraph") and "conv2d" in predict.dot("graph")


# ---------------------------------------------------------------------- events and remarks


def test_remarks_say_what_passes_did(predict):
    (folded,) = [r for r in predict.remarks if r.startswith("fold_batch_norm")]
    assert HERE in folded and "in norm" in folded


def test_a_users_pass_may_keep_a_log():
    def silent(graph: Graph) -> Graph:
        return graph

    def speaking(graph: Graph, log: list[Event] | None = None) -> Graph:
        if log is not None:
            log.append(Event("looked_at_it", graph.outputs[0], graph.outputs[0]))
        return graph

    x = tg.input("x", 3)
    program = tg.compile([x], [tg.relu(x)], passes=[silent, speaking, speaking])
    assert program.stages[1:4] == ("silent", "speaking", "speaking.2")
    assert len([r for r in program.remarks if "looked_at_it" in r]) == 2


def test_every_pair_of_neighbours_is_counted_in_some_remark(program):
    pairs = unfused(program.inspection.plan, program.inspection.compiled.graph)
    apart = [r for r in program.remarks if " are in two kernels: " in r]
    others = (re.search(r"and (\d+) more like it", r) for r in apart)
    assert pairs and len(pairs) == len(apart) + sum(int(m[1]) for m in others if m)
    assert all(any(x.value in r for x in Reason) for r in apart)


def test_without_fusion_the_reason_is_that():
    x = tg.input("x", 64)
    program = tg.compile([x], [tg.exp(tg.relu(x))], without=["fuse"])
    assert [r for r in program.remarks if Reason.LEFT_OUT.value in r]


# ---------------------------------------------------------------------- costs


def test_costs_of_a_network_are_exact():
    x = tg.input("x", 5, 7)
    w, b = tg.parameter(np.ones((7, 3), np.float32)), tg.parameter(np.ones(3, np.float32))
    cost = tg.compile([x], [tg.relu(x @ w + b)]).cost()
    assert (
        cost["flops"] == (7 + 6) * 5 * 3 + 2 * 5 * 3
    )  # 7 multiplications and 6 additions an element
    assert (cost["parameters"], cost["parameter_bytes"]) == (24, 96)
    assert cost["launches"] == 1
    packed = 4 * 7 * 16  # w in a column block of a vector; fewer lanes need less
    assert 4 * (35 + 3 + 15 + 21) <= cost["bytes"] <= 4 * (35 + 3 + 15) + packed


def test_costs_sum_over_launches(program):
    cost, parts = program.cost(), program.costs()
    assert cost["launches"] == len(parts) == len(program.inspection.plan.launches)
    assert cost["flops"] == sum(c.flops for c in parts)
    assert cost["bytes"] == sum(c.bytes for c in parts)
    held = ("arena", "prepared", "parameter", "input", "output")
    assert cost["peak_bytes"] >= sum(cost[f"{h}_bytes"] for h in held)


def test_elements_of_windows_over_dense_images_are_exact():
    buffer = Buffer("x", 1 << 20, "arena")
    cases = itertools.product(
        (1, 2, 3), (1, 2), (1, 3), (4, 9)
    )  # kernel, stride, channels, outputs
    for kernel, stride, channels, out in cases:
        width = (out - 1) * stride + kernel
        strides = (stride * width * channels, stride * channels, width * channels, channels, 1)
        sizes = (out, out, kernel, kernel, channels)
        places = itertools.product(*map(range, sizes))
        reached = {sum(i * s for i, s in zip(at, strides, strict=True)) for at in places}
        found = elements(Access(buffer, 0, strides, "float32"), sizes)
        assert found >= len(reached)
        if stride <= kernel:
            assert found == len(reached), (kernel, stride, channels, out)


def test_elements_are_never_too_few():
    rng = np.random.default_rng(0)
    buffer = Buffer("x", 1 << 20, "arena")
    for _ in range(200):
        rank = int(rng.integers(1, 5))
        strides = tuple(int(s) for s in rng.integers(0, 12, rank))
        sizes = tuple(int(n) for n in rng.integers(1, 5, rank))
        places = itertools.product(*map(range, sizes))
        reached = {sum(i * s for i, s in zip(at, strides, strict=True)) for at in places}
        assert elements(Access(buffer, 0, strides, "float32"), sizes) >= len(reached)


# ---------------------------------------------------------------------- explanations


@pytest.mark.parametrize("name", ["conv1", "conv1.weight"])
def test_explain_follows_a_layer_to_its_kernel(predict, name):
    text = predict.explain(name)
    assert "fold_batch_norm" in text
    assert "conv2d" in text.partition("kernels")[2]
    assert HERE in text


def test_explain_knows_labels_and_says_what_is_near(predict):
    assert "input image: f32[3,1,8,8]" in predict.explain("image")
    label = next(x.split()[0] for x in predict.dump().splitlines() if "= matmul(" in x)
    assert "matmul" in predict.explain(label).partition("kernels")[2]
    with pytest.raises(ValueError, match="no node, scope or parameter 'conv2'; there is conv1"):
        predict.explain("conv2")


# ---------------------------------------------------------------------- profiles


def test_profiles_leave_parameters_alone(train):
    before = [p.value for p in train.parameters]
    arrays = np.ones((3, 1, 8, 8), np.float32), np.zeros(3, np.int32)
    profile = train.profile(*arrays, repeat=2)
    for p, value in zip(train.parameters, before, strict=True):
        np.testing.assert_array_equal(p.value, value)
    assert len(profile.launches) == train.cost()["launches"]
    assert sum(r.share for r in profile.launches) == pytest.approx(1)
    assert sum(r.seconds for r in profile.scopes) == pytest.approx(profile.total)
    assert {r.hint for r in profile.launches} <= {"compute", "memory", "cache", "launch"}
    assert profile.seconds > 0
    assert 1e8 < profile.peak.flops < 1e15 and 1e8 < profile.peak.bandwidth < 1e13
    assert max(map(len, str(profile).splitlines())) <= 100
    assert "us (" in train.explain("conv1")  # with times, once they are known


def test_profiles_show_with_rich(predict):
    console = pytest.importorskip("rich.console")
    profile = predict.profile(np.ones((3, 1, 8, 8), np.float32), repeat=1)
    out = console.Console(width=160, record=True, file=io.StringIO())
    out.print(profile)
    assert "conv1" in out.export_text()
    with pytest.raises(ValueError, match="repeat"):
        predict.profile(np.ones((3, 1, 8, 8), np.float32), repeat=0)


# ---------------------------------------------------------------------- compile's arguments


def test_the_seed_of_a_program():
    x = tg.input("x", 1000)

    def dropped(seed):
        return tg.compile([x], [nn.Dropout(0.5)(x, training=True)], seed=seed)

    ones = np.ones(1000, np.float32)
    first, again, other = (dropped(s)(ones)[0] for s in (1, 1, 2))
    assert (first != other).any()
    assert np.isin(again, first).all()


def test_options_that_mean_nothing_are_errors():
    x = tg.input("x", 3)
    with pytest.raises(ValueError, match=r"without='fuze' is not one of widen, .*fuse"):
        tg.compile([x], [x], without=["fuze"])
    with pytest.raises(ValueError, match="verify is 'values' or None"):
        tg.compile([x], [x], verify="value")


# ---------------------------------------------------------------------- warm starts


WARM = """
import sys
import numpy as np
import tinygraph as tg
x = tg.input("image", 2, 1, 28, 28)
program = tg.compile([x], [tg.models.lenet5()(x)])
program(np.zeros((2, 1, 28, 28), np.float32))
heavy = [m for m in ("numba", "networkx", "tinygraph.inspect", "tinygraph.plan.schedule")
         if m in sys.modules]
print("cold" if program.built.compiled else "warm", *heavy)
print(program.dump("plan"))
print(program.dump("source"))
"""


def start(folder: Path) -> tuple[str, str]:
    """The first line, and the rest, of what a fresh process prints."""
    root = Path(__file__).parent.parent
    path = os.pathsep.join(map(str, (root, root / "backends")))
    environment = {**os.environ, "TINYGRAPH_CACHE": str(folder), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", WARM], env=environment, capture_output=True, text=True, check=True
    )
    first, _, rest = done.stdout.partition("\n")
    return first, rest


def test_a_warm_start_imports_nothing_heavy_and_shows_the_same(tmp_path):
    cold = start(tmp_path)
    warm = start(tmp_path)
    assert cold[0].startswith("cold")
    assert warm[0] == "warm"
    assert warm[1] == cold[1]
    for path in list((tmp_path / "kernel").iterdir())[::2]:
        path.unlink()
    rebuilt = start(tmp_path)
    assert rebuilt[0].startswith("cold") and rebuilt[1] == cold[1]
    assert start(tmp_path)[0] == "warm"


def test_loops_of_alike_layers_cost_as_much_as_each_alone() -> None:
    """The bodies of two layers may be the same nodes: each loop makes all of their operations."""

    def loops(layers: int) -> list[int]:
        x = tg.input("x", 3, 5, 16)
        y, _ = tg.nn.LSTM(16, 16, layers, batch_first=True)(x)
        program = tg.compile([x], [y])
        plan, found = program.inspection.plan, program.costs()
        return [sum(c.flops for c in found[x.first : x.last]) for x in plan.loops]

    (one,) = loops(1)
    assert one > 5 * 2 * 3 * 16 * 64
    assert loops(2) == [one, one]
