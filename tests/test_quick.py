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


def test_objects_of_both_kinds_are_kept_apart():
    assert features_for("quick") != features_for("") == detect()


def test_another_runtime_is_refused():
    x = tg.input("x", 3)
    with pytest.raises(BackendError, match="no runtime 'quik': it is 'cpu' or 'cpu:quick'"):
        tg.compile([x], [x + 1], backend="cpu:quik")
