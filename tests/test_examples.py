"""Every example runs, and the numbers that it prints are what it claims."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tinygraph.graph.op import OPS
from tinygraph.passes import PIPELINE

EXAMPLES = Path(__file__).parent.parent / "examples"

Example = Callable[..., dict[str, float]]


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Example]:
    """The ``main`` of the example after which the test is named; its operators go with it."""
    monkeypatch.syspath_prepend(EXAMPLES)
    known = set(OPS)
    yield importlib.import_module(request.node.name.removeprefix("test_")).main
    for name in OPS.keys() - known:
        del OPS[name]


def labels(picture: Path) -> set[str]:
    """The words in an SVG file, which must be well-formed and without NaN."""
    root = ElementTree.parse(picture).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and "nan" not in picture.read_text()
    return {e.text for e in root.iter("{http://www.w3.org/2000/svg}text") if e.text}


def test_every_example_is_short_and_tested():
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) < 150
        assert "def main(" not in text or f"test_{path.stem}" in globals(), path.name


def test_custom_operator(example):
    found = example()
    assert found["value error"] < 1e-5
    assert found["gradient error"] < 1e-5
    assert found["gradient against finite differences"] < 1e-6
    assert found["launches of the value alone"] == 1


def test_custom_template(example):
    found = example()
    assert found["median error"] < 1e-6
    assert found["gradient error"] < 1e-6
    assert found["elements with a gradient"] == 32


def test_custom_gradient(example):
    found = example()
    assert found["round: loss"] > 10
    assert found["straight_round: loss"] < 1e-8
    assert found["straight_round: weights found"] == 8


def test_custom_backend(example):
    found = example()
    losses = [[found[f"{b}: loss {i}"] for i in range(4)] for b in ("cpu", "python")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[1] == sorted(losses[1], reverse=True)


def test_custom_pass(example):
    found = example()
    assert found["plain: operations"] > 60 * found["ordered: operations"]
    assert found["difference"] < 1e-4


def test_inspect_stages(example):
    found = example()
    assert found["passes"] == len(PIPELINE)
    assert found["divisions left"] == 0
    assert found["parsed text is the same"]
    assert found["parsed graph's error"] < 1e-5


@pytest.mark.filterwarnings("ignore:backend 'cuda' runs in the emulator:RuntimeWarning")
def test_swap_backend(example):
    found = example()
    cpu, cuda = ([v for k, v in found.items() if k.startswith(b)] for b in ("cpu", "cuda"))
    assert len(cpu) == 4 and cpu[3] < cpu[0]
    assert cuda == pytest.approx(cpu, rel=1e-5) or not cuda


def test_information_flow(example):
    found = example()
    assert found["largest difference of losses"] < 1e-14
    assert found["largest difference of weights"] < 1e-14
    assert found["loss at step 99"] < 0.5 * found["loss at step 0"]


def test_chain_rule(example, tmp_path):
    found = example(tmp_path)
    gradients = {"w0": -0.2, "x0": 0.39, "w1": -0.39, "x1": -0.59, "w2": 0.2, "e^x": -0.53}
    for name, gradient in gradients.items():
        assert found[f"gradient of {name}"] == pytest.approx(gradient, abs=0.005)
    assert found["value of 1/x"] == found["one gate"] == pytest.approx(0.73, abs=0.005)
    assert found["gradient of one gate"] == pytest.approx(found["gradient of +w2"])
    assert labels(tmp_path / "chain_rule.svg") >= {"e^x", "0.37", "-0.53"}


def test_edge_detection(example, tmp_path):
    found = example(tmp_path)
    assert found["operations of the filter"] == 267_960
    assert found["operations of the matrix"] == (2 * 89_600 - 1) * 89_320
    assert found["entries of the matrix"] == 89_600 * 89_320
    assert found["times more operations"] == pytest.approx(60_000, rel=0.01)
    assert found["times more entries"] == pytest.approx(4e9, rel=0.001)
    assert found["weights, fully connected"] == 10**12
    assert found["weights, connected to 10x10 pixels"] == 10**8
    assert found["weights, 10x10 shared in each of 10,000 maps"] == 10**6
    assert found["pixels that one edge depends on"] == 2
    assert found["uses of each weight"] == 89_320
    assert found["move then filter, less filter then move"] == 0
    assert found["difference of the two"] < 1e-6
    assert found["microseconds of the matrix"] > 2 * found["microseconds of the filter"]
    assert labels(tmp_path / "edge_detection.svg") == {
        "320 x 280 pixels", "each pixel minus its left neighbour"
    }  # fmt: skip


def test_conv_as_matrix(example):
    found = example()
    ways = ("im2col", "implicit", "winograd", "direct")
    assert all(found[f"{way}: error"] < 1e-5 for way in ways)
    assert len({found[f"{way}: operations"] for way in ways}) == 1  # those of the definition
    stored = 4 * 28 * 28 * 64 * 9
    assert found["im2col: bytes held"] >= stored > 5 * found["implicit: bytes held"]
    assert found["direct: bytes held"] == 0


def test_visual_cortex(example, tmp_path):
    found = example(tmp_path)
    assert found["simple cells: change with phase"] > 0.99
    assert found["complex cells: change with phase"] < 0.01
    assert found["complex cells that prefer their angle"] == 8
    assert found["own angle over the angle across"] > 100
    assert {p.stem for p in tmp_path.iterdir()} == {
        f"visual_cortex_{what}" for what in ("filters", "phase", "angle")
    }
    assert labels(tmp_path / "visual_cortex_phase.svg") >= {"complex", "answer", "100"}


def test_pooling_invariance(example, tmp_path):
    found = example(tmp_path, short=True)
    kept = {kind: found[f"{kind}: brightness that outlines keep"] for kind in ("max", "mean", "L2")}
    assert kept["max"] == 1 and kept["mean"] < 0.6 and kept["L2"] < 0.7
    changed = "values that a move by one pixel changes"
    assert found[f"max: {changed}"] < 0.75 * found[f"before: {changed}"]
    for kind in ("mean", "L2", "distance-weighted"):
        assert found[f"{kind}: {changed}"] < found[f"before: {changed}"]
    for angle in (-40, 40):
        assert found[f"max: right at {angle}"] > found[f"mean: right at {angle}"] + 0.1
    assert "max: keeps 100%" in labels(tmp_path / "pooling.svg")
    assert "read right, %" in labels(tmp_path / "pooling_rotation.svg")
    assert len(labels(tmp_path / "pooling_filters.svg")) > 20  # angles of filters that win


def test_lenet_digits(example, tmp_path):
    found = example(tmp_path, short=True)
    assert found["parameters"] == 61_706
    assert found["accuracy"] > 0.95
    assert found["cheque digits right"] > 0.9
    assert any(words.startswith("read as ") for words in labels(tmp_path / "lenet_cheque.svg"))
    assert (tmp_path / "lenet_wrong.svg").exists()


def test_char_lstm(example):
    found = example(short=True)
    assert found["lstm"] < found["five_gram"] - 0.04  # bits per character


def test_inception_v3_factorization(example):
    found = example()
    for whole, parts in (("5x5", "3x3 3x3"), ("3x3", "1x3 3x1"), ("7x7", "1x7 7x1")):
        assert found[f"{whole}: pixels seen"] == found[f"{parts}: pixels seen"]
    saved = {"5x5": 1 - 18 / 25, "3x3": 1 - 2 / 3, "7x7": 1 - 2 / 7}
    for whole, part in saved.items():
        assert found[f"{whole}: parameters saved"] == pytest.approx(part)
        assert found[f"{whole}: flops saved"] == pytest.approx(part, abs=0.003)
    assert found["7x7: ms"] > 0 and found["1x7 7x1: ms"] > 0
    assert found["inception_v3: parameters"] == 27_161_264


def test_alexnet_two_devices(example):
    found = example(short=True)
    hidden, classes, batch = 256, 1000, 2
    layers = (3 * 121 + 1) * 96 + (48 * 25 + 1) * 256 + (256 * 9 + 1) * 384 + (192 * 9 + 1) * 640
    layers += (9216 + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * classes
    assert found["parameters"] == layers
    assert found["logits: difference"] < 1e-4
    assert found["losses: difference"] < 1e-4
    both = 256 * 13 * 13 + 256 * 6 * 6 + 2 * hidden  # conv3, fc6, fc7 and fc8 read both halves
    assert found["inference: bytes that cross"] == 4 * batch * (both + classes // 2)
    assert found["training: bytes that cross"] == 2 * found["inference: bytes that cross"]


def test_googlenet_auxiliary(example, tmp_path):
    found = example(tmp_path / "no Fashion-MNIST")
    assert found["layers"] == 22
    assert all(found[f"conv{i}: more gradient"] > 1.5 for i in (1, 2, 3))
    for what in ("parameters", "operations"):
        assert found[f"naive module: times the {what}"] > 2
    assert found["part of the loss that is left"] < 0.8


def test_tiny_transformer(example, tmp_path, capsys):
    found = example(tmp_path, short=True)
    assert found["parameters"] == 421_120
    assert found["last tenth"] < found["first tenth"] - 1.5
    assert found["transformer"] < found["5-gram"] - 0.1  # bits per character
    assert found["5-gram"] == pytest.approx(1.760, abs=0.001)
    assert found["least attention in all"] == pytest.approx(1, abs=1e-5)
    assert "layer 2, head 4" in labels(tmp_path / "transformer_heads.svg")
    assert "\nAnd " in capsys.readouterr().out


def test_gan(example, tmp_path):
    found = example(tmp_path)
    assert found["points in a cloud"] > 0.6  # of points anywhere in the square, 0.11
    assert found["clouds with points"] >= 4
    assert labels(tmp_path / "gan.svg") == {"data", "generated"}


def test_vae(example, tmp_path):
    found = example(tmp_path, epochs=3)
    assert found["loss"] < 145 < found["first loss"]  # nats a picture
    assert found["ink of drawn digits"] == pytest.approx(found["ink of digits"], rel=0.3)
    assert (tmp_path / "vae.svg").exists()


def test_segmentation(example, tmp_path):
    found = example(tmp_path)
    assert found["IoU"] > 0.7 > 0.4 > found["IoU of a threshold"]
    assert labels(tmp_path / "segmentation.svg") == {"image", "mask", "found"}


def test_masked_gru(example):
    found = example()
    assert found["mean squared error"] < 0.02 * found["of the mean"]
    assert found["R2"] > 0.98 and found["change with what is after the end"] == 0


def test_pinn(example, tmp_path):
    found = example(tmp_path)
    assert found["largest error"] < 3e-3
    assert "sin(pi x)" in labels(tmp_path / "pinn.svg")


def test_fine_tuning(example):
    found = example()
    assert found["from nothing"] + 0.1 < found["all, at two rates"] > 0.65
    assert found["new head"] < found["all, at two rates"]


def test_vision_transformer(example):
    found = example(epochs=3)
    assert found["parameters"] == 41_770
    assert found["accuracy"] > 0.75 and abs(found["accuracy"] - found["f1_score"]) < 0.02


def test_word2vec(example):
    found = example(epochs=5)
    assert found["loss"] < 0.8 * found["first loss"]
    assert found["of related words"] > found["of any words"] + 0.2


def test_int8_inference(example):
    """After two epochs; after four, no answer is another one."""
    changed, error = example(2)
    assert changed <= 10 and error < 0.02
