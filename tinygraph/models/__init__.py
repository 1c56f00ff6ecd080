"""Networks of the field, by their papers."""

from .alexnet import alexnet
from .bert import Bert, VisionTransformer, bert_base, vit_b_16
from .blocks import auxiliary_loss
from .densenet import densenet121, unet
from .googlenet import googlenet
from .inception_v3 import inception_v3
from .lenet import lenet5
from .mobile import efficientnet_b0, mobilenet_v2, shufflenet_v2
from .recurrent import CharLanguageModel, SequenceClassifier, lstm, rnn
from .resnet import resnet18, resnet34, resnet50, resnet101, resnet152, resnext50
from .transformer import TransformerClassifier, TransformerLanguageModel
from .vgg import squeezenet, vgg16

__all__ = [
    "Bert",
    "CharLanguageModel",
    "SequenceClassifier",
    "TransformerClassifier",
    "TransformerLanguageModel",
    "VisionTransformer",
    "alexnet",
    "auxiliary_loss",
    "bert_base",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "lenet5",
    "lstm",
    "mobilenet_v2",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50",
    "rnn",
    "shufflenet_v2",
    "squeezenet",
    "unet",
    "vgg16",
    "vit_b_16",
]
