"""Metrics: against their formulas and scikit-learn's values; few examples, ties, what is refused;
pictures of them.
"""

from __future__ import annotations

import xml.dom.minidom

import numpy as np
import pytest

from tinygraph import metrics, pictures, train

RNG = np.random.default_rng(7)
SCORES = RNG.normal(size=(40, 4)).round(1)  # rounded: there are ties
LABELS = RNG.integers(0, 4, 40)
GOLDEN = {  # of scikit-learn 1.9.1
    "accuracy": 0.225, "macro": 0.2279040404040404, "micro": 0.225, "binary": 0.2777777777777778,
    "auc": 0.34895833333333337, "mae": 1.0562500000000001, "r2": 0.4124739901146258,
    "perplexity": 4.880837023162052,
}  # fmt: skip


def one_by_one(scores, labels, k):
    """Whether the label is among the k best, classes sorted by score and then number."""
    best = [sorted(range(len(row)), key=lambda c: (-row[c], c))[:k] for row in scores]
    return np.mean([y in b for y, b in zip(labels, best, strict=True)])


def test_accuracy_and_top_k():
    for k in range(1, 5):
        assert metrics.top_k_accuracy(SCORES, LABELS, k) == one_by_one(SCORES, LABELS, k)
    assert metrics.top_k_accuracy(SCORES, LABELS, 1) == metrics.accuracy(SCORES, LABELS)
    assert metrics.top_k_accuracy(np.zeros((5, 4)), [0, 1, 2, 3, 3], 2) == 0.4  # ties: the first
    assert isinstance(metrics.accuracy([True, False], [1, 1]), metrics.Share)
    whole = metrics.accuracy(SCORES.reshape(8, 5, 4), LABELS.reshape(8, 5))
    assert whole == metrics.accuracy(SCORES.argmax(axis=1), LABELS)


def test_values_of_scikit_learn():
    found = {
        "accuracy": metrics.accuracy(SCORES, LABELS),
        "macro": metrics.f1_score(SCORES, LABELS),
        "micro": metrics.f1_score(SCORES, LABELS, "micro"),
        "binary": metrics.f1_score(SCORES[:, 1] > 0, LABELS > 1, "binary"),
        "auc": metrics.roc_auc(SCORES[:, 1], LABELS > 1),
        "mae": metrics.mean_absolute_error(SCORES, np.roll(SCORES, 1)),
        "r2": metrics.r2_score(SCORES, SCORES + np.roll(SCORES, 1)),
        "perplexity": metrics.perplexity(SCORES, LABELS),
    }
    assert found == pytest.approx(GOLDEN, rel=1e-12)


def test_formulas():
    counts = metrics.confusion_matrix(SCORES, LABELS)
    predicted = SCORES.argmax(axis=1)
    for i in range(4):
        for j in range(4):
            assert counts[i, j] == np.sum((i == LABELS) & (predicted == j))
    positive, negative = SCORES[LABELS > 1, 1], SCORES[LABELS <= 1, 1]
    pairs = positive[:, None] - negative
    area = np.mean((pairs > 0) + 0.5 * (pairs == 0))
    assert metrics.roc_auc(SCORES[:, 1], LABELS > 1) == pytest.approx(area, rel=1e-14)
    assert metrics.f1_score(SCORES, LABELS, "micro") == metrics.accuracy(SCORES, LABELS)
    large = metrics.perplexity(np.array([[1e4, 0.0]], np.float32), [1])
    assert large == np.inf or large > 1e300
    assert metrics.perplexity(np.array([[1e4, 0.0]], np.float32), [0]) == 1


def test_f1_counts_classes_that_occur():
    assert metrics.f1_score([3, 3], [3, 3]) == 1  # classes 0 to 2 do not
    assert metrics.f1_score([0, 2], [0, 1]) == pytest.approx(1 / 3)
    assert metrics.f1_score([0, 0], [0, 0], "binary") == 0
    assert metrics.f1_score([1], [1], "binary") == metrics.f1_score([1], [1]) == 1
    with pytest.raises(ValueError, match="classes 0 and 1, got 3 classes"):
        metrics.f1_score([0, 2], [0, 1], "binary")
    with pytest.raises(ValueError, match="'macro', 'micro' or 'binary', got 'weighted'"):
        metrics.f1_score([0], [0], "weighted")


