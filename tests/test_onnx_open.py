"""Files whose batch size is open: what exporters write for it, against ONNX's reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from onnx_models import Writer


def check(made: onnx.ModelProto, folder: Path, *shapes: tuple[int | None, ...]) -> None:
    """One program for any batch size: ``shapes`` with None where the batch size is."""
    (folder / "net.onnx").write_bytes(made.SerializeToString())
    net = tg.onnx.load(folder / "net.onnx")
    program, reference = net.compile(batch=None), ReferenceEvaluator(made)
    for n in (1, 2, 5):
        rng = np.random.default_rng(n)
        given = [
            rng.standard_normal([n if k is None else k for k in s], np.float32) for s in shapes
        ]
        wanted = reference.run(None, dict(zip((v.name for v in net.inputs), given, strict=True)))
        for fixed in (program, net.compile(batch=n)):
            for got, want in zip(fixed(*given), wanted, strict=True):
                assert got.shape == want.shape
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_batch_that_is_not_in_front(tmp_path: Path) -> None:
    """The state of recurrent layers, [layers, batch, size], has the batch's name elsewhere."""
    w = Writer()
    y = w("Add", w("Unsqueeze", "x", w.ints(0)), "state")
    check(w.model({"x": ["batch", 3], "state": [2, "batch", 3]}, [y]), tmp_path, (None, 3),
          (2, None, 3))  # fmt: skip


def test_a_name_that_is_no_batch_asks_for_a_shape(tmp_path: Path) -> None:
    w = Writer()
    made = w.model({"x": ["batch", "time"]}, [w("Relu", "x")])
    (tmp_path / "net.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ValueError, match=r"shapes requires the shape of x: float32\[batch, time\]"):
        tg.onnx.load(tmp_path / "net.onnx").compile()


@pytest.mark.parametrize(("first", "last"), [(1, 2**63 - 1), (0, -1), (-3, -1), (-1, 2**31 - 1)])
def test_cuts_from_either_end(first: int, last: int, tmp_path: Path) -> None:
    w = Writer()
    more = w("Concat", "x", w.tensor(np.arange(9).reshape(3, 3)), axis=0)
    y = w("Slice", more, w.ints(first), w.ints(last), w.ints(0), w.ints(1))
    check(w.model({"x": ["n", 3]}, [y]), tmp_path, (None, 3))


def test_cuts_at_the_batch_size(tmp_path: Path) -> None:
    """As exporters write x[:n], x[n:], x[:2n] and x[: n + 1] of [x, x]."""
    w = Writer()
    twice, n = w("Concat", "x", "x", axis=0), w.size("x", 0)
    ends = [(w.ints(0), n), (n, w.ints(2**63 - 1)), (w.ints(0), w("Add", n, n))]
    y = [w("Slice", twice, first, last, w.ints(0)) for first, last in ends]
    check(w.model({"x": ["n", 3]}, y), tmp_path, (None, 3))


def test_places_that_are_assigned(tmp_path: Path) -> None:
    """y[:, 1:3] = ... of torch.onnx: ScatterND at places built out of the batch size."""
    w = Writer()
    n = w("Gather", w("Shape", "x"), w.scalar(0), axis=0)
    rows = w("Reshape", w("Range", w.scalar(0), n, w.scalar(1)), w.ints(-1, 1))
    shape = w("Concat", w.size("x", 0), w.ints(2), axis=0)
    rows = w("Unsqueeze", w("Expand", rows, shape), w.ints(-1))
    columns = w("Unsqueeze", w("Expand", w.ints(1, -1), shape), w.ints(-1))
    at = w("Concat", rows, columns, axis=-1)
    taken = w("GatherND", "x", w("Concat", rows, w("Expand", w.ints(0), w("Shape", rows)), axis=-1))
    y = w("ScatterND", "x", at, w("Tanh", taken))
    check(w.model({"x": ["n", 4, 3]}, [y, taken]), tmp_path, (None, 4, 3))


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("sizes", [(4, 5), (2, 3, 4)])
def test_affine_grids(sizes: tuple[int, ...], corners: int, tmp_path: Path) -> None:
    """Of one image, too, for which the function that ONNX defines it by is wrong."""
    w = Writer()
    rank = len(sizes)
    size = w("Concat", w.size("x", 0), w.ints(3, *sizes), axis=0)
    y = w("AffineGrid", "x", size, align_corners=corners)
    check(w.model({"x": ["n", rank, rank + 1]}, [y], opset=20), tmp_path, (None, rank, rank + 1))
