"""``python -m tinygraph doctor``: what it finds, and what it says to do."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

import tinygraph as tg
import tinygraph_cpu
from tinygraph.__main__ import main
from tinygraph.cli import doctor
from tinygraph.compiler.backend import BackendError, Finding
from tinygraph_cpu.machine import examination
from tinygraph_cpu.machine.features import Features

AVX2 = Features(8, 16, True, "haswell", "")


def test_all_is_well_here(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0 and report["works"] and report["version"] == tg.__version__
    names = [f["name"] for f in report["findings"]]
    assert {"llvmlite", "processor", "threads", "GPU", "cache", "trial"} <= set(names)
    assert all(f["advice"] for f in report["findings"] if f["state"] == "hint")


@pytest.mark.parametrize("error", [BackendError, OSError, ImportError, ValueError])
def test_a_fault_is_said_and_ends_with_1(error, monkeypatch, capsys):
    def broken() -> list[Finding]:
        raise error("no room")

    monkeypatch.setattr(doctor, "trial", broken)
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 1
    assert "! error        no room\n" in capsys.readouterr().out


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    tg.settings.cache = tmp_path / "file"
    (found,) = doctor.cache()
    assert found.state == "hint" and "TINYGRAPH_CACHE" in found.advice


def test_a_program_that_is_wrong(monkeypatch):
    monkeypatch.setattr(doctor, "compile", lambda *_, **__: lambda a: (a.sum(1),))
    (found,) = doctor.trial()
    assert found.state == "fault" and "report" in found.advice


def test_missing_packages(monkeypatch):
    monkeypatch.setattr(doctor, "REQUIRED", ("no-such-package",))
    monkeypatch.setattr(doctor, "OPTIONAL", {"no-such-extra": "pip install it"})
    first, second = doctor.packages()
    assert (first.state, first.advice) == ("fault", "pip install no-such-package")
    assert (second.state, second.advice) == ("hint", "pip install it")


def test_processors_and_threads(tmp_path):
    assert examination.processor(AVX2, "native").state == "ok"
    assert "unset" in examination.processor(AVX2, "x86-64-v3").advice
    assert "but the system" in examination.processor(AVX2, "native", "the system refuses").advice
    assert "matrix" in examination.processor(replace(AVX2, matrix=True), "native").value
    assert "AVX2" in examination.processor(Features(4, 16, False, "nehalem", ""), "native").advice
    many = len(examination.allowed_cpus()) + 1
    assert f"unset TINYGRAPH_THREADS={many}" in examination.threads(many, None).advice
    assert examination.threads(1, 1.0).state == "ok"
    file = tmp_path / "cpu.max"
    for text, share in (("max 100000\n", None), ("20000 100000\n", 0.2)):
        file.write_text(text)
        assert examination.quota(file) == share
    assert "TINYGRAPH_THREADS=1" in examination.threads(None, 0.2).advice
    assert examination.quota(tmp_path / "missing") is None


def test_windows_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(BackendError, match="does not support Windows: install tinygraph in WSL"):
        tinygraph_cpu.fingerprint("")
