"""A training loop with validation, callbacks, logs and live progress; how well a classifier does.

history = train.fit(step, batches, epochs=20, validation=(check, test),
                    metrics=[metrics.accuracy],
                    callbacks=[train.EarlyStopping("val_loss", patience=3)])
history.learning_curve("curve.svg")
"""

from typing import TYPE_CHECKING

from ..graph import hints
from .callbacks import Callback, Checkpoint, EarlyStopping
from .evaluation import Evaluation, classify, evaluate, validate
from .history import Epoch, History
from .logs import CSVLog, JSONLog, TensorBoard
from .loop import Step, fit
from .run import Run

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Epoch",
    "Evaluation",
    "History",
    "JSONLog",
    "Run",
    "Step",
    "TensorBoard",
    "classify",
    "evaluate",
    "fit",
    "validate",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        hints.missing("train", name, hints.TRAINING, __all__)
