"""``cuda-check``: a bundle that is written here and run where there is no compiler."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import fake_driver
import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.__main__ import main
from tinygraph.compiler.backend import BackendError
from tinygraph.graph.op import OPS

if find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

from tinygraph_cuda.check import bundle as writer
from tinygraph_cuda.check import drawing, drive, replay, suite
from tinygraph_cuda.check.results import Result
from tinygraph_cuda.runtimes import emulate

HERE = Path(__file__).parent


def training() -> suite.Case:
    """A step with parameters, dropout and momentum."""
    tg.manual_seed(0)
    x, label = tg.input("x", 3, 6), tg.input("label", 3, dtype="int32")
    net = nn.Sequential(nn.LayerNorm(6), nn.Dropout(0.5))
    loss = nn.cross_entropy(net(x, training=True), label)
    updates = optim.SGD(lr=0.1, momentum=0.9).updates(loss, net.parameters())
    return suite.Case("step", (loss,), tuple(updates))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A small one, for two architectures: a timed step of a whole network is its last case."""
    tg.settings.cache = tmp_path_factory.mktemp("cache")
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    networks = tmp_path_factory.mktemp("benchmarks") / "torch_networks.py"
    networks.write_text("from torch import MagicMock as Small")
    small = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 3))
    whole = suite.step("Small, batch 2, whole step", small, (2, 1, 2, 3), ("Small", ()))
    cases = [*suite.examples(OPS["exp"]), training(), whole]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "TORCH", networks)
        names = list(writer.write_bundle(folder, cases, ("sm_80", "sm_90")))
    assert names == ["operator exp", "gradient of exp", "step", "Small, batch 2, whole step"]
    yield folder
    tg.settings.cache = None


def replayed(folder: Path, case: int, runtime=None) -> Result:
    """A case in the emulator, in this process."""
    result = Result("")
    replay.replay(folder, case, runtime or emulate.runtime(), "sm_80", result, timed=False)
    return result


# ---------------------------------------------------------------------- one case


def test_the_runner_needs_no_compiler(bundle):
    """In a process of its own, with the bundle's sources, and the emulator for a device."""
    code = f"""
import sys
for name in ("numba", "llvmlite", "networkx", "cuda", "torch"):
    sys.modules[name] = None
sys.path.insert(0, {str(bundle / "source")!r})
from pathlib import Path
from tinygraph_cuda.check.drive import parser
from tinygraph_cuda.check.replay import replay
from tinygraph_cuda.check.results import Result
from tinygraph_cuda.runtimes.emulate import runtime
import tinygraph
assert tinygraph.__file__.startswith({str(bundle)!r})
for number in range(4):
    result = Result("")
    replay(Path({str(bundle)!r}), number, runtime(), "sm_86", result, timed=False)
    assert not result.fault and result.cards[0][1].architecture == "sm_80", result
"""
    paths = {"PYTHONPATH": ":".join(p for p in sys.path if "site-packages" in p)}
    subprocess.run([sys.executable, "-c", code], check=True, env=paths, cwd=bundle)


def test_a_wrong_result_is_a_fault(bundle, tmp_path):
    """Of an output, of an updated parameter, and of a step's last loss."""
    for case, name in ((0, "expected0"), (2, "expected1"), (3, "expected2")):
        folder = shutil.copytree(bundle, tmp_path / str(case))
        path = folder / "cases" / f"{case:03}.npz"
        with np.load(path) as arrays:
            changed = {n: array + array.dtype.type(n == name) for n, array in arrays.items()}
        np.savez(path, **changed)
        assert "more than" in replayed(folder, case).fault and not replayed(bundle, case).fault


class Unsteady(emulate.EmulateRuntime):
    """Gives something else each time, though never far off."""

    downloads = 0

    def download(self, array: np.ndarray, address: int) -> None:
        super().download(array, address)
        self.downloads += 1
        array *= np.float32(1 + 1e-6 * self.downloads)


def test_bits_must_be_the_same_twice(bundle):
    assert replayed(bundle, 0, Unsteady()).fault == "a second run gave other bits"


