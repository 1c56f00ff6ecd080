"""Makes torch_models.npz: PyTorch's results for tests/test_models.py.

    python tests/golden/make_torch_models.py        needs PyTorch (made with 2.13); the tests do not

Weights come from ``weights``, by name; networks are those of benchmarks/torch_networks, written
independently and run in float64, since float32 cannot tell a mistake from the noise of batch
normalization over a handful of values. For each case: the logits of inference, the losses of three
SGD steps with momentum (dropout off, auxiliary losses weighted 0.3), the norm of every gradient of
the first step, and its product with the fixed direction of ``direction``.
"""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
CLASSES, HIDDEN, MOMENTUM = 10, 64, 0.9


@dataclass(frozen=True)
class Case:
    """A class of benchmarks/torch_networks with its arguments, a batch, a learning rate."""

    network: str
    arguments: tuple[Any, ...]
    batch: int
    image: tuple[int, int]  # channels, side
    rate: float = 0.01
    tolerance: float = 1e-5  # of losses and gradients, relative


CASES = {
    "lenet5": Case("LeNet5", (10,), 4, (1, 28)),
    "alexnet": Case("AlexNet", (CLASSES, HIDDEN), 1, (3, 227), 1e-3),
    "alexnet_torchvision": Case("TorchvisionAlexNet", (CLASSES, HIDDEN), 2, (3, 64), 1e-4),
    "googlenet": Case("GoogLeNet", ("paper", CLASSES), 2, (3, 64), 1e-3),
    "googlenet_batch_norm": Case("GoogLeNet", ("batch_norm", CLASSES), 4, (3, 64), 1e-3),
    "googlenet_torchvision": Case("GoogLeNet", ("torchvision", CLASSES), 4, (3, 64), 1e-3),
    # 1 / 9 of average pooling is rounded to float32 in the graph, and normalizations amplify that
    "inception_v3": Case("InceptionV3", (CLASSES, False), 2, (3, 107), 1e-3, tolerance=2e-4),
    "inception_v3_auxiliary": Case("InceptionV3Aux", (768, CLASSES), 4, (768, 17)),
    "resnet18": Case("ResNet18", (CLASSES,), 2, (3, 64)),
    "resnet50": Case("ResNet50", (CLASSES,), 2, (3, 64)),
    "resnext50": Case("ResNeXt50", (CLASSES,), 2, (3, 64)),
    "vgg16": Case("VGG16", (CLASSES, HIDDEN), 1, (3, 32), 1e-5),
    "squeezenet": Case("SqueezeNet", (CLASSES,), 2, (3, 64), 1e-3),
    "mobilenet_v2": Case("MobileNetV2", (CLASSES,), 4, (3, 64), 1e-3),
    "efficientnet_b0": Case("EfficientNet", (CLASSES,), 4, (3, 64), 1e-3),
    "shufflenet_v2": Case("ShuffleNetV2", (CLASSES,), 4, (3, 64), 1e-3),
    "densenet121": Case("DenseNet121", (CLASSES,), 2, (3, 64), 1e-3),
    "vision_transformer": Case("VisionTransformer", (32, 8, 2, 4, 64, CLASSES), 4, (3, 32)),
}


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Variance 2 / fan-in for weights, values near 1 for scales and variances, else near 0."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    noise = rng.random(shape, np.float32) - np.float32(0.5)  # variance 1 / 12
    if len(shape) > 1:
        return noise * np.float32(np.sqrt(24 / np.prod(shape[1:])))
    near_one = name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1)
    return np.float32(near_one) + noise * np.float32(0.2)


def batch(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, channels, side, side] and labels [N]."""
    rng = np.random.default_rng(7)
    channels, side = case.image
    images = rng.random((case.batch, channels, side, side), np.float32) * 2 - 1
    return images, rng.integers(0, CLASSES, case.batch).astype(np.int32)


def direction(shape: tuple[int, ...]) -> np.ndarray:
    """What gradients are multiplied with, in float64."""
    return np.cos(np.arange(int(np.prod(shape)))).reshape(shape)


def main() -> None:
    sys.path.insert(0, str(HERE.parent.parent / "benchmarks"))
    import torch
    import torch_networks

    found: dict[str, np.ndarray] = {}
    for name, case in CASES.items():
        net = getattr(torch_networks, case.network)(*case.arguments).double()
        state = {n: v for n, v in net.state_dict().items() if not n.endswith("tracked")}
        drawn = {n: torch.from_numpy(weights(n, tuple(v.shape))) for n, v in state.items()}
        net.load_state_dict(drawn, strict=False)
        for module in net.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = float(np.float32(module.eps))  # the graph's constants are float32
        images, labels = batch(case)
        x, y = torch.from_numpy(images).double(), torch.from_numpy(labels).long()
        with torch.no_grad():
            found[f"{name}/logits"] = net.eval()(x).numpy()
        optimizer = torch.optim.SGD(net.train().parameters(), lr=case.rate, momentum=MOMENTUM)
        losses = []
        for step in range(3):
            optimizer.zero_grad()
            outputs = net(x)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            parts = [torch.nn.functional.cross_entropy(o, y) for o in outputs]
            loss = parts[0] + sum(0.3 * p for p in parts[1:])
            loss.backward()
            losses.append(loss.item())
            if step == 0:
                found |= _gradients(name, net)
            optimizer.step()
        found[f"{name}/losses"] = np.array(losses)
        print(name, losses)
    np.savez_compressed(HERE / "torch_models.npz", **found)


def _gradients(name: str, net: Any) -> dict[str, np.ndarray]:
    """The norm and the projection of every gradient, in the order of the state's names."""
    gradients = {n: p.grad.numpy() for n, p in net.named_parameters()}
    rows = [(np.linalg.norm(g), (g * direction(g.shape)).sum()) for g in gradients.values()]
    return {f"{name}/parameters": np.array(list(gradients)), f"{name}/gradients": np.array(rows)}


if __name__ == "__main__":
    main()
