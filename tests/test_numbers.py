"""Every public numeric argument refuses True, which Python would take as 1.

The examples in the docstrings are run and their calls recorded; each is then made again with one
number replaced.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, NamedTuple

import pytest

from test_docstrings import ALL, FUNCTIONS, GIVEN, METHODS, doc
from tinygraph.compiler.fixed_program import FixedProgram

METHOD_OWNERS = {**{kind.__name__: kind for kind in METHODS}, "Program": FixedProgram}
# Made by the library, not by users; the door of authors, called for each node that is compiled.
RECORDS = (
    "tg.Type", "tg.origin", "tg.train.Epoch", "tg.train.Run", "tg.distributed.DataParallel",
    "tg.extend.",
)  # fmt: skip
NUMBER = re.compile(r"\b(int|float)\b")


def written(function: FunctionType, annotation: str) -> str:
    """An annotation with its aliases spelled out, where all of its names are known at run time."""
    try:
        return str(eval(annotation, function.__globals__))
    except NameError:
        return annotation


def numeric_parameters() -> Iterator[tuple[str, str]]:
    """(function, parameter) of arguments that are annotated as numbers, or sequences of them."""
    for name, value in FUNCTIONS.items():
        function = inspect.unwrap(value.__init__ if inspect.isclass(value) else value)
        if name.startswith(RECORDS) or not isinstance(function, FunctionType):
            continue
        for p in inspect.signature(function).parameters.values():
            text = written(function, p.annotation) if isinstance(p.annotation, str) else ""
            if NUMBER.search(text) and not re.search("bool|Any|ndarray|Callable|Mapping", text):
                yield name, p.name


WALKED = sorted(numeric_parameters())


class Call(NamedTuple):
    """A call of an example."""

    function: Callable[..., Any]
    bound: inspect.BoundArguments

    def again(self, parameter: str) -> Any:
        """The same call with True in place of a number."""
        value = self.bound.arguments[parameter]
        other = type(value)([True, *value[1:]]) if isinstance(value, (tuple, list)) else True
        given = inspect.BoundArguments(
            self.bound.signature, {**self.bound.arguments, parameter: other}
        )
        return self.function(*given.args, **given.kwargs)


def recorder(calls: dict[str, Call], name: str, function: Callable[..., Any]) -> Any:
    signature = inspect.signature(function)

    def call(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        calls.setdefault(name, Call(function, bound))
        return result

    return call


def derived_from(value: Any) -> bool:
    """True if examples derive classes from it."""
    return inspect.isclass(value) and any(f"({value.__name__})" in doc(v) for v in ALL.values())


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Call]:
    """The first calls that the examples make of each function."""
    found: dict[str, Call] = {}
    runner = doctest.DocTestRunner(verbose=False)
    needed = dict.fromkeys(name for name, _ in WALKED)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("numbers"))
        for name in needed:
            owner, _, member = name.rpartition(".")
            module = METHOD_OWNERS.get(owner) or importlib.import_module(
                owner.replace("tg", "tinygraph", 1)
            )
            value = getattr(module, member)
            if not derived_from(value):
                patch.setattr(module, member, recorder(found, name, value))
        for name in needed:
            test = doctest.DocTestParser().get_doctest(doc(ALL[name]), dict(GIVEN), name, None, 0)
            runner.run(test, out=lambda text: None, clear_globs=False)
    return found


@pytest.mark.parametrize(("name", "parameter"), WALKED, ids=lambda text: text)
def test_true_is_no_number(name: str, parameter: str, calls: dict[str, Call]) -> None:
    """In a call of an example, or alone where none is shown."""
    with pytest.raises(TypeError, match="True"):
        calls[name].again(parameter) if name in calls else FUNCTIONS[name](**{parameter: True})
