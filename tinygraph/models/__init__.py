"""Networks of the field, by their papers."""

from .alexnet import alexnet
from .blocks import auxiliary_loss
from .googlenet import googlenet
from .inception_v3 import inception_v3
from .lenet import lenet5
from .resnet import resnet50

__all__ = ["alexnet", "auxiliary_loss", "googlenet", "inception_v3", "lenet5", "resnet50"]
