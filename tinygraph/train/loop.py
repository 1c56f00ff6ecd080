"""The training loop: any callable from a batch's arrays to (loss, ...), epoch by epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..data.feed import Data, called, epoch_of, length_of
from ..graph.numeric import numeric
from ..ranks.world import world
from .callbacks import AfterEpoch, Callback
from .display import display
from .evaluation import Metrics, validate
from .history import Epoch, History
from .run import Run

Step = Callable[..., Sequence[Any]]
Validation = tuple[Callable[..., Sequence[Any]], Any] | Callable[[], Mapping[str, float]]


@numeric
def fit(
    step: Step,
    data: Data,
    epochs: int,
    *,
    validation: Validation | None = None,
    metrics: Metrics = (),
    score: Callable[[], float] | None = None,
    callbacks: Iterable[Callback | Callable[[Run], object]] = (),
    first: int = 0,
    show: bool = True,
) -> History:
    """Runs ``step`` on the batches of epochs ``first`` to ``epochs - 1``.

        step = tg.compile([x, y], [loss], updates=optimizer.updates(loss, net.parameters()))
        check = tg.compile([x, y], [nn.cross_entropy(net(x), y), net(x)])
        fit(step, batches, 20, validation=(check, test), metrics=[metrics.accuracy])

    Args:
        step: takes the arrays of a batch, returns the loss first; all else is its own affair. It is
            usually a program with updates, but any function will do, such as one that runs two.
        data: ``Batches`` or ``Stream``; any iterable of batches that can be read again; or a
            function of the epoch's number that returns one. A batch is a tuple or list of arrays,
            a dict of them by the step's names, or one array.
        epochs: their number in all.
        validation: after each epoch, (program, data) for ``validate``, whose loss and metrics go
            into the history as ``val_loss``, ``val_accuracy`` and so on; or a function that
            returns numbers by name, which get the same prefix.
        metrics: functions (predictions, targets) -> number, of the validation; see ``metrics``.
        score: after each epoch, a function that returns one number, which is ``score`` in the
            history.
        callbacks: ``Callback`` objects, or functions of the run, called after each epoch.
        first: the epoch to continue with after a checkpoint of one's own, with the batches of an
            unbroken run; ``Checkpoint(resume=True)`` does all of that.
        show: live progress on a terminal and in a notebook, a line for each epoch elsewhere.

    Returns:
        The history, a sequence of ``Epoch``; ``history["val_loss"]`` is an array,
        ``history.learning_curve("curve.svg")`` a picture.

    Raises:
        FloatingPointError: the loss is infinite or NaN; says where.
        ValueError: an epoch without a batch; metrics without a program that validates.
        TypeError: data that is no iterable, or can be read only once.

    Example:
        >>> losses = iter([4.0, 2.0, 1.0, 1.0])
        >>> train.fit(lambda x: [next(losses)], [[0], [1]], epochs=2, show=False)["loss"]
        array([3., 1.])
    """
    if metrics and not isinstance(validation, tuple):
        raise ValueError("metrics are of a validation: validation=(program, data)")
    run = Run(epochs, length_of(data))
    hooks = [c if isinstance(c, Callback) else AfterEpoch(c) for c in callbacks]
    hooks += [display()] if show and world().rank == 0 else []
    for hook in hooks:
        hook.restore(run)
    done = run.history[-1].number + 1 if run.history else 0
    try:
        for hook in hooks:
            hook.on_train_begin(run)
        for run.epoch in range(max(first, done), epochs):
            if run.stopped:
                break
            start = time.perf_counter()
            _train(step, data, run, hooks)
            values = _validated(validation, metrics)
            if score is not None:
                values["score"] = score()
            seconds = time.perf_counter() - start
            run.history.append(Epoch(run.epoch, run.loss, seconds, values))
            for hook in hooks:
                hook.on_epoch_end(run)
    finally:
        for hook in hooks:
            hook.on_train_end(run)
    return run.history


def _train(step: Step, data: Data, run: Run, hooks: Sequence[Callback]) -> None:
    run.losses, run.total = [], 0.0
    for batch in epoch_of(data, run.epoch):
        run.outputs = called(step, batch)
        loss = float(run.outputs[0])
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} at epoch {run.epoch}, batch {len(run.losses)}; "
                "compile with check_nan=True to see which node began it"
            )
        run.losses.append(loss)
        run.total += loss
        for hook in hooks:
            hook.on_batch_end(run)
    if not run.losses:
        raise ValueError(f"the data has no batch in epoch {run.epoch}")


def _validated(validation: Validation | None, metrics: Metrics) -> dict[str, float]:
    if validation is None:
        return {}
    found = (
        validate(*validation, metrics=metrics) if isinstance(validation, tuple) else validation()
    )
    return {f"val_{name}": value for name, value in found.items()}
