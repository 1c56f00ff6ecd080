"""Peak memory, inference and training steps, each in a process of its own, next to PyTorch's.

    python benchmarks/memory.py                          every row of compare.py
    python benchmarks/memory.py resnet50-b1 --threads 2 --json out.json

Megabytes of the process at its largest resident size, after three calls with freshly drawn
weights and kernels from the cache; in brackets, less that of the process once it had imported its
library. PyTorch runs in the faster format for images, channels last.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable

import processes

LIBRARIES = ("tinygraph", "torch")


def child(library: str, row: str, threads: int) -> dict[str, float]:
    """Megabytes of this process at its peak, and when it had imported the library."""
    import peers
    from networks import NETWORKS

    name, size, *training = row.split("-")
    inputs, labels = NETWORKS[name].batch(int(size[1:]))
    if library == "torch":
        peers._torch(threads)
    before = processes.resident()
    make = _torch_run if library == "torch" else _tinygraph_run
    run = make(name, inputs, labels, threads, bool(training))
    for _ in range(3):
        run()
    peak = processes.peak()
    return {"peak_mb": peak, "more_mb": peak - before}


def _tinygraph_run(name, inputs, labels, threads, training) -> Callable[[], object]:
    import peers
    from networks import NETWORKS

    net = NETWORKS[name].tinygraph()
    if training:
        return peers.tinygraph_training(net, inputs, labels, threads)
    return peers.tinygraph_inference(net, inputs, threads)


def _torch_run(name, inputs, labels, threads, training) -> Callable[[], object]:
    import peers
    import torch
    import torch_networks
    from networks import NETWORKS

    network = NETWORKS[name]
    module = getattr(torch_networks, network.torch)(*network.arguments)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels).long()
    if x.ndim == 4:
        module, x = module.to(memory_format=torch.channels_last), peers._channels_last(x)
    if training:
        return peers._torch_training(peers._without_dropout(module), x, y)
    return peers._torch_inference(module.eval(), x)


def measure(row: str, threads: int) -> dict[str, dict[str, float]]:
    """Peaks by library; the first process of tinygraph only fills the cache."""
    processes.spawn(__file__, "tinygraph", row, threads)
    found = [x for x in LIBRARIES if importlib.util.find_spec(x)]
    return {library: processes.spawn(__file__, library, row, threads) for library in found}


def main() -> None:
    options = processes.parser(__doc__, LIBRARIES).parse_args()
    if options.child:
        print(json.dumps(child(options.child, options.rows[0], options.threads)))
        return
    from compare import ROWS

    results = {}
    print("| | tinygraph MB | PyTorch MB | ratio |\n|---|---:|---:|---:|")
    for row in options.rows or ROWS:
        results[row] = peaks = measure(row, options.threads)
        cells = [f"{p['peak_mb']:.0f} ({p['more_mb']:.0f})" for p in peaks.values()]
        ratio = ""
        if "torch" in peaks:
            ratio = f"{peaks['tinygraph']['peak_mb'] / peaks['torch']['peak_mb']:.2f}"
        print(f"| {row} | {' | '.join(cells)} | {ratio} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
