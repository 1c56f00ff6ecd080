"""Networks out of ONNX files next to the same ones out of tinygraph's layers, and other runtimes.

    python benchmarks/imported.py                     every network
    python benchmarks/imported.py googlenet --threads 2 --rounds 30 --json out.json

PyTorch's exporter writes the files. The first ratio is the time of the imported network over that
of the network by hand, which should be the same program; the second over the faster of ONNX Runtime
and OpenVINO. Kernels that only one of the two programs launches are listed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from compare import agreement
from networks import NETWORKS
from peers import program_of, tinygraph_inference
from runtimes import RUNTIMES, Run, export
from timing import interleave

import tinygraph as tg

NAMES = ("googlenet", "resnet50", "mobilenet", "bert6")
OTHERS = ("onnxruntime", "openvino")


@dataclass(frozen=True)
class Result:
    """Milliseconds by contender, and how often a kernel is launched by one of the two only."""

    network: str
    median_ms: dict[str, float]
    by_hand: float  # the imported program's time over that of the network by hand
    others: float  # and over the fastest other runtime's
    only_imported: dict[str, int]
    only_by_hand: dict[str, int]


def imported(path: Path, images: np.ndarray, threads: int) -> Run:
    """The program of a file."""
    tg.settings.threads = threads
    return program_of(tg.onnx.load(path).compile(shapes={"x": images.shape}), images)


def measure(name: str, threads: int, rounds: int) -> Result:
    """Exports, compares and times one network."""
    network = NETWORKS[name]
    net = network.build()
    images, _ = network.batch(1)
    contenders = {"tinygraph": tinygraph_inference(net, images, threads)}
    with tempfile.TemporaryDirectory() as folder:
        path = export(network.build_torch(net.state_dict()).eval(), images, Path(folder))
        contenders["imported"] = imported(path, images, threads)
        for other in OTHERS:
            contenders[other] = partial(RUNTIMES[other](path, images, threads))
        agreement(contenders, calls=1)
        times = interleave(contenders, rounds)
    median = {key: t.median * 1e3 for key, t in times.items()}
    mine, theirs = (_kernels(contenders[key]) for key in ("imported", "tinygraph"))
    return Result(
        name, median, median["imported"] / median["tinygraph"],
        median["imported"] / min(median[o] for o in OTHERS), dict(mine - theirs),
        dict(theirs - mine),
    )  # fmt: skip


def _kernels(run: Run) -> Counter[str]:
    """How often a contender launches each kernel, without the numbers in their names."""
    calls = run.program.built.code.calls  # type: ignore[attr-defined]
    return Counter(call.name.rstrip("0123456789_") for call in calls)


def report(r: Result) -> str:
    """A result as lines of text."""
    each = ", ".join(f"{key} {ms:.2f} ms" for key, ms in r.median_ms.items())
    lines = [f"{r.network}: {each}; {r.by_hand:.2f} of by hand, {r.others:.2f} of the others"]
    kernels = ("imported", r.only_imported), ("by hand", r.only_by_hand)
    lines += [f"  only {key}: {found}" for key, found in kernels if found]
    return "\n".join(lines)


def known(name: str) -> str:
    """The name of a network; not ``choices``, against which argparse would hold the default too."""
    if name not in NETWORKS:
        raise argparse.ArgumentTypeError(f"no network {name!r}; there are {', '.join(NETWORKS)}")
    return name


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NAMES), type=known, metavar="network")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="where results go as JSON")
    options = parser.parse_args()
    results = []
    for name in options.networks:
        results.append(measure(name, options.threads, options.rounds))
        print(report(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")


if __name__ == "__main__":
    main()
