"""Runtimes for trained networks: ONNX Runtime, OpenVINO, MNN, ncnn, JAX, from one exported file.

Each takes the file, the inputs and the number of threads, and returns a function without arguments
that runs the network once, in float32.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jax_network import jax_network

Run = Callable[[], np.ndarray]


def export(module: Any, inputs: np.ndarray, folder: Path) -> Path:
    """The ONNX file of a PyTorch module."""
    import torch

    path = folder / "network.onnx"
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.from_numpy(inputs),), path, input_names=["x"], output_names=["y"],
            verbose=False, external_data=False,  # pnnx reads one file
        )  # fmt: skip
    return path


def onnxruntime(path: Path, inputs: np.ndarray, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # else its threads spin for tens of milliseconds into the next contender's time
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": inputs})[0]


def openvino(path: Path, inputs: np.ndarray, threads: int) -> Run:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda: request.infer({0: inputs})[0]


def mnn(path: Path, inputs: np.ndarray, threads: int) -> Run:
    converted = path.with_suffix(".mnn")
    # The command `mnnconvert` would install a client for telemetry into whatever environment is
    # active, with an older protobuf, and send what it converted.
    call = "import sys, MNN, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"
    _run(sys.executable, "-c", call, "-f", "ONNX", "--modelFile", path, "--MNNModel", converted,
         "--bizCode", "benchmark")  # fmt: skip
    with _quiet():
        import MNN.expr
        import MNN.nn

        settings = {"backend": "CPU", "numThread": threads, "precision": "high"}
        runtime = MNN.nn.create_runtime_manager((settings,))
        net = MNN.nn.load_module_from_file(str(converted), ["x"], ["y"], runtime_manager=runtime)
    expr = MNN.expr
    kind = expr.float if inputs.dtype == np.float32 else expr.int

    def run() -> np.ndarray:
        x = expr.const(inputs, list(inputs.shape), expr.NCHW, kind)
        return np.array(expr.convert(net.forward([x])[0], expr.NCHW).read())

    return run


def ncnn(path: Path, inputs: np.ndarray, threads: int) -> Run:
    """
    Raises:
        ValueError: for more than one image; ncnn has no batches.
    """
    if len(inputs) != 1 or inputs.dtype != np.float32:
        raise ValueError("it takes one image")
    shape = ",".join(map(str, inputs.shape))
    pnnx = Path(sys.executable).with_name("pnnx")
    _run(pnnx, path, f"inputshape=[{shape}]", "fp16=0", cwd=path.parent)
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = threads, False
    for narrow in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{narrow}", False)
    net.load_param(str(path.with_suffix(".ncnn.param")))
    net.load_model(str(path.with_suffix(".ncnn.bin")))

    def run() -> np.ndarray:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(inputs[0]))
            return np.array(extractor.extract("out0")[1])[None]

    return run


def _run(*command: Any, cwd: Path | None = None) -> None:
    """Runs a converter of another runtime."""
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-200:]}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides what a native library prints."""
    with open(os.devnull, "w") as nowhere:
        kept = os.dup(1)
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


RUNTIMES: dict[str, Callable[[Path, np.ndarray, int], Run]] = {
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "mnn": mnn,
    "ncnn": ncnn,
    "jax": jax_network,
}
