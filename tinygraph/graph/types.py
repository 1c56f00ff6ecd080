"""What is known of values before they exist: types, and constant arrays as attributes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .dtype import DTYPES, astype, known, name_of


@dataclass(frozen=True, slots=True)
class Type:
    """Shape and dtype of a value. Logical: no layout, ever.

    Attributes:
        shape: a size for each axis.
        dtype: the name of one, as text.

    Example:
        >>> tg.Type((64, 1, 28, 28))
        Type(shape=(64, 1, 28, 28), dtype='float32')
    """

    shape: tuple[int, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{DTYPES[self.dtype].short}[{','.join(map(str, self.shape))}]"

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def bytes(self) -> int:
        return self.size * DTYPES[self.dtype].bytes


@dataclass(frozen=True, slots=True)
class Several(Type):
    """The results of a loop, as one value that only ``item`` reads."""

    types: tuple[Type, ...] = ()

    @staticmethod
    def of(types: Iterable[Type]) -> Several:
        return Several((), "several", tuple(types))

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.types))})"

    @property
    def size(self) -> int:
        return sum(t.size for t in self.types)

    @property
    def bytes(self) -> int:
        return sum(t.bytes for t in self.types)


@dataclass(frozen=True, eq=False, slots=True)
class Array:
    """A constant array as an attribute: equal when dtype, shape and contents are."""

    data: np.ndarray = field(repr=False)
    digest: str = ""

    @staticmethod
    def of(value: Any) -> Array:
        data = np.array(value, order="C")
        if data.dtype != known(name_of(data.dtype)).numpy:
            data = astype(data, name_of(data.dtype))
        data.setflags(write=False)
        return Array(data, hashlib.sha256(data.tobytes()).hexdigest()[:16])

    @property
    def type(self) -> Type:
        return Type(self.data.shape, name_of(self.data.dtype))
