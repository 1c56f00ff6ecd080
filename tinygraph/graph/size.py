"""Sizes that are bound at the call: integers and numbers that depend on the batch size n.

``tg.input("image", None, 1, 28, 28)`` is a batch of n images. While the graph is built, a size that
depends on n is a polynomial with whole coefficients, and what is divided by it, such as 1 / n, a
quotient of two. They compute like numbers, compare as if n were very large, and refuse what they
cannot say; being no Python numbers, they are never baked into a graph unnoticed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

STAND_IN = 2**89 - 1  # for n in comparisons: larger than any other size

Polynomial = tuple[int, ...]  # coefficients of n^0, n^1, ...


def _trimmed(a: list[int]) -> Polynomial:
    while len(a) > 1 and a[-1] == 0:
        a.pop()
    return tuple(a)


def _sum(a: Polynomial, b: Polynomial) -> Polynomial:
    return _trimmed([x + y for x, y in zip_longest(a, b, fillvalue=0)])


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    out = [0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            out[i + j] += x * y
    return _trimmed(out)


def _quotient(a: Polynomial, b: Polynomial) -> Polynomial | None:
    """The polynomial q with a = q b, if there is one; by long division."""
    rest, quotient = list(a), [0] * max(1, len(a) - len(b) + 1)
    for power in range(len(a) - len(b), -1, -1):
        quotient[power], left = divmod(rest[power + len(b) - 1], b[-1])
        for i, c in enumerate(b):
            rest[power + i] -= quotient[power] * c
        if left:
            return None
    return None if any(rest) else _trimmed(quotient)


def evaluate(a: Polynomial, n: int) -> int:
    """The polynomial's value at n."""
    return sum(c * n**power for power, c in enumerate(a))


def _text(a: Polynomial) -> str:
    terms = []
    for power, c in reversed(list(enumerate(a))):
        name = "" if power == 0 else "n" if power == 1 else f"n**{power}"
        if c:
            terms.append(name if name and c == 1 else f"{c}*{name}" if name else f"{c}")
    return "+".join(terms).replace("+-", "-") or "0"


def _polynomial(value: Any) -> Polynomial | None:
    if isinstance(value, Size):
        return value.polynomial
    return (int(value),) if isinstance(value, (int, np.integer)) else None


def _size(a: Polynomial) -> Any:
    return a[0] if len(a) == 1 else Size(a)


def _exact(a: Polynomial, b: Polynomial) -> Any:
    found = _quotient(a, b)
    if found is None:
        raise ValueError(f"{_text(a)} is not a multiple of {_text(b)} for every batch size n")
    return _size(found)


def _computes(combine: Callable[[Polynomial, Polynomial], Any]) -> Callable[[Size, Any], Any]:
    """A method of Size: what ``combine`` makes of both polynomials."""

    def method(self: Size, other: Any) -> Any:
        theirs = _polynomial(other)
        return NotImplemented if theirs is None else combine(self.polynomial, theirs)

    return method


def _compares(compare: Callable[[int, int], bool]) -> Callable[[Size, Any], Any]:
    return _computes(lambda a, b: compare(evaluate(a, STAND_IN), evaluate(b, STAND_IN)))


@dataclass(frozen=True, eq=False, slots=True)
class Size:
    """A whole number that depends on n."""

    polynomial: Polynomial

    __add__ = __radd__ = _computes(lambda a, b: _size(_sum(a, b)))
    __sub__ = _computes(lambda a, b: _size(_sum(a, _product((-1,), b))))
    __rsub__ = _computes(lambda a, b: _size(_sum(b, _product((-1,), a))))
    __floordiv__ = _computes(_exact)
    __rfloordiv__ = _computes(lambda a, b: _exact(b, a))
    __mod__ = _computes(lambda a, b: 0 * _exact(a, b))
    __rmod__ = _computes(lambda a, b: 0 * _exact(b, a))
    __eq__ = _computes(lambda a, b: a == b)
    __lt__, __le__ = _compares(operator.lt), _compares(operator.le)
    __gt__, __ge__ = _compares(operator.gt), _compares(operator.ge)
    _times = _computes(lambda a, b: _size(_product(a, b)))

    def __mul__(self, other: Any) -> Any:
        return self.ratio * other if isinstance(other, float) else self._times(other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self.ratio / other

    def __rtruediv__(self, other: Any) -> Any:
        return self.ratio.inverse * other

    @property
    def ratio(self) -> Ratio:
        return Ratio(self.polynomial, (1,))

    def __hash__(self) -> int:
        return hash(self.polynomial)

    def __repr__(self) -> str:
        return _text(self.polynomial)


@dataclass(frozen=True, slots=True)
class Ratio:
    """factor * over / under, such as the 1 / n of a mean."""

    over: Polynomial
    under: Polynomial
    factor: float = 1.0

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Size):
            other = other.ratio
        if isinstance(other, Ratio):
            over, under = _product(self.over, other.over), _product(self.under, other.under)
            return Ratio(over, under, self.factor * other.factor)
        if isinstance(other, (int, float)):
            return Ratio(self.over, self.under, self.factor * other)
        return NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, Size):
            other = other.ratio
        if isinstance(other, Ratio):
            return self * other.inverse
        return self * (1 / other) if isinstance(other, (int, float)) else NotImplemented

    def __rtruediv__(self, other: Any) -> Any:
        return self.inverse * other

    @property
    def inverse(self) -> Ratio:
        return Ratio(self.under, self.over, 1 / self.factor)

    def __repr__(self) -> str:
        return f"{self.factor!r}*({_text(self.over)})/({_text(self.under)})"


def parse_size(text: str) -> Any:
    """The inverse of ``str``: '64', 'n', '25*n', 'n**2-1'.

    Raises:
        ValueError: the text is not a sum of terms in n.
    """
    total: Any = 0
    position = 0
    while position < len(text) or not text:
        m = _TERM.match(text, position)
        if m is None or (position and not m[1]):
            raise ValueError(f"{text!r} is not a size")
        power = 0 if m[4] else int(m[3] or 1)
        term = int(m[4] or m[2] or 1) * (Size((0,) * power + (1,)) if power else 1)
        total, position = (total - term if m[1] == "-" else total + term), m.end()
    return total


_TERM = re.compile(r"([+-]?)(?:(?:(\d+)\*)?n(?:\*\*(\d+))?|(\d+))(?![\w*])")
