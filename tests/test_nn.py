"""Modules and layers: names, state, modes, PyTorch's numbers (tests/golden/make_torch_nn.py)."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.graph.ir import Graph
from tinygraph.graph.origins import origins
from tinygraph.passes.effects import strip_effects

GOLDEN = dict(np.load(Path(__file__).with_name("golden") / "torch_nn.npz"))

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(5, 3),
    "linear_plain": lambda: nn.Linear(5, 3, bias=False),
    "conv1d": lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2),
    "conv2d": lambda: nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), dilation=2),
    "conv2d_groups": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False),
    "conv_transpose2d": lambda: nn.ConvTranspose2d(
        4, 6, 3, stride=2, padding=1, output_padding=1, groups=2
    ),
    "batch_norm1d": lambda: nn.BatchNorm1d(4, momentum=0.3),
    "batch_norm2d": lambda: nn.BatchNorm2d(4, eps=1e-3),
    "layer_norm": lambda: nn.LayerNorm((4, 3)),
    "embedding": lambda: nn.Embedding(7, 3),
    "encoder_layer": lambda: nn.TransformerEncoderLayer(8, 2, 12, dropout=0),
    "encoder_layer_norm_first": lambda: nn.TransformerEncoderLayer(
        8, 4, 12, dropout=0, activation="gelu", norm_first=True
    ),
    "conv1d_same": lambda: nn.Conv1d(4, 2, 4, padding="same"),
    "conv2d_same": lambda: nn.Conv2d(4, 2, (3, 2), padding="same", dilation=2),
    "conv3d": lambda: nn.Conv3d(
        in_channels=4, out_channels=6, kernel_size=(2, 3, 2), stride=(1, 2, 1), padding=1, groups=2
    ),
    "conv_transpose1d": lambda: nn.ConvTranspose1d(4, 2, 3, 2, 1, 1),
    "conv_transpose3d": lambda: nn.ConvTranspose3d(4, 2, 2, 2),
    "batch_norm3d": lambda: nn.BatchNorm3d(2),
    "group_norm": lambda: nn.GroupNorm(2, 4),
    "instance_norm1d": lambda: nn.InstanceNorm1d(4, affine=True),
    "instance_norm2d": lambda: nn.InstanceNorm2d(4),
    "rms_norm": lambda: nn.RMSNorm((4, 3)),
    "prelu": lambda: nn.PReLU(4),
    "max_pool1d": lambda: nn.MaxPool1d(3, 2, 1),
    "max_pool3d": lambda: nn.MaxPool3d(2),
    "avg_pool1d": lambda: nn.AvgPool1d(3, 2, padding=1),
    "avg_pool3d": lambda: nn.AvgPool3d(2, ceil_mode=True),
    "adaptive_max_pool2d": lambda: nn.AdaptiveMaxPool2d((3, 2)),
    "upsample": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "zero_pad2d": lambda: nn.ZeroPad2d((1, 2, 3, 0)),
    "pixel_shuffle": lambda: nn.PixelShuffle(2),
    "decoder_layer": lambda: nn.TransformerDecoderLayer(8, 2, 12, dropout=0),
    "decoder_layer_norm_first": lambda: nn.TransformerDecoderLayer(
        d_model=8, nhead=4, dim_feedforward=12, dropout=0, activation="gelu", norm_first=True
    ),
    "multi_head_attention": lambda: nn.MultiHeadAttention(8, 2),
    "encoder": lambda: nn.TransformerEncoder(
        [nn.TransformerEncoderLayer(8, 2, 12, dropout=0) for _ in range(2)], nn.LayerNorm(8)
    ),
    "rnn_cell": lambda: nn.RNNCell(3, 4),
    "lstm_cell": lambda: nn.LSTMCell(3, 4),
    "gru_cell": lambda: nn.GRUCell(3, 4),
    "instance_norm3d": lambda: nn.InstanceNorm3d(2, affine=True),
    "local_response_norm": lambda: nn.LocalResponseNorm(3, 0.3),
    "max_pool2d": lambda: nn.MaxPool2d(3, 2, 1),
    "avg_pool2d": lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "l2_pool2d": lambda: nn.L2Pool2d(2),
    "adaptive_avg_pool2d": lambda: nn.AdaptiveAvgPool2d((3, 2)),
    "global_avg_pool": nn.GlobalAvgPool,
    "flatten": nn.Flatten,
    "identity": nn.Identity,
    "dropout": lambda: nn.Sequential(nn.Identity(), nn.Dropout(0.5)),
    "dropout2d": lambda: nn.Dropout2d(0.5),
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "elu": lambda: nn.ELU(1.5),
    "celu": lambda: nn.CELU(1.5),
    "selu": nn.SELU,
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.75),
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "mish": nn.Mish,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "glu": lambda: nn.GLU(1),
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "log_sigmoid": nn.LogSigmoid,
    "softmax": lambda: nn.Softmax(1),
    "log_softmax": lambda: nn.LogSoftmax(1),
}
# Compared elsewhere, random in training, or without a counterpart in PyTorch.
OTHERS = {"GRU", "LSTM", "RNN", "Module", "KeyValueCache", "CenterWeightedPool2d"}


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    nn.manual_seed(0)
    yield
    nn.manual_seed(0)


def values(inputs: Any, *outputs: tg.Node) -> list[np.ndarray]:
    """The outputs for inputs given as {node: array}."""
    return tg.run(Graph("g", tuple(inputs), outputs), *inputs.values())


def golden(prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in GOLDEN.items() if k.startswith(prefix)}


class Small(nn.Module):
    """A bit of everything: a parameter, a layer, a list, a buffer, dropout."""

    def __init__(self) -> None:
        self.scale = tg.parameter(np.ones(4))
        self.first = nn.Linear(3, 4)
        self.blocks = [nn.Sequential(nn.Linear(4, 4), nn.Tanh()), nn.BatchNorm1d(4)]
        self.drop = nn.Dropout(0.5)

    def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
        x = self.first(x) * self.scale
        for block in self.blocks:
            x = block(x)
        return self.drop(x)


# -- PyTorch's numbers -----------------------------------------------------------------------------


def test_every_golden_layer_is_tested() -> None:
    assert {key.split("/")[0] for key in GOLDEN} == set(LAYERS)


def test_every_layer_has_a_golden_case() -> None:
    made = {type(m).__name__ for make in LAYERS.values() for _, m in make().named_modules()}
    layers = {n for n in nn.__all__ if inspect.isclass(getattr(nn, n))}
    assert layers - made - OTHERS == set()


def loaded(name: str) -> nn.Module:
    layer = LAYERS[name]()
    layer.load_state_dict(golden(f"{name}/state/"))
    return layer


def called(name: str, layer: nn.Module, x: tg.Node) -> tg.Node:
    """In training, but for dropout, as in make_torch_nn.py."""
    given = (x, tg.cos(x)) if "decoder" in name else (x,)
    y = layer(*given, training="dropout" not in name)
    return tg.concat(y, 1) if isinstance(y, tuple) else y


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_those_of_pytorch(name: str) -> None:
    case, layer = golden(f"{name}/"), loaded(name)
    x = tg.input("x", *case["x"].shape, dtype=case["x"].dtype.name)
    y = called(name, layer, x)
    weights = np.cos(np.arange(y.type.size, dtype=np.float32)).reshape(y.shape)
    free = {f"gradient/{n}": p for n, p in layer.named_parameters().items()}
    free |= {"g": x} if "g" in case else {}
    y_found, *gradients = values({x: case["x"]}, y, *tg.grad(tg.sum(y * weights), [*free.values()]))
    np.testing.assert_allclose(y_found, case["y"], rtol=2e-5, atol=2e-6)
    for key, gradient in zip(free, gradients, strict=True):
        error = 2e-6 * max(10, np.abs(case[key]).max())
        np.testing.assert_allclose(gradient, case[key], rtol=1e-4, atol=error, err_msg=key)


@pytest.mark.parametrize("name", LAYERS)
def test_three_compiled_steps_are_those_of_pytorch(name: str) -> None:
    case, layer = golden(f"{name}/"), loaded(name)
    if "g" in case:
        x, inputs, given = tg.parameter(case["x"], "x"), [], []
    else:
        x = tg.input("x", *case["x"].shape, dtype=case["x"].dtype.name)
        inputs, given = [x], [case["x"]]
    loss = tg.mean((called(name, layer, x) - 0.5) ** 2)
    free = [*layer.parameters(), *([] if inputs else [x])]
    rate = 1e-4 if "coder" in name else 0.1
    updates = optim.SGD(rate, momentum=0.9).updates(loss, free)
    step = tg.compile(inputs, [loss], updates=updates, backend="cpu:quick")
    losses = [float(step(*given)[0]) for _ in case["losses"]]
    np.testing.assert_allclose(losses, case["losses"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["batch_norm1d", "batch_norm2d"])
def test_statistics_of_a_batch_are_kept(name: str) -> None:
    case, layer = golden(f"{name}/"), LAYERS[name]()
    layer.load_state_dict(golden(f"{name}/state/"))
    x = tg.input("x", *case["x"].shape)
    tg.compile([x], [layer(x, training=True)])(case["x"])
    for key, buffer in layer.named_buffers().items():
        np.testing.assert_allclose(buffer.value, golden(f"{name}/after/")[key], rtol=1e-5)
    (z,) = tg.compile([x], [layer(x)])(case["x"])
    np.testing.assert_allclose(z, case["z"], rtol=2e-5, atol=2e-6)


# -- names, repr, state ----------------------------------------------------------------------------

NAMES = ["scale", "first.weight", "first.bias", "blocks.0.0.weight", "blocks.0.0.bias"]
NAMES += ["blocks.1.weight", "blocks.1.bias"]
BUFFERS = ["blocks.1.running_mean", "blocks.1.running_var"]


def test_names_are_dotted_paths_in_order() -> None:
    net = Small()
    assert list(net.named_parameters()) == NAMES
    assert list(net.named_buffers()) == BUFFERS
    assert [p.name for p in net.parameters()] == NAMES
    assert list(net.state_dict()) == NAMES + BUFFERS
    names = ["", "first", "blocks.0", "blocks.0.0", "blocks.0.1", "blocks.1", "drop"]
    assert [path for path, _ in net.named_modules()] == names


def test_a_parameter_is_not_lost_to_an_array() -> None:
    layer = nn.Linear(3, 2)
    with pytest.raises(TypeError, match=r"assign to weight\.value"):
        layer.weight = np.zeros((2, 3), np.float32)  # type: ignore[assignment]


def test_lists_and_dicts_hold_modules_at_any_depth() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.rows = [[nn.Linear(2, 2, bias=False)], [nn.Linear(2, 2, bias=False)]]
            self.heads = {"left": nn.Linear(2, 2, bias=False)}
            self.sizes = [1, 2]

    net = Net()
    assert list(net.named_parameters()) == [
        "rows.0.0.weight",
        "rows.1.0.weight",
        "heads.left.weight",
    ]
    assert net.heads["left"].path == "heads.left"
    assert net.sizes == [1, 2]
    with pytest.raises(AttributeError):
        net.rows.append([])
    with pytest.raises(TypeError):
        net.heads["right"] = nn.Linear(2, 2)


def test_a_shared_parameter_is_one() -> None:
    net = nn.Sequential(a=nn.Linear(3, 3), b=nn.Linear(3, 3))
    net[1].weight = net[0].weight  # type: ignore[attr-defined]
    assert list(net.named_parameters()) == ["a.weight", "a.bias", "b.bias"]
    assert net[0].weight.name == "a.weight"  # type: ignore[attr-defined]


def test_repr_is_a_tree() -> None:
    net = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Sequential(nn.ReLU(), nn.Dropout(0.1)))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Conv2d(1, 6, kernel_size=(5, 5), padding=2)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Dropout(0.1)\n"
        "  )\n"
        ")"
    )


def test_state_goes_from_one_network_to_another() -> None:
    first, second = Small(), Small()
    state = first.state_dict()
    assert not np.array_equal(second.first.weight.value, state["first.weight"])
    second.load_state_dict(state)
    for name, value in second.state_dict().items():
        np.testing.assert_array_equal(value, state[name])


def test_state_that_does_not_fit_is_one_list_and_changes_nothing() -> None:
    net = Small()
    before, state = net.state_dict(), {k: v + 1 for k, v in net.state_dict().items()}
    del state["scale"]
    state |= {"extra": np.zeros(2), "first.weight": np.zeros((3, 4), "float32")}
    with pytest.raises(ValueError) as error:
        net.load_state_dict(state)
    text = str(error.value)
    assert "missing: scale" in text
    assert "unexpected: extra" in text
    assert "first.weight is (4, 3), got (3, 4)" in text
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_what_is_not_strict_takes_what_is_there() -> None:
    net = nn.Linear(2, 2)
    bias = net.state_dict()["bias"]
    net.load_state_dict({"weight": np.ones((2, 2)), "other": np.zeros(1)}, strict=False)
    np.testing.assert_array_equal(net.weight.value, np.ones((2, 2)))
    np.testing.assert_array_equal(net.state_dict()["bias"], bias)


def test_what_pytorch_counts_is_left() -> None:
    net = nn.Sequential(bn=nn.BatchNorm2d(3))
    net.load_state_dict(net.state_dict() | {"bn.num_batches_tracked": np.array(7)})


def test_freeze() -> None:
    net = Small()
    net.first.freeze()
    assert list(net.named_parameters()) == [n for n in NAMES if not n.startswith("first.")]
    assert list(net.named_buffers()) == BUFFERS
    assert list(net.state_dict()) == NAMES + BUFFERS
    net.freeze(False)
    assert list(net.named_parameters()) == NAMES


# -- calls -----------------------------------------------------------------------------------------


def test_nodes_know_the_module_that_built_them() -> None:
    x = tg.input("x", 2, 3)
    net = nn.Sequential(body=nn.Sequential(fc=nn.Linear(3, 3)), act=nn.Tanh())
    y = net(x)
    assert origins(y)[0].scope == "act"
    assert origins(y.inputs[0])[0].scope == "body.fc"


def test_the_mode_goes_down_unless_a_module_says_otherwise() -> None:
    seen = []

    class Spy(nn.Module):
        def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
            seen.append(training)
            return x

    class Net(nn.Module):
        def __init__(self) -> None:
            self.spy, self.row = Spy(), nn.Sequential(Spy(), Spy())

        def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
            return self.spy(self.row(self.spy(x)), training=False)

    x = tg.input("x", 2)
    Net()(x, training=True)
    Net()(x)
    assert seen == [True, True, True, False, False, False, False, False]


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Linear(5, 3), (2, 4), "linear requires x[..., 5], got f32[2,4]"),
        (nn.BatchNorm2d(3), (2, 4, 5, 5), "BatchNorm2d requires x[N, 3, H, W], got f32[2,4,5,5]"),
        (nn.BatchNorm1d(3), (2, 3, 5, 5), "BatchNorm1d requires x[N, 3] or x[N, 3, W]"),
        (nn.LayerNorm((3, 2)), (2, 3), "LayerNorm requires x[..., 3, 2], got f32[2,3]"),
        (nn.Conv2d(3, 4, 3), (2, 2, 5, 5), "conv2d requires 3 input channels"),
    ],
)
def test_wrong_shapes_name_the_layer_and_the_line(
    layer: nn.Module, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(tg.ShapeError) as error:
        layer(tg.input("x", *shape))
    assert message in str(error.value)
    assert "test_nn.py" in str(error.value)


def test_one_value_a_channel_has_no_variance() -> None:
    with pytest.raises(tg.ShapeError, match="more than one value"):
        nn.BatchNorm1d(3)(tg.input("x", 1, 3), training=True)


def test_sequential_takes_modules() -> None:
    with pytest.raises(TypeError, match="Sequential takes modules"):
        nn.Sequential(nn.ReLU(), tg.relu)  # type: ignore[arg-type]
    assert len(nn.Sequential(nn.ReLU(), nn.Tanh())) == 2


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (nn.ReLU(), tg.relu),
        (nn.LeakyReLU(0.2), lambda x: tg.leaky_relu(x, 0.2)),
        (nn.Tanh(), tg.tanh),
        (nn.Sigmoid(), tg.sigmoid),
        (nn.GELU(), tg.gelu),
        (nn.SiLU(), tg.silu),
        (nn.ELU(0.5), lambda x: tg.elu(x, 0.5)),
        (nn.Softmax(1), lambda x: tg.softmax(x, 1)),
        (nn.MaxPool2d(2), lambda x: tg.max_pool2d(x, 2)),
        (nn.AvgPool2d(3, 2, 1), lambda x: tg.avg_pool2d(x, 3, 2, 1)),
        (nn.L2Pool2d(2), lambda x: tg.l2_pool2d(x, 2)),
        (nn.CenterWeightedPool2d(3), lambda x: tg.center_weighted_pool2d(x, 3)),
        (nn.AdaptiveAvgPool2d(2), lambda x: tg.adaptive_avg_pool2d(x, 2)),
        (nn.LocalResponseNorm(3, k=2.0), lambda x: tg.local_response_norm(x, 3, k=2.0)),
        (nn.Flatten(), tg.flatten),
        (nn.Identity(), lambda x: x),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else "",
)
def test_layers_without_weights_are_functions(
    layer: nn.Module, function: Callable[[tg.Node], tg.Node]
) -> None:
    x = tg.input("x", 2, 4, 6, 6)
    assert layer(x) is function(x)
    assert not layer.state_dict()


# -- training --------------------------------------------------------------------------------------


def test_lenet_learns_as_the_reference_says() -> None:
    net = models.lenet5()
    assert sum(p.type.size for p in net.parameters()) == 61_706
    rng = np.random.default_rng(0)
    images = rng.random((8, 1, 28, 28), dtype=np.float32)
    labels = np.arange(8, dtype=np.int32)
    x, y = tg.input("image", 8, 1, 28, 28), tg.input("label", 8, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)
    updates = optim.SGD(0.1, momentum=0.9).updates(loss, net.parameters())
    graph, pairs = strip_effects(Graph("step", (x, y), (loss,)), updates)
    reference = Graph("step", graph.inputs, (*graph.outputs, *(new for _, new in pairs)))
    step = tg.compile([x, y], [loss], updates=updates)
    losses = []
    for _ in range(6):
        expected, *news = tg.run(reference, images, labels)
        (found,) = step(images, labels)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        for (p, _), new in zip(pairs, news, strict=True):
            np.testing.assert_allclose(p.value, new, rtol=1e-4, atol=1e-6, err_msg=p.name or "")
        losses.append(float(found))
    assert losses[-1] < losses[0] - 0.02
    (logits,) = tg.compile([x], [net(x)])(images)
    assert logits.shape == (8, 10)


def test_adaptive_means_over_regions_of_any_size():
    """Regions that are all alike are windows; others, some of which overlap or repeat, are not."""
    for n, count in itertools.product(range(1, 15), range(1, 15)):
        image = np.random.default_rng(n).standard_normal((1, 1, n, n)).astype(np.float32)
        y = tg.run(tg.adaptive_avg_pool2d(tg.input("x", 1, 1, n, n), count), image)[0, 0]
        ends = [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
        want = [[image[0, 0, a:b, c:d].mean() for c, d in ends] for a, b in ends]
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6, err_msg=f"{n} to {count}")


def test_a_region_sees_no_pixels_of_others():
    """An infinite pixel makes the means infinite of those regions that it is in, and no other."""
    image = np.zeros((1, 1, 13, 13), np.float32)
    image[0, 0, 1, 3] = np.inf
    (y,) = tg.compile([x := tg.input("x", 1, 1, 13, 13)], [tg.adaptive_avg_pool2d(x, 7)])(image)
    ends = [(i * 13 // 7, -(-(i + 1) * 13 // 7)) for i in range(7)]
    hit = np.array([[a <= 1 < b and c <= 3 < d for c, d in ends] for a, b in ends])
    np.testing.assert_array_equal(y[0, 0], np.where(hit, np.inf, 0))
