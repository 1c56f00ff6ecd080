"""Differences between graphs: the nodes that changed, not those that only read them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

import tinygraph as tg
from tinygraph.__main__ import main
from tinygraph.graph.diff import differences
from tinygraph.graph.twins import changes, lines
from tinygraph.passes import PIPELINE
from whole_networks import WHOLE

x, p = tg.input("x", 4, 3), tg.input("p", 3)


def graph(*outputs: tg.Node, name: str = "g") -> tg.Graph:
    return tg.Graph(name, (x, p), outputs)


def signed(text: str) -> list[str]:
    """The lines that differ, without the heading."""
    return [line for line in text.splitlines()[2:] if line[0] in "+-"]


def test_equal_graphs_have_no_differences():
    y = tg.exp(x) * p
    assert tg.diff(graph(y), graph(y)).splitlines() == [
        "--- g: 2 nodes",
        "+++ g: 2 nodes",
        "  ... 2 as before",
    ]


def test_what_reads_a_changed_node_is_as_before():
    """All five nodes behind it are new objects."""

    def chain(first: tg.Node) -> tg.Graph:
        return graph(tg.tanh(tg.exp(tg.log(tg.sqrt(tg.abs(first) + p)))))

    found = tg.diff(chain(tg.neg(x)), chain(tg.sigmoid(x)))
    assert signed(found) == [
        "- %0' = neg(x) : f32[4,3]",
        "+ %0 = sigmoid(x) : f32[4,3]",
        "- %1 = abs(%0') : f32[4,3]",
        "+ %1 = abs(%0) : f32[4,3]",
    ]
    assert found.splitlines()[-1] == "  ... 3 as before"
    assert found.splitlines()[1] == "+++ g: 7 nodes: 1 gone, 1 added, 1 with other operands"
    assert "  %3 = sqrt(%2) : f32[4,3]" in found.splitlines()


def test_removed_nodes_keep_their_numbers_with_a_mark():
    y = tg.exp(x)
    assert signed(tg.diff(graph(tg.neg(tg.neg(y))), graph(y))) == [
        "- %1' = neg(%0) : f32[4,3]",
        "- %2' = neg(%1') : f32[4,3]",
        "- return %2'",
        "+ return %0",
    ]


def test_names_and_constants_stand_for_themselves():
    found = signed(tg.diff(graph(x * 2.0), graph(x * 3.0)))
    assert found == ["- %0' = mul(x, 2.0) : f32[4,3]", "+ %0 = mul(x, 3.0) : f32[4,3]",
                     "- return %0'", "+ return %0"]  # fmt: skip


def test_what_only_moved_is_as_before():
    a, b, c = tg.exp(x), tg.log(x), tg.sqrt(x)
    found = tg.diff(graph(a, b, c), graph(c, a, b))
    assert found.splitlines()[1] == "+++ g: 3 nodes"
    assert signed(found) == ["- return %1, %2, %0", "+ return %0, %1, %2"]


@pytest.mark.parametrize("name", ["lenet5_step", "resnet50", "lstm_step", "char"])
def test_counts_are_those_of_the_sets_of_nodes(name):
    inputs, outputs, updates = WHOLE[name]()
    program = tg.compile(inputs, outputs, updates=updates, name=name)
    for a, b in pairwise(program.inspection.steps):
        before, after = dict(lines(a.graph)).keys(), dict(lines(b.graph)).keys()
        signs = Counter(line.sign for line in differences(a.graph, b.graph) if line.counts)
        assert signs[" "] + signs["-"] == len(before), b.name
        assert signs[" "] + signs["+"] == len(after), b.name
        assert signs["-"] <= len(before - after) and signs["+"] <= len(after - before), b.name


def test_twins_read_twins_where_lines_are_alike():
    """Of two lines that read alike, each keeps its own, in whatever order they are written."""
    a, b = tg.exp(x), tg.log(x)
    before, after = graph(tg.neg(a), tg.neg(b)), graph(tg.neg(tg.log(x) * p), tg.neg(tg.exp(x)), a)
    found = changes(before, after)
    assert found.twins[after.outputs[1]] is before.outputs[0]
    assert found.changed == [after.outputs[0]] and not found.gone


def test_loops_are_compared_inside():
    def loop(step) -> tg.Graph:
        (end,), _ = tg.scan(lambda carry, at: step(carry) + at, p, x)
        return graph(end)

    found = signed(tg.diff(loop(tg.exp), loop(tg.tanh)))
    assert any(line.startswith("-     %0' = exp(") for line in found)
    assert any(line.startswith("+     %0 = tanh(") for line in found)


def test_long_lines_are_wrapped():
    wide = tg.concat([tg.exp(x) + k for k in range(40)], 0)
    lines = tg.diff(graph(tg.exp(x)), graph(wide)).splitlines()
    assert max(map(len, lines)) <= 100


# -- of programs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program() -> tg.Program:
    return tg.compile([x], [tg.relu(tg.relu(x)) * 1.0 + tg.stop_gradient(x)], name="twice")


def test_a_pass_is_compared_with_the_one_before(program):
    found = program.diff("simplify")
    assert found.startswith("--- split_dilation: 4 nodes\n+++ simplify: 2 nodes")
    assert "- %1' = relu(%0) : f32[4,3]" in found and "stop_gradient" not in found


def test_any_two_stages_and_by_default_all(program):
    last = PIPELINE[-1].__name__
    assert program.diff().startswith(f"--- graph: 5 nodes\n+++ {last}: 2 nodes")
    assert program.diff("simplify", since="graph").count("stop_gradient") == 1
    assert signed(program.diff("graph")) == []
    with pytest.raises(ValueError, match="no stage 'simplfy'; did you mean 'simplify'"):
        program.diff("simplfy")
    with pytest.raises(ValueError, match="no stage 'plan'"):
        program.diff("plan")


def test_the_command_shows_stages_and_differences(capsys):
    main(["show", "lenet5"])
    assert "stages   graph, widen, expand_composites" in capsys.readouterr().out
    main(["show", "lenet5", "graph", "--layers"])
    assert "... conv1 (" in capsys.readouterr().out
    main(["show", "lenet5", "--diff"])
    assert capsys.readouterr().out.startswith("--- graph: ")
    with pytest.raises(SystemExit, match="python -m tinygraph show: no stage 'plam'; did you mean"):
        main(["show", "lenet5", "plam"])
    with pytest.raises(SystemExit, match="python -m tinygraph show: --batch requires"):
        main(["show", "lenet5", "--batch", "0"])
