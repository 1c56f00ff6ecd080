"""LeNet-5, the reader of digits."""

from __future__ import annotations

from .. import nn
from ..graph.ir import Node
from ..graph.numeric import numeric


class LeNet5(nn.Module):
    """Two convolutions with pooling, three linear layers (LeCun et al., Proc. IEEE 1998, II.B).

    Every map of the second convolution sees all six of the first, the activation is ReLU and the
    pooling takes the maximum, as is usual today.
    """

    def __init__(self, classes: int = 10):
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)
        self.pool, self.relu, self.flatten = nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()

    def forward(self, x: Node, training: bool = False) -> Node:
        """Pictures [N, 1, 28, 28] in 0..1 to logits [N, classes]."""
        x = self.pool(self.relu(self.conv1(x)))
        x = self.flatten(self.pool(self.relu(self.conv2(x))))
        return self.fc3(self.relu(self.fc2(self.relu(self.fc1(x)))))


@numeric
def lenet5(classes: int = 10) -> LeNet5:
    """LeNet-5: pictures [N, 1, 28, 28] to logits [N, classes]; 61,706 parameters at ten classes.

    LeCun et al., Proceedings of the IEEE 86, 1998, section II.B.

    Example:
        >>> models.lenet5()(tg.zeros((64, 1, 28, 28))).shape
        (64, 10)
    """
    return LeNet5(classes)
