"""Mistakes of those who write operators, rules, passes and backends: one clear line each."""

from __future__ import annotations

import gc
import importlib.metadata
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.codegen import python as twins
from tinygraph.codegen.steps import initial
from tinygraph.graph.expression import CONSTRUCTORS, FUNCTIONS
from tinygraph.graph.op import OPS, Index, Kind, Loops, Op, Read, broadcast, define
from tinygraph.graph.record import FIELDS, FOLDS, OWN, OperatorError
from tinygraph.graph.rewrite import RewriteError, rule, var
from tinygraph.ops.arithmetic import floats, relu
from tinygraph.plan.records.work import Fold

HERE = Path(__file__).name


pytestmark = pytest.mark.usefixtures("own_operators")


def mine(kind: Kind, name: str = "mine", **fields: Any) -> Op:
    ready = {"infer": broadcast(name), "ref": lambda x: x}
    return define(name, kind, **{**ready, **fields})


AUTHOR = mine.__code__.co_firstlineno + 2  # the line of its define()


def whole(x: Any, out: Any = None, *, reduce: tuple[int, ...] = ()) -> Loops:
    return Loops(reduce, (Read(tuple(Index(terms=((a, 1),)) for a in range(len(x.shape)))),))


E, V, R = Kind.ELEMENTWISE, Kind.VIEW, Kind.REDUCE
DEFINITIONS: dict[str, tuple[Kind, dict[str, Any], str]] = {
    "no expression": (E, {}, "of kind ELEMENTWISE requires expr: the scalar Python"),
    "no reference": (E, {"ref": None, "expr": "{0}"}, "requires ref: its NumPy meaning"),
    "no type rule": (E, {"infer": None, "expr": "{0}"}, "requires infer: its type rule"),
    "bare double": (E, {"expr": "{0} * 0.5"}, "literal 0.5 would be a double; write K(0"),
    "bare integer": (E, {"expr": "2 * {0}"}, "literal 2 would be a double; write K(2)"),
    "bare infinity": (E, {"expr": "{0} - inf"}, "name inf would be a double; write K(inf"),
    "double in a call": (E, {"expr": "exp({0} * 2.0)"}, "the bare literal 2.0"),
    "sum in a call of K": (E, {"expr": "K({0} * 2.0)"}, "the bare literal 2.0"),
    "unknown function": (E, {"expr": "gamma({0})"}, "the function gamma is unknown; there is"),
    "misspelt function": (E, {"expr": "sqrrt({0})"}, "sqrrt is unknown; did you mean sqrt"),
    "NumPy's function": (E, {"expr": "np.exp({0})"}, "np.exp is unknown; did you mean exp"),
    "too many arguments": (E, {"expr": "exp({0}, {0})"}, "exp takes 1 argument, got exp({0"),
    "unknown name": (E, {"expr": "{0} + eps"}, "the name eps is unknown"),
    "wrong operand": (E, {"expr": "{0} + {1}"}, "{1} is not among its inputs, {0}"),
    "index outside of folds": (E, {"expr": "{0} + {r}"}, "{r} stands for nothing"),
    "named operand": (E, {"expr": "{x} + {0}"}, "{x} stands for nothing; {0}, {1}, ..."),
    "no Python": (E, {"expr": "{0} +"}, "'{0} +': it is not a Python expression"),
    "two statements": (E, {"expr": "y = {0}"}, "it is not a Python expression"),
    "subscript": (E, {"expr": "{0}[1]"}, "Subscript is more than kernels can do: {0}[1]"),
    "text literal": (E, {"expr": "{0} == 'a'"}, "'a' is not a number"),
    "no text": (E, {"expr": 2}, "requires a text as expr"),
    "no loops": (R, {"fold": "sum"}, "of kind REDUCE requires loops: its loop nest"),
    "view without loops": (V, {}, "of kind VIEW requires loops"),
    "no fold": (R, {"loops": whole}, "requires fold: how elements are combined"),
    "unknown fold": (R, {"loops": whole, "fold": "prod"}, "'prod', which is not one of sum, max"),
    "no template": (Kind.OPAQUE, {}, "of kind OPAQUE requires template: what writes its"),
    "a source": (Kind.SOURCE, {}, "the kind SOURCE, whose operators the compiler knows"),
    "another contraction": (
        Kind.ANCHOR, {"loops": whole, "fold": "max", "expr": "{0} * {1}"},
        "of kind ANCHOR requires the fold 'sum' of an expr of ('{0} * {1}', 'int32(",
    ),
    "a reshape": (V, {"row_major": True}, "takes no row_major, which is for reshape"),
    "another kind's field": (V, {"loops": whole, "fold": "sum"}, "VIEW takes no fold, which"),
    "misspelt field": (E, {"exprr": "{0}"}, "has no field 'exprr'; did you mean expr?"),
    "a field that define sets": (E, {"defined": "here"}, "has no field 'defined'"),
    "no function": (E, {"expr": "{0}", "vjp": 3}, "requires a function as vjp, got 3"),
    "contradicting functions": (
        E, {"expr": "{0}", "vjp": lambda g, out, a, b: (g, g)},
        "has functions of different numbers of inputs: ref of 1, vjp of 2",
    ),
    "gradient and none": (
        E, {"expr": "{0}", "vjp": lambda g, out, x: (g,), "no_gradient": "flat"},
        "has both vjp and no_gradient",
    ),
    "defined before": (E, {"name": "relu", "expr": "{0}"}, "'relu' is defined already, at arith"),
}  # fmt: skip


