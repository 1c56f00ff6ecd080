"""What the language models are measured against: an interpolated 5-gram of the same text.

Bits per character are the mean of -log2 of the probability that a model gives to each character,
knowing those before it.
"""

from __future__ import annotations

import numpy as np

from tinygraph.data import Text


class NGram:
    """Interpolated Kneser-Ney: P(character | the ``order`` - 1 before it).

    Every count is lowered by ``discount``; what that frees goes to the next shorter context, down
    to the uniform distribution. Shorter contexts count the different characters that preceded, not
    how often (Chen and Goodman, An empirical study of smoothing techniques, 1999, section 2.7).
    """

    def __init__(self, text: np.ndarray, symbols: int, order: int = 5, discount: float = 0.75):
        self.symbols, self.order, self.discount = symbols, order, discount
        self.tables = [self._counted(text, context) for context in range(order)]

    def _codes(self, text: np.ndarray, length: int) -> np.ndarray:
        """Each run of ``length`` symbols as one number."""
        places = np.arange(len(text) - length + 1)
        codes = np.zeros(len(places), np.int64)
        for i in range(length):
            codes = codes * self.symbols + text[places + i]
        return codes

    def _counted(self, text: np.ndarray, context: int) -> tuple[np.ndarray, ...]:
        """Runs and their counts; contexts, their total counts, and how many symbols follow."""
        if context == self.order - 1:
            runs, counts = np.unique(self._codes(text, context + 1), return_counts=True)
        else:
            longer = np.unique(self._codes(text, context + 2))
            runs, counts = np.unique(longer % self.symbols ** (context + 1), return_counts=True)
        contexts, first, kinds = np.unique(
            runs // self.symbols, return_index=True, return_counts=True
        )
        return runs, counts, contexts, np.add.reduceat(counts, first), kinds

    def probabilities(self, text: np.ndarray) -> np.ndarray:
        """The probability of each symbol of ``text`` except the first ``order`` - 1."""
        n = len(text) - self.order + 1
        found = np.full(n, 1 / self.symbols)
        for context, (runs, counts, contexts, totals, kinds) in enumerate(self.tables):
            codes = self._codes(text, context + 1)[-n:]
            count = _look_up(codes, runs, counts)
            total = _look_up(codes // self.symbols, contexts, totals)
            freed = self.discount * _look_up(codes // self.symbols, contexts, kinds)
            mixed = np.maximum(count - self.discount, 0) + freed * found
            found = np.where(total > 0, mixed / np.maximum(total, 1), found)
        return found


def _look_up(wanted: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value of each wanted key, 0 if it is not there; keys are sorted."""
    places = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def five_gram_bits(text: Text) -> float:
    """Bits per character of the held-back part, with the discount that suits the choosing part."""
    model = NGram(text.training, len(text.alphabet))

    def bits(before: np.ndarray, part: np.ndarray, discount: float) -> float:
        model.discount = discount
        known = np.concatenate([before[1 - model.order :], part])
        return float(-np.log2(model.probabilities(known)).mean())

    discounts = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    best = min(discounts, key=lambda d: bits(text.training, text.choosing, d))
    return bits(text.choosing, text.held_back, best)
