"""A notebook that trains, as a browser would show it: executed by nbconvert where it is installed.

Live progress leaves the lines of all epochs, programs and modules are pictures and trees, the
history draws its curve, and an error shows the user's frames alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbconvert")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parent.parent
CELLS = [
    """
    import numpy as np
    import tinygraph as tg
    from tinygraph import data, metrics, nn, optim, train
    rng = np.random.default_rng(0)
    points = rng.normal(size=(600, 4)).astype("float32")
    labels = (points[:, 0] * points[:, 1] > 0).astype("int32")
    net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    net
    """,
    "net.summary((1, 4))",
    """
    x, y = tg.input("x", None, 4), tg.input("y", None, dtype="int32")
    loss = nn.cross_entropy(net(x), y)
    step = tg.compile([x, y], [loss], updates=optim.Adam(1e-2).updates(loss, net.parameters()))
    check = tg.compile([x, y], [loss, net(x)])
    step
    """,
    """
    history = train.fit(
        step, data.Batches(points[:500], labels[:500], batch_size=20), 8,
        validation=(check, (points[500:], labels[500:])), metrics=[metrics.accuracy],
    )
    """,
    "history",
    "train.evaluate(tg.compile([x], [net(x)]), points[500:], labels[500:])",
    """
    def mistake():
        return tg.matmul(x, x)
    mistake()
    """,
]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The executed notebook as HTML."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = [nbformat.v4.new_code_cell(re.sub(r"(?m)^    ", "", c).strip()) for c in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "train.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--execute", "--allow-errors"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    subprocess.run(
        [*command, "train.ipynb"],
        cwd=folder,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    return (folder / "train.html").read_text()


def test_progress_ends_with_a_line_for_each_epoch(page):
    lines = re.findall(r"epoch (\d)/8  loss [\d.]+  val_loss [\d.]+  val_accuracy [\d.]+%", page)
    assert lines == [str(k) for k in range(1, 9)] * 2 or lines == [str(k) for k in range(1, 9)]
    assert "<progress" not in page  # the bar goes when training ends


def test_networks_are_folded_and_results_are_drawn(page):
    assert page.count("<details") >= 3 and "multiply-adds" in page
    assert page.count("<polyline") >= 3  # loss, val_loss, val_accuracy
    assert "predicted" in page
    assert page.count("Traceback (most recent call last)") == 1  # that of the mistake


def test_an_error_shows_the_users_frames(page):
    text = re.sub("<[^>]+>", "", page)
    error = text[text.rindex("ShapeError") - 1500 :]
    assert "mistake()" in error and "tinygraph/ops" not in error
