"""Every public name says what it takes, what it raises, where it is from, and shows an example."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import (
    checkpoint,
    data,
    distributed,
    extend,
    metrics,
    models,
    nn,
    onnx,
    optim,
    pictures,
    train,
)
from tinygraph.nn import init

MODULES = (
    tg, nn, init, optim, checkpoint, onnx, extend, models, data, train, metrics, pictures,
    distributed,
)  # fmt: skip
METHODS = (
    tg.Program, tg.Node, tg.Graph, tg.Parameter, nn.Module, optim.Optimizer,
    data.Batches, train.History, train.Evaluation, train.Run
)  # fmt: skip
# What an example may use without importing it.
GIVEN = {"tg": tg, "np": np, **{m.__name__.rpartition(".")[2]: m for m in MODULES[1:]}}
REFERENCE = re.compile(
    r"(?:[Aa]rguments[^.]*|[Ss]ee|[Aa]s)\s+``([\w.]+)``(?:\s+and\s+``([\w.]+)``)?"
)
PAPER = re.compile(r"\b(?:19|20)\d\d\b")
# These implement an algorithm that somebody has published: the docstring names the paper.
PUBLISHED = """
    tg.celu tg.elu tg.gelu tg.glu tg.hardswish tg.mish tg.prelu tg.selu tg.ctc_loss tg.huber_loss
    tg.group_norm tg.instance_norm tg.rms_norm tg.layer_norm tg.local_response_norm
    tg.pixel_shuffle tg.random_normal tg.scaled_dot_product_attention
    tg.nn.GRU tg.nn.LSTM tg.nn.BatchNorm2d tg.nn.GroupNorm tg.nn.InstanceNorm2d tg.nn.LayerNorm
    tg.nn.RMSNorm tg.nn.Dropout tg.nn.Dropout2d tg.nn.MultiHeadAttention tg.nn.PReLU
    tg.nn.TransformerEncoderLayer tg.nn.TransformerDecoderLayer tg.nn.init.xavier tg.nn.init.he
    tg.optim.SGD tg.optim.Adagrad tg.optim.Adam tg.optim.AdamW tg.optim.NAdam tg.optim.Lion
    tg.optim.RMSprop tg.optim.EMA tg.optim.cosine tg.optim.one_cycle tg.optim.restarts
    tg.models.alexnet tg.models.densenet121 tg.models.efficientnet_b0 tg.models.googlenet
    tg.models.inception_v3 tg.models.lenet5 tg.models.mobilenet_v2 tg.models.resnet18
    tg.models.resnext50 tg.models.shufflenet_v2 tg.models.squeezenet tg.models.vgg16
    tg.models.vit_b_16 tg.models.Bert tg.models.TransformerLanguageModel
    tg.models.VisionTransformer
"""
# Made by functions, not by users; their attributes are described.
RECORDS = {tg.Node, tg.Parameter, tg.Program}


def public() -> Iterator[tuple[str, Any]]:
    """All public names, an object once, and the methods of what users have in hand."""
    seen = set()
    for module in MODULES:
        short = module.__name__.replace("tinygraph", "tg", 1)
        for name in module.__all__:
            value = getattr(module, name)
            if not isinstance(value, ModuleType) and id(value) not in seen:
                seen.add(id(value))
                yield f"{short}.{name}", value
    for kind in METHODS:
        for name, value in vars(kind).items():
            if not name.startswith("_") and isinstance(value, (FunctionType, property)):
                yield f"{kind.__name__}.{name}", value


def is_function(value: Any) -> bool:
    """Whether it is called for what it returns: no error, no type for annotations."""
    if inspect.isclass(value):
        return not issubclass(value, Exception) and not getattr(value, "_is_protocol", False)
    return hasattr(value, "__name__") and callable(value) and not hasattr(value, "__origin__")


ALL = dict(public())
FUNCTIONS = {name: value for name, value in ALL.items() if is_function(value)}
# Tables, and names of types, which cannot have docstrings.
DATA = {n for n, v in ALL.items() if isinstance(v, (dict, tuple)) or hasattr(v, "__origin__")}


def parameters(value: Any) -> set[str]:
    """Names of parameters, but for ``self`` and those that are passed on as they are."""
    taken = inspect.signature(value).parameters.values()
    passed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {p.name for p in taken if p.kind not in passed} - {"self"}


def described(text: str, parameter: str, depth: int = 2) -> bool:
    """Whether a docstring has the word, or one that it refers to."""
    if re.search(rf"(?<!\w){parameter}(?!\w)", text):
        return True
    named = [name for names in REFERENCE.findall(text) for name in names if name]
    known = [ALL.get(n if n.startswith("tg.") else f"tg.{n}") for n in named]
    return depth > 0 and any(described(doc(k), parameter, depth - 1) for k in known if k)


def doc(value: Any) -> str:
    return inspect.getdoc(value) or ""


def raised(value: Any) -> set[str]:
    """The errors that a function raises itself."""
    if inspect.isclass(value) or not hasattr(value, "__code__"):
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    found = [n.exc for n in ast.walk(tree) if isinstance(n, ast.Raise) and n.exc]
    names = {ast.unparse(e.func if isinstance(e, ast.Call) else e) for e in found}
    return {n for n in names if n.endswith("Error")}


@pytest.mark.parametrize("name", sorted(ALL.keys() - DATA))
def test_has_a_docstring(name):
    value = ALL[name]
    assert doc(value) and (doc(value) != doc(type(value)) or value is tg.settings)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_says_what_it_takes_and_raises(name):
    value, text = FUNCTIONS[name], doc(FUNCTIONS[name])
    if value not in RECORDS and not (inspect.isclass(value) and name.startswith("tg.extend.")):
        assert [p for p in sorted(parameters(value)) if not described(text, p)] == []
    assert [error for error in sorted(raised(value)) if error not in text] == []


@pytest.mark.parametrize("name", PUBLISHED.split())
def test_names_its_source(name):
    assert PAPER.search(doc(ALL[name]))


def shows(name: str) -> bool:
    """Whether there must be an example: not of properties, of NumPy's methods, whose functions have
    one, and of the door's records, which whole programs in ``examples/`` show.
    """
    value = FUNCTIONS[name]
    record = inspect.isclass(value) and name.startswith("tg.extend.")
    return not (record or doc(value).endswith("of this node."))


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if shows(n)])
def test_shows_an_example(name):
    assert ">>> " in doc(FUNCTIONS[name])


def has_onnx() -> bool:
    try:
        onnx.require_package()
    except ImportError:
        return False
    return True


def test_examples_print_what_they_show(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    failed = []
    for name, value in ALL.items():
        if name.startswith("tg.onnx.") and not has_onnx():
            continue
        test = doctest.DocTestParser().get_doctest(doc(value), dict(GIVEN), name, None, 0)
        runner.run(test, out=failed.append)
    assert runner.failures == 0, "".join(failed)
    assert runner.tries > 500
