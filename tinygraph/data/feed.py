"""Any iterable is data: what a training loop asks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..graph.numeric import numeric

Data = Any  # Batches, an iterable of batches, or a function: number of an epoch -> one of these


@numeric
def epoch_of(data: Data, number: int) -> Iterator[Any]:
    """The batches of an epoch.

    Args:
        data: with a method ``epoch(number)``, as ``Batches`` and ``Stream`` have it; a function
            of the epoch's number, which returns an iterable; or an iterable that can be read
            again, such as a list, or a loader of another library.

    Raises:
        TypeError: it is none of these, or an iterator, which can be read only once.

    Example:
        >>> list(data.epoch_of([1, 2], 0))
        [1, 2]
        >>> list(data.epoch_of(lambda number: range(number), 2))
        [0, 1]
    """
    if hasattr(data, "epoch"):
        return iter(data.epoch(number))
    found = data(number) if callable(data) else data
    if not isinstance(found, Iterable):
        raise TypeError(f"data is Batches or an iterable of batches, got {found!r:.80}")
    if isinstance(data, Iterator):
        raise TypeError(
            f"a {type(data).__name__} can be read once, and training reads its data every epoch: "
            "give the function that makes it, of the epoch's number, as in "
            "fit(step, lambda epoch: make(), ...)"
        )
    return iter(found)


def length_of(data: Data) -> int | None:
    """The number of batches in an epoch, where it is known before they are read."""
    try:
        return len(data)
    except TypeError:
        return None


def called(function: Callable[..., Any], batch: Any) -> Any:
    """The function's result for a batch: a tuple or list of arrays, a dict by name, or an array."""
    if isinstance(batch, Mapping):
        return function(**batch)
    return function(*batch) if isinstance(batch, (tuple, list)) else function(batch)


def arrays_of(batch: Any) -> Sequence[Any]:
    """The arrays of a batch, in their order."""
    if isinstance(batch, Mapping):
        return list(batch.values())
    return batch if isinstance(batch, (tuple, list)) else [batch]
