"""The main job in short: the demo trains, shows its graphs, saves weights and reads pictures."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tinygraph import checkpoint, models
from tinygraph.__main__ import main
from tinygraph.cli import demo
from tinygraph.data import digits
from tinygraph.datasets.picture import as_digit, read_digit
from tinygraph.train import classify

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights of three epochs, and what the demo printed."""
    weights = tmp_path_factory.mktemp("demo") / "weights.npz"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main(["demo", "--epochs", "3", "--output", str(weights)])
    return weights, printed.getvalue()


def test_it_trains_and_shows_what_the_compiler_did(trained):
    weights, text = trained
    headline = text.rstrip().splitlines()[-1]
    (accuracy,) = re.findall(r"^([\d.]+)% of the 2,000 digits held back are read right$", headline)
    assert float(accuracy) > 95
    table = text[text.index("The digits held back: ") :].splitlines()[2:12]
    rows = [[int(n) for n in re.findall(r"\d+(?![\d.]*%)(?=\s)", row)[:11]] for row in table]
    counts = np.array(rows)[:, 1:]
    assert [row[0] for row in rows] == list(range(10)) and counts.sum() == 2000
    per_digit = [float(re.findall(r"([\d.]+)%", row)[0]) for row in table]
    assert min(per_digit) > 85
    assert np.allclose(per_digit, 100 * counts.diagonal() / counts.sum(axis=1), atol=0.06)
    assert text.count("graph predict(images: f32[500,1,28,28])") == 2
    assert len(re.findall(r"epoch \d/3  loss [\d.]+  val_accuracy [\d.]+%", text)) == 3
    pictures = [Path(p) for p in re.findall(r"(\S+\.svg)$", text, re.MULTILINE)]
    drawn = [ElementTree.parse(p).getroot() for p in pictures]
    assert [p.stem for p in pictures] == ["learning_curve", "confusion_matrix", "mistakes"]
    images = sum(1 for e in drawn[2].iter("{http://www.w3.org/2000/svg}image"))
    assert images == min(2000 - counts.trace(), demo.MOST)
    modules = [Path(p) for p in re.findall(r"^  (/.*\.py)$", text, re.MULTILINE)]
    assert len(modules) == 2 and all("def " in p.read_text() for p in modules)
    assert str(weights) in text and weights.exists()


def draw(path, digit, size, place, width, dark):
    """A picture file in which a digit of the embedded data is drawn at a place, enlarged."""
    ink = Image.fromarray((digit * 255).astype(np.uint8)).resize((width, width), Image.BICUBIC)
    paper = Image.new("L", size, 0)
    paper.paste(ink, place)
    grey = np.asarray(paper).astype(np.float32) * 0.8 + 20
    grey += np.random.default_rng(0).normal(0, 3, grey.shape)
    grey = np.clip(255 - grey if dark else grey, 0, 255).astype(np.uint8)
    Image.fromarray(grey).convert("RGB" if path.suffix == ".jpg" else "L").save(path)


LOOKS = {  # picture's size, place of the digit, its width, dark on light
    "dark on light.png": ((400, 300), (210, 40), 150, True),
    "light on dark.png": ((120, 333), (10, 200), 90, False),
    "small.png": ((30, 36), (1, 6), 28, True),
    "colour.jpg": ((300, 300), (30, 5), 250, True),
}


@pytest.mark.parametrize("name", LOOKS)
def test_it_reads_picture_files(trained, tmp_path, capsys, name):
    """The same digits as those that the network sees in the data itself."""
    images = digits()[0].images[:20]
    net = models.lenet5()
    checkpoint.load(trained[0], net)
    known = classify(demo.classifier(net, 20), images)
    paths = []
    for i, image in enumerate(images):
        paths.append(tmp_path / f"{i} {name}")
        draw(paths[-1], image[0], *LOOKS[name])
    main(["demo", "--output", str(trained[0]), "--predict", *map(str, paths)])
    lines = capsys.readouterr().out.splitlines()
    found = [int(line.partition(f"{p}: ")[2][0]) for p, line in zip(paths, lines, strict=True)]
    assert np.sum(found == known) >= 19


def test_a_digit_of_the_data_is_read_as_it_is(tmp_path):
    image = digits()[0].images[0, 0]
    ink = np.pad((image * 255).astype(np.uint8), 11)
    ink = np.roll(ink, (5, -7), axis=(0, 1))
    again = as_digit(ink)
    assert again.shape == (28, 28) and again.dtype == np.float32
    assert np.abs(again - image).mean() < 0.03
    assert np.abs(as_digit(255 - ink) - again).max() == 0
    Image.fromarray(ink).convert("LA").save(tmp_path / "grey.png")
    assert np.abs(read_digit(tmp_path / "grey.png")[0] - again).max() == 0
    glass = np.zeros((50, 50, 4), np.uint8)  # black ink; the paper is transparent black
    glass[..., 3] = ink
    Image.fromarray(glass).save(tmp_path / "glass.png")
    assert np.abs(read_digit(tmp_path / "glass.png")[0] - again).max() < 0.02


def test_wrong_use_is_one_clear_line(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (40, 40), 200).save("empty.png")
    Path("text.png").write_text("no picture")
    weights = str(trained[0])
    for arguments, message in {
        ("--output", "none.npz", "--predict", "empty.png"): "there is no none.npz: train first",
        ("--output", weights, "--predict", "empty.png"): "empty.png: the picture shows no digit",
        ("--output", weights, "--predict", "text.png"): "cannot identify image file",
        ("--output", weights, "--predict", "gone.png"): "No such file",
        ("--output", "weights.txt"): "requires a .npz file",
        ("--output", "gone/weights.npz"): "there is no folder gone",
        ("--epochs", "0"): "--epochs requires",
    }.items():
        with pytest.raises(SystemExit, match="python -m tinygraph demo: ") as stopped:
            main(["demo", *arguments])
        assert message in str(stopped.value)


def test_the_commands_are_listed(capsys):
    main([])
    shown = capsys.readouterr().out
    assert "COMMAND" in shown and "demo" in shown and (demo.__doc__ or "")[:20] in shown
