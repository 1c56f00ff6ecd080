"""Every pass and rule keeps values, NaN and infinities included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from random_graphs import graph_of, graphs, parameter
from tinygraph import ops
from tinygraph.compiler.check_values import (
    PassError,
    Probe,
    check_pass,
    check_passes,
    difference,
    make_probes,
)
from tinygraph.graph.dump import dump
from tinygraph.graph.interpret import run
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import constant, input
from tinygraph.graph.parse import parse
from tinygraph.graph.rewrite import Event, rewrite, rule, substitute, var
from tinygraph.graph.verify import verify
from tinygraph.ops.identity import effect
from tinygraph.ops.math import exp, tanh
from tinygraph.passes import (
    PIPELINE,
    RULES,
    UpdateError,
    drop_identities,
    fold_batch_norm,
    fold_constants,
    simplify,
    stabilize,
    strip_effects,
)
from wrong_rewrites import WRONG


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_rule_fires_on_its_example_and_keeps_its_meaning(rule):
    before = graph_of(rule.example())
    log: list[Event] = []
    after = verify(rewrite(before, (rule,), log), rule.name)
    assert [e.rule for e in log][:1] == [rule.name]
    for probe in make_probes(before):
        assert difference(before, after, probe) is None, dump(after)


@pytest.mark.parametrize("p", PIPELINE, ids=lambda p: p.__name__)
@given(graph=graphs())
def test_pass_keeps_values_of_random_graphs(p, graph):
    check_passes(graph, [p])


@given(graph=graphs())
def test_pipeline_keeps_values_of_random_graphs(graph):
    check_passes(graph, PIPELINE)


def test_seeded_wrong_rewrites_are_many_and_half_are_subtle():
    assert len(WRONG) == 13
    assert sum(bool(w.only) for w in WRONG) >= 6


@rule(tanh(var("x")), example=lambda: tanh(input("x", 4, 3)))
def tanh_by_exponentials(out, x):
    return (ops.exp(x * 2) - 1) / (ops.exp(x * 2) + 1)


@rule(exp(var("x")), example=lambda: exp(input("x", 4, 3)))
def exp_below_50(out, x):
    return ops.where(x > 50, x, ops.expm1(x) + 1)


@rule(exp(var("x")), example=lambda: ops.sum(exp(input("x", 4, 3) - 25)))
def exp_of_small_numbers(out, x):
    return ops.where(x < -20, 2 / exp(-x), 1 / exp(-x))


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        (tanh_by_exponentials, "to nan"),  # overflows
        (exp_below_50, "numbers in the hundreds"),
        (exp_of_small_numbers, "normal numbers"),  # in a result of 1e-11
    ],
    ids=lambda w: getattr(w, "name", ""),
)
def test_what_is_wrong_for_large_or_small_numbers_only_is_caught(wrong, shown):
    def once(graph: Graph) -> Graph:
        (n,) = (n for n in graph.nodes if n.op is wrong.pattern.op)
        return substitute(graph, {n: wrong.apply(n)})

    after = once(graph_of(wrong.example()))
    with pytest.raises(PassError, match=shown):
        check_pass(once, graph_of(wrong.example()), after, list(make_probes(after)))


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: w.name)
def test_wrong_rewrite_is_caught_and_named(wrong, tmp_path):
    graph = graph_of(wrong.graph())
    with pytest.raises(PassError, match=f"pass {wrong.name} changed") as caught:
        check_passes(graph, [drop_identities, wrong.run, simplify])
    assert caught.value.difference > 0
    assert len(caught.value.graph.nodes) <= len(graph.nodes)
    written = caught.value.write(tmp_path).read_text()
    assert parse(written, env=caught.value.graph).outputs == caught.value.graph.outputs
    if wrong.only:  # on friendly numbers nothing shows
        friendly = Probe("friendly", {i: _friendly(i) for i in graph.inputs})
        assert (
            wrong.only in ("odd sizes", "broadcasting")
            or difference(graph, wrong.run(graph), friendly) is None
        )


def _friendly(n: Node) -> np.ndarray:
    return (1 + np.random.default_rng(1).permutation(n.type.size).reshape(n.shape) / 7).astype(
        n.dtype
    )


def test_smallest_graph_is_small():
    x = input("x", 3, 5)
    h = x
    for _ in range(6):
        h = ops.tanh(h) + 0.5
    bad = next(w for w in WRONG if w.name == "relu_as_choice")
    with pytest.raises(PassError) as caught:
        check_passes(graph_of(ops.exp(ops.relu(h)) * 2), [bad.run])
    assert len(caught.value.graph.nodes) == 2, dump(caught.value.graph)


def test_fold_constants_computes_and_keeps_fills_small():
    x = input("x", 4, 3)
    y = x * (ops.exp(constant(0.0)) + 2) + ops.full((4, 3), 1.5) * ops.full((4, 3), 2.0)
    assert fold_constants(graph_of(y)).outputs == (x * 3.0 + ops.full((4, 3), 3.0),)
    large = ops.full((1000, 1000), 2.0)
    assert (
        fold_constants(graph_of(ops.exp(large) * x[0, 0])).outputs[0].inputs[0].op.name
        == "broadcast_to"
    )


def test_stable_forms_survive_where_the_plain_ones_overflow():
    x = input("x", 2, 2)
    plain = ops.log(ops.exp(x) + 1)
    values = np.array([[200, -200], [1, -30]], "float32")
    [before] = run(graph_of(plain), values)
    [after] = run(stabilize(graph_of(plain)), values)
    assert np.isinf(before[0, 0]) and after[0, 0] == 200 and after[1, 1] > 0
    [soft] = run(stabilize(graph_of(ops.log(ops.softmax(x, 1)))), values)
    assert np.isfinite(soft).all()


def test_a_variance_out_of_moments_does_not_cancel():
    """As a layer normalization of Flax writes it: E[x^2] - E[x]^2."""
    x = input("x", 8, 64)
    m, r = ops.sum(x, 1) * (1 / 64), ops.sum(x * x, 1) * (1 / 64)
    a = np.random.default_rng(0).normal(1000, 1, (8, 64)).astype(np.float32)
    [got] = run(stabilize(graph_of(r - m * m)), a)
    np.testing.assert_allclose(got, a.astype(np.float64).var(1), rtol=1e-5)
    other = ops.sum(x * x, 1) * (1 / 63) - m * m  # not the mean
    assert stabilize(graph_of(other)).outputs == (other,)


def batch_norm_net(groups: int = 1, bias: bool = True) -> Graph:
    x = input("x", 2, 4, 5, 5)
    w = parameter("w", 6, 4 // groups, 3, 3, value=-0.3)
    y = ops.conv2d(x, w, padding=1, groups=groups)
    if bias:
        y = y + ops.reshape(parameter("b", 6), (6, 1, 1))
    y = ops.batch_norm(
        y, *(parameter(name, 6, value=0.5) for name in ("scale", "shift", "mean", "variance"))
    )
    return graph_of(ops.relu(y))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_folds_into_the_convolution(groups, bias):
    graph = batch_norm_net(groups, bias)
    log: list[Event] = []
    after = simplify(fold_batch_norm(graph, log))
    assert len(log) == 1
    check_pass(fold_batch_norm, graph, verify(after), list(make_probes(graph)))
    on_data = [n for n in after.nodes if graph.inputs[0] in set(Graph("", (), (n,)).nodes)]
    assert [n.op.name for n in on_data if n.op.kind.value != "source"] == ["reshape"] * (
        groups > 0
    ) + [
        "conv2d",
        "reshape",
        "add",
        "relu",
    ]


def test_batch_norm_does_not_fold_where_the_convolution_has_other_readers():
    graph = batch_norm_net()
    conv = next(n for n in graph.nodes if n.op.name == "conv2d")
    view = graph.users[conv][0]
    both = Graph("both", graph.inputs, (*graph.outputs, view))
    assert fold_batch_norm(both).outputs == both.outputs


def test_effects_leave_the_graph_and_their_updates_stay():
    x, p = input("x", 3), parameter("p", 3)
    y = effect(x * 2, p, p + x) + 1
    graph, updates = strip_effects(graph_of(y), [])
    assert graph.outputs == (x * 2 + 1,)
    assert updates == ((p, p + x),)
    with pytest.raises(
        UpdateError, match=r"parameter p .*test_passes\.py:\d+\) and .*test_passes\.py:\d+"
    ):
        strip_effects(graph_of(y), [(p, p * 2)])


def test_effect_within_an_update_counts():
    x, p, q = input("x", 3), parameter("p", 3), parameter("q", 3)
    _, updates = strip_effects(graph_of(x), [(p, effect(p + x, q, q * 2))])
    assert updates == ((p, p + x), (q, q * 2))


def test_one_number_for_all_channels_does_not_move_into_the_weights():
    graph = graph_of(input("x", 4, 3) @ parameter("w", 3, 5) * 0.5)
    assert fold_batch_norm(graph).outputs == graph.outputs


def test_scales_behind_a_matmul_move_into_its_weights():
    w, s, b = parameter("w", 3, 5), parameter("s", 5, value=-2), parameter("b", 5)
    graph = graph_of((1 - (input("x", 4, 3) @ w - b) / s) * s)
    after = simplify(fold_batch_norm(graph))
    check_pass(fold_batch_norm, graph, after, list(make_probes(graph)))
    assert after.outputs[0].op.name == "add" and after.outputs[0].inputs[0].op.name == "matmul"


def test_the_absolute_value_of_the_least_integer_is_negative():
    x = input("x", 2, dtype="int32")
    graph = graph_of(ops.relu(ops.abs(x)))
    least = np.array([-(2**31), -3], np.int32)
    assert run(simplify(graph), least)[0].tolist() == run(graph, least)[0].tolist() == [0, 3]
