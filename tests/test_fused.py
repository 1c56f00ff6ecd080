"""The fused stage: each kernel on a line, in the words of those who wrote the network."""

from __future__ import annotations

import re
from functools import cache

import pytest

import tinygraph as tg
from golden_networks import WIDE, inspected
from tinygraph import nn, optim
from tinygraph.graph.ir import Node
from tinygraph.inspect.inspection import Inspection
from whole_networks import WHOLE

SHOWN = ("lenet5", "lenet5_step", "googlenet", "resnet50", "transformer", "lstm_step", "char_step")


@cache
def network(name: str) -> Inspection:
    return inspected(WIDE, *WHOLE[name]())


def text(*outputs: Node, updates: tuple = ()) -> str:
    inputs = [n for n in tg.Graph("", (), outputs).nodes if n.op.name == "input"]
    return inspected(WIDE, inputs, outputs, updates).dump("fused")


def test_googlenet(golden):
    found = network("googlenet").dump("fused")
    assert len(found.splitlines()) <= 70
    assert golden == found


@pytest.mark.parametrize("name", ["transformer", "lstm_step", "char_step", "lenet5_step"])
def test_network(name, golden):
    assert golden == network(name).dump("fused")


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("name", SHOWN)
def test_every_launch_has_a_line_of_at_most_100_columns(name, lines):
    found = network(name)
    shown: list[int] = []
    for line in found.dump("fused", lines=lines).splitlines():
        assert len(line) <= 100 and line == line.rstrip()
        if numbers := re.match(r" *(\d+)(?:-(\d+))?  ", line):
            shown += range(int(numbers[1]), int(numbers[2] or numbers[1]) + 1)
    assert shown == list(range(len(found.plan.launches)))


def test_lines_say_why_and_where():
    plain, found = (network("googlenet").dump("fused", lines=x) for x in (False, True))
    assert "whole_networks.py" in found and "whole_networks.py" not in plain
    assert "4.0 times fewer multiplications" in found
    assert "is estimated at" in found


WORDS = {
    "softmax": lambda x: tg.softmax(x),
    "log_softmax": lambda x: tg.log_softmax(x),
    "layer_norm": lambda x: nn.LayerNorm(40)(x),
    "gelu": lambda x: tg.gelu(x),
    "silu": lambda x: tg.silu(x),
    "cumsum": lambda x: tg.cumsum(x, 1),
    "matmul + bias + relu": lambda x: tg.relu(nn.Linear(40, 8)(x)),
    "matmul + relu": lambda x: tg.relu(x @ tg.input("w", 40, 8)),
}
IMAGES = {
    "local_response_norm": lambda x: tg.local_response_norm(x, 3),
    "avg_pool2d 3x2/2x1": lambda x: tg.avg_pool2d(x, (3, 2), (2, 1)),
    "max_pool2d 2x2/2": lambda x: nn.MaxPool2d(2)(x),
    "conv2d 3x3 + bias + relu": lambda x: tg.mean(tg.relu(nn.Conv2d(3, 16, 3)(x))),
    "conv2d 3x3/2": lambda x: nn.Conv2d(3, 4, 3, stride=2)(x),
    "conv2d 3x3 in 3 groups": lambda x: nn.Conv2d(3, 6, 3, groups=3, bias=False)(x),
}


@pytest.mark.parametrize("words", [*WORDS, *IMAGES])
def test_kernels_are_called_what_the_user_called(words):
    """On an input of its own: equal nodes are one node, with the words of who built it first."""
    if words in WORDS:
        found = text(WORDS[words](tg.input(f"x of {words}", 6, 40)))
    else:
        found = text(IMAGES[words](tg.input(f"image of {words}", 1, 3, 8, 8)))
    (line,) = [s for s in found.splitlines() if words in s]
    assert re.search(rf"  {re.escape(words)}  ", line), line


def test_a_step_names_losses_gradients_and_updates():
    net = nn.Sequential(conv=nn.Conv2d(3, 4, 3, padding=1), flat=nn.Flatten(), fc=nn.Linear(256, 5))
    image = tg.input("image of a step", 2, 3, 8, 8)
    loss = nn.cross_entropy(net(image), tg.input("y", 2, dtype="int32"))
    found = text(loss, updates=tuple(optim.Adam(1e-3).updates(loss, net.parameters())))
    for words in (
        "cross_entropy + cross_entropy gradient",
        "conv2d_weight_gradient 3x3 + adam update",
        "matmul gradient + adam update",
        "bias gradient + adam update",
    ):
        assert words in found, found


def test_products_are_those_of_the_convolution():
    image = tg.input("image of a product", 2, 3, 8, 8)
    found = text(nn.Conv2d(3, 20, 5, stride=2, bias=False)(image))
    assert " 8 x 20 x 75  [2,20,2,2] " in found  # 2 images of 2x2, 20 channels, 3 of 5x5


def test_a_program_prints_its_largest_kernels():
    x = tg.input("x of a program", 6, 40)
    program = tg.compile([x], [tg.softmax(nn.Linear(40, 30)(x))], name="small")
    assert "fused" in program.stages
    assert "matmul" in str(program) and "softmax" in str(program)
