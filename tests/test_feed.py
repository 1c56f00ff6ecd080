"""Batches of anything: transforms see all arrays and compose, sequences are padded, streams are
shuffled, processes make them; each repeats and continues bit for bit.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from tinygraph.data import (
    Batches,
    ColorJitter,
    Cutout,
    GaussianNoise,
    Mixup,
    Pad,
    RandomAffine,
    RandomCrop,
    RandomFlip,
    Stream,
    epoch_of,
    stack,
)

RNG = np.random.default_rng(0)
IMAGES = RNG.random((12, 3, 9, 8), np.float32)
LABELS = np.arange(12, dtype=np.int32) % 4
TRANSFORMS = {
    "affine": RandomAffine(),
    "flip": RandomFlip(),
    "crop": RandomCrop(padding=2),
    "part": RandomCrop((5, 6)),
    "cutout": Cutout(3),
    "noise": GaussianNoise(0.1),
    "colour": ColorJitter(),
    "mixup": Mixup(0.3, classes=4),
    "several": [RandomFlip(), RandomCrop(padding=1), Cutout(2), Mixup(0.3, classes=4)],
}


def same(some, others):
    return all(
        len(a) == len(b) and all((x == y).all() for x, y in zip(a, b, strict=True))
        for a, b in zip(some, others, strict=True)
    )


# ---------------------------------------------------------------- transforms


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_repeat_and_leave_the_data_alone(name):
    before = IMAGES.copy()
    batches = Batches(IMAGES, LABELS, batch_size=5, last="keep", transform=TRANSFORMS[name])
    first = list(batches.epoch(2))
    assert same(first, list(batches.epoch(2))) and not same(first, list(batches.epoch(3)))
    assert same(first[1:], list(batches.epoch(2, start=1)))
    assert (before == IMAGES).all()
    assert all(x.dtype == np.float32 for x, _ in first)
    assert [len(x) for x, _ in first] == [5, 5, 2]
    if name not in ("mixup", "several"):
        plain = Batches(IMAGES, LABELS, batch_size=5, last="keep")
        labels = (y for _, y in plain.epoch(2))
        assert all((y == z).all() for (_, y), z in zip(first, labels, strict=True))
        assert any((x != z).any() for (x, _), (z, _) in zip(first, plain.epoch(2), strict=False)
                   if x.shape == z.shape) or name == "part"  # fmt: skip


@pytest.mark.parametrize("name", ["affine", "flip", "crop", "part", "cutout", "noise", "colour"])
def test_an_image_and_its_mask_move_together(name):
    kind = TRANSFORMS[name]
    both = type(kind)(**{**vars(kind), "arrays": (0, 2)})
    image, labels, mask = both([IMAGES, LABELS, IMAGES.copy()], np.random.default_rng(1))
    assert (image == mask).all() and labels is LABELS
    with pytest.raises(ValueError, match=r"requires pictures \[n, channels, height, width\]"):
        type(kind)(arrays=(0, 1))([IMAGES, LABELS], np.random.default_rng(1))


def test_pictures_change_as_they_should():
    rng = np.random.default_rng(3)
    (flipped,) = RandomFlip()([IMAGES], rng)
    mirrored = [(a == b[..., ::-1]).all() for a, b in zip(flipped, IMAGES, strict=True)]
    kept = [(a == b).all() for a, b in zip(flipped, IMAGES, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True)) and any(mirrored) and any(kept)
    (upside,) = RandomFlip(1, axis=2)([IMAGES], rng)
    assert (upside == IMAGES[:, :, ::-1]).all()

    crops = RandomCrop((5, 6))([IMAGES], rng)[0]
    for crop, image in zip(crops, IMAGES, strict=True):
        places = [(y, x) for y in range(5) for x in range(3)]
        assert sum((image[:, y : y + 5, x : x + 6] == crop).all() for y, x in places) == 1
    assert (RandomCrop()([IMAGES], rng)[0] == IMAGES).all()
    with pytest.raises(ValueError, match=r"\[10, 8\] with padding 0 requires larger pictures"):
        RandomCrop((10, 8))([IMAGES], rng)

    holes = (Cutout(3)([np.ones((500, 1, 9, 8))], rng)[0] == 0).sum(axis=(1, 2, 3))
    assert holes.max() == 9 and set(holes) <= {4, 6, 9}
    noise = GaussianNoise(0.5)([np.zeros((50, 1, 20, 20))], rng)[0]
    assert abs(noise.std() - 0.5) < 0.01 and abs(noise.mean()) < 0.01

    grey = np.full((4, 3, 2, 2), 0.5, np.float32)
    bright = ColorJitter(0.5, 0, 0)([grey], rng)[0]
    assert np.ptp(bright[0]) < 1e-6 and 0.25 <= bright.min() < bright.max() <= 0.75
    changed = ColorJitter(0, 0.9, 0.9)([IMAGES], rng)[0]
    weights = np.array([0.299, 0.587, 0.114])[:, None, None]
    means = [(x * weights).sum(axis=1).mean(axis=(1, 2)) for x in (changed, IMAGES)]
    assert np.allclose(*means, atol=1e-6) and (changed != IMAGES).any()
    with pytest.raises(ValueError, match="three channels"):
        ColorJitter()([IMAGES[:, :1]], rng)


def test_mixup_mixes_examples_and_their_targets_alike():
    ids = np.eye(6, dtype=np.float32)
    x, extra, y = Mixup(1.0)([ids, LABELS[:6], ids.copy()], np.random.default_rng(0))
    assert (x == y).all() and np.allclose(x.sum(axis=1), 1) and (extra == LABELS[:6]).all()
    assert ((x > 0).sum(axis=1) > 1).any()
    with pytest.raises(ValueError, match=r"Mixup\(classes=...\)"):
        Mixup()([ids, LABELS[:6]], np.random.default_rng(0))


def test_a_transform_that_forgets_the_labels_is_told():
    batches = Batches(IMAGES, LABELS, batch_size=4, transform=lambda arrays, rng: arrays[0])
    with pytest.raises(TypeError, match="returns as many, but <lambda> returned ndarray"):
        next(batches.epoch(0))


# ---------------------------------------------------------------- sequences


class Files:
    """A data set that makes an example when it is asked for it."""

    def __len__(self):
        return 10

    def __getitem__(self, i):
        if not 0 <= i < 10:
            raise IndexError(i)
        return np.full(3, i, np.float32), i % 3


SENTENCES = [list(range(1, n + 1)) for n in (3, 1, 4, 2, 6, 5)]


def test_whatever_has_examples_by_number_is_data():
    batches = Batches(Files(), batch_size=4, last="keep")
    found = list(batches.epoch(1))
    assert [x.shape for x, _ in found] == [(4, 3), (4, 3), (2, 3)]
    whole = np.stack([x for x, _ in map(Files().__getitem__, range(10))])
    arrays = Batches(whole, np.arange(10) % 3, batch_size=4, last="keep")
    assert same(found, list(arrays.epoch(1)))


def test_sequences_are_padded():
    batches = Batches(SENTENCES, range(6), batch_size=3, shuffle=False, collate=Pad(6))
    (x, lengths, y), other = batches.epoch(0)
    assert x.tolist() == [[1, 2, 3, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 2, 3, 4, 0, 0]]
    assert lengths.tolist() == [3, 1, 4] and y.tolist() == [0, 1, 2]
    assert other[0].shape == (3, 6) and lengths.dtype == np.int32
    with pytest.raises(ValueError, match=r"Pad\(5\) got an example of length 6"):
        list(Batches(SENTENCES, batch_size=6, collate=Pad(5)))
    with pytest.raises(ValueError, match=r"field 0 .* collate=data.Pad\(length, fields=\(0,\)\)"):
        list(Batches(SENTENCES, range(6), batch_size=6))
    made = Pad(value=-1)([([[1, 2]],), ([[3, 4], [5, 6]],)])
    assert made[0].tolist() == [[[1, 2], [-1, -1]], [[3, 4], [5, 6]]]
    with pytest.raises(ValueError, match=r"only the first axis alike, got \[1, 1\], \[1, 2\]"):
        Pad()([([[1]],), ([[1, 2]],)])
    assert stack([(1, [2.0])])[1].tolist() == [[2.0]]


# ---------------------------------------------------------------- streams


def numbers(epoch):
    for i in range(20):
        yield i + 100 * epoch, i % 2


def test_a_stream_is_cut_shuffled_and_continued():
    plain = Stream(numbers, batch_size=6)
    assert next(plain.epoch(1))[0].tolist() == [100, 101, 102, 103, 104, 105]
    assert len(list(plain)) == 3
    lasts = {last: list(Stream(numbers, batch_size=6, last=last))[3:] for last in ("keep", "pad")}
    assert [len(x) for x, _ in lasts["keep"]] == [2]
    assert lasts["pad"][0][0].tolist() == [18, 19, 18, 19, 18, 19]
    mixed = Stream(numbers, batch_size=6, shuffle=8, last="keep")
    found = list(mixed.epoch(0))
    assert sorted(np.concatenate([x for x, _ in found])) == list(range(20))
    assert found[0][0].tolist() != list(range(6))
    assert all((x % 2 == y).all() for x, y in found)
    assert same(found, list(mixed.epoch(0))) and same(found[2:], list(mixed.epoch(0, start=2)))
    noisy = Stream(lambda e: IMAGES, batch_size=4, transform=GaussianNoise())
    assert same(list(noisy.epoch(0))[1:], list(noisy.epoch(0, start=1)))


def test_what_can_be_read_once_is_no_data():
    with pytest.raises(TypeError, match="a generator can be read once"):
        epoch_of(numbers(0), 0)
    with pytest.raises(ValueError, match="got 'some'"):
        Stream(numbers, batch_size=2, last="some")


# ---------------------------------------------------------------- processes


def test_processes_make_the_same_bits():
    alone = Batches(IMAGES, LABELS, batch_size=2, transform=TRANSFORMS["several"])
    for workers in (1, 2, 3, 9):
        several = Batches(
            IMAGES, LABELS, batch_size=2, transform=TRANSFORMS["several"], workers=workers
        )
        assert same(list(alone.epoch(4)), list(several.epoch(4)))
        assert same(list(alone.epoch(4, start=3)), list(several.epoch(4, start=3)))
    assert not multiprocessing.active_children()


def no_more_children():
    deadline = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not multiprocessing.active_children()


def test_leaving_early_ends_the_processes():
    def slow(arrays, rng):
        time.sleep(0.1)
        return arrays

    batches = Batches(IMAGES, LABELS, batch_size=1, workers=2, transform=slow)
    epoch = batches.epoch(0)
    next(epoch)
    assert len(multiprocessing.active_children()) == 2
    epoch.close()
    assert no_more_children()


def test_errors_of_processes_are_raised_here():
    def broken(arrays, rng):
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone") as raised:
        list(Batches(IMAGES, batch_size=4, transform=broken, workers=2))
    assert "in broken" in raised.value.__notes__[0]

    def killed(arrays, rng):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RuntimeError, match="ended with exit code -9"):
        list(Batches(IMAGES, batch_size=4, transform=killed, workers=2))

    class Own(Exception):
        def __init__(self, a, b):
            super().__init__("own")

    def unsendable(arrays, rng):
        raise Own(1, 2)

    with pytest.raises(RuntimeError, match="Own: own"):
        list(Batches(IMAGES, batch_size=4, transform=unsendable, workers=1))
    assert no_more_children()


def test_batches_say_what_they_are():
    batches = Batches(IMAGES, LABELS, batch_size=4, transform=TRANSFORMS["several"], workers=2)
    assert repr(batches) == (
        "Batches(12 examples, batch_size=4, transform=RandomFlip, RandomCrop, Cutout, Mixup, "
        "workers=2: 3 batches)"
    )
    assert repr(Stream(numbers, batch_size=2)) == "Stream(numbers, batch_size=2, last='drop')"
