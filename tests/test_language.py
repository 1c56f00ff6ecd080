"""The 5-gram that language models are measured against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def language(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "examples")
    import language

    return language


def test_probabilities_of_all_characters_sum_to_one(language):
    text = np.random.default_rng(0).integers(0, 4, 200)
    model = language.NGram(text, symbols=5, order=3, discount=0.6)  # symbol 4 never occurs
    for before in (text[:2], text[50:52], [4, 0], [4, 4]):
        each = [model.probabilities(np.array([*before, i]))[0] for i in range(5)]
        assert min(each) > 0 and sum(each) == pytest.approx(1)


def test_a_bigram_by_hand(language):
    """abab, a = 0: ab occurs twice and ba once; a and b have followed one symbol each."""
    model = language.NGram(np.array([0, 1, 0, 1]), symbols=2, order=2, discount=0.5)
    unigram = (1 - 0.5) / 2 + 0.5 * 2 / 2 * 0.5
    assert model.probabilities(np.array([0, 1]))[0] == (2 - 0.5) / 2 + 0.5 * 1 / 2 * unigram
    assert model.probabilities(np.array([0, 0]))[0] == 0.5 * 1 / 2 * unigram


def test_a_repeated_text_is_known(language):
    text = np.tile(np.arange(10), 100)
    bits = -np.log2(language.NGram(text, symbols=10).probabilities(text[:50])).mean()
    assert bits < 0.05
