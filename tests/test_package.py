"""The wheel and the source distribution: what is in them, and that they run with nothing else."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from functools import cache
from pathlib import Path

import pytest

import tinygraph as tg
from tinygraph.__main__ import main

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "tinygraph", "tinygraph_scalar", "tinygraph_cpu", "tinygraph_cuda", "tinygraph_mpi",
    "ptx_emulator",
)  # fmt: skip
PROGRAM = """
import numpy as np
import tinygraph as tg

(images, labels), test = tg.data.digits()
x = tg.input("x", 4, 1, 28, 28)
predict = tg.compile([x], [tg.models.lenet5()(x)])
assert predict(images[:4])[0].shape == (4, 10) and len(predict.to_networkx()) > 10
print(tg.__version__, tg.train.fit.__name__, tg.__file__)
"""


def built(folder: Path, sources: Path = ROOT) -> Path:
    """A folder with the wheel and the source distribution of a source tree."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, cwd=sources, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("dist"))


def contents(folder: Path) -> dict[str, bytes]:
    """The files of the wheel in a folder, by name."""
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {n: archive.read(n) for n in archive.namelist()}


def test_the_wheel_has_all_that_is_tracked_and_nothing_else(distributions):
    roots = {p: ROOT if p == "tinygraph" else ROOT / "backends" for p in PACKAGES}
    wanted = {
        str(path.relative_to(root))
        for package, root in roots.items()
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {n for n in contents(distributions) if ".dist-info/" not in n}
    assert found == wanted


def test_the_source_distribution_makes_the_same_wheel(distributions, tmp_path):
    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        opened.extractall(tmp_path)
    (sources,) = tmp_path.iterdir()
    assert (sources / "tests" / "conftest.py").exists()
    again = contents(built(tmp_path / "dist", sources))
    record = next(n for n in again if n.endswith("RECORD"))
    first = contents(distributions)
    assert again.pop(record) and first.pop(record)
    assert again == first


@cache
def required(distribution: str) -> frozenset[str]:
    """A distribution and all that it requires without extras."""
    names = {distribution}
    for text in importlib.metadata.requires(distribution) or ():
        if "extra ==" not in text:
            names |= required(re.match(r"[\w.-]+", text)[0])
    return frozenset(names)


def parts(distribution: str) -> Iterator[Path]:
    """The files and folders of an installed distribution directly below site-packages."""
    files = importlib.metadata.files(distribution) or ()
    for top in {f.parts[0] for f in files} - {"..", "__pycache__"}:
        yield Path(str(importlib.metadata.distribution(distribution).locate_file(top)))


@pytest.fixture(scope="module")
def empty(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment: the wheel, and of this one what the wheel requires."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    (wheel,) = distributions.glob("*.whl")
    install = ["--python", str(python), "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    (record,) = packages.glob("*.dist-info/METADATA")
    described = HeaderParser().parsestr(record.read_text())
    for text in described.get_all("Requires-Dist"):
        if "extra ==" not in text:
            for name in required(re.match(r"[\w.-]+", text)[0]):
                for part in parts(name):
                    if not (packages / part.name).exists():
                        (packages / part.name).symlink_to(part)
    return python


def run(*command: str | Path, folder: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "TINYGRAPH_CACHE": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_runs_with_nothing_but_what_it_requires(empty, tmp_path):
    number, fit, place = run(empty, "-c", PROGRAM, folder=tmp_path).split()
    assert (number, fit) == (tg.__version__, "fit")
    assert Path(place).is_relative_to(empty.parent.parent)
    command = empty.parent / "tinygraph"
    assert run(command, "--version", folder=tmp_path) == f"tinygraph {tg.__version__}\n"
    found = run(command, "doctor", folder=tmp_path)
    assert "rich" in found and found.endswith("tinygraph works here\n")


def test_the_metadata_are_those_of_the_package(distributions):
    (name,) = (n for n in contents(distributions) if n.endswith("/METADATA"))
    described = HeaderParser().parsestr(contents(distributions)[name].decode())
    assert described["Version"] == tg.__version__
    minor = f"Python :: {sys.version_info[0]}.{sys.version_info[1]}"
    assert any(c.endswith(minor) for c in described.get_all("Classifier"))


def test_what_is_imported_when_used():
    code = (
        "import sys, tinygraph as tg; print('tinygraph.train' in sys.modules, tg.train.fit and 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False 1\n"
    assert {"data", "train", "extend"} <= set(dir(tg)) & set(tg.__all__)


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"tinygraph {tg.__version__}\n"
