"""Single layers: the convolutions of AlexNet and GoogLeNet, a fully connected layer, softmax, LRN.

    python benchmarks/layers.py [--batch 1] [--threads 2] [--json out.json] [--limit N]
    python benchmarks/layers.py --all [KIND ...] [--only NAME] [--json out.json] [--table FILE]

For convolutions: the rate of the launches that compute it directly, without Winograd's transform,
in GFLOP/s by the time that threads spend in it, as a share of the measured peak of all threads; the
peer is a whole call of PyTorch's channels-last convolution. Both find their operands in cache.
The others are whole calls, interleaved with PyTorch's.

``--all`` measures four hundred layers of every kind (kinds/), forward and back, and prints which
are slower than PyTorch, and how far depthwise ones are from their roof. With ``--json`` it keeps
what earlier runs found of other kinds; ``--table results.md`` writes the tables there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import every_layer
import numpy as np
import peak
import peers
import profile_launches
from kinds import KINDS
from networks import NETWORKS
from timing import interleave

import tinygraph as tg
from tinygraph.graph.ir import Graph, Node


@dataclass(frozen=True)
class Convolution:
    """Channels and groups, image size, kernel, stride, padding."""

    inputs: int
    outputs: int
    groups: int
    image: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    flops: int

    def __str__(self) -> str:
        kernel, image = "x".join(map(str, self.kernel)), "x".join(map(str, self.image))
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        stride = f", stride {self.stride[0]}" if self.stride[0] > 1 else ""
        return f"{kernel}, {self.inputs} to {self.outputs} at {image}{stride}{groups}"


@dataclass(frozen=True)
class Result:
    layer: str
    tinygraph_ms: float
    peer_ms: float
    gflops: float | None = None
    share: float | None = None  # of the peak of all threads


def convolutions() -> list[Convolution]:
    """The distinct convolutions of both networks at batch 1, in their order."""
    found: dict[Convolution, None] = {}
    for name in ("alexnet", "googlenet"):
        network = NETWORKS[name]
        x = tg.input("x", 1, *network.image)
        graph = Graph(name, (x,), (network.tinygraph()(x),))
        found |= {_shape(n): None for n in graph.nodes if n.op.name == "conv2d"}
    return list(found)


def _shape(n: Node) -> Convolution:
    (_, groups, channels, *image), (_, outputs, _, *kernel) = (i.shape for i in n.inputs)
    products = n.type.size * channels * kernel[0] * kernel[1]
    return Convolution(
        groups * channels, groups * outputs, groups, (image[0], image[1]), (kernel[0], kernel[1]),
        n.attr("stride"), n.attr("padding"), 2 * products,
    )  # fmt: skip


def convolution(layer: Convolution, batch: int, threads: int, rounds: int) -> Result:
    """Channels-last at both ends, as within a network; PyTorch's too."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((batch, *layer.image, layer.inputs), dtype=np.float32)
    weight = (layer.outputs, layer.inputs // layer.groups, *layer.kernel)
    w = tg.parameter(rng.standard_normal(weight, dtype=np.float32), "w")
    x = tg.input("x", *image.shape)
    options = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
    y = tg.relu(tg.conv2d(tg.transpose(x, (0, 3, 1, 2)), w, **options))
    tg.settings.threads = threads
    run = peers.program_of(tg.compile([x], [tg.transpose(y, (0, 2, 3, 1))], conv="implicit"), image)
    run()
    launches = [x for x in profile_launches.profile(run, 31) if "conv2d" in x.name]
    ms = sum(x.ms for x in launches) / threads
    peer = _torch_convolution(layer, image.transpose(0, 3, 1, 2), w.value, threads)
    times = interleave({"torch": peer}, rounds, pause=0.0)
    rate = batch * layer.flops / ms / 1e6
    share = rate * 1e9 / (peak.measure().flops * threads)
    return Result(str(layer), ms, times["torch"].median * 1e3, rate, share)


def _torch_convolution(
    layer: Convolution, image: np.ndarray, weight: np.ndarray, threads: int
) -> Callable[[], Any]:
    torch = peers._torch(threads)
    nhwc = torch.channels_last
    x, w = (torch.from_numpy(a).contiguous(memory_format=nhwc) for a in (image, weight))
    padding = (layer.padding[0][0], layer.padding[1][0])
    stride, groups = layer.stride, layer.groups

    def run() -> Any:
        with torch.inference_mode():
            return torch.relu_(
                torch.nn.functional.conv2d(x, w, None, stride, padding, groups=groups)
            )

    return run


def others(threads: int, rounds: int) -> list[Result]:
    """Layers that memory or the rate of elementary functions bounds, as whole calls."""
    torch = peers._torch(threads)
    rng = np.random.default_rng(0)
    tg.settings.threads = threads
    functional = torch.nn.functional
    w = rng.standard_normal((4096, 4096), dtype=np.float32)
    weight, matrix = tg.parameter(w, "w", order=(1, 0)), torch.from_numpy(w)
    cases = {
        "fully connected 4096 x 4096, batch 1": (
            (1, 4096), lambda x: x @ weight.T, lambda x: functional.linear(x, matrix),
        ),
        "softmax of 1024 x 1000": (
            (1024, 1000), tg.softmax, lambda x: functional.softmax(x, -1),
        ),
        "local response norm of 8 x 96 x 55 x 55": (
            (8, 96, 55, 55),
            lambda x: tg.local_response_norm(x, 5),
            lambda x: functional.local_response_norm(x, 5),
        ),
    }  # fmt: skip
    results = []
    for name, (shape, mine, theirs) in cases.items():
        image = rng.standard_normal(shape, dtype=np.float32)
        x, tensor = tg.input("x", *shape), torch.from_numpy(image)
        run = peers.program_of(tg.compile([x], [mine(x)]), image)
        np.testing.assert_allclose(run(), theirs(tensor).numpy(), rtol=1e-3, atol=1e-3)
        times = interleave({"tinygraph": run, "torch": lambda f=theirs, t=tensor: f(t)}, rounds)
        results.append(Result(name, times["tinygraph"].median * 1e3, times["torch"].median * 1e3))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=1, help="images of a convolution")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--limit", type=int, help="at most this many convolutions")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--all", nargs="*", metavar="KIND", choices=KINDS, help="layers of kinds")
    parser.add_argument("--only", default="", help="with --all: layers whose names contain this")
    parser.add_argument("--table", type=Path, help="with --all: the document that gets the tables")
    options = parser.parse_args()
    if options.all is not None:
        kinds = options.all or list(KINDS)
        every_layer.run(
            kinds, options.threads, options.rounds, options.only, options.json, options.table
        )
        return
    shapes = convolutions()[: options.limit]
    found = [convolution(c, options.batch, options.threads, options.rounds) for c in shapes]
    print("| layer | tinygraph ms | PyTorch ms | GFLOP/s | of peak |\n|---|---:|---:|---:|---:|")
    for r in found:
        print(f"| {r.layer} | {r.tinygraph_ms:.3f} | {r.peer_ms:.3f} "
              f"| {r.gflops:.0f} | {r.share:.0%} |")  # fmt: skip
    spent = sum(r.tinygraph_ms for r in found)
    rate = options.batch * sum(c.flops for c in shapes) / spent / 1e6
    share = rate * 1e9 / (peak.measure().flops * options.threads)
    print(f"| all convolutions | {spent:.2f} | {sum(r.peer_ms for r in found):.2f} "
          f"| {rate:.0f} | {share:.0%} |")  # fmt: skip
    found += others(options.threads, options.rounds)
    for r in found[len(shapes) :]:
        print(f"| {r.layer} | {r.tinygraph_ms:.3f} | {r.peer_ms:.3f} | | |")
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
