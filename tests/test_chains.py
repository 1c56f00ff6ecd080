"""Chains: images go through several layers one after the other, with the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.plan.chains import apart, find_chains, ways
from tinygraph.plan.touched import PlanError
from tinygraph.plan.verify import verify_plan

IMAGES = 4


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = tg.settings.threads
    yield
    tg.settings.threads = before


def bottleneck(images: int = IMAGES, size: int = 56) -> tuple[tg.Node, tg.Node]:
    """An input, and what widens it, filters it channel by channel, narrows it and adds it."""
    tg.manual_seed(0)
    x = tg.input("x", images, 16, size, size)
    wide = nn.Sequential(
        nn.Conv2d(16, 64, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.ReLU()
    )
    return x, x + nn.Conv2d(64, 16, 1)(wide(x))


def compiled(*without: str, images: int = IMAGES) -> tg.Program:
    x, y = bottleneck(images)
    return tg.compile([x], [y], without=list(without))


def image() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((IMAGES, 16, 56, 56), dtype=np.float32)


@pytest.mark.filterwarnings("ignore:TINYGRAPH_THREADS")
@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_slices_have_the_bits_of_whole_launches(threads: int) -> None:
    """3 threads leave it, for 4 images are no equal share."""
    tg.settings.threads = threads
    chained, whole = compiled(), compiled("chain")
    assert [x.slices for x in chained.inspection.plan.chains] == [IMAGES]
    assert not whole.inspection.plan.chains
    for _ in range(3):
        np.testing.assert_array_equal(chained(image()), whole(image()))


def test_what_is_handed_on_takes_memory_of_one_image() -> None:
    plan = compiled().inspection.plan
    (chain,) = plan.chains
    wide = [x for x in chain.sliced if x.buffer.bytes > 4 * IMAGES * 64 * 56 * 56]
    assert len(wide) == 2
    assert all(x.bytes == 4 * 64 * 56 * 56 for x in wide)
    lives = {id(a.buffer): a.buffer for x in plan.launches for a in x.accesses}
    kept = set(lives) - {id(x.buffer) for x in chain.sliced}
    for launch in plan.launches[chain.first : chain.last]:
        for b in (a.buffer for a in launch.accesses if id(a.buffer) in kept):
            if b.home == "arena":  # other slices are at other launches
                assert b.first <= chain.first and b.last >= chain.last - 1


def test_each_launch_of_a_chain_is_timed() -> None:
    tg.settings.threads = 2
    program = compiled()
    assert program.inspection.plan.chains
    profile = program.profile(image())
    assert all(row.seconds > 0 for row in profile.launches)
    assert profile.timing.timeline is not None
    seen = {(part.launch, part.part) for part in profile.timing.timeline.parts}
    launches = enumerate(program.inspection.plan.launches)
    assert seen == {(i, part) for i, x in launches for part in range(x.parts)}


def test_rows_of_one_image_are_no_slices() -> None:
    """A window reads rows of the next slice."""
    plan = compiled("chain", images=1).inspection.plan
    assert not any(
        x.first <= n < x.last - 1
        for x in find_chains(plan.launches, 1)
        for n, launch in enumerate(plan.launches)
        if any(a.guards for a in launch.accesses)
    )


def test_the_verifier_refuses_slices_that_meet() -> None:
    plan = compiled().inspection.plan
    verify_plan(plan)
    (chain,) = plan.chains
    plan.chains = [replace(chain, slices=3)]  # images are cut
    with pytest.raises(PlanError, match="cannot run in 3 slices"):
        verify_plan(plan)


def test_images_that_read_others_are_no_slices() -> None:
    x, _ = bottleneck()
    wide = tg.relu(nn.Conv2d(16, 64, 1)(x))
    plan = tg.compile([x], [nn.Conv2d(64, 16, 1)(tg.flip(wide, 0))]).inspection.plan
    able = [launch for launch in plan.launches if IMAGES in ways(launch)]
    assert len(able) > 1 and not plan.chains
    assert not apart(able, IMAGES)
    assert all(apart([launch], IMAGES) for launch in able)
