"""Networks of the field, by their papers."""

from .alexnet import alexnet
from .blocks import auxiliary_loss
from .googlenet import googlenet
from .inception_v3 import inception_v3
from .lenet import lenet5
from .recurrent import CharLanguageModel, SequenceClassifier, lstm, rnn
from .resnet import resnet50
from .transformer import TransformerClassifier, TransformerLanguageModel

__all__ = [
    "CharLanguageModel",
    "SequenceClassifier",
    "TransformerClassifier",
    "TransformerLanguageModel",
    "alexnet",
    "auxiliary_loss",
    "googlenet",
    "inception_v3",
    "lenet5",
    "lstm",
    "resnet50",
    "rnn",
]
