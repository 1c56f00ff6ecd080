"""Code of sources that changed after they were imported is neither found nor kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinygraph.compiler import sources
from tinygraph.compiler.store import Store

ROOT = Path(__file__).parent.parent


@pytest.fixture
def copy_of_sources(tmp_path, monkeypatch):
    """The core in a folder of its own, as if it had just been imported from there."""
    copy = tmp_path / "tinygraph"
    here = Path(sources.__file__).parent.parent
    shutil.copytree(here, copy, ignore=shutil.ignore_patterns("*.npz"))
    monkeypatch.setattr(sources, "__file__", str(copy / "compiler" / "sources.py"))
    monkeypatch.setattr(sources, "IMPORTED", sources.look())
    return copy


def test_an_edited_line_of_a_pass_is_another_program(copy_of_sources, monkeypatch):
    digest = sources.sources_digest.__wrapped__
    before = digest()
    assert digest() == before
    edited = copy_of_sources / "passes" / "simplify.py"
    times = edited.stat()
    edited.write_text(edited.read_text().replace("0.0", "0.5", 1))
    os.utime(edited, ns=(times.st_atime_ns, times.st_mtime_ns))  # same size, same time
    monkeypatch.setattr(sources, "IMPORTED", sources.look())  # by a later process
    assert before != digest() == digest()


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_nothing_is_found_or_kept_once_sources_have_changed(copy_of_sources, tmp_path, change):
    file = copy_of_sources / "ops" / "math.py"
    if change == "removed":
        file.unlink()
    else:
        file = file if change == "edited" else file.with_name("new.py")
        file.write_text("pass\n")
    assert sources.changed()
    digest = sources.sources_digest.__wrapped__
    assert digest() != digest()  # a key that no process has
    store = Store(tmp_path / "cache")
    with pytest.warns(RuntimeWarning, match=r"not cached: the sources .* have changed"):
        store.put("kernel", "k", b"x")
    assert store.entries() == []


PRINTS = """
import sys, numpy as np, tinygraph as tg
print("imported", flush=True)
sys.stdin.readline()
x = tg.input("x", 64)
print(tg.compile([x], [tg.tanh(x)])(np.ones(64, np.float32))[0][0])
"""


def test_old_code_is_not_kept_under_the_key_of_new_sources(tmp_path):
    for name in ("tinygraph", "backends"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.npz", "__pycache__")
        )
    paths = os.pathsep.join(map(str, (tmp_path, tmp_path / "backends")))
    folder = str(tmp_path / "cache")
    environment = os.environ | {"PYTHONPATH": paths, "TINYGRAPH_CACHE": folder}

    def started():
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PRINTS], env=environment, cwd=tmp_path,
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout.readline() == "imported\n"
        return process

    before = started()
    edited = tmp_path / "tinygraph" / "ops" / "math.py"
    edited.write_text(
        edited.read_text().replace('expr="tanh({0})"', 'expr="tanh({0}) + float32(1)"')
    )
    after = started()
    assert before.communicate("\n")[0].startswith("0.76")
    assert after.communicate("\n")[0].startswith("1.76")
