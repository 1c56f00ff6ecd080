"""What the compiler did, stage by stage: texts that can be read, compared and parsed back.

On a small network that gives every pass something to do: batch normalization moves into the
convolution's weights, log(softmax) takes a form that does not overflow.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np

import tinygraph as tg
from tinygraph import nn


def operators(program: tg.Program, stage: str) -> Counter[str]:
    """How often each operator is in the graph of a stage, whose text is parsed back."""
    return Counter(n.op.name for n in tg.parse(program.dump(stage)).nodes)


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
    *graphs, plan, source = program.stages
    print(program, program.dump("graph"), sep="\n\n")

    print("\nwhat each pass does to the operators")
    for before, after in pairwise(graphs):
        old, new = operators(program, before), operators(program, after)
        gone, came = (
            ", ".join(f"{n} {name}" for name, n in sorted(c.items())) or "nothing"
            for c in (old - new, new - old)
        )
        print(f"{after:16}", "nothing" if old == new else f"{gone} became {came}")
    print(f"\n{program.dump()}\n\n{program.dump(plan)}\n", *program.remarks, sep="\n")
    print(f"\n{program.explain('norm')}\n")

    again = tg.parse(program.dump(), env=program.graph)  # with the program's own parameters
    image = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    found: dict[str, float] = {
        "graph stages": len(graphs),
        "divisions left": operators(program, graphs[-1])["div"],
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
