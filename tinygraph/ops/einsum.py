"""Sums of products over named axes, and what is short for one: einsum, outer, dot."""

from __future__ import annotations

import builtins
import math
import string
from collections.abc import Sequence
from typing import Any

from ..graph.ir import Node
from ..graph.op import ShapeError, promote
from .arithmetic import abs, mul
from .arranging import diagonal
from .linalg import matmul
from .logic import cast, not_equal
from .math import root, size_power
from .reduce import max, min, sum
from .view import Axes, normalize_axes, reshape, transpose

__all__ = ("dot", "einsum", "norm", "outer")


def einsum(subscripts: str, *operands: Any) -> Node:
    """The sum of products of operands whose axes are named, as numpy.einsum.

    Axes named alike go in step, those that the result lacks are summed over. Operands are
    multiplied from left to right, each pair as one matrix product where an axis is summed over.

    Args:
        subscripts: a letter for each axis: 'bij,bjk->bik'. '...' stands for the axes not named;
            without '->' the result has the letters that come once, in alphabetical order.
        operands: one for each group of letters, of one dtype.

    Raises:
        ShapeError: letters do not fit the operands, or sizes of one letter differ.

    Example:
        >>> import tinygraph as tg
        >>> a, b = tg.ones((2, 3)), tg.ones((4, 3))
        >>> tg.einsum("ij,kj->ik", a, b).shape
        (2, 4)
    """
    nodes = promote("einsum", operands)
    terms, result = _letters(subscripts, nodes)
    pairs = [_prepared(x, t, result, terms) for x, t in zip(nodes, terms, strict=True)]
    x, names = pairs[0]
    for k, (y, others) in enumerate(pairs[1:], 2):
        later = {letter for _, t in pairs[k:] for letter in t}
        x, names = _product(x, names, y, others, {*result, *later})
    x, names = _summed(x, names, result)
    return transpose(x, [names.index(letter) for letter in result])


