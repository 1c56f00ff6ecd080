"""A bundle's run.py on a machine whose driver is fake.

    python fake_check.py FOLDER SETTINGS [OPTIONS]

SETTINGS are a JSON object: attributes of ``fake_driver.Driver``, ``kill`` (a process that runs the
case of this number dies), and ``machine`` (seconds until the machine answers).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

folder, settings, options = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
sys.path.insert(0, str(folder / "source"))

import fake_driver  # noqa: E402

from tinygraph_cuda import runner  # noqa: E402
from tinygraph_cuda.check import drive, replay  # noqa: E402
from tinygraph_cuda.compile.compiled import read  # noqa: E402
from tinygraph_cuda.runtimes import device  # noqa: E402

replay.REPEAT = runner.COPIES = 2  # the emulator is slow, and has no clock that is worth more
device.COPIED = 1 << 20
driver = fake_driver.install()
kernels = [read(path.read_bytes()) for path in (folder / "kernels").iterdir()]
texts = {built.symbol: (built.ptx, built.text) for built in kernels}
driver.compiled = texts.__getitem__
_, kind, number, _ = options
if kind == "machine":
    time.sleep(settings.pop("machine", 0))
if kind == "case" and settings.pop("kill", None) == int(number):
    os.kill(os.getpid(), signal.SIGKILL)
for name, value in settings.items():
    setattr(driver, name, value)
drive.main(folder, options)
