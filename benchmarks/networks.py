"""The networks of the comparison: one definition in each library, the same weights in both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from tiny_networks import Generation, LanguageModel, PooledBert, Recommendation

from tinygraph import models, nn


@dataclass(frozen=True)
class Network:
    """A network by its builders in tinygraph and PyTorch, and the shape of one input.

    Inputs are images [channels, height, width], sequences [length, features], or texts [length] if
    there are ``symbols``.
    """

    title: str
    tinygraph: Callable[[], nn.Module]
    torch: str  # a class of torch_networks, with its arguments
    arguments: tuple[Any, ...]
    image: tuple[int, ...]
    classes: int
    symbols: int = 0
    predictions: int = 1  # of each input; a language model makes one for each symbol

    def build(self) -> nn.Module:
        """The tinygraph module with weights that keep activations of one size."""
        net = self.tinygraph()
        rng = np.random.default_rng(0)
        net.load_state_dict({name: _drawn(rng, name, v) for name, v in net.state_dict().items()})
        return net

    def build_torch(self, state: dict[str, np.ndarray]) -> Any:
        """The PyTorch module with these weights."""
        import torch
        import torch_networks

        net = getattr(torch_networks, self.torch)(*self.arguments)
        net.load_state_dict({n: torch.from_numpy(v) for n, v in state.items()}, strict=False)
        return net

    def batch(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels."""
        rng, shape = np.random.default_rng(1), (size, *self.image)
        if self.symbols:
            inputs = rng.integers(0, self.symbols, shape, dtype=np.int32)
        else:
            inputs = rng.standard_normal(shape, dtype=np.float32)
        return inputs, rng.integers(0, self.classes, size * self.predictions, dtype=np.int32)


def _drawn(rng: np.random.Generator, name: str, old: np.ndarray) -> np.ndarray:
    """Weights of variance 2 / fan-in, scales and variances near 1, all else near 0."""
    noise = rng.standard_normal(old.shape, dtype=np.float32)
    if old.ndim > 1:
        return noise * np.float32(np.sqrt(2 * old.shape[0] / old.size))
    near_one = name.endswith("running_var") or (name.endswith("weight") and old.ndim == 1)
    return np.float32(near_one) + noise * np.float32(0.05)


def _image(title: str, build: Callable[[], nn.Module], torch: str, *arguments: Any) -> Network:
    """A network of ImageNet's images and classes."""
    return Network(title, build, torch, arguments, (3, 224, 224), 1000)


def _recurrent(title: str, kind: str, layers: int, length: int) -> Network:
    """An LSTM or GRU of 256 units over vectors of 256."""

    def build() -> nn.Module:
        layer = getattr(nn, kind)(256, 256, layers, batch_first=True)
        return models.SequenceClassifier(layer, 10)

    return Network(title, build, kind, (256, 256, 10, layers), (length, 256), 10)


def _encoder(title: str, length: int, size: int, layers: int, heads: int) -> Network:
    """A transformer that classifies texts of 62 symbols."""
    build = partial(
        models.TransformerClassifier, 62, 10, length, size=size, layers=layers, heads=heads
    )
    arguments = 62, 10, length, size, layers, heads
    return Network(title, build, "TransformerClassifier", arguments, (length,), 10, symbols=62)


NETWORKS = {
    "lenet": Network("LeNet-5", models.lenet5, "LeNet5", (), (1, 28, 28), 10),
    "alexnet": Network("AlexNet", models.alexnet, "AlexNet", (), (3, 227, 227), 1000),
    "vgg16": _image("VGG-16", models.vgg16, "VGG16"),
    "squeezenet": _image("SqueezeNet", models.squeezenet, "SqueezeNet"),
    "googlenet": _image(
        "GoogLeNet", partial(models.googlenet, "batch_norm", auxiliary=False),
        "GoogLeNet", "batch_norm", 1000, False,
    ),
    "resnet18": _image("ResNet-18", models.resnet18, "ResNet18"),
    "resnet50": _image("ResNet-50", models.resnet50, "ResNet50"),
    "resnext50": _image("ResNeXt-50", models.resnext50, "ResNeXt50"),
    "densenet121": _image("DenseNet-121", models.densenet121, "DenseNet121"),
    "mobilenet": _image("MobileNetV2", models.mobilenet_v2, "MobileNetV2"),
    "efficientnet": _image("EfficientNet-B0", models.efficientnet_b0, "EfficientNet"),
    "shufflenet": _image("ShuffleNetV2", models.shufflenet_v2, "ShuffleNetV2"),
    "unet": Network(
        "U-Net", partial(models.unet, 2, 3, 32), "UNet", (2, 3, 32), (3, 128, 128), 2,
        predictions=128 * 128,
    ),
    "vit": Network(
        "ViT-Tiny", partial(models.VisionTransformer, heads=3, size=192),
        "VisionTransformer", (224, 16, 12, 3, 192, 1000), (3, 224, 224), 1000,
    ),
    "bert": Network(
        "BERT base, 128 symbols", PooledBert, "Bert", (30522, 512, 768, 12, 12), (128,), 768,
        symbols=30522,
    ),
    "bert6": Network(
        "BERT of 6 layers, 128 symbols", partial(PooledBert, 30522, 512, 768, 6, 12), "Bert",
        (30522, 512, 768, 6, 12), (128,), 768, symbols=30522,
    ),
    "lstm": _recurrent("LSTM", "LSTM", 1, 64),
    "lstm2": _recurrent("LSTM of two layers", "LSTM", 2, 64),
    "gru2": _recurrent("GRU of two layers", "GRU", 2, 64),
    "language": Network(
        "LSTM language model", partial(LanguageModel, 62, 256, size=256),
        "LanguageModel", (62, 256, 1, 256), (64,), 62, symbols=62, predictions=64,
    ),
    "transformer": _encoder("Transformer", 128, 128, 2, 4),
    "generation": Network(
        "GPT-2 size, one token", partial(Generation, 50257, 128, 768, 12, 12),
        "Generation", (50257, 128, 768, 12, 12), (1,), 50257, symbols=50257,
    ),
    "recommendation": Network(
        "Recommendation", partial(Recommendation, 100_000, 8, 64),
        "Recommendation", (100_000, 8, 64), (8, 16), 2, symbols=100_000,
    ),
    "encoder": _encoder("Transformer, 2048 symbols", 2048, 256, 2, 4),
}  # fmt: skip