@pytest.mark.parametrize("case", DEFINITIONS)
def test_a_record_that_cannot_be_right_is_refused_where_it_is_defined(case):
    kind, fields, message = DEFINITIONS[case]
    with pytest.raises(OperatorError) as caught:
        mine(kind, **fields)
    text = str(caught.value)
    assert text.startswith(f"{HERE}:{AUTHOR}: operator ")
    assert fields.get("name", "mine") in text and message in text and "\n" not in text


def used(kind: Kind = V, **fields: Any) -> tg.Node:
    """A node of an operator whose mistake shows once there are shapes or attributes."""
    return mine(kind, **fields)(tg.input("x", 4, 3))


def at(*indices: Index, **read: Any) -> Callable[..., Loops]:
    return lambda out, x: Loops((), (Read(indices, **read),))


I0, I1 = Index(terms=((0, 1),)), Index(terms=((1, 1),))
USES: dict[str, tuple[Callable[[], tg.Node], str]] = {
    "expression of attributes": (
        lambda: used(kind=E, expr=lambda: "K(2) * {0} + 1"), "the bare literal 1 would"),
    "expression of no text": (lambda: used(kind=E, expr=lambda: 3), "requires a text as expr"),
    "more operands than inputs": (
        lambda: mine(E, ref=lambda *x: x[0], expr="{0} + {2}")(*[tg.input("x", 4, 3)] * 2),
        "{2} is not among its inputs, {0}, {1}"),
    "another shape": (
        lambda: used(E, infer=lambda x: tg.Type((4, 1)), expr="{0}"),
        "gives f32[4,1]; elements are (4, 3)",
    ),
    "another dtype": (
        lambda: used(infer=lambda x: tg.Type(x.shape, "int32"), loops=at(I0, I1)),
        "a view does not change the dtype",
    ),
    "no type": (lambda: used(infer=lambda x: x.shape, loops=at(I0, I1)), "(4, 3), no Type"),
    "no Loops": (lambda: used(loops=lambda out, x: None), "they are None, no Loops"),
    "a view that reduces": (
        lambda: used(loops=lambda out, x: whole(x, reduce=(2,))), "a view does not reduce"),
    "a read for each input": (
        lambda: used(loops=lambda out, x: Loops((), ())), "they have 0 reads of 1 inputs"),
    "an index for each axis": (lambda: used(loops=at(I0)), "read at 1 indices, it has 2 axes"),
    "an axis that is not there": (
        lambda: used(loops=at(I0, Index(terms=((2, 1),)))), "an axis beyond the nest's 2"),
    "beyond the end": (
        lambda: used(loops=at(I0, Index(1, ((1, 1),)))), "axis 1 of input 0 is read from 1 to 3"),
    "before the beginning": (
        lambda: used(loops=at(Index(2, ((0, -1),)), I1)), "axis 0 of input 0 is read from -1 to 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", USES)
def test_a_mistake_that_shows_with_shapes_names_operator_and_line(case):
    make, message = USES[case]
    with pytest.raises(OperatorError) as caught:
        tg.compile([tg.input("x", 4, 3)], [make()], without=["simplify"])
    text = str(caught.value)
    assert text.startswith(f"{HERE}:{AUTHOR}: operator mine ")
    assert message in text and "\n" not in text


def shifted(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x[:, 1:], np.full_like(x[:, :1], 7)], 1)


