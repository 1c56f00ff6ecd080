"""``cuda-check``: a bundle that is written here and replayed where there is no compiler."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.__main__ import main
from tinygraph.compiler.backend import BackendError
from tinygraph.graph.op import OPS
from tinygraph.plan.records.device import Roofline

if find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

from tinygraph_cuda.check import replay, suite
from tinygraph_cuda.check.bundle import write_bundle
from tinygraph_cuda.check.report import report
from tinygraph_cuda.compile import compiled
from tinygraph_cuda.runtimes import device, emulate


def training() -> suite.Case:
    """A step with parameters, dropout and momentum."""
    tg.manual_seed(0)
    x, label = tg.input("x", 3, 6), tg.input("label", 3, dtype="int32")
    net = nn.Sequential(nn.LayerNorm(6), nn.Dropout(0.5))
    loss = nn.cross_entropy(net(x, training=True), label)
    updates = optim.SGD(lr=0.1, momentum=0.9).updates(loss, net.parameters())
    return suite.Case("step", (loss,), tuple(updates), timed=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A small one, for two architectures."""
    tg.settings.cache = tmp_path_factory.mktemp("cache")
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    cases = [*suite.examples(OPS["exp"]), training()]
    names = list(write_bundle(folder, cases, ("sm_80", "sm_90")))
    assert names == ["operator exp", "gradient of exp", "step"]
    yield folder
    tg.settings.cache = None


def test_the_runner_needs_no_compiler(bundle):
    """In a process of its own, with the bundle's sources, and the emulator for a device."""
    code = f"""
import sys
for name in ("numba", "llvmlite", "networkx", "cuda"):
    sys.modules[name] = None
sys.path.insert(0, {str(bundle / "source")!r})
from pathlib import Path
from tinygraph_cuda.check.replay import run_bundle
from tinygraph_cuda.runtimes.emulate import runtime
import tinygraph
assert tinygraph.__file__.startswith({str(bundle)!r})
results = run_bundle(Path({str(bundle)!r}), runtime(), "sm_86", timed=False)
assert len(results) == 3 and not any(r.fault for r in results), results
assert all(r.cards[0][1].architecture == "sm_80" for r in results)
"""
    paths = {"PYTHONPATH": ":".join(p for p in sys.path if "site-packages" in p)}
    subprocess.run([sys.executable, "-c", code], check=True, env=paths, cwd=bundle)


def test_on_a_device(gpu, bundle, monkeypatch):
    """The whole of what happens on the day, on a device that is faked."""
    monkeypatch.setattr(device, "COPIED", 1 << 20)
    for path in (bundle / "kernels").iterdir():
        built = compiled.read(path.read_bytes())
        monkeypatch.setitem(compiled.BUILT, path.stem, built)
    runtime = device.runtime()
    results = replay.run_bundle(bundle, runtime, "sm_90")
    assert [r.fault for r in results] == ["", "", ""]
    assert all(r.cards[0][1].architecture == "sm_90" for r in results)
    assert all(r.error < 2e-5 for r in results)
    text = report("a device", results, runtime.roofline())
    assert "3 of 3 programs agree" in text and "| operator exp | 1 |" in text
    assert "## step:" in text and "roofline" in text and "Failed" not in text


def test_what_is_wrong_is_reported(bundle, tmp_path):
    """A wrong result and a kernel that is not there: each is named, and stops no other."""
    folder = shutil.copytree(bundle, tmp_path / "broken")
    wrong, broken, _ = sorted((folder / "cases").glob("*.json"))
    with np.load(wrong.with_suffix(".npz")) as arrays:
        changed = {name: array + (name == "output0") for name, array in arrays.items()}
    np.savez(wrong.with_suffix(".npz"), **changed)
    content = json.loads(broken.read_text()) | {"kernels": {"sm_80": ["missing"]}}
    broken.write_text(json.dumps(content))
    results = replay.run_bundle(folder, emulate.runtime(), "sm_80", timed=False)
    assert [bool(r.fault) for r in results] == [True, True, False]
    assert "more than 2.0e-05" in results[0].fault and "FileNotFoundError" in results[1].fault
    text = report("a device", results, Roofline(1, 1e12, 1e12))
    assert "1 of 3 programs agree" in text and "- operator exp: off by" in text


class Unsteady(emulate.EmulateRuntime):
    """Gives something else each time, though never far off."""

    downloads = 0

    def download(self, array: np.ndarray, address: int) -> None:
        super().download(array, address)
        self.downloads += 1
        array *= np.float32(1 + 1e-6 * self.downloads)


def test_bits_must_be_the_same_twice(bundle):
    first = replay.run_bundle(bundle, Unsteady(), "sm_80", timed=False)[0]
    assert first.fault == "a second run gave other bits"


def test_architectures_that_fit():
    there = ["sm_80", "sm_86", "sm_90"]
    fits = {"sm_80": "sm_80", "sm_86": "sm_86", "sm_89": "sm_86", "sm_90": "sm_90"}
    assert {a: replay.fitting(a, there) for a in fits} == fits
    with pytest.raises(BackendError, match="the bundle has sm_80, sm_86, sm_90; this device is"):
        replay.fitting("sm_100", there)


def test_refusals(bundle, capsys):
    for arguments, message in [
        (["--bundle", str(bundle)], "is there already"),
        (["--bundle", "new", "--only", "nothing at all"], "no case has 'nothing at all'"),
        (["--bundle", str(bundle / "n"), "--architectures", "sm_7"], "one of sm_80"),
    ]:
        with pytest.raises(SystemExit) as caught:
            main(["cuda-check", *arguments])
        assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_suite_covers_every_operator():
    names = {case.name for case in suite.cases()}
    assert {f"operator {o.name}" for o in OPS.values() if o.example} <= names
    assert "gradient of conv2d" in names and "LeNet-5, training step" in names
