"""Examples put together to a batch: stacked, or padded to a common length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph.numeric import numeric


def stack(examples: Sequence[Sequence[Any]]) -> tuple[np.ndarray, ...]:
    """The arrays of a batch from examples of alike fields, one array [n, ...] for each field.

    Raises:
        ValueError: a field has examples of several shapes.

    Example:
        >>> images, labels = data.stack([(np.zeros(3), 1), (np.ones(3), 0)])
        >>> images.shape, labels
        ((2, 3), array([1, 0]))
    """
    return tuple(_stacked(k, field) for k, field in enumerate(zip(*examples, strict=True)))


def _stacked(number: int, field: Sequence[Any]) -> np.ndarray:
    arrays = [np.asarray(value) for value in field]
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        some = ", ".join(str(list(s)) for s in sorted(shapes)[:3])
        raise ValueError(
            f"field {number} of these examples has several shapes, {some}; "
            f"collate=data.Pad(length, fields=({number},)) pads them to one"
        )
    return np.stack(arrays)


@numeric
@dataclass(frozen=True)
class Pad:
    """Makes batches of sequences of several lengths: ``Batches(..., collate=data.Pad(40))``.

    A padded field becomes two arrays of the batch: values [n, length, ...], and the lengths that
    they had, int32 [n]; the others are stacked.

    Args:
        length: of the padded axis, the first of each example; None: the longest of the batch.
        value: what is put after a shorter one.
        fields: the numbers of the fields to be padded.

    Raises:
        ValueError: when called with a longer example, or one that differs in another axis.

    Example:
        >>> data.Pad(4)([([1, 2, 3], 0), ([5], 1)])
        (array([[1, 2, 3, 0],
               [5, 0, 0, 0]]), array([3, 1], dtype=int32), array([0, 1]))
    """

    length: int | None = None
    value: float = 0
    fields: tuple[int, ...] = (0,)

    def __call__(self, examples: Sequence[Sequence[Any]]) -> tuple[np.ndarray, ...]:
        made: list[np.ndarray] = []
        for k, field in enumerate(zip(*examples, strict=True)):
            made += self._padded(field) if k in self.fields else [_stacked(k, field)]
        return tuple(made)

    def _padded(self, field: Sequence[Any]) -> list[np.ndarray]:
        arrays = [np.asarray(value) for value in field]
        lengths = np.array([len(a) for a in arrays], np.int32)
        longest = int(lengths.max())
        length = longest if self.length is None else self.length
        if longest > length:
            raise ValueError(f"Pad({length}) got an example of length {longest}; cut it before")
        inner = {a.shape[1:] for a in arrays}
        if len(inner) > 1:
            some = ", ".join(str(list(a.shape)) for a in arrays[:3])
            raise ValueError(f"Pad makes only the first axis alike, got {some}")
        shape = (len(arrays), length, *inner.pop())
        padded = np.full(shape, self.value, np.result_type(*arrays))
        for row, a in zip(padded, arrays, strict=True):
            row[: len(a)] = a
        return [padded, lengths]