def test_large_results_are_compared_in_part(monkeypatch):
    monkeypatch.setattr(drawing, "SAMPLE", 100)
    array = np.arange(1000).reshape(10, 100)
    found = drawing.sample(array)
    assert len(np.unique(found)) == 100 and (found == drawing.sample(array)).all()
    assert drawing.sample(array[:1]) is not None and drawing.sample(array[:1]).shape == (1, 100)


def test_architectures_that_fit():
    there = ["sm_80", "sm_86", "sm_90"]
    fits = {"sm_80": "sm_80", "sm_86": "sm_86", "sm_89": "sm_86", "sm_90": "sm_90"}
    assert {a: replay.fitting(a, there) for a in fits} == fits
    with pytest.raises(BackendError, match="the bundle has sm_80, sm_86, sm_90; this device is"):
        replay.fitting("sm_100", there)


# ---------------------------------------------------------------------- all cases, without a GPU

needs_driver = pytest.mark.skipif(bool(fake_driver.unusable()), reason=fake_driver.unusable())
OK = "agree with the reference"


def checked(bundle: Path, tmp_path: Path, *options: str, **settings) -> tuple[int, str]:
    """How many cases failed, and the report, on the fake driver with these settings."""
    path = tmp_path / "report.md"
    command = [sys.executable, str(HERE / "fake_check.py"), str(bundle), json.dumps(settings)]
    failed = drive.main(bundle, ["--report", str(path), *options], command)
    return failed, path.read_text()


def symbol(bundle: Path, case: int) -> str:
    """The first kernel of a case, as machine code has it."""
    content = json.loads((bundle / "cases" / f"{case:03}.json").read_text())
    return replay.load_kernel(bundle, content["kernels"]["sm_80"][0]).symbol


@needs_driver
def test_a_whole_check(bundle, tmp_path, monkeypatch):
    """With a PyTorch that only looks like it."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(TORCH)
    (info := tmp_path / "torch-9.8.7.dist-info").mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.8.7\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    failed, text = checked(bundle, tmp_path)
    assert failed == 0 and f"\n4 of 4 programs {OK}" in text and "; 0 failed, 0 were not" in text
    for part in ("a fake GPU (sm_80), driver for CUDA 13.0, cuda-core", "torch 9.8.7", "numpy 2."):
        assert part in text
    assert "| operator exp | 1 |" in text and "Failed" not in text and "Not run" not in text
    (row,) = (x for x in text.splitlines() if x.startswith("| Small, batch 2") and "1.250" in x)
    assert row.count(" 1.250 |") == 4 and "RuntimeError: no bfloat16 here" in row
    assert "## Small, batch 2, whole step: launches" in text and "GB/s as measured" in text


TORCH = """
from unittest.mock import MagicMock
import sys
def autocast(device, dtype, enabled):
    if enabled:
        raise RuntimeError("no bfloat16 here")
    return MagicMock()
def from_numpy(array):
    tensor = MagicMock()
    tensor.cuda.return_value = tensor
    tensor.long.side_effect = None if array.dtype.kind == "i" else TypeError("labels of floats")
    return tensor