def test_no_and_one_example():
    none, no_labels = np.zeros((0, 3)), np.zeros(0, int)
    for metric in (metrics.accuracy, metrics.f1_score, metrics.perplexity):
        with pytest.raises(ValueError, match="of no example is not defined"):
            metric(none, no_labels)
    with pytest.raises(ValueError, match="with an element"):
        metrics.mean_absolute_error([], [])
    assert metrics.confusion_matrix(none, no_labels).tolist() == np.zeros((3, 3)).tolist()
    assert metrics.confusion_matrix([], []).shape == (0, 0)
    assert metrics.accuracy([[0.2, 0.8]], [1]) == metrics.top_k_accuracy([[1.0]], [0], 1) == 1
    assert metrics.mean_absolute_error([1], [3]) == 2
    with pytest.raises(ValueError, match="targets that differ"):
        metrics.r2_score([1], [1])
    with pytest.raises(ValueError, match="labels 0 and 1, both"):
        metrics.roc_auc([0.5], [1])


REFUSED = {
    "broadcast": (lambda: metrics.mean_absolute_error(np.ones((4, 1)), np.ones(4)), "of one shape"),
    "r2 broadcast": (lambda: metrics.r2_score(np.ones((4, 1)), np.ones(4)), "of one shape"),
    "classes": (lambda: metrics.accuracy(np.ones((4, 3)), [0, 1, 2, 3]), "labels are 0 to 2; got"),
    "below": (lambda: metrics.confusion_matrix([0, 1], [-1, 1]), "got -1 to 1"),
    "floats": (lambda: metrics.accuracy([0.3, 0.7], [0, 1]), "compare scores with a threshold"),
    "labels": (lambda: metrics.accuracy([0, 1], [0.0, 1.0]), "integer labels, got float64"),
    "axis": (
        lambda: metrics.accuracy(np.ones((2, 3, 4)), np.ones((2, 4), int)),
        r"\[2, 3, 4\] and",
    ),
    "nan": (lambda: metrics.accuracy([[np.nan, 1]], [1]), "NaN among the scores"),
    "auc nan": (lambda: metrics.roc_auc([np.nan, 1], [1, 0]), "NaN among the scores"),
    "auc shape": (lambda: metrics.roc_auc(np.ones((2, 2)), [1, 0]), r"scores \[n\] of class 1"),
    "k": (lambda: metrics.top_k_accuracy([[1, 2]], [0], 3), "1 <= k <= 2 classes, got 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_meaning_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------- pictures


def drawn(text):
    assert "nan" not in text
    return xml.dom.minidom.parseString(text).documentElement


def test_a_confusion_matrix_is_drawn():
    counts = metrics.confusion_matrix(SCORES, LABELS)
    picture = drawn(pictures.confusion_matrix(counts, ["a", "b", "c", '<&"'], "title"))
    words = [t.firstChild.data for t in picture.getElementsByTagName("text") if t.firstChild]
    assert [w for w in words if w.isdecimal()] == [str(n) for n in counts.ravel() if n]
    assert len(picture.getElementsByTagName("rect")) == 17 and words.count('<&"') == 2
    drawn(pictures.confusion_matrix(np.zeros((1, 1), int)))
    drawn(pictures.confusion_matrix(np.zeros((0, 0), int)))


def test_curves_of_any_length():
    nan = float("nan")
    cases = {"two": ([1, 2], [3, 4]), "one": ([1], [3]), "same": ([1, 2], [5, 5]), "none": ([], []),
             "gap": ([1, 2, 3, 4], [1, nan, 2, 3]), "all gaps": ([1, 2], [nan, nan]),
             "tiny": ([1, 2], [1e-12, 3e-12]), "huge": ([1, 2], [-1e30, 1e30])}  # fmt: skip
    lines = {k: len(drawn(pictures.curves(x, {"y": y}, "x", "y")).getElementsByTagName("polyline"))
             for k, (x, y) in cases.items()}  # fmt: skip
    assert [k for k, n in lines.items() if n == 0] == ["one", "none", "all gaps"]


def test_pictures_are_svg_files(tmp_path):
    path = pictures.save(tmp_path / "new" / "a.svg", pictures.gallery([], columns=3, title="none"))
    drawn(path.read_text())
    with pytest.raises(ValueError, match=r"ending in \.svg; got 'a.png'"):
        pictures.save(tmp_path / "a.png", "")


def test_names_of_other_libraries_are_explained():
    with pytest.raises(AttributeError, match=r"no metrics.mae: metrics.mean_absolute_error"):
        metrics.mae  # noqa: B018
    with pytest.raises(AttributeError, match=r"no train.ModelCheckpoint: train.Checkpoint"):
        train.ModelCheckpoint  # noqa: B018
