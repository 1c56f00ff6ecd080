"""Data: embedded digits and text, IDX files, batches that repeat bit for bit, known warps."""

from __future__ import annotations

import gzip
import struct
import threading
import time

import numpy as np
import pytest

from tinygraph.data import (
    Batches,
    RandomAffine,
    digits,
    king_james,
    load_idx,
    pictures,
    prefetch,
    warp,
)

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def write_idx(path, array):
    header = struct.pack(
        f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.name], array.ndim, *array.shape
    )
    path.write_bytes(header + array.astype(array.dtype.newbyteorder(">")).tobytes())
    return path


# ---------------------------------------------------------------- the embedded digits


def test_digits_are_split_as_their_readme_says():
    train, test = digits()
    assert train.images.shape == (8000, 1, 28, 28) and test.images.shape == (2000, 1, 28, 28)
    assert train.images.dtype == np.float32 and train.labels.dtype == np.int32
    images, labels = (np.concatenate(pair) for pair in zip(train, test, strict=True))
    assert np.bincount(labels).tolist() == [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]
    assert (
        labels[np.argsort(np.random.default_rng(0).permutation(10_000))] == np.sort(labels)
    ).all()
    assert images.min() == 0 and images.max() == 1
    assert abs(float(images.mean(dtype=np.float64)) - 0.1311) < 1e-4
    assert abs(float(images.std(dtype=np.float64)) - 0.3087) < 1e-4


def test_pictures_refuse_what_is_no_picture():
    assert pictures(np.full((2, 5, 4), 255, np.uint8)).tolist() == np.ones((2, 1, 5, 4)).tolist()
    assert pictures(np.zeros((2, 3, 5, 4), np.uint8)).shape == (2, 3, 5, 4)
    with pytest.raises(ValueError, match=r"requires uint8 .* got float32 \[2, 5, 4\]"):
        pictures(np.zeros((2, 5, 4), np.float32))


# ---------------------------------------------------------------- the embedded text


def test_the_text_is_cut_in_three_consecutive_parts():
    text = king_james()
    assert [len(part) for part in text[:3]] == [899_876, 49_993, 49_994]
    assert text.training.dtype == np.int32 and len(text.alphabet) == 62
    assert text.decode(text.training[:31]) == "In the beginning God created th"
    assert text.decode(text.held_back[-13:]) == "comest thou?\n"
    short = king_james(1000)
    assert short.decode(np.concatenate(short[:3])) == text.decode(text.training[:1000])
    with pytest.raises(ValueError, match="20 to 999,863 characters, got 1000000"):
        king_james(1_000_000)


# ---------------------------------------------------------------- IDX files


