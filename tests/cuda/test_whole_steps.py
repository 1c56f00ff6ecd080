"""Training steps of whole networks compile for GPUs at every batch size, within the budget.

It takes most of an hour, so it runs only with ``--deep``.
"""

from __future__ import annotations

import pytest
from small_programs import needs_toolchain

import tinygraph as tg
from whole_networks import KINDS

NETWORKS = (
    "alexnet", "googlenet", "googlenet_bn", "resnet50", "mobilenet_v2", "unet", "unet_nearest",
    "lstm", "transformer",
)  # fmt: skip
BATCHES = (1, 2, 5, 8, 16, 32)  # what is fused, and how products are cut, depends on the batch


@needs_toolchain
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_steps_compile(name, batch, request):
    """A kernel over the budget is a remark; none is over it by shared memory, or by much: a product
    with AdamW's update in its epilogue stores and loads 28 bytes of registers once, on sm_90.
    """
    if not request.config.getoption("--deep"):
        pytest.skip("takes minutes: --deep")
    inputs, outputs, updates = KINDS[name](batch=batch, training=True)
    for architecture in ("sm_80", "sm_90"):
        step = tg.compile(inputs, outputs, updates=updates, backend=f"cuda:ptx:{architecture}")
        cards = step.inspection.cards
        over = [remark for remark in step.remarks if remark.startswith("kernel ")]
        print(f"{name} {batch} {architecture}: {len(cards)} kernels, {over}")
        assert all(card.architecture == architecture and card.spills <= 64 for card in cards)
        assert max(card.shared for card in cards) <= 48 * 1024
        assert sum(bool(card.excess) for card in cards) == len(over)
