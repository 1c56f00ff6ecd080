"""The user's line is the user's, however the program was started."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tinygraph as tg
from tinygraph.graph.origins import origins

HERE = Path(__file__).name
PROGRAM = """
import tinygraph as tg
from tinygraph.graph.origins import origins

x = tg.input("x", 3)
print(*origins(tg.exp(x)), *origins(x))
"""


def run(folder: Path, *arguments: str) -> str:
    path = os.pathsep.join([str(folder), *sys.path])
    command = [sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("arguments", [("-m", "mine"), ("-m", "package"), ("-c", "import mine")])
def test_a_module_that_python_starts(tmp_path, arguments):
    (tmp_path / "package").mkdir()
    for name in ("mine.py", "package/__main__.py"):
        (tmp_path / name).write_text(PROGRAM)
    name = "__main__.py" if "package" in arguments else "mine.py"
    assert run(tmp_path, *arguments) == f"{name}:6 {name}:5\n"


def test_commands_name_the_line_of_the_network(tmp_path):
    text = run(tmp_path, "-m", "tinygraph", "show", "lenet5", "graph", "--train", "--lines")
    assert "frozen" not in text and "runpy" not in text and "__main__" not in text
    assert "# lenet.py:" in text and "in conv1" in text
    assert "networks.py:" in text  # the loss


@pytest.mark.parametrize(
    "file",
    [
        "<frozen runpy>",
        "<frozen importlib._bootstrap>",
        f"{sysconfig.get_path('stdlib')}/contextlib.py",
        f"{sysconfig.get_path('purelib')}/_pytest/python.py",
        f"{sysconfig.get_path('purelib')}/IPython/core/interactiveshell.py",
    ],
)
def test_what_python_puts_between_is_not_the_users(file):
    space = {"tg": tg, "x": tg.input("x", 5)}
    exec(compile("def call(): return tg.exp(x)", file, "exec"), space)
    (place,) = origins(space["call"]())
    assert Path(place.file).name == HERE


def test_other_packages_and_notebooks_are_users():
    for file in (f"{sysconfig.get_path('purelib')}/theirs/net.py", "<ipython-input-1>", "<string>"):
        space = {"tg": tg, "x": tg.input(f"x of {file}", 5)}
        exec(compile("y = tg.exp(x)", file, "exec"), space)
        assert origins(space["y"])[0].file == file


def test_a_thread_that_only_runs_this_package_still_has_a_place():
    x = tg.input("x", 7)
    with ThreadPoolExecutor(1) as pool:
        assert len(origins(pool.submit(tg.exp, x).result())) == 1
