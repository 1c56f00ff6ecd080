"""Patterns that files have as ONNX's own operators, which other runtimes fuse by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx

import tinygraph as tg
from test_onnx_save import check, values
from tinygraph import nn
from tinygraph.graph.ir import Graph, Node

X = (2, 5, 9, 8)
RAISED: dict[str, tuple[str, Callable[[Node], Node], tuple[int, ...]]] = {
    "average": ("AveragePool", lambda x: tg.avg_pool2d(x, 3, 2), X),
    "average, padding counts": ("AveragePool", lambda x: tg.avg_pool2d(x, 3, 2, 1), X),
    "average of what is there": (
        "AveragePool", lambda x: tg.avg_pool2d(x, 3, 2, 1, count_include_pad=False), X,
    ),
    "average, hanging over": (
        "AveragePool", lambda x: tg.avg_pool2d(x, (2, 3), 3, 0, True, count_include_pad=False), X,
    ),
    "average of three axes": (
        "AveragePool", lambda x: tg.avg_pool(x, 2, 1, ((0, 1), (1, 0), (1, 1))), (1, 2, 3, 4, 5),
    ),
    "average with gaps": ("AveragePool", lambda x: tg.avg_pool(x, 3, 2, 1, dilation=2), X),
    "L1": ("LpPool", lambda x: tg.lp_pool(x - 0.5, 1, 3), X),
    "L2": ("LpPool", lambda x: tg.l2_pool2d(x, 3, 2, 1), X),
    "L2, hanging over": ("LpPool", lambda x: tg.l2_pool2d(x, 2, 2, 0, True), X),
    "L3": ("LpPool", lambda x: tg.lp_pool(x - 0.5, 3, 3, 2), X),
    "L7 of one axis": ("LpPool", lambda x: tg.lp_pool(x - 0.5, 7, 3, 2), (2, 3, 9)),
    "response": ("LRN", lambda x: tg.local_response_norm(x, 5, 1.0), X),
    "response, root": ("LRN", lambda x: tg.local_response_norm(x, 3, 0.5, 0.5, 2.0), X),
    "response, whole": ("LRN", lambda x: tg.local_response_norm(x, 1, 0.5, 1.0), X),
    "response, other power": ("LRN", lambda x: tg.local_response_norm(x, 3, 0.5, 0.6, 2.0), X),
}  # fmt: skip


def raised(graph: Graph, path: Path) -> list[str]:
    """The operators of the file, which computes what the graph does."""
    tg.onnx.save(graph, path)
    check(path, graph, values(graph.inputs))
    return [n.op_type for n in onnx.load(path).graph.node]


def pattern(build: Callable[[Node], Node], shape: Sequence[int], path: Path) -> list[str]:
    """The same of a pattern, without what prepares its input."""
    x = tg.input("x", *shape)
    found = raised(Graph("pattern", (x,), (build(x),)), path)
    return [op for op in found if op not in ("Identity", "Sub")]


@pytest.mark.parametrize("name", RAISED)
def test_patterns_become_operators(name: str, tmp_path: Path) -> None:
    op, build, shape = RAISED[name]
    assert pattern(build, shape, tmp_path / "raised.onnx") == [op]


NOT_RAISED: dict[str, Callable[[Node], Node]] = {
    "what hangs over does not count": lambda x: tg.avg_pool2d(x, 3, 2, 1, True),
    "windows over channels": lambda x: tg.local_response_norm(x, 4, 1.0),
    "a power that is no whole number": lambda x: tg.lp_pool(x, 2.5, 3),
    "weighted": lambda x: tg.center_weighted_pool2d(x, 3),
}


@pytest.mark.parametrize("name", NOT_RAISED)
def test_what_onnx_means_otherwise_is_not_raised(name: str, tmp_path: Path) -> None:
    assert len(pattern(NOT_RAISED[name], X, tmp_path / "raised.onnx")) > 1


def flat(made: object) -> tuple[Node, ...]:
    if isinstance(made, Node):
        return (made,)
    return tuple(n for part in made for n in flat(part))  # type: ignore[attr-defined]


def recurrent(net: nn.Module, *state: tuple[int, ...]) -> Graph:
    """The layer on 5 steps of 2 rows, with all that it gives."""
    x = tg.input("x", 5, 2, 4)
    first = [tg.input(f"first{i}", *shape) for i, shape in enumerate(state)]
    given = [first if len(first) > 1 else first[0]] if first else []
    return Graph("recurrent", (x, *first), flat(net(x, *given)))


LAYERS: dict[str, tuple[Callable[[], Graph], str, int]] = {
    "lstm": (lambda: recurrent(nn.LSTM(4, 3)), "LSTM", 1),
    "lstm, its state": (lambda: recurrent(nn.LSTM(4, 3), (1, 2, 3), (1, 2, 3)), "LSTM", 1),
    "lstm without biases": (lambda: recurrent(nn.LSTM(4, 3, bias=False)), "LSTM", 1),
    "two lstms": (lambda: recurrent(nn.LSTM(4, 3, 2, bidirectional=True)), "LSTM", 4),
    "rnn": (lambda: recurrent(nn.RNN(4, 3)), "RNN", 1),
    "rnn of relu": (lambda: recurrent(nn.RNN(4, 3, nonlinearity="relu"), (1, 2, 3)), "RNN", 1),
    "two rnns": (lambda: recurrent(nn.RNN(4, 3, 2, bias=False, bidirectional=True)), "RNN", 4),
    "gru": (lambda: recurrent(nn.GRU(4, 3)), "GRU", 1),
    "gru, its state": (lambda: recurrent(nn.GRU(4, 3), (1, 2, 3)), "GRU", 1),
    "gru without biases": (lambda: recurrent(nn.GRU(4, 3, bias=False)), "GRU", 1),
    "two grus": (
        lambda: recurrent(nn.GRU(4, 3, 2, batch_first=True, bidirectional=True)),
        "GRU",
        4,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_over_sequences(name: str, tmp_path: Path) -> None:
    build, op, count = LAYERS[name]
    found = raised(build(), tmp_path / "layer.onnx")
    assert found.count(op) == count and "Scan" not in found


def test_layers_of_which_more_is_read(tmp_path: Path) -> None:
    """h of all steps with the first is put together; c of all steps, which no layer gives, and
    lengths leave the loop a loop.
    """
    x = tg.input("x", 5, 2, 4)
    y, (h, c) = nn.LSTM(4, 3)(x)
    history = next(n for n in Graph("", (x,), (y,)).nodes if n.op.name == "item")
    cells = next(n for n in Graph("", (x,), (c,)).nodes if n.op.name == "item")
    found = raised(Graph("history", (x,), (history, y, h, c)), tmp_path / "history.onnx")
    assert "LSTM" in found and "Scan" not in found
    for read in (cells, cells[2], tg.grad(tg.sum(y), [x])[0]):
        graph = Graph("cells", (x,), (read, y))
        assert "Scan" in (found := raised(graph, tmp_path / "cells.onnx")) and "LSTM" not in found
    y, _ = nn.GRU(4, 3)(x, lengths=tg.constant([5, 3]))
    found = raised(Graph("lengths", (x,), (y,)), tmp_path / "lengths.onnx")
    assert "Scan" in found and "GRU" not in found
