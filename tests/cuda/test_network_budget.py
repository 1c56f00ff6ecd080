"""All kernels of AlexNet's and GoogLeNet's training steps compile within the budget and link.

It takes minutes, so it runs only where ``TINYGRAPH_SLOW`` is set.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

if find_spec("numba_cuda") is None or not os.environ.get("TINYGRAPH_SLOW"):
    pytest.skip("slow: set TINYGRAPH_SLOW=1 to run it", allow_module_level=True)

import tinygraph as tg
from tinygraph import models, nn, optim


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name, size", [("alexnet", 227), ("googlenet", 224)])
def test_training_steps_compile_within_the_budget(name, size, arch):
    net = getattr(models, name)()
    x, label = tg.input("image", 32, 3, size, size), tg.input("label", 32, dtype="int32")
    made = net(x, training=True)
    logits, *others = made if isinstance(made, tuple) else (made,)
    loss = sum((0.3 * nn.cross_entropy(o, label) for o in others), nn.cross_entropy(logits, label))
    updates = optim.SGD(lr=0.01, momentum=0.9).updates(loss, net.parameters())
    step = tg.compile([x, label], [loss], updates=updates, backend=f"cuda:ptx:{arch}")
    cards = step.inspection.cards
    registers = max(c.registers for c in cards)
    shared = max(c.shared for c in cards)
    print(f"{name} {arch}: {len(cards)} kernels, {registers} registers, {shared} bytes shared")
    assert all(c.spills == 0 and c.registers * c.threads <= 128 * 256 for c in cards)
    assert shared <= 48 * 1024
