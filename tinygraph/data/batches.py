"""Batches: of arrays and of whatever has examples by number; of streams of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ..graph.numeric import numeric
from .ahead import from_processes, prefetch
from .collate import stack
from .feed import epoch_of
from .transforms import Transform

T = TypeVar("T")
Batch = tuple[np.ndarray, ...]
Collate = Callable[[Sequence[Sequence[Any]]], Sequence[np.ndarray]]
LAST = ("drop", "pad", "keep")


@numeric
class Batches:
    """Examples cut into batches, in an order that depends on (seed, epoch) only.

        batches = Batches(images, labels, batch_size=64, transform=RandomAffine())
        for images, labels in batches.epoch(0): ...

    Args:
        examples: one or more arrays with the examples along their first axis, or sequences of
            fields; or one sequence of examples, each a tuple of fields: anything with ``len`` and
            numbers, such as a data set that reads a file when it is asked for an example.
        batch_size: examples in a batch.
        seed: of the order, and of what ``transform`` draws.
        shuffle: a new order every epoch; False keeps the given order.
        last: what becomes of an incomplete last batch: 'drop' it, 'keep' it as it is, or 'pad' it
            with the epoch's first examples.
        transform: (arrays of a batch, random generator) -> arrays, such as ``RandomAffine()``, or
            a list of these, one after the other.
        collate: a list of examples, tuples of fields, -> arrays of the batch, such as
            ``Pad(40)``; by default ``stack``.
        workers: processes that make batches where Python code is slow; 0: one thread makes them.
            The batches are the same bits. The processes are forks of this one.

    Raises:
        ValueError: lengths that differ, too few examples for one batch, or no such ``last``.

    Example:
        >>> batches = data.Batches(np.arange(10), np.arange(10) % 2, batch_size=4, shuffle=False)
        >>> batches
        Batches(10 examples, batch_size=4, shuffle=False: 2 batches)
        >>> [batch[0].tolist() for batch in batches]
        [[0, 1, 2, 3], [4, 5, 6, 7]]
    """

    def __init__(
        self,
        *examples: Any,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        last: str = "drop",
        transform: Transform | Sequence[Transform] | None = None,
        collate: Collate | None = None,
        workers: int = 0,
    ):
        if not examples or len({len(a) for a in examples}) != 1:
            raise ValueError(
                f"Batches requires arrays of one length, got {[len(a) for a in examples]}"
            )
        _check(batch_size, last)
        if last == "drop" and len(examples[0]) < batch_size:
            raise ValueError(f"{len(examples[0])} examples do not fill a batch of {batch_size}")
        if workers < 0:
            raise ValueError(f"workers is a number of processes, got {workers}")
        self.arrays, self.batch_size, self.seed = examples, batch_size, seed
        self.shuffle, self.last, self.collate = shuffle, last, collate
        self.transforms, self.workers = _listed(transform), workers

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.arrays[0]), self.batch_size)
        return whole + (rest > 0 and self.last != "drop")

    def __repr__(self) -> str:
        shown = [f"{len(self.arrays[0]):,} examples", f"batch_size={self.batch_size}"]
        shown += ["shuffle=False"] * (not self.shuffle)
        shown += [f"last={self.last!r}"] * (self.last != "drop")
        if self.transforms:
            shown.append(f"transform={', '.join(map(_name, self.transforms))}")
        shown += [f"workers={self.workers}"] * (self.workers > 0)
        return f"Batches({', '.join(shown)}: {len(self):,} batches)"

    @numeric
    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from ``start`` on, prepared ahead in the background.

        Args:
            number: of the epoch, from 0.
            start: the first batch.

        Example:
            >>> batches = data.Batches(np.arange(6), batch_size=2, shuffle=False)
            >>> [batch[0].tolist() for batch in batches.epoch(0, start=1)]
            [[2, 3], [4, 5]]
        """
        order = np.arange(len(self.arrays[0]))
        if self.shuffle:
            order = np.random.default_rng((self.seed, number)).permutation(order)
        if self.last == "pad":
            order = np.resize(order, len(self) * self.batch_size)
        places = range(start, len(self))

        def make(i: int) -> Batch:
            return self._batch(order, number, i)

        if self.workers:
            return prefetch(from_processes(make, places, self.workers))
        return prefetch(map(make, places))

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)

    def _batch(self, order: np.ndarray, epoch: int, i: int) -> Batch:
        rows = order[i * self.batch_size : (i + 1) * self.batch_size]
        return self._made(rows, (self.seed, epoch, i))

    def _made(self, rows: np.ndarray, seed: tuple[int, ...]) -> Batch:
        """The batch of these examples; ``seed`` is of what transforms draw."""
        return _transformed(self._rows(rows), self.transforms, seed)

    def _rows(self, rows: np.ndarray) -> Sequence[np.ndarray]:
        if self.collate is None and all(isinstance(a, np.ndarray) for a in self.arrays):
            return tuple(a[rows] for a in self.arrays)
        if len(self.arrays) == 1:
            examples = [_fields(self.arrays[0][int(k)]) for k in rows]
        else:
            examples = [tuple(a[int(k)] for a in self.arrays) for k in rows]
        return (self.collate or stack)(examples)


