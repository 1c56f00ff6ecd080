"""The same training steps in PyTorch, where it is installed, on the same GPU."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from .drawing import drawn_inputs

RUNS = 20
MODES = {  # TF32, bfloat16, as a CUDA graph
    "f32": (False, False, False),
    "f32, graph": (False, False, True),
    "TF32": (True, False, False),
    "TF32, graph": (True, False, True),
    "bf16": (True, True, False),
}


def peers(case: Mapping[str, Any]) -> dict[str, float | str]:
    """Milliseconds of a step, by mode; or, in words, why there are none."""
    torch = importlib.import_module("torch")
    networks = importlib.import_module("torch_networks")
    if not torch.cuda.is_available():
        return {"PyTorch": "it finds no GPU"}
    found: dict[str, float | str] = {}
    for mode, (tf32, bf16, graph) in MODES.items():
        try:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
            once = step_of(torch, networks, case, bf16)
            found[mode] = milliseconds(torch, captured(torch, once) if graph else once)
        except Exception as error:
            found[mode] = f"{type(error).__name__}: {error}".partition("\n")[0]
    return found


def step_of(torch: Any, networks: Any, case: Mapping[str, Any], bf16: bool) -> Callable[[], None]:
    """A step by SGD with momentum, on the inputs that tinygraph's has."""
    name, arguments = case["torch"]
    inputs = drawn_inputs(case["inputs"])
    torch.manual_seed(0)
    net = getattr(networks, name)(*arguments).cuda().train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    given = torch.from_numpy(inputs["x"]).cuda()
    wanted = torch.from_numpy(inputs["label"]).long().cuda()

    def once() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            loss = torch.nn.functional.cross_entropy(net(given), wanted)
        loss.backward()
        optimizer.step()

    return once


def captured(torch: Any, once: Callable[[], None]) -> Callable[[], None]:
    """The step as a CUDA graph; memory and momentum are there after the runs before."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            once()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        once()
    return graph.replay


def milliseconds(torch: Any, once: Callable[[], None]) -> float:
    """Of the device, the median of several runs."""
    for _ in range(5):
        once()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(RUNS + 1)]
    events[0].record()
    for event in events[1:]:
        once()
        event.record()
    torch.cuda.synchronize()
    return statistics.median(before.elapsed_time(after) for before, after in pairwise(events))
