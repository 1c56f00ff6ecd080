"""One convolution in four ways: the same numbers by different memory, work and time.

- im2col: the pixels under every window become a row of a stored matrix, which is multiplied with
  the weights (Chellapilla et al., 2006): nine times the picture in memory for a filter of 3x3.
- implicit: the same product, but the matrix is only a way of reading; nothing is stored.
- winograd: tiles of 4x4 outputs by 36 multiplications instead of 144 (Lavin and Gray, 2016).
- direct: seven loops.

Pictures are stored channels-last here, [height, width, channels], as inside of networks.
"""

from __future__ import annotations

import time

import numpy as np

import tinygraph as tg

CHANNELS, SIZE, KERNEL = 64, 28, 3
RNG = np.random.default_rng(0)
PICTURE = RNG.normal(size=(SIZE, SIZE, CHANNELS)).astype(np.float32)
WEIGHT = RNG.normal(0, 0.05, (CHANNELS, CHANNELS, KERNEL, KERNEL)).astype(np.float32)


def convolution(x: tg.Node, w: tg.Node) -> tg.Node:
    y = tg.conv2d(tg.transpose(x, (2, 0, 1))[None], w, padding=1)
    return tg.transpose(y[0], (1, 2, 0))


def im2col(x: tg.Node, w: tg.Node) -> tg.Node:
    """The same, by a matrix that is stored: a row [taps x channels] for every pixel."""
    around = tg.pad(x, ((1, 1), (1, 1), (0, 0)))
    taps = [around[i : i + SIZE, j : j + SIZE] for i in range(KERNEL) for j in range(KERNEL)]
    return tg.concat(taps, axis=2) @ tg.reshape(tg.transpose(w, (2, 3, 1, 0)), -1, CHANNELS)


def programs() -> dict[str, tg.Program]:
    x, w = tg.input("picture", *PICTURE.shape), tg.parameter(WEIGHT, "weight")
    conv = convolution(x, w)
    return {
        "im2col": tg.compile([x], [im2col(x, w)], name="im2col"),
        "implicit": tg.compile([x], [conv], conv="implicit", name="implicit"),
        "winograd": tg.compile([x], [conv], conv="winograd(4)", name="winograd"),
        "direct": tg.compile([x], [conv], without=["contract"], name="direct"),
    }


def main() -> dict[str, float]:
    made = programs()
    for program in made.values():
        launches = program.dump("plan").partition("run: ")[2].partition("\n\n")[0]
        print(f"{program.graph.name}, {launches}\n")

    x, w = (
        tg.input(name, *a.shape, dtype="float64") for name, a in (("x", PICTURE), ("w", WEIGHT))
    )
    exact = tg.run(
        tg.Graph("exact", (x, w), (convolution(x, w),)),
        PICTURE.astype(np.float64), WEIGHT.astype(np.float64),
    )[0]  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(5):  # in turn, so that what disturbs one disturbs all
        for name, program in made.items():
            start = time.perf_counter()
            program(PICTURE)
            times[name].append(1e6 * (time.perf_counter() - start))

    found: dict[str, float] = {}
    print(f"{'':10}{'error':>10}{'microseconds':>14}{'million operations':>20}{'bytes held':>12}")
    for name, program in made.items():
        cost = program.cost()
        error = float(np.abs(program(PICTURE)[0] - exact).max() / np.abs(exact).max())
        held = cost["arena_bytes"]
        operations = cost["flops"] / 1e6
        print(f"{name:10}{error:10.1e}{min(times[name]):14.0f}{operations:20.1f}{held:12,}")
        found |= {
            f"{name}: error": error,
            f"{name}: operations": cost["flops"],
            f"{name}: bytes held": held,
            f"{name}: microseconds": min(times[name]),
        }
    return found


if __name__ == "__main__":
    main()
