"""The networks of tinygraph.models once more, in PyTorch: same names, so that weights load by name.

Written independently of tinygraph: comparing outputs compares two readings of the papers.
"""

from .classic import VGG16, AlexNet, LeNet5, SqueezeNet, TorchvisionAlexNet
from .inception import GoogLeNet, InceptionV3, InceptionV3Aux
from .mobile import EfficientNet, MobileNetV2, ShuffleNetV2
from .residual import DenseNet121, ResNet18, ResNet50, ResNeXt50, UNet
from .sequences import (
    GRU,
    LSTM,
    RNN,
    Bert,
    CharLanguageModel,
    Generation,
    LanguageModel,
    Recommendation,
    TransformerClassifier,
    TransformerLanguageModel,
    VisionTransformer,
)

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "VGG16",
    "AlexNet",
    "Bert",
    "CharLanguageModel",
    "DenseNet121",
    "EfficientNet",
    "Generation",
    "GoogLeNet",
    "InceptionV3",
    "InceptionV3Aux",
    "LanguageModel",
    "LeNet5",
    "MobileNetV2",
    "Recommendation",
    "ResNeXt50",
    "ResNet18",
    "ResNet50",
    "ShuffleNetV2",
    "SqueezeNet",
    "TorchvisionAlexNet",
    "TransformerClassifier",
    "TransformerLanguageModel",
    "UNet",
    "VisionTransformer",
]
