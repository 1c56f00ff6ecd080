"""Cold and warm compile time, and peak memory, each in a process of its own.

    python benchmarks/startup.py [row] [--threads 2] [--json out.json]

Cold: an empty cache. Warm: the same once more. Seconds are those of building the graph and of
compile(), weights apart, and of the first call; memory is the largest resident size after three
calls, less that of the process before it built anything.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from functools import partial

import processes

ROWS = ("lenet-b1", "lenet-b64-train", "googlenet-b1", "googlenet-b8-train", "alexnet-b1")
LIBRARIES = ("tinygraph", "torch-nhwc")


def child(library: str, row: str, threads: int) -> dict[str, float]:
    """Seconds and megabytes of this process; imports count as before."""
    import peers
    from networks import NETWORKS

    network_name, size, *training = row.split("-")
    network = NETWORKS[network_name]
    images, labels = network.batch(int(size[1:]))
    if library == "torch-nhwc":
        torch = peers._torch(threads)
    before = processes.resident()
    net = network.build()
    start = time.perf_counter()
    if library == "tinygraph" and training:
        run = peers.tinygraph_training(net, images, labels, threads)
    elif library == "tinygraph":
        run = peers.tinygraph_inference(net, images, threads)
    else:
        nhwc = torch.channels_last
        module = network.build_torch(net.state_dict()).to(memory_format=nhwc)
        x, y = torch.from_numpy(images).to(memory_format=nhwc), torch.from_numpy(labels).long()
        if training:
            run = peers._torch_training(peers._without_dropout(module), x, y)
        else:
            run = peers._torch_inference(module.eval(), x)
    compiled = time.perf_counter()
    run()
    first = time.perf_counter()
    run(), run()
    more = processes.peak() - before
    return {"compile_s": compiled - start, "first_s": first - compiled, "peak_mb": more}


def measure(row: str, threads: int) -> dict[str, dict[str, float]]:
    """Times of cold and warm starts of tinygraph, and PyTorch's memory next to the warm one's."""
    with tempfile.TemporaryDirectory() as cache:
        start = partial(processes.spawn, __file__, row=row, threads=threads, TINYGRAPH_CACHE=cache)
        starts = {state: start("tinygraph") for state in ("cold", "warm")}
        if importlib.util.find_spec("torch"):
            starts["torch"] = start("torch-nhwc")
        return starts


def main() -> None:
    options = processes.parser(__doc__, LIBRARIES).parse_args()
    if options.child:
        print(json.dumps(child(options.child, options.rows[0], options.threads)))
        return
    results = {row: measure(row, options.threads) for row in options.rows or ROWS}
    print(
        "| | cold compile s | warm compile s | first call s | peak MB | PyTorch's |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    for row, r in results.items():
        cold, warm = r["cold"], r["warm"]
        times = f"{cold['compile_s']:.2f} | {warm['compile_s']:.2f} | {warm['first_s']:.2f}"
        theirs = f"{r['torch']['peak_mb']:.0f}" if "torch" in r else ""
        print(f"| {row} | {times} | {warm['peak_mb']:.0f} | {theirs} |")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