@pytest.mark.parametrize("dtype", CODES)
def test_idx_files_of_every_type_are_read(tmp_path, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = write_idx(tmp_path / "plain", array)
    zipped = tmp_path / "zipped.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    for found in (load_idx(path), load_idx(str(zipped))):
        assert found.dtype == array.dtype and found.dtype.isnative
        assert found.flags.writeable and (found == array).all()


def damage(raw: bytes) -> dict[str, tuple[bytes, str]]:
    return {
        "text": (b"hello world", "is not an IDX file: it starts with b'hell'"),
        "empty": (b"", "is not an IDX file"),
        "type": (raw[:2] + b"\x07" + raw[3:], "is not an IDX file"),
        "header": (raw[:9], "ends within its header of 12 bytes"),
        "short": (raw[:-1], r"says uint8 \[3, 4\], 12 bytes, but holds 11"),
        "long": (raw + b"x", r"says uint8 \[3, 4\], 12 bytes, but holds 13"),
        "gzip": (gzip.compress(raw)[:-6], "is a damaged gzip file"),
        "bits": (gzip.compress(raw)[:12] + bytes(20), "is a damaged gzip file"),
    }


@pytest.mark.parametrize("kind", damage(b""))
def test_damaged_idx_files_are_one_clear_error(tmp_path, kind):
    path = write_idx(tmp_path / "file", np.arange(12, dtype=np.uint8).reshape(3, 4))
    raw, message = damage(path.read_bytes())[kind]
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        load_idx(path)


# ---------------------------------------------------------------- batches


def rows(batches):
    return [batch[0].tolist() for batch in batches]


def test_the_order_follows_from_seed_and_epoch():
    numbers, labels = np.arange(10), np.arange(10) * 2
    batches = Batches(numbers, labels, batch_size=3, seed=1)
    epoch = list(batches.epoch(4))
    assert len(batches) == len(epoch) == 3
    assert all((b == 2 * a).all() for a, b in epoch)
    assert rows(epoch) == rows(Batches(numbers, labels, batch_size=3, seed=1).epoch(4))
    assert rows(epoch) != rows(batches.epoch(5))
    assert rows(epoch) != rows(Batches(numbers, batch_size=3, seed=2).epoch(4))
    assert rows(batches.epoch(4, start=2)) == rows(epoch)[2:]
    assert rows(batches) == rows(batches.epoch(0))


def test_the_last_batch_is_dropped_kept_or_padded():
    numbers = np.arange(5)
    last = {
        word: rows(Batches(numbers, batch_size=2, shuffle=False, last=word))
        for word in ("drop", "keep", "pad")
    }
    whole = [[0, 1], [2, 3]]
    assert last == {"drop": whole, "keep": [*whole, [4]], "pad": [*whole, [4, 0]]}
    few = Batches(numbers, batch_size=12, shuffle=False, last="pad")
    assert rows(few) == [[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]]


def test_wrong_batches_are_refused():
    with pytest.raises(ValueError, match=r"arrays of one length, got \[3, 4\]"):
        Batches(np.zeros(3), np.zeros(4), batch_size=1)
    with pytest.raises(ValueError, match="do not fill a batch of 4"):
        Batches(np.zeros(3), batch_size=4)
    with pytest.raises(ValueError, match="got 'some'"):
        Batches(np.zeros(3), batch_size=1, last="some")
    with pytest.raises(ValueError, match="batch_size is positive, got 0"):
        Batches(np.zeros(3), batch_size=0)


def test_a_transform_is_drawn_per_batch_and_repeats():
    def noise(arrays, rng):
        x, y = arrays
        return x + rng.random(x.shape), y

    batches = Batches(np.zeros(6), np.arange(6), batch_size=2, transform=noise)
    first = [a for a, _ in batches.epoch(1)]
    assert len(np.unique(np.concatenate(first))) == 6
    again = [a for a, _ in batches.epoch(1, start=1)]
    assert all((a == b).all() for a, b in zip(first[1:], again, strict=True))


# ---------------------------------------------------------------- prefetch


def test_prefetch_raises_what_its_thread_met():
    def broken():
        yield 1
        raise OSError("the disk is gone")

    made = prefetch(broken())
    assert next(made) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(made)


def test_prefetch_stops_when_the_loop_is_left():
    made = []

    def endless():
        while True:
            made.append(len(made))
            yield made[-1]

    before = threading.active_count()
    items = prefetch(endless(), ahead=2)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    items.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before and len(made) < 8


# ---------------------------------------------------------------- warps


def maps(*rows):
    return np.array(rows, np.float64).reshape(-1, 2, 3)


def test_the_identity_changes_no_bit():
    images = np.random.default_rng(0).random((3, 2, 7, 6), np.float32)
    same = warp(images, np.tile(maps([[1, 0, 0], [0, 1, 0]]), (3, 1, 1)))
    assert same.dtype == np.float32 and (same == images).all()


def test_shifts_turns_and_sizes_are_where_they_belong():
    image = np.arange(1, 26, dtype=np.float32).reshape(1, 1, 5, 5)
    plane = image[0, 0]

    def warped(*map):
        return warp(image, maps(map))[0, 0]

    down = warped([1, 0, -1], [0, 1, 0])  # each pixel shows what was above it
    assert (down[1:] == plane[:-1]).all() and (down[0] == 0).all()
    half = warped([1, 0, 0], [0, 1, 0.5])
    assert (half[:, :-1] == (plane[:, :-1] + plane[:, 1:]) / 2).all()
    assert (half[:, -1] == plane[:, -1] / 2).all()  # bilinear with the zeros outside
    assert (warped([0, 1, 0], [-1, 0, 0]) == np.rot90(plane)).all()
    assert (warped([2, 0, 0], [0, 2, 0])[1:4, 1:4] == plane[::2, ::2]).all()
    assert (warped([1, 0, 99], [0, 1, 0]) == 0).all()


def test_random_maps_stay_within_what_was_asked():
    rng = np.random.default_rng(0)
    shifts = RandomAffine(shift=2, rotate=0, scale=0, shear=0).draw((1000,), rng)
    assert (shifts[:, :, :2] == np.eye(2)).all() and 1.9 < np.abs(shifts[:, :, 2]).max() <= 2
    turns = RandomAffine(shift=0, rotate=10, scale=0, shear=0).draw((1000,), rng)
    angles = np.rad2deg(np.arctan2(turns[:, 1, 0], turns[:, 0, 0]))
    assert np.allclose(np.linalg.det(turns[:, :, :2]), 1) and 9.9 < np.abs(angles).max() <= 10
    sizes = RandomAffine(shift=0, rotate=0, scale=0.1, shear=0).draw((1000,), rng)
    sizes = sizes[:, [0, 1], [0, 1]]
    assert 1 / 1.1 / 1.05 <= sizes.min() < 0.9 and 1.1 < sizes.max() <= 1.1 * 1.05
    images = rng.random((4, 1, 9, 9), np.float32)
    one, two = (RandomAffine()([images], np.random.default_rng(7))[0] for _ in range(2))
    assert (one == two).all() and (one != images).any()
