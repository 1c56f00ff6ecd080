"""Contenders: a network as a function without arguments that runs it once, one for each library.

Inference returns the logits. A training step (loss, gradients, SGD with momentum) returns the loss
and changes the weights; dropout is off, so that losses can be compared.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from networks import Network
from runtimes import RUNTIMES, Run, export

import tinygraph as tg
from tinygraph import nn, optim

Contenders = dict[str, Run]
RATE, MOMENTUM = 1e-5, 0.9  # small: at 1e-4 ResNet-50's third loss is rounding, in any library
PEERS = ("torch", "torch-nhwc", "torch-compile", *RUNTIMES)


def inference(network: Network, batch: int, threads: int, peers: list[str]) -> Contenders:
    """tinygraph first, then the peers that are installed and wanted."""
    net = network.build()
    images, _ = network.batch(batch)
    contenders: Contenders = {"tinygraph": tinygraph_inference(net, images, threads)}
    if not any(map(_installed, peers)):
        return contenders
    torch = _torch(threads)
    module = network.build_torch(net.state_dict()).eval()
    if "torch" in peers:
        contenders["torch"] = _torch_inference(module, torch.from_numpy(images))
    nhwc = network.build_torch(net.state_dict()).eval().to(memory_format=torch.channels_last)
    x = _channels_last(torch.from_numpy(images))
    if "torch-nhwc" in peers and x.ndim == 4:
        contenders["torch-nhwc"] = _torch_inference(nhwc, x)
    if "torch-compile" in peers:
        _offer(contenders, "torch-compile", lambda: _torch_inference(_compiled(nhwc), x))
    wanted = [name for name in RUNTIMES if name in peers and _installed(name)]
    if wanted:
        with tempfile.TemporaryDirectory() as folder:
            path = export(module, images, Path(folder))
            for name in wanted:
                _offer(contenders, name, partial(RUNTIMES[name], path, images, threads))
    return contenders


def training(
    network: Network, batch: int, threads: int, peers: list[str], precision: str = "float32"
) -> Contenders:
    """Training steps; the loss of a contender's n-th call is that of the others' n-th.

    In another precision than float32 PyTorch's steps are those of autocast.
    """
    net = network.build()
    state = net.state_dict()
    images, labels = network.batch(batch)
    ours = tinygraph_training(net, images, labels, threads, precision)
    contenders: Contenders = {"tinygraph": ours}
    if not any(p.startswith("torch") for p in peers) or not _installed("torch"):
        return contenders
    torch = _torch(threads)
    x, y = torch.from_numpy(images), torch.from_numpy(labels).long()
    nhwc = _channels_last(x)

    def build(memory_format: Any) -> Any:
        return _without_dropout(network.build_torch(state)).to(memory_format=memory_format)

    if "torch" in peers:
        contenders["torch"] = _torch_training(build(torch.contiguous_format), x, y, precision)
    if "torch-nhwc" in peers and x.ndim == 4:
        contenders["torch-nhwc"] = _torch_training(build(torch.channels_last), nhwc, y, precision)
    if "torch-compile" in peers:
        compiled = lambda: _torch_training(  # noqa: E731
            _compiled(build(torch.channels_last)), nhwc, y, precision
        )
        _offer(contenders, "torch-compile", compiled)
    return contenders


# -- tinygraph -------------------------------------------------------------------------------------


def tinygraph_inference(net: nn.Module, images: np.ndarray, threads: int) -> Run:
    tg.settings.threads = threads
    x = tg.input("images", *images.shape, dtype=images.dtype.name)
    return program_of(tg.compile([x], [net(x)]), images)


def tinygraph_training(
    net: nn.Module, images: np.ndarray, labels: np.ndarray, threads: int, precision: str = "float32"
) -> Run:
    tg.settings.threads = threads
    for _, module in net.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x = tg.input("images", *images.shape, dtype=images.dtype.name)
    y = tg.input("labels", len(labels), dtype="int32")
    loss = nn.cross_entropy(_rows(net(x, training=True)), y)
    updates = optim.SGD(RATE, momentum=MOMENTUM).updates(loss, net.parameters())
    program = tg.compile([x, y], [loss], updates=updates, precision=precision)
    return program_of(program, images, labels)


def _rows(logits: tg.Node) -> tg.Node:
    """Logits as [N, classes], those of pixels too."""
    if logits.ndim == 2:
        return logits
    last = tg.transpose(logits, (0, *range(2, logits.ndim), 1))
    return tg.reshape(last, (-1, last.shape[-1]))


def program_of(program: tg.Program, *arrays: np.ndarray) -> Run:
    """A contender that runs a program."""

    def run() -> np.ndarray:
        return program(*arrays)[0]

    run.program, run.arrays = program, arrays  # type: ignore[attr-defined]
    return run


# -- PyTorch ---------------------------------------------------------------------------------------


def _torch(threads: int) -> Any:
    import torch

    torch.set_num_threads(threads)
    return torch


def _channels_last(x: Any) -> Any:
    """Images in that format; a text has no channels."""
    import torch

    return x.to(memory_format=torch.channels_last) if x.ndim == 4 else x


def _torch_inference(module: Any, x: Any) -> Run:
    import torch

    def run() -> np.ndarray:
        with torch.inference_mode():
            return module(x).numpy()

    return run


def _torch_training(module: Any, x: Any, y: Any, precision: str = "float32") -> Run:
    import torch

    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE, momentum=MOMENTUM)

    def run() -> np.ndarray:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32"):
            logits = module(x).movedim(1, -1).flatten(0, -2)
            loss = torch.nn.functional.cross_entropy(logits, y)
        loss.backward()
        optimizer.step()
        return loss.detach().numpy()

    return run


def _compiled(module: Any) -> Any:
    import torch

    return torch.compile(module)


def _without_dropout(module: Any) -> Any:
    import torch

    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return module


# -- which there are -------------------------------------------------------------------------------


def _installed(peer: str) -> bool:
    package = {"mnn": "MNN"}.get(peer, peer.split("-")[0])
    return importlib.util.find_spec(package) is not None


def _offer(contenders: Contenders, name: str, make: Callable[[], Run]) -> None:
    """A peer may refuse a network, or lack what it needs; then there is one peer less."""
    try:
        contenders[name] = make()
    except Exception as error:
        print(f"{name} is left out: {type(error).__name__}: {error}", file=sys.stderr)
