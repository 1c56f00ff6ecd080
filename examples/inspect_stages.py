"""What the compiler did, stage by stage: texts that can be read, compared and parsed back.

On a small network that gives every pass something to do: batch normalization moves into the
convolution's weights, log(softmax) takes a form that does not overflow.
"""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from tinygraph import nn


def main() -> dict[str, float]:
    net = nn.Sequential(
        conv=nn.Conv2d(3, 16, 3, padding=1),
        norm=nn.BatchNorm2d(16),
        relu=nn.ReLU(),
        pool=nn.GlobalAvgPool(),
        classify=nn.Linear(16, 10),
    )
    x = tg.input("image", 8, 3, 32, 32)
    program = tg.compile([x], [tg.log(tg.softmax(net(x)))], name="predict")
    graph, *passes, fused, plan, source = program.stages
    print(program, program.dump(graph), sep="\n\n", end="\n\n")
    for stage in passes:  # each against the one before it
        print(program.diff(stage), end="\n\n")
    print(program.dump(fused), program.dump(plan), *program.remarks, "", sep="\n")
    print(program.explain("norm"), end="\n\n")

    again = tg.parse(program.dump(), env=program.graph)  # with the program's own parameters
    image = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    found: dict[str, float] = {
        "passes": len(passes),
        "divisions left": sum(node.op.name == "div" for node in again.nodes),
        "launches": program.cost()["launches"],
        "lines of source": len(program.dump(source).splitlines()),
        "parsed text is the same": tg.dump(again) == program.dump(),
        "parsed graph's error": float(np.abs(tg.run(again, image)[0] - program(image)[0]).max()),
    }
    for name, number in found.items():
        print(f"{name}: {number:.3g}")
    return found


if __name__ == "__main__":
    main()
