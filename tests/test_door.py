"""What users write at the door: NumPy's numbers and dtypes, indices, ==; all else is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from compiled import graph_of
from tinygraph import nn
from tinygraph.graph.interpret import run
from tinygraph.graph.op import OPS, ShapeError
from tinygraph.graph.verify import VerifyError
from tinygraph.train import evaluate

I64, F64 = np.int64, np.float64
X = tg.input("x", 2, 4, 8, 8)


def value_of(node: Any, *arrays: Any) -> np.ndarray:
    return run(graph_of(node), *arrays)[0]


# -- numbers, sizes, axes and dtypes ---------------------------------------------------------------

NUMPY = {
    "sum": lambda i: tg.sum(X, i(1)),
    "sum, several": lambda i: tg.sum(X, [i(-1), i(0)]),
    "softmax": lambda i: tg.softmax(X, i(1)),
    "flip": lambda i: tg.flip(X, i(1)),
    "argmax": lambda i: tg.argmax(X, i(1)),
    "squeeze": lambda i: tg.squeeze(tg.sum(X, 1, keepdims=True), i(1)),
    "expand_dims": lambda i: tg.expand_dims(X, i(1)),
    "flatten": lambda i: tg.flatten(X, i(2)),
    "concat": lambda i: tg.concat([X, X], i(1)),
    "stack": lambda i: tg.stack([X, X], i(1)),
    "split": lambda i: tg.split(X, i(2), i(1))[0],
    "split, sizes": lambda i: tg.split(X, [i(1), i(3)], 1)[0],
    "transpose": lambda i: tg.transpose(X, [i(1), i(0), i(3), i(2)]),
    "reshape": lambda i: tg.reshape(X, i(2), i(-1)),
    "broadcast_to": lambda i: tg.broadcast_to(X, (i(3), 2, 4, 8, 8)),
    "zeros": lambda i: tg.zeros((i(4), i(8))) + X[0, 0, 0],
    "arange": lambda i: tg.arange(i(8), "float32") + X,
    "one_hot": lambda i: tg.one_hot(tg.argmax(X, 1), i(4)),
    "cumsum": lambda i: tg.cumsum(X, i(1)),
    "pad": lambda i: tg.pad(X, i(1)),
    "take": lambda i: tg.take(X, i(1), i(1)),
    "scatter_add": lambda i: tg.scatter_add([0, 1], X, i(0), i(3)),
    "dynamic_slice": lambda i: tg.dynamic_slice(X, [i(0)] * 4, [i(1)] * 4),
    "index": lambda i: X[i(1), i(-1) : i(9) : i(2)],
    "conv2d": lambda i: tg.conv2d(X, tg.ones((4, 4, 3, 3)), stride=i(2), padding=i(1)),
    "conv2d, pairs": lambda i: tg.conv2d(
        X, tg.ones((4, 1, 3, 3)), dilation=(i(2), i(1)), groups=i(4)
    ),
    "conv_transpose2d": lambda i: tg.conv_transpose2d(
        X, tg.ones((4, 2, 3, 3)), stride=i(2), output_padding=i(1), groups=i(2)
    ),
    "max_pool2d": lambda i: tg.max_pool2d(X, i(2), i(1), i(1)),
    "avg_pool2d": lambda i: tg.avg_pool2d(X, (i(2), i(3))),
    "adaptive": lambda i: tg.adaptive_avg_pool2d(X, i(3)),
    "local_response_norm": lambda i: tg.local_response_norm(X, i(3)),
    "power": lambda i: X ** i(2),
    "number": lambda i: X * i(3) + i(1),
    "integers": lambda i: tg.argmax(X, 1) + i(1),
    "clip": lambda i: tg.clip(X, i(0), i(1)),
    "scan": lambda i: tg.scan(lambda s: s + 1, X, length=i(2))[0][0],
    "input": lambda i: tg.input("x", i(2)) + 1,
}  # fmt: skip


@pytest.mark.parametrize("name", NUMPY)
def test_numpys_integers_are_integers(name: str) -> None:
    assert NUMPY[name](I64) is NUMPY[name](int)


def test_layers_take_numpys_integers() -> None:
    layer = nn.Conv2d(I64(4), I64(5), I64(3), stride=I64(2))
    assert nn.LayerNorm(I64(8))(X).shape == X.shape and layer(X).shape == (2, 5, 3, 3)
    assert nn.Linear(I64(8), I64(3))(X).shape == (2, 4, 8, 3)


@pytest.mark.parametrize(
    "dtype", ["float64", np.float64, np.dtype("float64"), float, np.zeros(1).dtype], ids=repr
)
def test_dtypes_are_names_or_numpys(dtype: Any) -> None:
    for n in (
        tg.input("x", 3, dtype=dtype),
        tg.parameter(np.zeros(3), "p", dtype),
        tg.zeros((3,), dtype),
        tg.arange(3, dtype=dtype),
        tg.cast(tg.input("x", 3), dtype),
        tg.one_hot(tg.input("i", 3, dtype=np.int32), 2, dtype),
        tg.constant([1, 2], dtype),
    ):
        assert n.dtype == "float64" and type(n.dtype) is str
    assert tg.input("m", 3, dtype=bool).dtype == "bool"


def test_scalars_of_numpy_take_the_dtype_of_what_they_meet() -> None:
    x = tg.input("x", 3)
    assert (x * F64(0.5)).dtype == "float32" and x * F64(0.5) is x * 0.5
    assert x + np.float32(2) is x + 2 and I64(2) - x is 2 - x
    wide = tg.input("x", 3, dtype="float64")
    assert wide * np.float32(0.5) is wide * 0.5


@pytest.mark.parametrize(
    "build",
    [
        lambda x: x + None,
        lambda x: None * x,
        lambda x: tg.maximum(x, None),
        lambda x: tg.where(x < 0, x, None),
        lambda x: tg.full((3,), None),
        lambda x: x + "nan",
        lambda x: x - "1.5",
        lambda x: x + True,
        lambda x: x**True,
        lambda x: x * np.True_,
        lambda x: tg.add(x, [True, False, True]),
        lambda x: tg.add(x, [None, 1, 2]),
        lambda x: tg.add(x, [[1, 2], [3]]),
        lambda x: x + 10**400,
        lambda x: x + 1j,
        lambda x: x == None,  # noqa: E711
        lambda x: x == "a",
        lambda x: tg.relu(None),
        *(
            lambda x, f=f: f(None)
            for f in (
                tg.sum,
                tg.max,
                tg.min,
                tg.mean,
                tg.var,
                tg.std,
                tg.prod,
                tg.any,
                tg.all,
                tg.argmax,
                tg.softmax,
                tg.log_softmax,
                tg.logsumexp,
                tg.reshape,
                tg.transpose,
                tg.flip,
            )
        ),
        lambda x: tg.conv2d(X, None),
        lambda x: tg.take(None, [0]),
        lambda x: tg.concat([x, None]),
        lambda x: tg.sum(x, True),
        lambda x: tg.sum(x, "0"),
        lambda x: tg.sum(x, 0.0),
        lambda x: tg.sum(x, 0, 1),
        lambda x: tg.pad(x, 1.5),
        lambda x: tg.pad(x, None),
        lambda x: tg.full((3,), 2**63, "int64"),
        lambda x: tg.input("y", 2, dtype="int64") + 2**63,
        lambda x: tg.add(tg.input("y", 2, dtype="uint32"), np.array([-1, 0], "int32")),
        lambda x: tg.add(tg.input("y", 2, dtype="int8"), np.array([255, 0], "uint8")),
        lambda x: tg.reshape(x, "3"),
        lambda x: tg.reshape(x, 3.0),
        lambda x: tg.zeros((-1,)),
        lambda x: tg.zeros((2.0,)),
        lambda x: tg.zeros((3,), None),
        lambda x: tg.zeros((3,), "float8"),
        lambda x: tg.cast(x, "single!"),
        lambda x: tg.input("y", 2, dtype="complex64"),
        lambda x: tg.full((3,), 2.5, "int32"),
        lambda x: tg.full((3,), 300, "uint8"),
        lambda x: tg.constant(float("nan"), "int32"),
        lambda x: tg.constant([0, 2**40], "int32"),
        lambda x: tg.argmax(x, 0) + 0.5,
        lambda x: tg.argmax(x, 0) + 2**40,
        lambda x: tg.add(tg.argmax(x, 0), [0.5]),
        lambda x: tg.argmax(x, 0) + np.float32(2),
        lambda x: tg.logical_and(x < 0, 1),
        lambda x: tg.equal(x < 0, 2),
        lambda x: tg.split(x, [-1, 4]),
        lambda x: tg.max_pool2d(X, True),
        lambda x: tg.max_pool2d(X, "22"),
        lambda x: tg.conv2d(X, tg.ones((4, 4, 3, 3)), padding="full"),
    ],
)
def test_what_is_no_number_is_refused(build: Callable) -> None:
    with pytest.raises(ShapeError, match=r"test_door.py:\d+: \w+"):
        build(tg.input("x", 3))


@pytest.mark.parametrize("name", [k for k, op in OPS.items() if op.example and op.infer])
def test_every_operator_names_itself_for_what_is_no_number(name: str) -> None:
    example = OPS[name].example()
    for k in range(len(example.inputs)):
        for wrong in (None, "1", [None]):
            inputs = [*example.inputs[:k], wrong, *example.inputs[k + 1 :]]
            with pytest.raises(ShapeError, match=name):
                example.op(*inputs, **dict(example.attrs))


def test_arrays_of_integers_meet_integers_where_they_fit() -> None:
    y = tg.input("y", 2, dtype="int32")
    assert (y + np.array([1, 2])).dtype == "int32"
    with pytest.raises(ShapeError, match="one dtype, got int32 and int64"):
        y + np.array([1, 2**40])
    with pytest.raises(ShapeError, match="one dtype, got float32 and float64"):
        tg.input("x", 2) + np.ones(2)


# -- arguments of programs -------------------------------------------------------------------------


def test_programs_take_integers_that_fit() -> None:
    y, x = tg.input("y", 2, dtype="int32"), tg.input("x")
    program = tg.compile([y, x], [y + 1, x * 2])
    got, double = program(np.array([3, 4]), F64(1.5))
    assert got.tolist() == [4, 5] and double == 3
    assert program(np.array([3, 4], "uint8"), I64(2))[1] == 4
    assert run(graph_of(y + 1), np.array([3, 4]))[0].tolist() == [4, 5]
    for wrong in (np.array([0, 2**31]), np.array([0.0, 1.0]), [0.5, 1]):
        with pytest.raises(TypeError, match=r"input y i32\[2\]"):
            program(wrong, 1)
    with pytest.raises(TypeError, match=r"input x f32\[\]"):
        program([0, 1], np.zeros((), "float64"))
    u = tg.input("u", 2, dtype="uint32")
    with pytest.raises(TypeError, match="values that this dtype cannot hold"):
        tg.compile([u], [u + 1])(np.array([-1, 0], "int32"))  # of as many bits


# -- == --------------------------------------------------------------------------------------------


def test_equality_is_of_values() -> None:
    x, y = tg.input("x", 4, 3), tg.input("y", 4, dtype="int32")
    a = np.array([[1, 2, 3], [3, 2, 1], [1, 3, 2], [2, 2, np.nan]], "float32")
    labels = np.array([2, 0, 0, 2], "int32")
    hits, ones, others, nans = tg.compile(
        [x, y], [tg.argmax(x, 1) == y, y == np.array([2, 1, 0, 2]), y != 0, x != x]
    )(a, labels)
    assert hits.tolist() == [True, True, False, True]
    assert ones.tolist() == [True, False, True, True]
    assert others.tolist() == [True, False, False, True]
    assert nans.sum() == 1
    assert (np.int64(1) == y) is (y == 1) and (np.int64(1) != y) is (y != 1)
    with pytest.raises(TypeError, match="no value while the graph is built"):
        assert x == tg.input("z", 4, 3)
    with pytest.raises(TypeError, match="`is` or a set"):
        assert x in [tg.input("z", 4, 3), x]


def test_sets_and_dicts_go_by_identity() -> None:
    nodes = [tg.input(f"x{k}", 2) for k in range(1000)]
    assert len(set(nodes)) == 1000 and len(dict.fromkeys((*nodes, *nodes))) == 1000
    assert nodes[3] in set(nodes) and tg.input("other", 2) not in set(nodes)
    p = tg.parameter(np.ones(2), "p")
    assert {p: 1}[p] == 1 and p in {p} and p in [p]


def test_nodes_are_copied_as_themselves_and_parameters_with_their_value() -> None:
    layer = nn.Linear(3, 2)
    x = tg.input("x", 4, 3)
    assert copy.copy(x) is x and copy.deepcopy([x])[0] is x
    twin = copy.deepcopy(layer)
    assert twin.weight is not layer.weight
    np.testing.assert_array_equal(twin.weight.value, layer.weight.value)
    twin.weight.value += 1
    assert (twin.weight.value != layer.weight.value).all()
    with pytest.raises(TypeError, match="state_dict"):
        pickle.dumps(x)


# -- indices ---------------------------------------------------------------------------------------

A = np.arange(60, dtype="float32").reshape(5, 4, 3)
MASK, MASK2 = np.array([1, 0, 1, 0, 0], bool), np.arange(20).reshape(5, 4) % 3 == 0
ALL = slice(None)
KEYS = [
    [-1], np.array([-1, 0, -5]), np.array(-1), np.array(2, "uint8"), MASK, MASK.tolist(), MASK2,
    (ALL, [0, 2]), (ALL, [0, -1], 1), ([0, 1], ALL, [1, 2]), ([0, 1], [1, 2]), (0, ALL, [1, 2]),
    (..., [0, 2]), (None, [0, 1]), ([[0, 1], [2, 3]], slice(1, 3)), (MASK,), (MASK, 1),
    (ALL, np.array([1, 0, 0, 1], bool)), (..., np.array([1, 0, 1], bool)), (ALL, 1, [0]),
    (MASK2, slice(None, 2)), (I64(2), np.array([0])), ([0], None, [1]),
    (slice(None, None, -1), [1]),
    (1, ..., [0, 1]), ([0, 1], ALL, 2), (np.arange(5)[:, None], [0, 3]), [], np.zeros(0, int),
    np.zeros(5, bool), (slice(0, 0), [1, 1]), range(2), (ALL, range(3, 0, -2)),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_constant_indices_mean_what_numpy_means(key: Any) -> None:
    got = value_of(tg.input("x", 5, 4, 3)[key], A)
    assert got.shape == A[key].shape
    np.testing.assert_array_equal(got, A[key])


def test_indices_compiled() -> None:
    x = tg.input("x", 5, 4, 3)
    got = tg.compile([x], [x[key] for key in KEYS])(A)
    for value, key in zip(got, KEYS, strict=True):
        np.testing.assert_array_equal(value, A[key])


@pytest.mark.parametrize(
    "key",
    [[0.7, 2.2], [5], [-6], np.array([2**32]), True, (0, True), 1.0, "a", ([0], "a"), [[1, 2], [3]],
     np.zeros(4, bool), np.array(True), [None]],
    ids=repr,
)  # fmt: skip
def test_other_indices_are_refused(key: Any) -> None:
    with pytest.raises(ShapeError, match=r"test_door.py:\d+: (indexing|take)"):
        tg.input("x", 5, 4, 3)[key]


def test_masks_that_are_nodes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"only be known at the run; tg\.where"):
        X[X > 0]


def test_nodes_as_indices_are_clamped() -> None:
    x, i = tg.input("x", 5, 3), tg.input("i", 3, dtype="int32")
    a, places = A[:, 0], np.array([-1, 9, 2], "int32")
    np.testing.assert_array_equal(value_of(x[i], a, places), a[[0, 4, 2]])
    np.testing.assert_array_equal(value_of(x[:, i], a, places), a[:, [0, 2, 2]])
    np.testing.assert_array_equal(value_of(x[np.arange(3), i], a, places), a[range(3), [0, 2, 2]])


def test_take_and_scatter_add_check_numbers() -> None:
    x = tg.input("x", 5, 4, 3)
    assert tg.take(x, [-1]) is tg.take(x, [4])
    u = tg.input("u", 2, 3)
    assert tg.scatter_add([-1, 0], u, 0, 4) is tg.scatter_add([3, 0], u, 0, 4)
    for wrong in (lambda: tg.take(x, [5]), lambda: tg.scatter_add([0, 4], u, 0, 4),
                  lambda: tg.take(x, [0.5]), lambda: tg.take(x, [True, False])):  # fmt: skip
        with pytest.raises(ShapeError, match=r"take|scatter_add"):
            wrong()


# -- slips -----------------------------------------------------------------------------------------


def test_slips_are_errors() -> None:
    with pytest.raises(ValueError, match=r"if it is a shape, write tg\.parameter"):
        tg.parameter((3, 4))
    with pytest.raises(ShapeError, match="requires logits, got a softmax"):
        tg.cross_entropy(tg.softmax(tg.input("x", 4, 3)), tg.input("y", 4, dtype="int32"))
    x = tg.input("x", 3)
    with pytest.raises(VerifyError, match="listed before: input x"):
        tg.compile([x, x], [x * 2])


def test_a_parameters_value_is_read_as_a_copy_that_cannot_be_changed() -> None:
    p = tg.parameter([1.0, 2.0, 3.0], "p")
    with pytest.raises(ValueError, match=r"change p.value.copy\(\) and set it"):
        p.value[0] = 5
    for change in (lambda v: v.fill(0), lambda v: v.sort(), lambda v: np.add(v, 1, out=v)):
        with pytest.raises(ValueError, match="read-only"):
            change(p.value)
    p.value += 1
    p.value *= np.float32(2)
    assert p.value.tolist() == [4, 6, 8] and repr(p.value) == repr(np.asarray(p.value))
    changed = p.value.copy()
    changed[0] = 9
    p.value = changed
    assert p.value.tolist() == [9, 6, 8]
    for made in (p.value * 2, np.exp(p.value), np.concatenate([p.value, p.value])):
        assert type(made) is np.ndarray
    assert type(p.value.sum()) is np.float32
    assert type(pickle.loads(pickle.dumps(p.value))) is np.ndarray
    state = nn.Linear(2, 2).state_dict()
    state["weight"][0] = 0  # arrays of the caller's own


def test_labels_that_are_no_class_are_seen() -> None:
    """The loss is NaN; a negative label adds nothing."""
    x, y = tg.input("x", 3, 4), tg.input("y", 3, dtype="int32")
    each = tg.cross_entropy(x, y, reduction="none")
    program = tg.compile([x, y], [tg.cross_entropy(x, y), each])
    logits = np.arange(12, dtype="float32").reshape(3, 4) % 5
    mean, losses = program(logits, [0, 4, -1])
    assert np.isnan(mean) and np.isnan(losses).tolist() == [False, True, False] and losses[2] == 0
    assert np.isfinite(program(logits, [0, 3, -1])[0])
    predict = tg.compile([x], [x * 1])
    assert evaluate(predict, logits, [0, 3, 1]).confusion.sum() == 3
    slips = {"labels are 0 to 3; got 0 to 4": [0, 4, 1], "got -1 to 1": [0, -1, 1],
             "for each of 3": [0, 1], "an integer label": [0.0, 1.0, 2.0]}  # fmt: skip
    for message, labels in slips.items():
        with pytest.raises(ValueError, match=message):
            evaluate(predict, logits, labels)
