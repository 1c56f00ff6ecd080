"""Settings: read from the environment when asked for, settable from Python, checked either way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tinygraph as tg
from tinygraph.settings import Settings, _default_cache


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("BACKEND", "THREADS", "CACHE", "DUMP", "VERIFY", "CUDA", "CPU"):
        monkeypatch.delenv(f"TINYGRAPH_{name}", raising=False)
    return Settings()


def test_defaults(settings: Settings) -> None:
    assert (settings.backend, settings.cuda, settings.cpu) == ("cpu", "auto", "native")
    assert settings.threads is settings.dump is settings.verify is None
    assert settings.cache == Path.home() / ".cache" / "tinygraph"


def test_without_a_home_code_is_kept_for_the_process(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", fail)
    _default_cache.cache_clear()
    with pytest.warns(RuntimeWarning, match=r"no home folder.*TINYGRAPH_CACHE"):
        folder = settings.cache
    assert folder.is_dir() and folder.stat().st_mode & 0o777 == 0o700
    assert settings.cache == folder  # said once
    _default_cache.cache_clear()


def test_a_variable_is_read_each_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAPH_THREADS", "3")
    monkeypatch.setenv("TINYGRAPH_CACHE", "/somewhere")
    assert (settings.threads, settings.cache) == (3, Path("/somewhere"))
    monkeypatch.setenv("TINYGRAPH_THREADS", "2")
    assert settings.threads == 2
    monkeypatch.setenv("TINYGRAPH_THREADS", "")
    assert settings.threads is None


def test_what_is_set_wins_until_it_is_none(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYGRAPH_BACKEND", "python")
    settings.backend = "cuda:emulate"
    settings.threads = 2
    assert (settings.backend, settings.threads) == ("cuda:emulate", 2)
    settings.backend = None
    assert settings.backend == "python"
    assert "threads = 2" in repr(settings)


@pytest.mark.parametrize(
    ("name", "wrong", "wanted"),
    [
        ("threads", "0", "a positive integer up to 1024"),
        ("threads", "two", "a positive integer up to 1024"),
        ("threads", "1025", "a positive integer up to 1024"),
        ("threads", "9" * 5000, "a positive integer up to 1024"),
        ("verify", "all", "values"),
        ("cuda", "gpu", "auto or device or emulate or ptx"),
        ("cpu", "486", "native or sapphirerapids or .* or armv8-a"),
    ],
)
def test_wrong_values(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, wrong: str, wanted: str
) -> None:
    variable = f"TINYGRAPH_{name.upper()}"
    with pytest.raises(ValueError, match=f"{variable} requires {wanted}, got '{wrong}'"):
        setattr(settings, name, wrong)
    monkeypatch.setenv(variable, wrong)
    with pytest.raises(ValueError, match=f"{variable} requires {wanted}, got '{wrong}'"):
        getattr(settings, name)


def test_unknown_settings(settings: Settings) -> None:
    with pytest.raises(AttributeError, match="'thread'; there is backend, threads"):
        settings.thread = 2


def test_importing_the_package_is_light() -> None:
    heavy = "('numba', 'llvmlite', 'networkx', 'torch', 'safetensors')"
    code = f"import sys, tinygraph; print([m for m in {heavy} if m in sys.modules])"
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists() -> None:
    missing = [name for name in tg.__all__ if not hasattr(tg, name)]
    assert not missing
    assert len(set(tg.__all__)) == len(tg.__all__)
