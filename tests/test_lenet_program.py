"""What LeNet-5's training step becomes: few launches, an arena without waste, a reason for each
seam.
"""

from __future__ import annotations

import re

import pytest

import tinygraph as tg
from tinygraph import models, nn, optim
from tinygraph.plan.records.reason import Reason


@pytest.fixture(scope="module")
def step():
    image, label = tg.input("image", 64, 1, 28, 28), tg.input("label", 64, dtype="int32")
    net = models.lenet5()
    loss = nn.cross_entropy(net(image, training=True), label)
    optimizer = optim.SGD(lr=0.05, momentum=0.9, weight_decay=5e-4)
    return tg.compile([image, label], [loss], updates=optimizer.updates(loss, net.parameters()))


def test_one_step_is_few_launches(step):
    assert step.cost()["launches"] <= 26


def test_the_arena_is_no_larger_than_what_is_live(step):
    plan = (step.built.compiled or step.source.translate()).plan
    assert plan.live_bound <= plan.arena <= 1.10 * plan.live_bound


def test_updates_are_epilogues(step):
    """Every weight's update stands in the kernel of its gradient, momentum and decay included; of
    gradients that are computed in pieces, in the kernel that adds them up."""
    text = step.dump("plan")
    assert len(re.findall(r"\b(conv2d_weight_gradient|sum)_mul_add_sub:", text)) >= 2
    assert text.count("matmul_mul_add_sub") >= 3


def test_every_seam_has_a_reason(step):
    reasons = {r.value for r in Reason}
    seams = [r for r in step.remarks if any(value in r for value in reasons)]
    assert seams
