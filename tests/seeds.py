"""Seeds of random tests: a fixed set, and others in each run with ``--deep``."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Seeds from 0 up; with --deep others in each run, the same in all its processes."""
    deep = metafunc.config.getoption("--deep")
    if "seed" in metafunc.fixturenames:
        run_id = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(time.time_ns()))
        first = zlib.crc32(run_id.encode()) if deep else 0
        count = metafunc.function.deep if deep else metafunc.function.count
        metafunc.parametrize("seed", range(first, first + count))


def drawn(count: int, deep: int) -> Callable[[Any], Any]:
    """The test gets ``count`` seeds, ``deep`` ones with --deep."""

    def mark(test: Any) -> Any:
        test.count, test.deep = count, deep
        return test

    return mark
