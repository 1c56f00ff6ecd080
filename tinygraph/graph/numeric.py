"""Numbers that calls are given, checked by the annotations of what is called.

``@numeric`` refuses what an argument that is annotated ``int``, ``float`` or ``bool`` cannot be:
True where a number is expected, 3 for a flag, 2.5 or text for a whole number. NumPy's numbers
become Python's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, wraps
from inspect import Parameter, signature, unwrap
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from .convert import ShapeError
from .ir import Node
from .size import Size

T = TypeVar("T", bound=Callable[..., Any])
NUMBERS = {bool: "True or False", int: "a whole number", float: "a number"}
NAMED = re.compile(r"\b(bool|int|float|Window|Edges)\b")
COUNTS = {2: "two ", 3: "three ", 4: "four "}


class ArgumentKind(NamedTuple):
    """What an argument may be.

    Attributes:
        numbers: of these types.
        items: or a list or tuple of these, ``length`` if that is not 0. What else can be gone
            through, such as an array, is left to the function.
        others: or of these types, which are not looked into.
    """

    numbers: frozenset[type]
    items: ArgumentKind | None
    length: int
    others: tuple[type, ...]

    def __str__(self) -> str:
        numbers = self.numbers - ({int} if float in self.numbers else set())
        found = [text for kind, text in NUMBERS.items() if kind in numbers]
        if self.items is not None:
            plural = "whole numbers" if self.items.numbers == {int} else "numbers"
            found.append(COUNTS.get(self.length, "") + plural)
        return " or ".join(found + ["None"] * (NoneType in self.others))

    def taken(self, value: Any) -> Any:
        """The value, NumPy's number as Python's.

        Raises:
            ValueError: the argument may not be such a value.
        """
        if isinstance(value, (np.generic, np.ndarray)) and not value.ndim:
            value = value.item()
        if isinstance(value, bool):
            fits = bool in self.numbers
        elif isinstance(value, (int, Size)):
            fits = not self.numbers.isdisjoint((int, float))
        elif isinstance(value, (float, Node)):  # a node: of the graph that a function builds
            fits = float in self.numbers or isinstance(value, self.others)
        elif self.items is not None and isinstance(value, (tuple, list)):
            if self.length not in (0, len(value)):
                raise ValueError
            taken = [self.items.taken(v) for v in value]
            return tuple(taken) if isinstance(value, tuple) else taken
        elif self.items is not None and not isinstance(value, str):
            fits = isinstance(value, (Iterable, *self.others))
        else:
            fits = isinstance(value, self.others)
        if not fits:
            raise ValueError
        return value


def kind_of(annotation: Any) -> ArgumentKind | None:
    """The kind of an annotation; None if it has no numbers, or may be anything."""
    union = get_origin(annotation) in (Union, UnionType)
    members = get_args(annotation) if union else (annotation,)
    if Any in members:
        return None
    numbers = frozenset(m for m in members if m in NUMBERS)
    sequences = {m: k for m in members if (k := _items(m)) is not None}
    others = [get_origin(m) or m for m in members if m not in NUMBERS and m not in sequences]
    if not numbers and not sequences:
        return None
    sequence, items = next(iter(sequences.items()), (None, None))
    given = get_args(sequence)
    count = len(given) if get_origin(sequence) is tuple and given[-1] is not ... else 0
    return ArgumentKind(
        numbers, items, count, tuple(m if isinstance(m, type) else object for m in others)
    )


def _items(annotation: Any) -> ArgumentKind | None:
    """The kind of a sequence's elements."""
    origin, given = get_origin(annotation), get_args(annotation)
    sequence = isinstance(origin, type) and issubclass(origin, Sequence)
    return kind_of(given[0]) if sequence and given else None


def numeric(function: T) -> T:
    """Checks the numbers that a function or a class is called with.

    Raises:
        ShapeError: in the call: an argument is not what its annotation says.
    """
    if isinstance(function, type):
        function.__init__ = numeric(function.__init__)  # type: ignore[misc]
        return function
    taken = signature(function).parameters.values()
    names = [p.name for p in taken if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    written = {p.name: p.annotation for p in taken if NAMED.search(str(p.annotation))}
    if not written:
        return function

    @cache
    def kinds() -> dict[str, ArgumentKind]:  # when all that annotations name is there
        within = unwrap(function).__globals__
        hints = get_type_hints(SimpleNamespace(__annotations__=written), within)
        found = {name: kind_of(hint) for name, hint in hints.items()}
        return {name: kind for name, kind in found.items() if kind is not None}

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        known = kinds()

        def checked(name: str, value: Any) -> Any:
            if name not in known:
                return value
            try:
                return known[name].taken(value)
            except ValueError:
                owner = type(args[0]).__name__ if names[:1] == ["self"] else function.__name__
                raise ShapeError(
                    f"{owner} requires {known[name]} as {name}, got {value!r}"
                ) from None

        placed = [checked(name, value) for name, value in zip(names, args, strict=False)]
        options = {name: checked(name, value) for name, value in options.items()}
        return function(*placed, *args[len(placed) :], **options)

    return call  # type: ignore[return-value]