def test_reads_beyond_the_edge_are_fine_with_a_value_for_it():
    moved = used(loops=at(I0, Index(1, ((1, 1),)), outside=7), ref=shifted)
    (got,) = tg.compile(moved.inputs, [moved])(np.arange(12, dtype="f").reshape(4, 3))
    assert got[0].tolist() == [1, 2, 7]
    (ones,) = tg.compile([], [moved.op(tg.ones((4, 3)))])()  # which constant folding sees
    assert ones[0].tolist() == [1, 1, 7]


def test_every_kind_says_what_it_needs():
    assert set(FIELDS) == set(Kind)
    assert [initial(Fold("t", fold, "t", "uint8")) for fold in FOLDS] == [
        "uint8(0)", "uint8(0)", "uint8(255)"
    ]  # fmt: skip
    for op in OPS.values():
        for name in FIELDS[op.kind][0]:
            assert getattr(op, name) is not None or op.row_major, f"{op.name} lacks {name}"
    assert {o.name for o in OPS.values() if o.row_major} == {"reshape"}


def test_contributing_shows_the_same_table():
    text = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| `([A-Z]+)` \|(.*)\|$", text, re.MULTILINE)
    assert {kind for kind, _ in rows} == {k.name for k in Kind if k not in OWN}
    for kind, fields in rows:
        needs, may = FIELDS[Kind[kind]]
        shown = set(re.findall(r"`(\w+)`", fields))
        assert set(needs) - {"infer", "ref"} <= shown <= {*needs, *may}, kind


BITS = {"float_bits": "float32", "bits_float": "int32", "float64_bits": "float64",
        "bits_float64": "int64"}  # fmt: skip


def test_every_function_and_constructor_of_expressions_is_compiled():
    x = [tg.input(f"x{i}", 8) for i in range(4)]
    nodes = []
    for name, count in FUNCTIONS.items():
        given = ", ".join(f"{{{i}}}" for i in range(count))
        text = f"{name}({given})"
        if name == "random_uniform":
            text = f"random_uniform({', '.join(f'uint32({{{i}}})' for i in range(4))})"
        if name.startswith("shift"):
            text = f"K({name}(int32({{0}}), int32({{1}})))"
        if name in BITS:
            text = f"K({name}({BITS[name]}({{0}})))"
        if name == "where":
            text = "where({0} < {1}, {1}, {2})"
        if name == "isnan":
            text = "K(1) if isnan({0}) else K(0)"
        nodes.append(define(f"f_{name}", E, infer=broadcast(name), ref=reference(text, count),
                            expr=text)(*x[:count]))  # fmt: skip
    for name in CONSTRUCTORS:
        text = f"K({name}({{0}}))"
        nodes.append(define(f"c_{name}", E, infer=broadcast(name), ref=reference(text, 1),
                            expr=text)(x[0]))  # fmt: skip
    values = np.random.default_rng(0).uniform(0.1, 3, (4, 8)).astype(np.float32)
    program = tg.compile(x, nodes)
    for n, got, expected in zip(nodes, program(*values), tg.run(program.graph, *values),
                                strict=True):  # fmt: skip
        np.testing.assert_allclose(got, expected, rtol=1e-5, err_msg=n.op.name)


def reference(text: str, count: int) -> Callable[..., np.ndarray]:
    """An expression as NumPy's meaning of an operator, element by element."""
    names = [f"x{i}" for i in range(count)]
    scope = {**vars(twins), "K": np.float32, "abs": abs}
    function = eval(f"lambda {', '.join(names)}: {text.format(*names)}", scope)
    return lambda *arrays: np.array([function(*row) for row in zip(*arrays, strict=True)], "f4")


# -- versions, gradients ---------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [False, True], ids=["straight", "in a loop"])
def test_another_version_of_an_operator_is_another_program(loop):
    x, found = tg.input("x", 3), []
    for version in "12":
        times = define("times", E, infer=broadcast("times"), ref=lambda x: x,
                       expr=f"K({version}) * {{0}}", version=version)  # fmt: skip
        y = tg.scan(lambda c, t=times: t(c), x, length=2)[0][0] if loop else times(x)
        found.append(tg.compile([x], [y])(np.ones(3, "f"))[0].tolist()[0])
        del OPS["times"], times, y
        gc.collect()  # as in another process: bodies of loops are compared by their text
    assert found == ([1, 4] if loop else [1, 2])