def _letters(subscripts: str, nodes: Sequence[Node]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, '...' replaced by letters of its own."""
    text = subscripts.replace(" ", "")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    wrong = ShapeError(
        f"einsum requires letters for the axes of {', '.join(str(n.type) for n in nodes)}, "
        f"as 'ij,jk->ik', got {subscripts!r}"
    )
    if len(terms) != len(nodes) or not all(_is_term(t) for t in (*terms, result)):
        raise wrong
    free = [c for c in string.ascii_letters if c not in text]
    rest = [n.ndim - len(t.replace("...", "")) for t, n in zip(terms, nodes, strict=True)]
    if any(r < 0 or (r and "..." not in t) for r, t in zip(rest, terms, strict=True)):
        raise wrong
    longest = builtins.max(rest)
    filled = [t.replace("...", "".join(free[longest - r : longest]))
              for r, t in zip(rest, terms, strict=True)]  # fmt: skip
    everything = "".join(filled)
    if not arrow:
        result = "..." if "..." in text else ""
        result += "".join(sorted(c for c in {*everything} if everything.count(c) == 1
                                 and c not in free[:longest]))  # fmt: skip
    result = result.replace("...", "".join(free[:longest]))
    if len({*result}) != len(result) or not {*result} <= {*everything}:
        raise wrong
    sizes: dict[str, Any] = {}
    for t, n in zip(filled, nodes, strict=True):
        for letter, size in zip(t, n.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ShapeError(
                    f"einsum requires one size for {letter!r} of {subscripts!r}, "
                    f"got {sizes[letter]} and {size}"
                )
    return filled, result


def _is_term(term: str) -> bool:
    letters = term.replace("...", "", 1)
    return all(c in string.ascii_letters for c in letters)


def _prepared(x: Node, names: str, result: str, terms: Sequence[str]) -> tuple[Node, str]:
    """An operand with each letter once, without those that no one else has."""
    for letter in dict.fromkeys(names):
        while names.count(letter) > 1:
            first = names.index(letter)
            second = names.index(letter, first + 1)
            x = diagonal(x, 0, first, second)
            names = names[:first] + names[first + 1 : second] + names[second + 1 :] + letter
    everything = "".join(terms)
    own = {c for c in names if c not in result and everything.count(c) == names.count(c)}
    shared = {c for t in terms for c in {*t}}
    lonely = {c for c in own if builtins.sum(c in t for t in terms) == 1} & shared
    return _summed(x, names, "".join(c for c in names if c not in lonely))


def _summed(x: Node, names: str, kept: str) -> tuple[Node, str]:
    axes = [a for a, c in enumerate(names) if c not in kept]
    return (sum(x, axes) if axes else x), "".join(c for c in names if c in kept)


def _product(x: Node, a: str, y: Node, b: str, kept: set[str]) -> tuple[Node, str]:
    """The product of two operands, summed over what both have and nobody else needs."""
    batch = [c for c in a if c in b and c in kept]
    inner = [c for c in a if c in b and c not in kept]
    rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
    size = dict(zip(a + b, x.shape + y.shape, strict=True))

    def sizes(letters: Sequence[str]) -> tuple[Any, ...]:
        return tuple(size[c] for c in letters)

    left = transpose(x, [a.index(c) for c in (*batch, *rows, *inner)])
    right = transpose(y, [b.index(c) for c in (*batch, *inner, *columns)])
    names = "".join((*batch, *rows, *columns))
    if not inner:
        ones = (1,) * len(columns)
        left = reshape(left, (*sizes(batch), *sizes(rows), *ones))
        right = reshape(right, (*sizes(batch), *(1,) * len(rows), *sizes(columns)))
        return mul(left, right), names
    k = math.prod(sizes(inner))
    left = reshape(left, (*sizes(batch), math.prod(sizes(rows)), k))
    right = reshape(right, (*sizes(batch), k, math.prod(sizes(columns))))
    return reshape(matmul(left, right), sizes(names)), names


def outer(a: Any, b: Any) -> Node:
    """a[i] * b[j] of two arrays that are made flat, [n, m].

    Example:
        >>> import tinygraph as tg
        >>> tg.run(tg.outer(tg.arange(2), tg.arange(3)))
        array([[0, 0, 0],
               [0, 1, 2]], dtype=int32)
    """
    a, b = promote("outer", (a, b))
    return mul(reshape(a, (a.type.size, 1)), reshape(b, (1, b.type.size)))


def dot(a: Any, b: Any) -> Node:
    """The sum over the last axis of a and the last but one of b, as numpy.dot.

    Of vectors it is their inner product, of matrices their product, of a number a multiple.

    Example:
        >>> tg.run(tg.dot(tg.constant([1.0, 2.0]), tg.constant([3.0, 4.0])))
        array(11., dtype=float32)
    """
    a, b = promote("dot", (a, b))
    if not a.ndim or not b.ndim:
        return mul(a, b)
    if b.ndim <= 2:
        return matmul(a, b)
    letters = string.ascii_letters
    left, right = letters[: a.ndim], letters[a.ndim : a.ndim + b.ndim]
    right = right[:-2] + left[-1] + right[-1]
    return einsum(f"{left},{right}->{left[:-1]}{right[:-2]}{right[-1]}", a, b)


def norm(x: Any, ord: float | None = None, axis: Axes = None, keepdims: bool = False) -> Node:
    """The length of vectors, as numpy.linalg.norm and torch.norm have it.

    Args:
        x: floats.
        ord: 2 or None for the root of the sum of squares, 1 for the sum of sizes, inf and -inf for
            the largest and the least size, 0 for how many are not 0, another p for
            sum(abs(x) ** p) ** (1 / p). Norms of matrices as operators are not among them.
        axis: the axis, or several, that vectors are along; None: x is one vector.
        keepdims: the reduced axes stay, with size 1.

    The gradient of the root is 0 where all elements are 0, as in PyTorch.

    Example:
        >>> import tinygraph as tg
        >>> float(tg.run(tg.norm(tg.constant([3.0, 4.0]))))
        5.0
    """
    (x,) = promote("norm", (x,))
    axes = normalize_axes("norm", axis, x.ndim)
    if ord is None or ord == 2:
        return root(sum(mul(x, x), axes, keepdims))
    if ord == 1:
        return sum(abs(x), axes, keepdims)
    if math.isinf(ord):
        return (max if ord > 0 else min)(abs(x), axes, keepdims)
    if ord == 0:
        return sum(cast(not_equal(x, 0), x.dtype), axes, keepdims)
    total = sum(size_power(x, ord), axes, keepdims)
    return root(total, ord) if ord > 0 else total ** (1 / ord)
