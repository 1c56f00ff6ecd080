"""tinygraph against PyTorch, ONNX Runtime, OpenVINO, MNN, ncnn and JAX: same networks and weights.

    python benchmarks/compare.py                              every row
    python benchmarks/compare.py googlenet-b1 lenet-b64-train --threads 2 --json out.json
    python benchmarks/compare.py --peers torch onnxruntime --rounds 30 --picture out.svg

Outputs are compared before anything is timed. Contenders run one after the other, round by round,
in one process; the ratio is tinygraph's median over that of the best peer: below 1, tinygraph is
faster. Peers that are not installed are left out; `pip install tinygraph[bench]` brings them.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import peers
import picture
import profile_launches
from networks import NETWORKS
from timing import interleave


@dataclass(frozen=True)
class Row:
    network: str
    batch: int
    training: bool = False
    precision: str = "float32"

    @property
    def name(self) -> str:
        kind = ("-train" if self.training else "") + ("-bf16" if self.is_narrow else "")
        return f"{self.network}-b{self.batch}{kind}"

    @property
    def is_narrow(self) -> bool:
        return self.precision != "float32"

    @property
    def title(self) -> str:
        what = "training step" if self.training else "inference"
        what += f", {self.precision}" if self.is_narrow else ""
        return f"{NETWORKS[self.network].title} batch {self.batch}, {what}"


INFERENCE = {
    "lenet": (1,), "alexnet": (1, 16), "vgg16": (1,), "squeezenet": (1,), "googlenet": (1, 8),
    "resnet18": (1,), "resnet50": (1, 8), "resnext50": (1,), "densenet121": (1,),
    "mobilenet": (1, 8), "efficientnet": (1, 8), "shufflenet": (1,), "unet": (1,), "vit": (1,),
    "bert": (1, 8), "lstm": (1, 32), "lstm2": (1, 32), "gru2": (1,), "transformer": (32,),
    "encoder": (1,), "generation": (1,), "recommendation": (128,),
}  # fmt: skip
TRAINING = {
    "lenet": 64, "alexnet": 16, "vgg16": 2, "squeezenet": 4, "googlenet": 8, "resnet18": 4,
    "resnet50": 2, "resnext50": 2, "densenet121": 2, "mobilenet": 4, "efficientnet": 4,
    "shufflenet": 4, "unet": 1, "vit": 4, "bert": 2, "lstm": 32, "lstm2": 32, "gru2": 32,
    "language": 32, "transformer": 32, "encoder": 1, "recommendation": 128,
}  # fmt: skip
NARROW = {"googlenet": 8, "resnet50": 4, "bert": 4}  # training steps in bfloat16
ROWS = {
    row.name: row
    for row in (
        *(Row(network, batch) for network, batches in INFERENCE.items() for batch in batches),
        *(Row(network, batch, training=True) for network, batch in TRAINING.items()),
        *(Row(network, batch, True, "bfloat16") for network, batch in NARROW.items()),
    )
}


@dataclass(frozen=True)
class Result:
    """Milliseconds by contender; ratios are tinygraph's time over the best peer's."""

    row: str
    title: str
    median_ms: dict[str, float]
    least_ms: dict[str, float]
    difference: float  # the largest from the peers, relative to the largest value
    ratio: float | None
    least_ratio: float | None
    launches: list[profile_launches.Launch]


def measure(row: Row, threads: int, names: list[str], rounds: int) -> Result:
    """Builds, compares and times one row.

    Raises:
        ValueError: outputs or losses differ by more than the precision explains.
    """
    network = NETWORKS[row.network]
    if row.training:
        contenders = peers.training(network, row.batch, threads, names, row.precision)
    else:
        contenders = peers.inference(network, row.batch, threads, names)
    tolerance = 0.1 if row.is_narrow else 1e-3
    difference = agreement(contenders, 3 if row.training else 1, tolerance)
    times = interleave(contenders, rounds)
    median = {name: t.median * 1e3 for name, t in times.items()}
    least = {name: t.least * 1e3 for name, t in times.items()}
    launches = profile_launches.profile(contenders["tinygraph"])
    return Result(
        row.name, row.title, median, least, difference, ratio(median), ratio(least), launches
    )


def agreement(contenders: peers.Contenders, calls: int, tolerance: float = 1e-3) -> float:
    """The largest difference of the peers' results from tinygraph's, relative to their size.

    A peer that is alone with its result is left out.

    Raises:
        ValueError: most peers, or PyTorch, differ from tinygraph.
    """
    results = {name: np.stack([run() for _ in range(calls)]) for name, run in contenders.items()}
    mine = results.pop("tinygraph")
    errors = {n: float(np.abs(r - mine).max() / np.abs(mine).max()) for n, r in results.items()}
    far = {n: f"{e:.1e} of the largest value" for n, e in errors.items() if not e <= tolerance}
    if any(n.startswith("torch") for n in far) or 2 * len(far) > len(errors):
        raise ValueError(f"tinygraph's results differ from others': {far}")
    for name, error in far.items():
        print(f"{name} is left out: its result differs by {error}", file=sys.stderr)
        del contenders[name]
    return max((e for n, e in errors.items() if n not in far), default=0.0)


def ratio(times: dict[str, float]) -> float | None:
    best = min((t for name, t in times.items() if name != "tinygraph"), default=None)
    return None if best is None else times["tinygraph"] / best


def table(results: list[Result]) -> str:
    """Medians in milliseconds and both ratios, as a Markdown table."""
    names = ["tinygraph", *(p for p in peers.PEERS if any(p in r.median_ms for r in results))]
    head = ["", *names, "ratio", "ratio of least"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for r in results:
        cells = [f"{r.median_ms[n]:.3g}" if n in r.median_ms else "" for n in names]
        ratios = ["" if q is None else f"{q:.2f}" for q in (r.ratio, r.least_ratio)]
        lines.append([r.title, *cells, *ratios])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; no rows are all rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", default=list(ROWS), type=known, metavar="row")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", nargs="*", default=list(peers.PEERS), choices=peers.PEERS)
    parser.add_argument("--json", type=Path, help="where results go as JSON")
    parser.add_argument("--picture", type=Path, help="where results go as SVG")
    parser.add_argument("--profile", action="store_true", help="print tinygraph's slowest launches")
    return parser.parse_args(arguments)


def known(row: str) -> str:
    """The name of a row; not ``choices``, against which argparse would hold the default too."""
    if row not in ROWS:
        raise argparse.ArgumentTypeError(f"no row {row!r}; there are {', '.join(ROWS)}")
    return row


def main() -> None:
    options = parsed()
    results = []
    for name in options.rows:
        print(f"{ROWS[name].title} ...", file=sys.stderr, flush=True)
        results.append(measure(ROWS[name], options.threads, options.peers, options.rounds))
        print(table(results[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
        if options.profile:
            print(profile_launches.table(results[-1].launches), flush=True)
        gc.collect()  # AlexNet's contenders hold gigabytes
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")
    if options.picture:
        options.picture.write_text(
            picture.bars({r.title: r.median_ms for r in results}, options.threads)
        )


if __name__ == "__main__":
    main()
