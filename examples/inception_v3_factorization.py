"""Inception v3's factorizations: less work for the same window (Szegedy et al., CVPR 2016).

A 5x5 filter becomes two 3x3 filters (section 3.1), an n x n filter 1 x n and n x 1 (section 3.2):
what a value sees of the picture stays, parameters and operations fall. Counted by the compiler;
speed is measured, since fewer operations are not always less time.
"""

from __future__ import annotations

import time

import numpy as np

import tinygraph as tg
from tinygraph import models, nn

CHANNELS, SIZE, RUNS = 64, 17, 20  # 17 x 17 is where Inception v3 puts its 1x7 and 7x1

Kernel = tuple[int, int]
PAIRS: dict[str, tuple[list[Kernel], list[Kernel]]] = {
    "5x5": ([(5, 5)], [(3, 3), (3, 3)]),
    "3x3": ([(3, 3)], [(1, 3), (3, 1)]),
    "7x7": ([(7, 7)], [(1, 7), (7, 1)]),
}


def stack(kernels: list[Kernel]) -> nn.Module:
    """Convolutions one after the other, without bias, that keep the picture's size."""
    return nn.Sequential(*(
        nn.Conv2d(CHANNELS, CHANNELS, (h, w), padding=(h // 2, w // 2), bias=False)
        for h, w in kernels
    ))  # fmt: skip


def field(net: nn.Module) -> int:
    """Pixels that the value in the middle depends on: where its gradient is not 0."""
    x = tg.input("picture", 1, CHANNELS, SIZE, SIZE)
    (seen,) = tg.grad(net(x)[0, 0, SIZE // 2, SIZE // 2], [x])
    program = tg.compile([x], [seen], conv="implicit")  # Winograd's rounding would go beyond it
    (gradient,) = program(np.zeros(x.shape, np.float32))
    return int(np.count_nonzero(gradient.any(axis=(0, 1))))


def compiled(net: nn.Module, name: str) -> tg.Program:
    x = tg.input("pictures", 8, CHANNELS, SIZE, SIZE)
    return tg.compile([x], [net(x)], name=name)


def milliseconds(programs: list[tg.Program]) -> list[float]:
    """The best of several runs, in turn, so that what disturbs one disturbs all."""
    pictures = np.random.default_rng(0).normal(size=(8, CHANNELS, SIZE, SIZE)).astype(np.float32)
    best = [float("inf")] * len(programs)
    for _ in range(RUNS):
        for k, program in enumerate(programs):
            start = time.perf_counter()
            program(pictures)
            best[k] = min(best[k], 1000 * (time.perf_counter() - start))
    return best


def main() -> dict[str, float]:
    found: dict[str, float] = {}
    print(f"{'':14}{'pixels seen':>12}{'parameters':>12}{'million operations':>20}{'ms':>8}")
    for name, pair in PAIRS.items():
        nets = [stack(kernels) for kernels in pair]
        labels = [" ".join(f"{h}x{w}" for h, w in kernels) for kernels in pair]
        programs = [compiled(n, label) for n, label in zip(nets, labels, strict=True)]
        for net, label, program, ms in zip(
            nets, labels, programs, milliseconds(programs), strict=True
        ):
            cost = program.cost()
            print(
                f"{label:14}{field(net):12}{cost['parameters']:12,}"
                f"{cost['flops'] / 1e6:20,.1f}{ms:8.2f}"
            )
            found |= {f"{label}: pixels seen": field(net), f"{label}: ms": ms}
        whole, parts = (p.cost() for p in programs)
        for what in ("parameters", "flops"):
            found[f"{name}: {what} saved"] = 1 - parts[what] / whole[what]
        print(f"{'saved':26}{found[f'{name}: parameters saved']:12.1%}"
              f"{found[f'{name}: flops saved']:20.1%}")  # fmt: skip

    net = models.inception_v3()
    found["inception_v3: parameters"] = sum(p.type.size for p in net.parameters())
    print(f"\nInception v3 as a whole: {found['inception_v3: parameters']:,} parameters")
    return found


if __name__ == "__main__":
    main()
