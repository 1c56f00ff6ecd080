"""The model zoo: published counts, PyTorch's names, and values of an independent PyTorch version.

Golden values come from tests/golden/make_torch_models.py, which says how weights are drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.graph.float64 import in_float64
from tinygraph.graph.ir import Graph, Node
from tinygraph.models.blocks import from_imagenet
from tinygraph.models.inception_v3 import AuxiliaryClassifier
from tinygraph.passes import strip_effects

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_torch_models import CASES, CLASSES, HIDDEN, MOMENTUM, batch, direction, weights

GOLDEN = dict(np.load(Path(__file__).with_name("golden") / "torch_models.npz"))

# network, parameters, multiply-adds of inference, image side; parameters are all trainable values,
# multiply-adds those of convolutions and linear layers, for one image. The published figures:
# 61 million for AlexNet; 1.5 billion multiply-adds for GoogLeNet, whose exact numbers are those of
# the table in the paper; all others as in torchvision's documentation of its weights.
COUNTS: dict[str, tuple[Callable[[], nn.Module], int, int, tuple[int, int]]] = {
    "lenet5": (models.lenet5, 61_706, 416_520, (1, 28)),
    "alexnet": (models.alexnet, 60_965_224, 724_406_816, (3, 227)),
    "alexnet_torchvision": (
        lambda: models.alexnet("torchvision"), 61_100_840, 714_188_480, (3, 224),
    ),
    "googlenet": (
        lambda: models.googlenet(auxiliary=False), 6_998_552, 1_582_671_872, (3, 224),
    ),
    "googlenet_auxiliary": (models.googlenet, 13_378_280, 1_582_671_872, (3, 224)),
    "googlenet_torchvision": (
        lambda: models.googlenet("torchvision", auxiliary=False),
        6_624_904, 1_498_376_192, (3, 224),
    ),
    "googlenet_torchvision_auxiliary": (
        lambda: models.googlenet("torchvision"), 13_004_888, 1_498_376_192, (3, 224),
    ),
    "inception_v3": (models.inception_v3, 27_161_264, 5_713_216_096, (3, 299)),
    "resnet18": (models.resnet18, 11_689_512, 1_814_073_344, (3, 224)),
    "resnet34": (models.resnet34, 21_797_672, 3_663_761_408, (3, 224)),
    "resnet50": (models.resnet50, 25_557_032, 4_089_184_256, (3, 224)),
    "resnet101": (models.resnet101, 44_549_160, 7_801_405_440, (3, 224)),
    "resnet152": (models.resnet152, 60_192_808, 11_513_626_624, (3, 224)),
    "resnext50": (models.resnext50, 25_028_904, 4_230_479_872, (3, 224)),
    "vgg16": (models.vgg16, 138_357_544, 15_470_264_320, (3, 224)),
    "squeezenet": (models.squeezenet, 1_235_496, 349_151_936, (3, 224)),
    "mobilenet_v2": (models.mobilenet_v2, 3_504_872, 300_774_272, (3, 224)),
    "efficientnet_b0": (models.efficientnet_b0, 5_288_548, 385_814_752, (3, 224)),
    "shufflenet_v2": (models.shufflenet_v2, 2_278_604, 144_907_992, (3, 224)),
    "densenet121": (models.densenet121, 7_978_856, 2_834_161_664, (3, 224)),
    "vit_b_16": (models.vit_b_16, 86_567_656, 17_563_828_224, (3, 224)),
}  # fmt: skip

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lenet5": models.lenet5,
    "alexnet": lambda: models.alexnet(classes=CLASSES, hidden=HIDDEN),
    "alexnet_torchvision": lambda: models.alexnet("torchvision", CLASSES, HIDDEN),
    "googlenet": lambda: models.googlenet(classes=CLASSES),
    "googlenet_batch_norm": lambda: models.googlenet("batch_norm", CLASSES),
    "googlenet_torchvision": lambda: models.googlenet("torchvision", CLASSES),
    "inception_v3": lambda: models.inception_v3(CLASSES, auxiliary=False),
    "inception_v3_auxiliary": lambda: AuxiliaryClassifier(768, CLASSES),
    "resnet18": lambda: models.resnet18(CLASSES),
    "resnet50": lambda: models.resnet50(CLASSES),
    "resnext50": lambda: models.resnext50(CLASSES),
    "vgg16": lambda: models.vgg16(CLASSES, HIDDEN),
    "squeezenet": lambda: models.squeezenet(CLASSES),
    "mobilenet_v2": lambda: models.mobilenet_v2(CLASSES),
    "efficientnet_b0": lambda: models.efficientnet_b0(CLASSES),
    "shufflenet_v2": lambda: models.shufflenet_v2(CLASSES),
    "densenet121": lambda: models.densenet121(CLASSES),
    "vision_transformer": lambda: models.VisionTransformer(32, 8, 2, 4, 64, classes=CLASSES),
}


def multiply_adds(graph: Graph) -> int:
    products = [n for n in graph.nodes if n.op.name in ("conv2d", "matmul")]
    return sum(
        (n.op.cost(n.type, *(i.type for i in n.inputs), **dict(n.attrs)) + n.type.size) // 2
        for n in products
    )


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_the_published_ones(name: str) -> None:
    build, parameters, products, (channels, side) = COUNTS[name]
    net = build()
    x = tg.input("x", 1, channels, side, side)
    graph = Graph(name, (x,), (net(x),))
    assert sum(p.type.size for p in net.parameters()) == parameters
    assert multiply_adds(graph) == products
    assert graph.outputs[0].shape == (1, 10 if name == "lenet5" else 1000)


def test_alexnet_has_about_650_thousand_neurons() -> None:
    """Values that a ReLU or the output layer gives for one image; the paper says 650,000."""
    x = tg.input("x", 1, 3, 227, 227)
    graph = Graph("alexnet", (x,), (models.alexnet()(x),))
    neurons = [n for n in graph.nodes if n.op.name == "relu"]
    assert sum(n.type.size for n in (*neurons, *graph.outputs)) == 659_272


def build(name: str) -> nn.Module:
    net = NETWORKS[name]()
    net.load_state_dict({n: weights(n, v.shape) for n, v in net.state_dict().items()})
    for _, module in net.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net


def loss_and_gradients(net: nn.Module, x: Node, y: Node) -> list[Node]:
    """The loss and the gradients of all parameters."""
    loss = models.auxiliary_loss(net(x, training=True), y)
    return [loss, *tg.grad(loss, net.parameters())]


def inputs(name: str) -> tuple[Node, Node]:
    images, labels = batch(CASES[name])
    return tg.input("x", *images.shape), tg.input("y", len(labels), dtype="int32")


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_is_that_of_pytorch(name: str) -> None:
    net, (images, _) = build(name), batch(CASES[name])
    x, _ = inputs(name)
    graph, parameters = in_float64(Graph(name, (x,), (net(x),)))
    (logits,) = tg.run(graph, images.astype("float64"), *(wide(p) for p in parameters))
    expected = GOLDEN[f"{name}/logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_losses_and_all_gradients_are_those_of_pytorch(name: str) -> None:
    net, (images, labels) = build(name), batch(CASES[name])
    trained = net.named_parameters()
    assert list(trained) == list(GOLDEN[f"{name}/parameters"])
    x, y = inputs(name)
    whole = Graph(name, (x, y), tuple(loss_and_gradients(net, x, y)))
    graph, parameters = in_float64(strip_effects(whole)[0])
    values = {p: wide(p) for p in parameters}
    momenta = dict.fromkeys(trained.values(), 0.0)
    losses, first, tolerance = [], [], CASES[name].tolerance
    for _ in range(3):
        loss, *gradients = tg.run(graph, images.astype("float64"), labels, *values.values())
        losses.append(float(loss))
        first = first or gradients
        for p, g in zip(trained.values(), gradients, strict=True):
            momenta[p] = MOMENTUM * momenta[p] + g
            values[p] = values[p] - CASES[name].rate * momenta[p]
    np.testing.assert_allclose(losses, GOLDEN[f"{name}/losses"], rtol=tolerance)
    for path, g, (norm, product) in zip(trained, first, GOLDEN[f"{name}/gradients"], strict=True):
        least = 1e-12  # of a bias before a normalization, which has no gradient, this is rounding
        near = tolerance * norm + least
        assert np.linalg.norm(g) == pytest.approx(norm, rel=tolerance, abs=least), path
        assert (g * direction(g.shape)).sum() == pytest.approx(product, abs=near), path


def wide(p: Node) -> np.ndarray:
    return p.value.astype("float64")


SLOW = {"googlenet_batch_norm", "resnet18", "resnext50", "densenet121", "shufflenet_v2", "vgg16"}


@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in SLOW])
def test_compiled_in_float32_they_come_as_close_as_pytorch(name: str) -> None:
    """Normalizations over the few values of such small batches amplify what is rounded: PyTorch's
    own gradients, in float32, are off by up to a tenth of their norm then. Some networks are left
    out: they take long to compile and have nothing that the others lack.
    """
    net, arrays = build(name), batch(CASES[name])
    x, y = inputs(name)
    program = tg.compile([x, y], [net(x), *loss_and_gradients(net, x, y)])
    logits, loss, *gradients = program(*arrays)
    expected = GOLDEN[f"{name}/logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    steady = name == "inception_v3_auxiliary" or not net.named_buffers()
    np.testing.assert_allclose(loss, GOLDEN[f"{name}/losses"][0], rtol=1e-6 if steady else 5e-4)
    near, golden = 1e-4 if steady else 0.2, GOLDEN[f"{name}/gradients"]
    least = 1e-6 * golden[:, 0].max()
    for path, g, (norm, product) in zip(net.named_parameters(), gradients, golden, strict=True):
        assert np.linalg.norm(g) == pytest.approx(norm, rel=near, abs=least), path
        along = (g * direction(g.shape)).sum()
        assert along == pytest.approx(product, abs=near * norm + least), path


def test_three_compiled_steps_give_the_losses_of_pytorch() -> None:
    net, (images, labels) = build("lenet5"), batch(CASES["lenet5"])
    x, y = tg.input("x", *images.shape), tg.input("y", len(labels), dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)
    optimizer = optim.SGD(CASES["lenet5"].rate, momentum=MOMENTUM)
    step = tg.compile([x, y], [loss], updates=optimizer.updates(loss, net.parameters()))
    losses = [step(images, labels)[0] for _ in range(3)]
    np.testing.assert_allclose(losses, GOLDEN["lenet5/losses"], rtol=1e-5)


def test_transform_input_turns_imagenet_normalization_into_halves() -> None:
    """A pixel p in 0..1 is (p - mean) / deviation before and (p - 0.5) / 0.5 behind."""
    pixels = np.random.default_rng(0).random((1, 3, 2, 2), np.float32)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    image = ((pixels - mean.reshape(3, 1, 1)) / deviation.reshape(3, 1, 1)).astype("float32")
    x = tg.input("x", 1, 3, 2, 2)
    (y,) = tg.run(Graph("transform", (x,), (from_imagenet(x),)), image)
    np.testing.assert_allclose(y, (pixels - 0.5) / 0.5, atol=1e-6)


@pytest.mark.parametrize("build", [models.alexnet, models.googlenet])
def test_unknown_variants_are_refused(build: Callable[..., nn.Module]) -> None:
    with pytest.raises(ValueError, match="variant is one of"):
        build("vgg")
