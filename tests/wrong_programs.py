"""Programs with a mistake each; test_goldens.py keeps their messages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.graph.ir import Graph
from tinygraph.graph.parse import parse

WRONG: list[Callable[[], Any]] = []
PLACE = re.compile(re.escape(Path(__file__).name) + r":(\d+)")


def wrong(program: Callable[[], Any]) -> Callable[[], Any]:
    WRONG.append(program)
    return program


def message(program: Callable[[], Any]) -> str:
    """The program's name and its error, with file.py:LINE for a line of its own.

    The number of any other line stays: a message that names one is wrong.
    """
    own = {line for _, _, line in program.__code__.co_lines() if line is not None}

    def place(found: re.Match[str]) -> str:
        return "file.py:LINE" if int(found[1]) in own else found[0]

    try:
        program()
    except Exception as error:
        return f"{program.__name__}\n    {type(error).__name__}: {PLACE.sub(place, str(error))}\n"
    return f"{program.__name__}\n    no error\n"


# ---------------------------------------------------------------------- building


@wrong
def inner_sizes_differ() -> None:
    tg.input("x", 32, 784) @ tg.input("w", 100, 10)


@wrong
def shapes_do_not_broadcast() -> None:
    tg.input("x", 4, 3) + tg.input("y", 4)


@wrong
def reshape_to_another_size() -> None:
    tg.reshape(tg.input("x", 4, 3), (5, -1))


@wrong
def an_axis_that_is_not_there() -> None:
    tg.sum(tg.input("x", 4, 3), axis=2)


@wrong
def an_index_beyond_the_end() -> None:
    tg.input("x", 4, 3)[4]


@wrong
def concat_of_other_sizes() -> None:
    tg.concat([tg.input("x", 4, 3), tg.input("y", 4, 2)], 0)


@wrong
def images_with_other_channels() -> None:
    nn.Conv2d(3, 8, 3)(tg.input("images", 2, 1, 8, 8))


@wrong
def a_window_larger_than_the_image() -> None:
    tg.max_pool2d(tg.input("images", 2, 1, 4, 4), 5)


@wrong
def a_linear_layer_of_another_width() -> None:
    nn.Linear(10, 5)(tg.input("x", 2, 12))


@wrong
def labels_of_floats() -> None:
    nn.cross_entropy(tg.input("logits", 2, 10), tg.input("label", 2))


@wrong
def float_and_double() -> None:
    tg.input("x", 3) + tg.input("y", 3, dtype="float64")


@wrong
def integers_where_floats_are_needed() -> None:
    tg.exp(tg.input("x", 3, dtype="int32"))


@wrong
def an_unknown_dtype() -> None:
    tg.input("x", 3, dtype="float8")


@wrong
def a_shape_in_parentheses() -> None:
    tg.input("x", (4, 3))


@wrong
def the_truth_of_a_node() -> None:
    if tg.input("x", 3) > 0:
        pass


@wrong
def the_gradient_of_what_is_no_scalar() -> None:
    x = tg.input("voltage", 3)
    tg.grad(tg.exp(x), [x])


@wrong
def a_parameter_that_the_loss_does_not_reach() -> None:
    w = tg.parameter(np.ones(3, np.float32), name="w")
    optim.SGD(0.1).updates(tg.sum(tg.input("x", 3)), [w])


@wrong
def text_with_an_unknown_operator() -> None:
    parse("graph g(x: f32[3]) {\n  %0 = nonsense(x) : f32[3]\n  return %0\n}")


# ---------------------------------------------------------------------- compiling


@wrong
def an_input_that_is_not_listed() -> None:
    x, y = tg.input("x", 3), tg.input("y", 3)
    tg.compile([x], [x + y])


@wrong
def one_node_in_place_of_a_list() -> None:
    x = tg.input("x", 3)
    tg.compile(x, [x + 1])


@wrong
def two_inputs_of_one_name() -> None:
    x, y = tg.input("x", 3), tg.input("x", 4)
    tg.compile([x, y], [x])


@wrong
def an_update_of_another_type() -> None:
    w = tg.parameter(np.ones(3, np.float32), name="w")
    x = tg.input("x", 4)
    tg.compile([x], [x], updates=[(w, x)])


@wrong
def a_pass_that_is_not_there() -> None:
    x = tg.input("x", 3)
    tg.compile([x], [x], without=["fuze"])


@wrong
def a_pass_that_changes_a_type() -> None:
    def shorten(graph: Graph) -> Graph:
        return Graph(graph.name, graph.inputs, tuple(o[:1] for o in graph.outputs))

    x = tg.input("x", 3)
    tg.compile([x], [tg.exp(x)], passes=[shorten])


# ---------------------------------------------------------------------- calling


@wrong
def an_array_of_doubles() -> None:
    x = tg.input("x", 3)
    tg.compile([x], [tg.exp(x)])(np.zeros(3))


@wrong
def an_array_of_another_shape() -> None:
    x = tg.input("x", 4, 3)
    tg.compile([x], [tg.exp(x)])(np.zeros((2, 3), np.float32))


@wrong
def a_misspelt_name() -> None:
    x = tg.input("image", 3)
    tg.compile([x], [tg.exp(x)])(imgae=np.zeros(3, np.float32))


@wrong
def a_logarithm_of_a_negative_number() -> None:
    x = tg.input("pressure", 3)
    y = tg.log(x) * 2
    tg.compile([x], [y], check_nan=True)(np.array([1, -1, 2], np.float32))
