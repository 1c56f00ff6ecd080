"""``backend="cpu:quick"``: plainer kernels, compiled sooner, with the same results."""

import re

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.compiler.backend import BackendError

pytest.importorskip("tinygraph_cpu.machine.features")
import tinygraph_cpu
from tinygraph_cpu.machine.features import FEW, detect, features_for


def steps(backend, net, x, y):
    loss = nn.cross_entropy(net(x), y)
    updates = optim.SGD(lr=0.1, momentum=0.9).updates(loss, net.parameters())
    return tg.compile([x, y], [loss], updates=updates, backend=backend)


def test_a_network_trains_alike():
    x, y = tg.input("x", 16, 1, 28, 28), tg.input("y", 16, dtype="int32")
    rng = np.random.default_rng(0)
    data, labels = rng.normal(size=x.shape).astype("float32"), rng.integers(0, 10, 16)
    losses = {}
    for backend in ("cpu", "cpu:quick"):
        tg.manual_seed(0)
        step = steps(backend, models.lenet5(), x, y)
        losses[backend] = [float(step(data, labels)[0]) for _ in range(5)]
        assert repr(step).endswith(f"on {backend}>")
    np.testing.assert_allclose(losses["cpu:quick"], losses["cpu"], rtol=1e-4)
    assert losses["cpu"][-1] < losses["cpu"][0]


def test_tiles_are_small_and_nothing_is_winograd():
    x = tg.input("x", 2, 64, 56, 56)
    net = nn.Conv2d(64, 64, 3, padding=1)
    quick = tg.compile([x], [net(x)], backend="cpu:quick").dump("fused")
    assert tinygraph_cpu.target("").winograd and not tinygraph_cpu.target("quick").winograd
    rows, columns = map(int, re.search(r"implicit (\d+)x(\d+)", quick).groups())
    vectors = columns // detect().lanes
    assert rows * vectors + vectors + 1 <= FEW


def test_tiles_serve_every_size():
    """One code for all tiles of a kernel: rows that two of them have are stored once."""
    rng = np.random.default_rng(1)
    inputs, arrays, outputs, wanted, updates = [], [], [], [], []
    for m in (1, 2, 5, 6, 7, 13):
        for n in (1, 3, 16, 17, 33):
            k = 3 + m
            a, b, w = (rng.normal(size=s).astype("float32") for s in ((m, k), (k, n), (m, n)))
            x, y = tg.input(f"x{m}_{n}", m, k), tg.input(f"y{m}_{n}", k, n)
            p = tg.parameter(w, f"w{m}_{n}")
            inputs += [x, y]
            arrays += [a, b]
            outputs.append(tg.gelu(x @ y) if n == 17 else x @ y + 1.0)
            updates.append((p, p - 0.5 * (x @ y)))  # where it is: twice would show
            wanted.append((a.astype(float) @ b, w, p))
    step = tg.compile(inputs, outputs, updates=updates, backend="cpu:quick")
    for found, node, (product, w, p) in zip(step(*arrays), outputs, wanted, strict=True):
        if node.op.name == "add":
            np.testing.assert_allclose(found, product + 1, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(p.value, w - 0.5 * product, rtol=1e-4, atol=1e-5)
    reference = tg.run(tg.Graph("reference", tuple(inputs), tuple(outputs)), *arrays)
    for found, want in zip(step(*arrays), reference, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("image", "layer"),
    [
        ((2, 3, 9, 11), {"out": 5, "kernel": 3, "padding": 1}),  # rows read beyond edges
        ((1, 8, 7, 7), {"out": 8, "kernel": 3, "padding": 1, "groups": 8}),  # lanes hold channels
        ((1, 8, 5, 13), {"out": 16, "kernel": 3, "stride": 2, "groups": 4}),
        ((4, 6, 13, 13), {"out": 7, "kernel": 1}),
    ],
)
def test_convolutions_and_their_gradients(image, layer):
    kernel, out = layer["kernel"], layer["out"]
    layer = {k: v for k, v in layer.items() if k not in ("kernel", "out")}
    rng = np.random.default_rng(2)
    x = tg.input("x", *image)
    w = tg.parameter(
        rng.normal(size=(out, image[1] // layer.get("groups", 1), kernel, kernel)), "w"
    )
    y = tg.conv2d(x, w, **layer)
    outputs = [y, *tg.grad(tg.sum(y * y), [x, w])]
    data = rng.normal(size=image).astype("float32")
    quick = tg.compile([x], outputs, backend="cpu:quick")(data)
    for found, want in zip(
        quick, tg.run(tg.Graph("reference", (x,), tuple(outputs)), data), strict=True
    ):
        np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-3)


def test_long_reductions_and_single_rows():
    rng = np.random.default_rng(3)
    a, b = tg.input("a", 20_000, 7), tg.input("b", 20_000, 19)
    v, q = tg.input("v", 1, 20_000), tg.input("q", 20_000)
    arrays = [rng.normal(size=n.shape).astype("float32") for n in (a, b, v, q)]
    outputs = [tg.transpose(a) @ b, v @ b, v @ q]
    reference = tg.run(tg.Graph("reference", (a, b, v, q), tuple(outputs)), *arrays)
    quick = tg.compile([a, b, v, q], outputs, backend="cpu:quick")(*arrays)
    for found, want in zip(quick, reference, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-3, atol=2e-2)


def test_steps_that_only_make_it_faster_are_left_out():
    x = tg.input("x", 3)
    quick = tg.compile([x], [tg.exp(x * 1.0)], backend="cpu:quick")
    usual = tg.compile([x], [tg.exp(x * 1.0)], backend="cpu")
    assert "simplify" in usual.stages and "simplify" not in quick.stages


def test_objects_of_both_kinds_are_kept_apart():
    assert features_for("quick") != features_for("") == detect()


def test_another_runtime_is_refused():
    x = tg.input("x", 3)
    with pytest.raises(BackendError, match="no runtime 'quik': it is 'cpu' or 'cpu:quick'"):
        tg.compile([x], [x + 1], backend="cpu:quik")
