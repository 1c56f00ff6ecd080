"""What users put together: several losses and optimizers, one network for training and inference,
parameters that are shared or frozen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import checkpoint, models, nn, optim


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    nn.manual_seed(0)
    yield
    nn.manual_seed(0)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


class TwoHeads(nn.Module):
    """A body whose result two heads read."""

    def __init__(self) -> None:
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5))
        self.first, self.second = nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, x: tg.Node, training: bool = False) -> tuple[tg.Node, tg.Node]:
        h = self.body(x)
        return self.first(h), self.second(h)


# -- several losses --------------------------------------------------------------------------------


def test_losses_with_weights_add_up_and_are_all_returned() -> None:
    net, x, y = TwoHeads(), tg.input("x", 6, 4), tg.input("y", 6, dtype="int32")
    logits, value = net(x)
    main, other = nn.cross_entropy(logits, y), tg.mean(value * value)
    penalty = nn.l2_penalty(net.parameters(), 0.01)
    parts = [main, other, penalty]
    total = main + other * 0.3 + penalty
    parameters = net.parameters()
    gradients = [tg.grad(loss, parameters) for loss in (*parts, total)]
    program = tg.compile([x, y], [*parts, total, *(g for each in gradients for g in each)])
    found = program(draw(6, 4), np.arange(6, dtype=np.int32) % 3)
    a, b, c, whole = found[:4]
    assert whole == pytest.approx(a + 0.3 * b + c, rel=1e-6)
    each = np.array_split(np.arange(4, len(found)), 4)
    for i, j, k, w in zip(*each, strict=True):
        want = found[i] + 0.3 * found[j] + found[k]
        np.testing.assert_allclose(found[w], want, rtol=1e-5, atol=1e-7)


def test_a_weight_of_a_loss_may_be_an_input_or_a_parameter() -> None:
    w, share, amount = tg.parameter(np.ones(3)), tg.input("share"), tg.parameter(2.0)
    loss = tg.sum(w) * share + tg.sum(w * w) * amount
    program = tg.compile([share], tg.grad(loss, [w]))
    np.testing.assert_allclose(program(0.5)[0], [4.5] * 3)
    amount.value = 0.0
    np.testing.assert_allclose(program(0.25)[0], [0.25] * 3)


def test_losses_of_labels_may_be_masked_and_weighted() -> None:
    """Of texts with padding, whose classes lie along the last axis, and with weights of classes."""
    logits, labels = tg.input("logits", 2, 4, 3), tg.input("labels", 2, 4, dtype="int32")
    counts, weights = tg.input("counts", 2, 4), tg.constant([1.0, 2.0, 4.0], "float32")
    each = nn.cross_entropy(logits, labels, 0.1, axis=-1, reduction="none")
    share = counts * tg.take(weights, labels)
    whole = nn.cross_entropy(logits, labels, 0.1, axis=-1)
    program = tg.compile(
        [logits, labels, counts], [each, tg.sum(each * share) / tg.sum(share), whole]
    )
    data, chosen = draw(2, 4, 3), np.array([[0, 1, 2, 0], [2, 2, 1, 0]], np.int32)
    seen = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], np.float32)
    found, weighted, mean = program(data, chosen, seen)
    logp = data - np.log(np.exp(data).sum(-1, keepdims=True))
    want = -0.9 * np.take_along_axis(logp, chosen[..., None], -1)[..., 0] - 0.1 * logp.mean(-1)
    np.testing.assert_allclose(found, want, rtol=1e-5)
    part = seen * np.array([1, 2, 4])[chosen]
    assert weighted == pytest.approx((want * part).sum() / part.sum(), rel=1e-5)
    assert mean == pytest.approx(want.mean(), rel=1e-5)


def test_two_optimizers_with_losses_of_their_own_in_one_step() -> None:
    net, x = TwoHeads(), tg.input("x", 6, 4)
    logits, value = net(x)
    first, second = tg.sum(logits * logits), tg.sum(value * value)
    slow, fast = optim.SGD(0.01), optim.Adam(0.1)
    updates = slow.updates(first, net.first.parameters())
    updates += fast.updates(second, net.second.parameters())
    step, before = tg.compile([x], [first, second], updates=updates), net.state_dict()
    losses = [step(draw(6, 4)) for _ in range(5)]
    assert losses[-1][0] < losses[0][0] and losses[-1][1] < losses[0][1]
    changed = {n for n, v in net.state_dict().items() if not np.array_equal(v, before[n])}
    assert changed == {"first.weight", "first.bias", "second.weight", "second.bias"}


def test_two_losses_that_would_change_one_parameter_are_refused() -> None:
    net, x = nn.Linear(4, 2), tg.input("x", 6, 4)
    y = net(x)
    updates = [
        *optim.SGD(0.1).updates(tg.sum(y), net.parameters()),
        *optim.SGD(0.1).updates(tg.sum(y * y), net.parameters()),
    ]
    with pytest.raises(ValueError, match="weight would become two different values"):
        tg.compile([x], [y], updates=updates)


# -- one definition --------------------------------------------------------------------------------


def test_training_and_inference_come_from_one_network() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
    x = tg.input("x", 16, 4)
    predict, y = tg.compile([x], [net(x)]), net(x, training=True)
    loss = tg.mean(y * y)
    train = tg.compile([x], [loss], updates=optim.SGD(0.1).updates(loss, net.parameters()))
    points = draw(16, 4)
    (before,) = predict(points)
    np.testing.assert_array_equal(predict(points)[0], before)  # nothing is dropped, nothing moves
    assert train(points) != train(points)
    (after,) = predict(points)
    (again,) = tg.compile([x], [net(x)])(points)  # compiled when the values were there
    assert not np.allclose(after, before)
    np.testing.assert_array_equal(after, again)


# -- shared parameters -----------------------------------------------------------------------------


def test_a_shared_parameter_gets_the_gradient_of_all_its_uses() -> None:
    encode, decode = nn.Linear(5, 3, bias=False), nn.Linear(5, 3, bias=False)
    decode.weight = encode.weight
    x = tg.input("x", 4, 5)
    loss = tg.sum(encode(x) * encode(x)) + tg.sum(decode(x) * 3)
    w, points = encode.weight, draw(4, 5)
    updates = optim.SGD(0.1).updates(loss, [*encode.parameters(), *decode.parameters()])
    old = w.value
    tg.compile([x], [loss], updates=updates)(points)
    gradient = 2 * old @ points.T @ points + 3 * np.ones((3, 4)) @ points
    np.testing.assert_allclose(w.value, old - 0.1 * gradient, rtol=1e-4, atol=1e-5)


def language_model() -> models.TransformerLanguageModel:
    return models.TransformerLanguageModel(symbols=7, length=4, size=8, layers=1, heads=2)


def test_a_shared_parameter_is_saved_under_each_name_and_loaded_by_any(tmp_path) -> None:
    net, other = language_model(), language_model()
    names = "embedding.symbols.weight", "head.weight"
    assert names[1] not in net.named_parameters()
    state = net.state_dict()
    np.testing.assert_array_equal(state[names[0]], state[names[1]])
    checkpoint.save(tmp_path / "net.npz", net)
    checkpoint.load(tmp_path / "net.npz", other)
    np.testing.assert_array_equal(other.head.weight.value, net.head.weight.value)
    for name in names:  # as other libraries save it
        other = language_model()
        other.load_state_dict({n: v for n, v in state.items() if n != name})
        np.testing.assert_array_equal(other.head.weight.value, net.head.weight.value)
    with pytest.raises(ValueError, match="are one parameter"):
        other.load_state_dict(state | {"head.weight": state["head.weight"] + 1})
    with pytest.raises(ValueError, match=r"1 names do not fit:\s+missing: embedding.symbols.w"):
        other.load_state_dict({n: v for n, v in state.items() if n not in names})


# -- frozen parameters -----------------------------------------------------------------------------


def test_frozen_layers_keep_their_values_and_cost_no_gradient() -> None:
    net, x, y = models.lenet5(), tg.input("x", 8, 1, 28, 28), tg.input("y", 8, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)

    def train() -> tg.Program:
        updates = optim.SGD(0.1).updates(loss, net.parameters())
        return tg.compile([x, y], [loss], updates=updates)

    whole = train().cost()["flops"]
    for name, layer in net.named_modules():
        if name.startswith("conv"):
            layer.freeze()
    step, before = train(), net.state_dict()
    assert step.cost()["flops"] < 0.6 * whole
    images, labels = draw(8, 1, 28, 28), np.arange(8, dtype=np.int32)
    losses = [float(step(images, labels)[0]) for _ in range(5)]
    assert losses[-1] < losses[0]
    for name, value in net.state_dict().items():
        assert np.array_equal(value, before[name]) == name.startswith("conv"), name
    net.freeze(False)
    assert len(net.parameters()) == len(before)


def test_parameters_that_an_optimizer_is_not_given_stay() -> None:
    net, x = TwoHeads(), tg.input("x", 6, 4)
    loss = tg.sum(net(x)[0])
    updates = optim.SGD(0.1).updates(loss, [net.first.bias])
    assert tg.compile([x], [loss], updates=updates).updates == (net.first.bias,)
