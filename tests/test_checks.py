"""What compile is given: every mistake is named, with the node and its line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim

x = tg.input("image", 4, 3, 8, 8)
layer = nn.Conv2d(3, 5, 3)
y = layer(x)
p = tg.parameter(np.ones(3), name="p")
LINE = r"\(test_checks.py:\d+"


def compiled(*args: Any, **options: Any) -> Callable[[], Any]:
    return lambda: tg.compile(*args, **options)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (compiled(x, [y]), rf"inputs requires a list of nodes, got one: input image .*{LINE}"),
        (compiled([x], y), rf"outputs requires a list of nodes, got one: add .*{LINE}"),
        (compiled([x], [(y, y)]), r"outputs\[0\] must be a node, got tuple"),
        (compiled([y], [y]), rf"inputs\[0\] is not made by tg.input, but add f32.*{LINE}"),
        (compiled([], [y]), rf"input image f32\[4,3,8,8\] {LINE}.* is read, but .*: none"),
        (compiled([x, tg.input("image", 7)], [y]), rf"one name: .*{LINE}.* and .*{LINE}"),
        (compiled([x], [y], updates=[p]), r"updates\[0\] requires .* as an opt.*, got Parameter"),
        (compiled([x], [y], updates=[(p, 0.0)]), r"updates\[0\] .*, got \(Parameter, float\)"),
        (compiled([x], [y], updates=[(y, y)]), rf"changes no parameter, but add .*{LINE}"),
        (compiled([x], [y], updates=[(p, y)]), rf"p is f32\[3\], its update add .*{LINE}"),
        (compiled([x], [y], without="simplify"), r"a list of names, got 'simplify'"),
        (compiled([x], [y], without=["fusion"]), r"without='fusion' is not one of .*, contract"),
        (compiled([x], [y], verify="all"), r"verify is 'values' or None, got 'all'"),
        (compiled([x], [y], conv={"conv": "winograd"}), r"conv='conv' names no layer; there is "),
        (compiled([x], [y], conv="strassen"), r"conv requires 'implicit', .* got 'strassen'"),
        (compiled([x], [y], backend="gpu"), r"no backend 'gpu' is installed; there is cpu, cuda"),
        (compiled([x], [y], backend="cpu:fast"), r"backend 'cpu' has no runtime 'fast'"),
        (lambda: optim.SGD(0.1).updates(tg.sum(y), [p]), r"depends on none of the 1 parameters"),
        (lambda: tg.input("x", (4, 3)), r"test_checks.py:\d+: input 'x' requires sizes .*\(4, 3\)"),
        (lambda: tg.input("x", -1), r"test_checks.py:\d+: input 'x' requires sizes from 0 up"),
        (lambda: tg.input("x", 3, dtype="float8"), r"input 'x' requires a dtype of float32, "),
        (lambda: tg.input(4, 3), r"input requires a name, then sizes, got the name 4"),
        (lambda: np.asarray(y), r"a node has no value while the graph is built"),
        (lambda: float(tg.sum(y)), r"a node has no value while the graph is built"),
        (lambda: len(tg.sum(y)), r"a 0-d node has no length"),
    ],
)
def test_mistakes_are_named(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        wrong()
