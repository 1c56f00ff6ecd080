"""The door for authors: templates from outside, check_operator, what may be imported from where."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import extend, ops
from tinygraph.extend import (
    OPS,
    KernelWriter,
    Kind,
    Op,
    OperatorError,
    Rule,
    broadcast,
    check_operator,
    define,
    rebuild,
)
from tinygraph.graph import template
from tinygraph.ops import public
from tinygraph.ops.arithmetic import relu
from tinygraph.passes import (
    RULES,
    contract_sums,
    defer_lookups,
    fold_constants,
    simplify,
    simplify_views,
    stabilize,
)
from tinygraph_cuda.kernels.special import cumsum

pytestmark = pytest.mark.usefixtures("own_operators")

HERE, ROOT = Path(__file__).name, Path(__file__).parent.parent
PASSES = (contract_sums, defer_lookups, fold_constants, stabilize, simplify, simplify_views)
PUBLIC = (
    "checkpoint", "data", "distributed", "extend", "metrics", "models", "nn", "ops", "optim",
    "pictures", "settings", "train",
)  # fmt: skip
INSIDE = ("Any", "np", "compile", "check_grad", "run", "GradientError", "WrongReference", "INPUT")


def mine(kind: Kind, **fields: Any) -> Op:
    ready = {"infer": broadcast("mine"), "ref": lambda x: x}
    return define("mine", kind, **{**ready, **fields})


AUTHOR = mine.__code__.co_firstlineno + 2  # the line of its define()


# -- operators -------------------------------------------------------------------------------------


def running_maximum(k: KernelWriter) -> None:
    """The example in the docstring of ``KernelWriter``'s module."""
    names = {"k": k}
    body = template.__doc__.partition("def running_maximum(k: KernelWriter) -> None:\n")[2]
    exec(textwrap.dedent(body), names)


