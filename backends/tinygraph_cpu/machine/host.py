"""The processor in LLVM's words, which the cache keeps: LLVM is loaded to compile, not to ask."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import llvmlite

from tinygraph.compiler.store import default_store

CPUINFO = Path("/proc/cpuinfo")
VARYING = ("cpu mhz", "bogomips")


class Host(NamedTuple):
    """Name and features, as ``create_target_machine`` takes them, and what each feature is."""

    cpu: str
    features: str
    flags: dict[str, bool]


def host() -> Host:
    """What LLVM says of this processor, or has said in an earlier process."""
    key, store = _key(), default_store()
    found = store.get("program", key) if key else None
    if found is not None:
        return Host(*json.loads(found))
    import llvmlite.binding as llvm

    flags = llvm.get_host_cpu_features()
    made = Host(llvm.get_host_cpu_name(), flags.flatten(), dict(flags))
    if key:
        store.put("program", key, json.dumps(made).encode())
    return made


def _key() -> str:
    """Names the processor by all that the system says of it; "" where it does not."""
    try:
        with CPUINFO.open() as file:
            lines = list(iter(file.readline, "\n"))
    except OSError:
        return ""
    told = "".join(line for line in lines if line and not line.lower().startswith(VARYING))
    facts = f"processor {llvmlite.__version__}\n{told}"
    return hashlib.sha256(facts.encode()).hexdigest()[:32]