@numeric
class Stream:
    """Examples of an iterable cut into batches: of data that is too large, or has no end.

        def read(epoch): ...            # a generator of examples, tuples of fields
        batches = Stream(read, batch_size=64, shuffle=1000)

    Args:
        source: an iterable of examples, each a tuple of fields or one, that can be read again; or
            a function of the epoch's number that returns one.
        batch_size: examples in a batch.
        seed: of the order, and of what ``transform`` draws.
        shuffle: how many examples are held, of which each is drawn; 0 keeps their order.
        last: what becomes of an incomplete last batch: 'drop' it, 'keep' it, or 'pad' it with its
            own first examples.
        transform, collate: as ``Batches`` takes them.

    Example:
        >>> stream = data.Stream(range(10), batch_size=4, last="keep")
        >>> [batch[0].tolist() for batch in stream.epoch(0)]
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    """

    def __init__(
        self,
        source: Any,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: int = 0,
        last: str = "drop",
        transform: Transform | Sequence[Transform] | None = None,
        collate: Collate | None = None,
    ):
        _check(batch_size, last)
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.shuffle, self.last, self.collate = int(shuffle), last, collate or stack
        self.transforms = _listed(transform)

    def __repr__(self) -> str:
        return f"Stream({_name(self.source)}, batch_size={self.batch_size}, last={self.last!r})"

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from ``start`` on, prepared ahead by a background thread.

        Those before ``start`` are read, but not made.
        """
        return prefetch(self._batches(number, start))

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)

    def _batches(self, number: int, start: int) -> Iterator[Batch]:
        examples: Iterator[Any] = epoch_of(self.source, number)
        if self.shuffle:
            examples = shuffled(examples, self.shuffle, np.random.default_rng((self.seed, number)))
        i = 0
        while held := [_fields(e) for e in islice(examples, self.batch_size)]:
            if len(held) < self.batch_size:
                if self.last == "drop":
                    return
                if self.last == "pad":
                    held = [held[k % len(held)] for k in range(self.batch_size)]
            if i >= start:
                made = self.collate(held)
                yield _transformed(made, self.transforms, (self.seed, number, i))
            i += 1


def shuffled(items: Iterable[T], held: int, rng: np.random.Generator) -> Iterator[T]:
    """The items, each drawn from ``held`` ones that wait."""
    waiting: list[T] = []
    for item in items:
        if len(waiting) < held:
            waiting.append(item)
            continue
        k = int(rng.integers(held))
        waiting[k], item = item, waiting[k]
        yield item
    for k in rng.permutation(len(waiting)):
        yield waiting[k]


def _check(batch_size: int, last: str) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size is positive, got {batch_size}")
    if last not in LAST:
        raise ValueError(f"last is 'drop', 'pad' or 'keep', got {last!r}")


def _listed(transform: Transform | Sequence[Transform] | None) -> Sequence[Transform]:
    if transform is None:
        return ()
    return (transform,) if callable(transform) else tuple(transform)


def _transformed(
    arrays: Sequence[np.ndarray], transforms: Sequence[Transform], seed: tuple[int, ...]
) -> Batch:
    if transforms:
        rng = np.random.default_rng(seed)
        for transform in transforms:
            arrays = transform(arrays, rng)
            if not isinstance(arrays, (tuple, list)):
                raise TypeError(
                    f"a transform takes the arrays of a batch and returns as many, but "
                    f"{_name(transform)} returned {type(arrays).__name__}"
                )
    return tuple(arrays)


def _fields(example: Any) -> Sequence[Any]:
    return example if isinstance(example, tuple) else (example,)


def _name(thing: Any) -> str:
    return getattr(thing, "__name__", "") or type(thing).__name__
