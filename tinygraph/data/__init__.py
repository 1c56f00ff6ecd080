"""Data: embedded digits and text, IDX files, batches of anything, random changes of pictures.

    batches = data.Batches(images, labels, batch_size=64, transform=[data.RandomFlip()])
    train.fit(step, batches, epochs=10)

Everything random follows from (seed, epoch, batch), so that a run repeats, or continues in its
middle, bit for bit.
"""

from typing import TYPE_CHECKING

from ..datasets.picture import as_digit, read_digit
from ..graph import hints
from .ahead import prefetch
from .batches import Batches, Stream
from .collate import Pad, stack
from .feed import epoch_of
from .idx import load_idx, pictures
from .sets import Labelled, Text, digits, king_james
from .transforms import (
    ColorJitter,
    Cutout,
    GaussianNoise,
    Mixup,
    RandomAffine,
    RandomCrop,
    RandomFlip,
    Transform,
)
from .warp import warp

__all__ = [
    "Batches",
    "ColorJitter",
    "Cutout",
    "GaussianNoise",
    "Labelled",
    "Mixup",
    "Pad",
    "RandomAffine",
    "RandomCrop",
    "RandomFlip",
    "Stream",
    "Text",
    "Transform",
    "as_digit",
    "digits",
    "epoch_of",
    "king_james",
    "load_idx",
    "pictures",
    "prefetch",
    "read_digit",
    "stack",
    "warp",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        hints.missing("data", name, hints.DATA, __all__)