def opaque(**fields: Any) -> Op:
    return mine(Kind.OPAQUE, ref=lambda x: np.maximum.accumulate(x, -1), **fields)


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (7,), (2, 3, 4), (4, 33)])
def test_an_operator_from_outside_brings_its_kernel(shape):
    op = opaque(template=running_maximum, example=lambda: op(tg.input("x", *shape)))
    check_operator(op)
    x = tg.input("x", *shape)
    program = tg.compile([x], [op(tg.transpose(x) * 2) + 1, op(tg.flip(x))])  # strides of all kinds
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for got, expected in zip(program(data), tg.run(program.graph, data), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_an_operator_from_outside_is_made_of_others():
    """Written out in others, which give its gradient; a kernel is a matter of backends."""
    op = mine(Kind.COMPOSITE, infer=lambda x: x, ref=lambda x: x * np.exp(-x),
              written_out=lambda n: n.inputs[0] * tg.exp(-n.inputs[0]),
              example=lambda: op(tg.input("x", 3, 5)))  # fmt: skip
    check_operator(op)
    wrong = define("wrong", Kind.COMPOSITE, infer=op.infer, ref=op.ref,
                   written_out=lambda n: tg.exp(-n.inputs[0]),
                   example=lambda: wrong(tg.input("x", 3, 5)))  # fmt: skip
    with pytest.raises(OperatorError, match="operator wrong disagrees with itself"):
        check_operator(wrong)


def test_parts_of_a_template_share_the_work():
    def template(k: KernelWriter) -> None:
        (x,), y = k.inputs, k.output
        k.array("x", x)
        k.array("y", y)
        n, parts = k.argument("n", x.shape[0]), k.argument("parts", k.parts)
        k.line(f"for i in range(part * {n} // {parts}, (part + 1) * {n} // {parts}):")
        k.line(f"    y[i] = x[i] * {k.attrs['times']}")

    op = mine(Kind.OPAQUE, infer=lambda x, *, times: x, ref=lambda x, *, times: x * times,
              template=template, parts=lambda n: n.shape[0] // 4)  # fmt: skip
    x = tg.input("x", 30, dtype="int32")
    program = tg.compile([x], [op(x, times=3)])
    assert [launch.parts for launch in program.inspection.compiled.plan.launches] == [7]
    assert program(np.arange(30, dtype=np.int32))[0].tolist() == list(range(0, 90, 3))


@pytest.mark.parametrize(("line", "message"), [
    ("y[0] = (", "wrote '.*y.0. = .*': '.' was never closed"),
    ("y[0] = sinus(x[0])", "uses sinus, which no kernel knows"),
    ("y[0] = maximun(x[0], x[0])", "uses maximun, which no kernel knows; did you mean maximum?"),
])  # fmt: skip
def test_a_template_that_writes_what_cannot_be_compiled_is_named(line, message):
    def template(k: KernelWriter) -> None:
        k.array("x", k.inputs[0])
        k.array("y", k.output)
        k.line(line)

    x = tg.input("x", 3)
    with pytest.raises(OperatorError, match=rf"^{HERE}:{AUTHOR}: operator mine .*{message}"):
        tg.compile([x], [opaque(template=template)(x)])


@pytest.mark.parametrize("count", [0, 1.5, None])
def test_parts_are_a_number_from_1_up(count):
    x = tg.input("x", 3)
    op = opaque(template=running_maximum, parts=lambda n: count)
    with pytest.raises(OperatorError, match=f"operator mine requires parts .* got {count}"):
        tg.compile([x], [op(x)])


def test_cuda_refuses_a_template_for_processors_and_takes_its_own():
    x = tg.input("x", 5, 40)
    with pytest.raises(tg.BackendError, match=rf"no kernel for mine \({HERE}:{AUTHOR}\)"):
        tg.compile([x], [opaque(template=running_maximum)(x)], backend="cuda")
    if find_spec("numba_cuda") is None:
        pytest.skip("its own template is compiled by numba-cuda")
    ours = OPS["cumsum"]
    op = define("sums", Kind.OPAQUE, infer=ours.infer, ref=ours.ref, template=ours.template,
                backend_templates={"cuda": cumsum})  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = tg.compile([x], [op(x, axis=1, reverse=True)], backend="cuda")
        data = np.ones((5, 40), np.float32)
        assert program(data)[0][2].tolist() == list(range(40, 0, -1))


@pytest.mark.parametrize(("fields", "message"), [
    ({"expr": "K(2) * {0}"}, "disagrees with itself:"),
    ({"expr": "{0}", "ref": lambda x: x.astype("f8")}, "disagrees with itself: the reference of"),
    ({"expr": "{0}", "vjp": lambda g, out, x: (g * 2,)}, "the gradient of mine .* is off by"),
])  # fmt: skip
def test_check_operator_finds_fields_that_disagree(fields, message):
    op = mine(Kind.ELEMENTWISE, example=lambda: op(tg.input("x", 4, 3)), **fields)
    with pytest.raises(OperatorError, match=rf"^{HERE}:{AUTHOR}: operator mine (.|\n)*{message}"):
        check_operator(op)


def test_check_operator_needs_an_example():
    with pytest.raises(OperatorError, match="operator mine has no example"):
        check_operator(mine(Kind.ELEMENTWISE, expr="{0}"))


# -- rules and passes ------------------------------------------------------------------------------


def test_every_rule_of_a_module_is_applied():
    for module in (
        contract_sums,
        defer_lookups,
        fold_constants,
        stabilize,
        simplify,
        simplify_views,
    ):
        home = sys.modules[module.__module__]
        own = [r for r in vars(home).values()
               if isinstance(r, Rule) and r.build.__module__ == home.__name__]  # fmt: skip
        assert list(home.RULES) == own, f"{home.__name__}: RULES stands above a rule"
        assert set(own) <= set(RULES)


def test_rebuild_enters_the_bodies_of_loops():
    x = tg.input("x", 3)
    graph = tg.Graph("g", (x,), (tg.scan(lambda c: tg.exp(relu(relu(c))), x, length=2)[0][0],))
    made = rebuild(graph, lambda n: n.inputs[0] if n.op is relu else None)
    assert any(n.op is relu for n in graph.everywhere)
    assert not any(n.op is relu for n in made.everywhere)


# -- the door --------------------------------------------------------------------------------------


def snippets() -> dict[str, str]:
    """Python that people read first: examples, and the code in documents."""
    found = {p.name: p.read_text() for p in (ROOT / "examples").glob("*.py")}
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for path in documents:
        for number, text in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.S)):
            found[f"{path.name}-{number}"] = text
    return found


@pytest.mark.parametrize("name", snippets())
def test_examples_and_documents_import_what_users_may(name):
    for n in ast.walk(ast.parse(snippets()[name])):
        names = [a.name for a in n.names] if isinstance(n, ast.Import) else []
        if isinstance(n, ast.ImportFrom) and n.module and not n.level:
            names = [n.module]
        for each in names:
            root, _, rest = each.partition(".")
            if root == "tinygraph" and rest:
                assert rest.partition(".")[0] in PUBLIC, f"{name} imports {each}"


def test_the_door_has_what_it_lists_and_says_what_it_has():
    assert len(set(extend.__all__)) == len(extend.__all__)
    own = {n for n, v in vars(extend).items() if not n.startswith("_") and n != "annotations"}
    inside = {
        "Any",
        "np",
        "compile",
        "check_grad",
        "run",
        "GradientError",
        "WrongReference",
        "INPUT",
    }
    assert set(extend.__all__) == own - inside


def test_public_names(golden):
    listed = [name for name in vars(public) if not name.startswith("_")]
    assert ops.__all__ == listed and set(ops.__all__) <= set(tg.__all__)
    assert golden == "\n".join(sorted(tg.__all__)) + "\n"
