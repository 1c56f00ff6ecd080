"""Winograd's minimal filtering F(m, r): m outputs of a filter of r taps with m + r - 1
multiplications.

Y = A^T [(G g) * (B^T d)] by the algorithm of Toom and Cook (Lavin and Gray, Fast Algorithms for
Convolutional Neural Networks, 2015, section 4): polynomials are evaluated at m + r - 2 points and
at infinity, multiplied there, interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache

Matrix = tuple[tuple[Fraction, ...], ...]


def _points(text: str) -> tuple[Fraction, ...]:
    return tuple(Fraction(t) for t in text.split())


# By the number of multiplications, m + r - 1. All are exact in float32; pairs of opposite points
# share half of their work. Found by a search over multiples of 1/8 for the least rms error of the
# two-dimensional transform on normal data: the textbook's 0, 1, -1, 2, -2 has twice the error of
# the five points here.
POINTS = {
    4: _points("0 1 -1"),
    5: _points("0 3/4 -3/4 7/4"),
    6: _points("0 5/8 -5/8 3/2 -3/2"),
    7: _points("0 7/8 -7/8 15/8 -15/8 3/8"),
    8: _points("0 1/2 -1/2 1 -1 2 -2"),
}


@cache
def transforms(m: int, r: int) -> tuple[Matrix, Matrix, Matrix]:
    """A^T (m x n), G (n x r) and B^T (n x n) of F(m, r), n = m + r - 1.

    Raises:
        KeyError: there are no points for n multiplications.
    """
    return toom_cook(m, r, POINTS[m + r - 1])


def toom_cook(m: int, r: int, points: Sequence[Fraction]) -> tuple[Matrix, Matrix, Matrix]:
    """The matrices for m + r - 2 distinct points, exact; divisions are in G, which is applied
    once a weight.
    """
    a_t = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    g, b_t = [], []
    for i, p in enumerate(points):
        scale = Fraction(1)
        for q in (*points[:i], *points[i + 1 :]):
            scale *= p - q
        g.append([p**j / scale for j in range(r)])
        b_t.append([*_polynomial([*points[:i], *points[i + 1 :]]), Fraction(0)])
    g.append([Fraction(j == r - 1) for j in range(r)])
    b_t.append(_polynomial(points))
    return _matrix(a_t), _matrix(g), _matrix(b_t)


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of the product of all (x - root), lowest power first."""
    c = [Fraction(1)]
    for root in roots:
        c = [
            low - root * high
            for low, high in zip([Fraction(0), *c], [*c, Fraction(0)], strict=True)
        ]
    return c


def _matrix(rows: Sequence[Sequence[Fraction]]) -> Matrix:
    return tuple(tuple(row) for row in rows)


def transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))
