"""Checkpoints: what is saved is loaded, a run goes on with the same bits, damage is one error."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import checkpoint, nn, optim

KINDS = [".npz"] + [".safetensors"] * bool(importlib.util.find_spec("safetensors"))


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    nn.manual_seed(0)
    yield
    nn.manual_seed(0)


@pytest.fixture(params=KINDS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"run{request.param}"


def network() -> nn.Module:
    """A LeNet in small, with dropout and batch normalization."""
    return nn.Sequential(
        conv=nn.Conv2d(1, 4, 3),
        norm=nn.BatchNorm2d(4),
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(36, 16),
        drop=nn.Dropout(0.5),
        fc2=nn.Linear(16, 10),
    )


OPTIMIZERS: dict[str, Callable[[], optim.Optimizer]] = {
    "adam": lambda: optim.Adam(optim.cosine(0.01, 20, warmup=2)),
    "adamw": lambda: optim.AdamW(0.01, weight_decay=0.1, clip=1.0),
    "sgd": lambda: optim.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "sgd_plain": lambda: optim.SGD(optim.step_decay(0.1, 2)),
    "rmsprop": lambda: optim.RMSprop(
        optim.exponential(0.01, 0.5), momentum=0.9, centered=True, clip=1.0
    ),
}


class Run:
    """A network in training: its optimizer, and steps on batches that depend on their number."""

    def __init__(self, optimizer: str) -> None:
        self.net = network()
        x, y = tg.input("image", 8, 1, 8, 8), tg.input("label", 8, dtype="int32")
        loss = nn.cross_entropy(self.net(x, training=True), y)
        self.optimizer = OPTIMIZERS[optimizer]()
        updates = self.optimizer.updates(loss, self.net.parameters())
        self.step = tg.compile([x, y], [loss], updates=updates)

    def train(self, first: int, last: int) -> list[float]:
        return [float(self.step(*batch(i))[0]) for i in range(first, last)]

    def state(self) -> dict[str, np.ndarray]:
        return self.net.state_dict() | self.optimizer.state_dict()


def batch(number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    return rng.random((8, 1, 8, 8), dtype=np.float32), rng.integers(0, 10, 8, dtype=np.int32)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stopped_run_goes_on_with_the_same_bits(optimizer: str, path: Path) -> None:
    """Schedules, momenta, dropout's random numbers and running statistics included."""
    whole = Run(optimizer)
    losses = whole.train(0, 6)
    nn.manual_seed(0)
    first = Run(optimizer)
    early = first.train(0, 3)
    checkpoint.save(path, first.net, first.optimizer, done=3)
    nn.manual_seed(5)  # as another process might
    second = Run(optimizer)
    done = checkpoint.load(path, second.net, second.optimizer)["done"]
    assert early + second.train(int(done), 6) == losses
    for name, value in second.state().items():
        np.testing.assert_array_equal(value, whole.state()[name], err_msg=name)


def test_several_optimizers_are_in_one_file(path: Path) -> None:
    """Those of a GAN, or of parts that learn at rates of their own."""
    some, others = Run("adam"), Run("adam")
    some.train(0, 2)
    other = optim.SGD(0.1, momentum=0.9)
    x = tg.input("x", 2, 3)
    linear = nn.Linear(3, 2)
    loss = tg.sum(linear(x))
    tg.compile([x], [loss], updates=other.updates(loss, linear.parameters()))(np.ones((2, 3), "f4"))
    checkpoint.save(path, some.net, [some.optimizer, other], rates=np.array([1.0, 2.0]))
    momentum = other.state_dict()
    other.load_state_dict({k: v * 0 for k, v in momentum.items()})
    found = checkpoint.load(path, others.net, [others.optimizer, other])
    np.testing.assert_array_equal(found["rates"], [1, 2])
    for name, value in (others.state() | momentum).items():
        np.testing.assert_array_equal(value, (some.state() | other.state_dict())[name])
    before = some.state()
    for wrong in (some.optimizer, [some.optimizer], [some.optimizer, other, other]):
        with pytest.raises(ValueError):
            checkpoint.load(path, some.net, wrong)
    checkpoint.save(path, others.net, others.optimizer)
    with pytest.raises(ValueError, match="another number of optimizers than 2"):
        checkpoint.load(path, some.net, [some.optimizer, other])
    for name, value in some.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_weights_alone_are_a_plain_file_of_arrays(path: Path) -> None:
    net, other = network(), network()
    checkpoint.save(path, net)
    assert set(checkpoint.read_arrays(path)) == set(net.state_dict())
    assert checkpoint.load(path, other) == {}
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, net.state_dict()[name])


def test_numbers_come_back(path: Path) -> None:
    net = nn.Linear(2, 2)
    checkpoint.save(path, net, epoch=3, accuracy=0.75, done=True)
    assert checkpoint.load(path, net) == {"epoch": 3, "accuracy": 0.75, "done": True}
    with pytest.raises(TypeError, match="name='run'"):
        checkpoint.save(path, net, name="run")  # type: ignore[arg-type]


def test_predictions_follow_a_loaded_checkpoint(path: Path) -> None:
    net, other = nn.Linear(3, 2), nn.Linear(3, 2)
    x = tg.input("x", 4, 3)
    predict, expected = tg.compile([x], [net(x)]), tg.compile([x], [other(x)])
    points = np.ones((4, 3), np.float32)
    assert not np.array_equal(predict(points)[0], expected(points)[0])
    checkpoint.save(path, other)
    checkpoint.load(path, net)
    np.testing.assert_array_equal(predict(points)[0], expected(points)[0])


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [truncated, lambda data: b"", lambda data: b"\0" * len(data)])
def test_a_damaged_file_is_one_error(path: Path, damage: Callable[[bytes], bytes]) -> None:
    net = nn.Linear(3, 2)
    checkpoint.save(path, net)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path.name} is not a valid {path.suffix} file"):
        checkpoint.load(path, net)


def test_what_does_not_fit_changes_nothing(path: Path) -> None:
    x = tg.input("x", 4, 3)
    net, other = nn.Linear(3, 2), nn.Linear(3, 2)
    plain, heavy = optim.SGD(0.1), optim.SGD(0.1, momentum=0.9)
    plain.updates(tg.sum(net(x)), net.parameters())
    heavy.updates(tg.sum(other(x)), other.parameters())
    before = other.state_dict()
    checkpoint.save(path, net, plain)
    with pytest.raises(ValueError, match=r"missing: momentum\.weight") as error:
        checkpoint.load(path, other, heavy)
    assert path.name in str(error.value)
    checkpoint.save(path, net)
    with pytest.raises(ValueError, match="weights only"):
        checkpoint.load(path, other, heavy)
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_names_that_do_not_fit(path: Path) -> None:
    checkpoint.save(path, nn.Sequential(a=nn.Linear(3, 2)))
    net = nn.Sequential(b=nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"missing: b\.weight") as error:
        checkpoint.load(path, net)
    assert "unexpected: a.bias" in str(error.value)
    checkpoint.load(path, net, strict=False)


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Linear(3, 2)
    checkpoint.save(path, net, epoch=1)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, net, epoch=2)
    assert checkpoint.load(path, net) == {"epoch": 1}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_unknown_formats(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"safetensors or \.npz"):
        checkpoint.save(tmp_path / "run.pt", nn.Linear(2, 2))
    assert not list(tmp_path.iterdir())


def test_no_file(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=path.name):
        checkpoint.load(path, nn.Linear(2, 2))