module = MagicMock(MagicMock=MagicMock, autocast=autocast, from_numpy=from_numpy)
module.cuda.is_available.return_value = True
module.cuda.Event.return_value.elapsed_time.return_value = 1.25
sys.modules["torch"] = module
"""


@needs_driver
def test_a_fault_stops_no_other_case(bundle, tmp_path):
    failed, text = checked(bundle, tmp_path, "--only", "exp", faulty=symbol(bundle, 0))
    assert failed == 1 and f"1 of 2 programs {OK}" in text and "; 1 failed, 0 were" in text
    assert "- operator exp: the GPU stopped at an error, CUDAError: CUDA_ERROR_LAUNCH_F" in text
    assert "| gradient of exp | 1 |" in text


@needs_driver
def test_a_hang_stops_no_other_case(bundle, tmp_path, monkeypatch):
    child = drive.BundleRun.child

    def limited(self, kind, number):
        self.arguments.limit = 3 if (kind, number) == ("case", 0) else 60
        return child(self, kind, number)

    monkeypatch.setattr(drive.BundleRun, "child", limited)
    hanging = symbol(bundle, 0)
    failed, text = checked(bundle, tmp_path, "--only", "exp", "--jobs", "1", hangs=hanging)
    assert failed == 1 and f"1 of 2 programs {OK}" in text
    assert "- operator exp: no end after 3 s" in text and "| gradient of exp | 1 |" in text


@needs_driver
def test_a_process_that_dies_stops_no_other_case(bundle, tmp_path):
    failed, text = checked(bundle, tmp_path, "--only", "exp", kill=0)
    assert failed == 1 and "- operator exp: the process died by SIGKILL" in text
    assert "| gradient of exp | 1 |" in text


@needs_driver
def test_refused_machine_code_is_compiled_from_ptx(bundle, tmp_path):
    failed, text = checked(bundle, tmp_path, "--only", "exp", refuses=True)
    assert failed == 0 and f"2 of 2 programs {OK}" in text
    (note,) = (x for x in text.splitlines() if x.startswith("- operator exp: "))
    assert "refuses the machine code of kernel exp_0, CUDAError: CUDA_ERROR_NO_BINARY" in note
    assert note.endswith(": PTX was compiled by the driver")


@needs_driver
def test_no_gpu(bundle, tmp_path):
    failed, text = checked(bundle, tmp_path, devices=0)
    assert failed == 4 and "**the driver finds no GPU**" in text and "No GPU was reached" in text
    assert "0 failed, 4 were not run." in text and "- gradient of exp" in text and "numpy" in text


def test_an_old_cuda_core(bundle, tmp_path, monkeypatch):
    """Named, with what to install; every case is listed."""
    (old := tmp_path / "cuda" / "core").mkdir(parents=True)
    (old / "__init__.py").write_text("__version__ = '0.7.0'")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    failed, text = checked(bundle, tmp_path)
    assert failed == 4 and "0 failed, 4 were not run." in text
    assert "**cuda-core 0.7.0 is installed; 1.0 or later is needed: pip install" in text


def test_a_machine_that_does_not_answer(bundle, tmp_path):
    failed, text = checked(bundle, tmp_path, "--limit", "1", machine=9)
    assert failed == 4 and "**this machine does not answer: no end after 1 s**" in text


def test_the_report_is_complete_after_every_case(bundle, tmp_path, monkeypatch):
    """And when time is up."""
    seen = []

    def case(self, number):
        seen.append((tmp_path / "report.md").read_text())
        self.results[number].ran = number < 2
        self.show("")

    monkeypatch.setattr(drive.BundleRun, "case", case)
    monkeypatch.setattr(drive.BundleRun, "ask", lambda self: self.show(""))
    failed, text = checked(bundle, tmp_path, "--jobs", "1")
    assert [f"{n} of 4 programs" in t for n, t in enumerate(seen[:3])] == [True] * 3
    assert all("were not run so far." in t and "- step" in t for t in seen)
    assert failed == 2 and "2 were not run.\n" in text
    monkeypatch.undo()
    monkeypatch.setattr(drive.BundleRun, "ask", lambda self: None)
    assert checked(bundle, tmp_path, "--seconds", "0")[0] == 4


# ---------------------------------------------------------------------- the command


def test_refusals(bundle, capsys):
    for arguments, message in [
        ([str(bundle), "--only", "exp"], "is there already"),
        (["new", "--only", "nothing at all"], "no case has 'nothing at all'"),
        ([str(bundle / "n"), "--only", "exp", "--architectures", "sm_7"], "one of sm_80"),
    ]:
        with pytest.raises(SystemExit) as caught:
            main(["cuda-check", "--bundle", *arguments])
        assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_suite_covers_every_operator():
    names = {case.name for case in suite.cases()}
    assert {f"operator {o.name}" for o in OPS.values() if o.example} <= names
    assert "gradient of conv2d" in names and "LeNet-5, training step" in names
