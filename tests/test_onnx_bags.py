"""PyTorch's EmbeddingBag as both exporters of torch.onnx write it: a loop over the bags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx
from onnx import TensorProto, helper

import tinygraph as tg
from onnx_models import Writer
from tinygraph.onnx import OnnxError
from tinygraph.onnx.module import OnnxModule

FOLDS = {"sum": np.sum, "mean": np.mean, "max": np.max}
WORDS, SIZE = 20, 3


def graph(w: Writer, name: str, inputs: list[str], outputs: list[str]) -> onnx.GraphProto:
    def info(n: str) -> Any:
        return helper.make_tensor_value_info(n, TensorProto.FLOAT, None)

    return helper.make_graph(w.nodes, name, [*map(info, inputs)], [*map(info, outputs)], w.tensors)


def inner(w: Writer, prefix: str) -> Writer:
    """A writer of a graph within another, whose names are its own."""
    made = Writer()
    made.count = w.count + 1000 * (1 + len(prefix))
    return made


def counted(w: Writer, words: str, offsets: str, kind: str, weights: str) -> str:
    """The loop of the older exporter, which counts: offsets end with the number of words."""
    ends = w("Slice", offsets, w.ints(1), w.ints(2**63 - 1), w.ints(0), w.ints(1))
    trips = w("Gather", w("Shape", ends), w.scalar(0), axis=0)
    zero = w.ints(0)
    b = inner(w, "loop")
    start = b("Unsqueeze", b("Gather", offsets, "i", axis=0), b.ints(0))
    end = b("Unsqueeze", b("Gather", ends, "i", axis=0), b.ints(0))
    rows = b("Gather", "table", b("Slice", words, start, end, zero), axis=0)
    if weights:
        rows = b("Mul", rows, b("Unsqueeze", b("Slice", weights, start, end, zero), b.ints(1)))
    row = b(f"Reduce{kind.title()}", rows, b.ints(0), keepdims=0)
    more = b("Cast", "true", to=TensorProto.BOOL)
    return str(w("Loop", trips, "true", body=graph(b, "bags", ["i", "more"], [more, row])))


def appended(w: Writer, words: str, offsets: str, kind: str, weights: str) -> str:
    """The loop of the newer exporter, which appends a row of each bag to a sequence."""
    rows, minus, one, two = w("Gather", "table", words), w.ints(-1), w.scalar(1), w.scalar(2)
    if weights:
        rows = w("Mul", rows, w("Unsqueeze", weights, w.ints(1)))
    count = w("Sub", w("Size", offsets), one)
    b = inner(w, "loop")
    at = b("Reshape", "i", minus)
    start = b("Slice", offsets, at, b("Add", at, one))
    end = b("Slice", offsets, b("Add", at, one), b("Add", at, two))
    none, some = inner(b, "none of"), inner(b, "some rows of")
    zero = none.tensor(np.zeros((1, SIZE)))
    row = some(f"Reduce{kind.title()}", some("Slice", rows, start, end), some.ints(0))
    row = b("If", b("Equal", start, end), then_branch=graph(none, "none", [], [zero]),
            else_branch=graph(some, "some", [], [row]))  # fmt: skip
    after = b("Add", "i", one)
    outputs = [b("Less", after, count), after, b("SequenceInsert", "rows", row)]
    body = graph(b, "bags", ["forever", "more", "i", "rows"], outputs)
    del body.output[2:], body.input[3:]
    sequence = helper.make_tensor_sequence_value_info
    body.output.append(sequence(outputs[2], TensorProto.FLOAT, None))
    body.input.append(sequence("rows", TensorProto.FLOAT, None))
    first, empty = w.scalar(0), w("SequenceEmpty")
    _, found = w("Loop", "", w("Less", first, count), first, empty, outputs=2, body=body)
    return str(w("ConcatFromSequence", found, axis=0))


LOOPS = {"counted": counted, "appended": appended}


def loaded(
    folder: Path, loop: str, kind: str, bags: Any, weighted: bool = False, known: Any = None
) -> OnnxModule:
    """A file of words and where their bags begin; ``known`` makes that a constant of the file."""
    w = Writer()
    w.weight("table", WORDS, SIZE)
    w.tensor(True, np.bool_, "true")
    inputs: dict[str, Any] = {"words": (TensorProto.INT64, ["words"])}
    if known is None:
        inputs["offsets"] = (TensorProto.INT64, [bags])
    else:
        w.tensor(known, np.int64, "offsets")
    if weighted:
        inputs["weights"] = ["words"]
    offsets = w("Concat", "offsets", w("Shape", "words"), axis=0)
    y = LOOPS[loop](w, "words", offsets, kind, "weights" if weighted else "")
    (folder / "bags.onnx").write_bytes(w.model(inputs, [y], opset=18).SerializeToString())
    return tg.onnx.load(folder / "bags.onnx")


def expected(
    net: OnnxModule, kind: str, words: np.ndarray, offsets: Any, weights: Any = None
) -> np.ndarray:
    rows = net.named_parameters()["table"].value[words]
    rows = rows if weights is None else rows * weights[:, None]
    return np.stack([FOLDS[kind](part, axis=0) for part in np.split(rows, offsets[1:])])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", FOLDS)
@pytest.mark.parametrize("loop", LOOPS)
def test_bags_whose_sizes_are_data(loop: str, kind: str, weighted: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    net = loaded(tmp_path, loop, kind, 3, weighted)
    words = tg.input("words", 12, dtype="int64")
    weights = (tg.input("weights", 12),) if weighted else ()
    given = (words, tg.input("offsets", 3, dtype="int64"), *weights)
    program = tg.compile(given, [net(*given)])
    for offsets in ([0, 3, 7], [0, 1, 11]):
        arrays = [rng.integers(0, WORDS, 12), np.array(offsets)]
        arrays += [rng.random(12, np.float32) for _ in weights]
        (got,) = program(*arrays)
        want = expected(net, kind, arrays[0], offsets, *arrays[2:])
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_empty_bag_is_zero(loop: str, tmp_path: Path) -> None:
    for kind in ("sum", "mean") if loop == "counted" else FOLDS:
        net = loaded(tmp_path, loop, kind, 4)
        nodes = tg.input("words", 5, dtype="int64"), tg.input("offsets", 4, dtype="int64")
        (got,) = tg.run(tg.Graph("g", nodes, (net(*nodes),)), np.arange(5), np.array([0, 2, 2, 5]))
        want = expected(net, "sum", np.arange(2), [0])[0] / (2 if kind == "mean" else 1)
        if kind != "max":
            np.testing.assert_allclose(got[0], want, rtol=1e-5)
        np.testing.assert_array_equal(got[[1, 3]], 0)


@pytest.mark.parametrize("kind", FOLDS)
@pytest.mark.parametrize("loop", LOOPS)
def test_bags_of_a_number_that_is_open(loop: str, kind: str, tmp_path: Path) -> None:
    """One of two words for each example, as a batch [n, 2] is flattened."""
    rng, w = np.random.default_rng(0), Writer()
    w.weight("table", WORDS, SIZE)
    w.tensor(True, np.bool_, "true")
    words = w("Reshape", "words", w.ints(-1))
    size = w("Shape", words)
    step = w.scalar(2)
    offsets = w("Range", w.scalar(0), w("Squeeze", size, w.ints(0)), step)
    y = LOOPS[loop](w, words, w("Concat", offsets, size, axis=0), kind, "")
    made = w.model({"words": (TensorProto.INT64, ["n", 2])}, [y], opset=18)
    (tmp_path / "bags.onnx").write_bytes(made.SerializeToString())
    net = tg.onnx.load(tmp_path / "bags.onnx")
    program = net.compile(batch=None)
    for n in (1, 4):
        x = rng.integers(0, WORDS, (n, 2))
        want = FOLDS[kind](net.named_parameters()["table"].value[x], axis=1)
        np.testing.assert_allclose(program(x)[0], want, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(net.compile(batch=n)(x)[0], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loop", LOOPS)
def test_bags_of_one_known_size_are_a_reduction(loop: str, tmp_path: Path) -> None:
    net = loaded(tmp_path, loop, "sum", 3, known=[0, 2, 4])
    words = tg.input("words", 6, dtype="int64")
    ops = {n.op.name for n in tg.Graph("g", (words,), (net(words),)).nodes}
    assert not any("scatter" in op for op in ops) and "sum" in ops
    uneven = loaded(tmp_path, loop, "sum", 3, known=[0, 2, 3])(words)
    (got,) = tg.run(tg.Graph("g", (words,), (uneven,)), np.arange(6))
    np.testing.assert_allclose(got, expected(net, "sum", np.arange(6), [0, 2, 3]), rtol=1e-5)


def test_a_loop_over_an_open_batch_is_refused_in_one_line(tmp_path: Path) -> None:
    """Each step reads what the one before left, so that no number of steps can be left open."""
    w = Writer()
    trips = w("Gather", w("Shape", "x"), w.scalar(0), axis=0)
    b = inner(w, "loop")
    after = b("Tanh", b("Add", "h", b("Gather", "x", "i", axis=0)))
    body = graph(b, "steps", ["i", "more", "h"], [b("Identity", "more"), after])
    last = w("Loop", trips, w.tensor(True, np.bool_), w.tensor(np.zeros(4)), body=body)
    (tmp_path / "net.onnx").write_bytes(w.model({"x": ["n", 4]}, [last]).SerializeToString())
    net = tg.onnx.load(tmp_path / "net.onnx")
    assert net(tg.input("x", 3, 4)).shape == (4,)
    with pytest.raises(OnnxError, match=r"\(Loop\): has n steps, n being the batch size") as e:
        net(tg.input("x", None, 4))
    assert "\n" not in str(e.value)
