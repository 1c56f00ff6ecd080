"""The comparison's command line, and one of its rows without peers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import compare

    return compare


def test_no_rows_are_all_rows(compare):
    assert compare.parsed([]).rows == list(compare.ROWS)
    assert compare.parsed(["lenet-b1", "--rounds", "3"]).rows == ["lenet-b1"]
    with pytest.raises(SystemExit):
        compare.parsed(["lenet-b2"])


def test_every_row_names_a_network(compare):
    for row in compare.ROWS.values():
        inputs, labels = compare.NETWORKS[row.network].batch(2)
        assert len(inputs) == 2 and row.title and len(labels) % 2 == 0


def test_a_row_without_peers():
    done = subprocess.run(
        [sys.executable, "compare.py", "lenet-b1", "--peers", "--rounds", "1"],
        cwd=BENCHMARKS, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "| LeNet-5 batch 1, inference |" in done.stdout