def test_another_version_of_a_pass_is_another_program():
    x, found = tg.input("x", 3), []
    for number in (1, 2):

        def change(graph: tg.Graph, number: int = number) -> tg.Graph:
            return tg.Graph(graph.name, graph.inputs, tuple(o * number for o in graph.outputs))

        change.version = str(number)
        found.append(tg.compile([x], [tg.exp(x)], passes=[change])(np.zeros(3, "f"))[0][0])
    assert found == [1, 2]


def test_a_program_with_an_operator_without_a_version_in_a_loop_is_not_kept(tmp_path):
    plain = mine(E, expr="{0}")
    x = tg.input("x", 3)
    tg.compile([x], [tg.scan(lambda c: plain(c), x, length=2)[0][0]])
    assert not list(tmp_path.glob("program/*"))


def test_the_reason_for_no_gradient_is_told():
    rank = mine(E, expr="{0}", no_gradient="ranks are whole numbers")
    x = tg.input("x", 3)
    with pytest.raises(tg.GradientError, match=r"mine f32\[3\] .*no gradient, on purpose: ranks"):
        tg.grad(tg.sum(rank(x)), x)


@pytest.mark.parametrize("vjp", [lambda g, out, x: g, lambda g, out, *x: (g, g), lambda *a: None])
def test_a_gradient_rule_returns_one_gradient_for_each_input(vjp):
    op, x = mine(E, expr="{0}", vjp=vjp), tg.input("x", 1)
    with pytest.raises(tg.GradientError, match=rf"{HERE}:\d+: the vjp of operator mine must"):
        tg.grad(tg.sum(op(x)), x)


# -- rules, passes, backends -----------------------------------------------------------------------

x, y = var("x"), var("y")


def ignores(out, x):
    return x


def invents(out, x, z):
    return x


RULES: dict[str, tuple[Callable, Any, str]] = {
    "lacks a variable": (ignores, relu(tg.ops.add(x, y)), "rule ignores does not take y: its"),
    "invents one": (invents, relu(x), "rule invents takes z: its pattern requires the"),
    "no pattern": (ignores, tg.input("x", 3), "rule ignores requires a pattern of operators"),
}  # fmt: skip


@pytest.mark.parametrize("case", RULES)
def test_a_rule_that_cannot_be_applied_is_refused_where_it_is_defined(case):
    build, pattern, message = RULES[case]
    with pytest.raises(RewriteError) as caught:
        rule(pattern, example=lambda: tg.input("x", 3))(build)
    assert str(caught.value).startswith(f"{HERE}:{build.__code__.co_firstlineno}: {message}")


def nothing(graph: tg.Graph) -> None:
    """A pass whose author forgot to return the graph."""


def outputs(graph: tg.Graph) -> Any:
    return graph.outputs


@pytest.mark.parametrize(("change", "made"), [(nothing, "None"), (outputs, "a tuple")])
def test_a_pass_that_returns_no_graph_is_named(change, made):
    a = tg.input("x", 3)
    where = f"{HERE}:{change.__code__.co_firstlineno}"
    with pytest.raises(tg.VerifyError, match=f"^{where}: pass {change.__name__} returned {made},"):
        tg.compile([a], [a * 2], passes=[change])


def test_an_entry_point_that_is_no_backend_is_named(monkeypatch):
    half = SimpleNamespace(target=len, build=len)
    entry = SimpleNamespace(name="mine", value="half", dist=SimpleNamespace(name="half-pkg"))
    entry.load = lambda: half
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry])
    message = (
        "backend 'mine' (half, of the package half-pkg) lacks fingerprint, assemble, cards, load: "
        "see Backend in tinygraph.extend"
    )
    with pytest.raises(tg.BackendError, match=re.escape(message)):
        tg.compile([tg.input("x", 3)], [tg.input("x", 3)], backend="mine")


def test_all_kinds_of_the_compilers_own_are_refused():
    for kind in OWN:
        with pytest.raises(OperatorError, match=f"the kind {kind.name}"):
            mine(kind)


def test_numbers_of_inputs_of_floats_are_not_known_before_nodes_are():
    assert mine(E, infer=floats("mine", 1), ref=np.exp, expr="{0}").name == "mine"
