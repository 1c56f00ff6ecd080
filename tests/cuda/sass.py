"""Machine code as text, by NVIDIA's disassembler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest


def disassembler() -> str | None:
    beside = [Path(p) / "nvidia" / "cu13" / "bin" for p in sys.path]
    places = os.pathsep.join([*map(str, beside), os.environ.get("PATH", "")])
    return shutil.which("nvdisasm", path=places)


needs_disassembler = pytest.mark.skipif(
    disassembler() is None, reason="needs nvdisasm: nvidia-cuda-nvdisasm"
)


def disassembled(cubin: bytes, folder: Path) -> str:
    (folder / "kernel.cubin").write_bytes(cubin)
    command = [str(disassembler()), "-c", str(folder / "kernel.cubin")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def loops(sass: str) -> list[Counter[str]]:
    """Instructions of each loop, by name."""
    found, names = [], []
    labels: dict[str, int] = {}
    for line in sass.splitlines():
        if label := re.match(r"\s*(\.L_\S+):", line):
            labels[label[1]] = len(names)
        if instruction := re.match(r"\s*/\*[0-9a-f]+\*/\s+(?:@\S+\s+)?([A-Z0-9_]+)(.*);", line):
            names.append(instruction[1])
            back = re.search(r"`\((\.L_\S+)\)", instruction[2])
            if instruction[1] == "BRA" and back and back[1] in labels:
                found.append(Counter(names[labels[back[1]] :]))
    return found
