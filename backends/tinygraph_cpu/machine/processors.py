"""The processors that this process may use."""

from __future__ import annotations

import os


def allowed_cpus() -> list[int]:
    """The numbers of the processors that this process may use; all of them where the system cannot
    tell.
    """
    try:
        return sorted(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not Linux, or a sandbox that forbids the question
        return list(range(os.cpu_count() or 1))
