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


def test_every_contender_has_a_colour(compare):
    assert {"tinygraph", *compare.peers.PEERS} == compare.picture.COLOURS.keys()


@pytest.fixture
def every_layer(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import every_layer

    return every_layer


def test_layers_of_every_kind(every_layer):
    names = [f"{kind} {x.name}" for kind, make in every_layer.KINDS.items() for x in make()]
    assert len(names) == len(set(names)) >= 230


@pytest.mark.parametrize(
    ("kind", "name", "results"),
    [("matmul", "7x7 @ 7x7", 1), ("gradients", "3x3/1 960 at 7 b4", 2),
     ("other-gradients", "softmax 2048x1000 forward and back", 2)],
)  # fmt: skip
def test_a_layer_returns_results_and_gradients(every_layer, kind, name, results):
    (layer,) = (x for x in every_layer.KINDS[kind]() if x.name == name)
    run = every_layer._tinygraph(layer, every_layer._arrays(layer), threads=2)
    assert len(run()) == len(run.turned) == results


def test_the_tables_count_what_is_slower(every_layer, tmp_path):
    results = [
        every_layer.Result("kind", "slow", 2.0, 1.0, 1.5, 2.0, "a"),
        every_layer.Result("kind", "other", 1.0, 2.0, None, 0.5, "b"),
        every_layer.Result("matmul", "tiny", 0.003, 0.002, None, 1.5, "c"),
        every_layer.Result("depthwise", "layer", 1.0, 1.5, 1.5, 2 / 3, "d", roof_ms=0.5),
    ]
    text = every_layer.tables(results, "Here")
    assert "| kind | slow | 2 | 1 | 1.5 | 2.00 |  |" in text and "other" not in text
    assert "| depthwise | layer | 1 | 1.5 | 1.5 | 0.67 | 50% |" in text
    counts = text.replace("\n", " ")
    assert "4 layers, 2 above 1.15" in counts and "(1 of them by less than 3 micro" in counts
    assert "2 above 1.0, geometric mean 1.00" in counts
    document = tmp_path / "results.md"
    document.write_text("before\n<!-- layers.py --all -->\nold\n<!-- end of layers -->\nafter\n")
    every_layer.write(document, text)
    assert document.read_text().startswith("before\n<!-- layers.py --all -->\n" + text)
    assert document.read_text().endswith("<!-- end of layers -->\nafter\n")
