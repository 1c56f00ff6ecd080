"""Inference with integers against ONNX Runtime and OpenVINO, which read one file in QDQ form.

    python benchmarks/integers.py                          every row
    python benchmarks/integers.py resnet50-b1 --profile
    TINYGRAPH_CPU=icelake-server python benchmarks/integers.py     without matrix registers

ONNX Runtime's own quantization writes the file: uint8 activations, int8 weights for each channel,
calibrated on the inputs that are timed, as tinygraph is. Networks of texts have its quantization at
run time in addition, which it advises for them. Generation compares with tinygraph in float32. The
ratio is tinygraph's median over that of the best other contender.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import tempfile
from pathlib import Path

import numpy as np
import profile_launches
from networks import NETWORKS
from peers import program_of
from runtimes import Run, export, onnxruntime, openvino
from timing import interleave

import tinygraph as tg

BATCHES = {
    "googlenet": (1, 8), "resnet50": (1, 8), "mobilenet": (1, 8), "bert": (1,), "generation": (1,),
}  # fmt: skip
ROWS = {f"{name}-b{n}": (name, n) for name, batches in BATCHES.items() for n in batches}


def contenders(name: str, batch: int, threads: int, folder: Path | None) -> dict[str, Run]:
    """tinygraph in integers and in floats, then the peers, whose files a folder may keep."""
    network = NETWORKS[name]
    module, (inputs, _) = network.build(), network.batch(batch)
    tg.settings.threads = threads
    x = tg.input("x", *inputs.shape, dtype=inputs.dtype.name)
    y = module(x)
    floats = tg.compile([x], [y])
    integers = tg.compile([x], [y], quantize=tg.calibrate(floats, [inputs]))
    found = {"tinygraph": program_of(integers, inputs), "float32": program_of(floats, inputs)}
    if name == "generation":
        return found
    with tempfile.TemporaryDirectory() as temporary:
        place = (folder or Path(temporary)) / f"{name}-b{batch}"
        if not place.exists():
            place.mkdir(parents=True)
            torch_module = network.build_torch(module.state_dict()).eval()
            write(export(torch_module, inputs, place), inputs, place)
        found["onnxruntime"] = onnxruntime(place / "static.onnx", inputs, threads)
        found["openvino"] = openvino(place / "static.onnx", inputs, threads)
        if network.symbols:
            found["onnxruntime-dynamic"] = onnxruntime(place / "dynamic.onnx", inputs, threads)
    return found


def write(path: Path, inputs: np.ndarray, folder: Path) -> None:
    """The network in QDQ form, and with activations that are quantized at run time."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        batches = iter([{"x": inputs}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    logging.disable(logging.WARNING)
    prepared, kind = folder / "prepared.onnx", quantization.QuantType
    with contextlib.redirect_stdout(io.StringIO()):
        quantization.quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared, folder / "static.onnx", Reader(), quant_format=quantization.QuantFormat.QDQ,
            per_channel=True, activation_type=kind.QUInt8, weight_type=kind.QInt8,
        )  # fmt: skip
        quantization.quantize_dynamic(prepared, folder / "dynamic.onnx", per_channel=True)
    logging.disable(logging.NOTSET)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", default=list(ROWS), metavar="row")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, help="keeps the peers' files for the next time")
    parser.add_argument("--profile", action="store_true", help="print tinygraph's slowest launches")
    options = parser.parse_args()
    for row in options.rows:
        found = contenders(*ROWS[row], options.threads, options.folder)
        times = interleave(found, options.rounds)
        median = {name: t.median * 1e3 for name, t in times.items()}
        others = {n: t for n, t in median.items() if n not in ("tinygraph", "float32")}
        best = min(others.values(), default=median["float32"])
        cells = ", ".join(f"{name} {ms:.3g}" for name, ms in median.items())
        print(f"{row}: ratio {median['tinygraph'] / best:.2f}; ms: {cells}", flush=True)
        if options.profile:
            print(profile_launches.table(profile_launches.profile(found["tinygraph"])), flush=True)


if __name__ == "__main__":
    main()
