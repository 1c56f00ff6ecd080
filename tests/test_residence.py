"""A parameter's value in several memories: the newest wins, and moves when somebody needs it."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.graph.state import HUGE, aligned
from tinygraph.graph.types import Type


class Memory:
    """Memory of a device that is none; ``log`` has the transfers."""

    def __init__(self) -> None:
        self.arrays: dict[int, np.ndarray] = {}
        self.log: list[str] = []

    def alloc(self, size: int, name: str) -> int:
        self.arrays[len(self.log)] = np.zeros(size, np.uint8)
        self.log.append(f"alloc {name}")
        return len(self.log) - 1

    def free(self, address: int) -> None:
        del self.arrays[address]

    def upload(self, address: int, array: np.ndarray) -> None:
        assert array.flags.c_contiguous
        self.log.append("up")
        self.arrays[address][...] = array.reshape(-1).view(np.uint8)

    def download(self, array: np.ndarray, address: int) -> None:
        self.log.append("down")
        array[...] = self.arrays[address].view(array.dtype).reshape(array.shape)


@pytest.fixture
def w():
    return tg.parameter(np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2), name="w")


def moves(memory: Memory) -> list[str]:
    """The transfers since the last call."""
    done, memory.log[:] = [m for m in memory.log if m in ("up", "down")], ["seen"]
    return done


def test_a_value_moves_when_it_is_needed_and_only_then(w):
    memory = Memory()
    address = w.state.address(memory)
    assert w.state.address(memory) == address and moves(memory) == []
    w.state.bring(memory)
    w.state.bring(memory)
    assert moves(memory) == ["up"]
    physical = memory.arrays[address].view(np.float32).reshape(2, 2, 3, 2)
    np.testing.assert_array_equal(physical, w.value.transpose(w.state.order))
    physical += 1  # as a program does
    w.state.changed(memory)
    assert moves(memory) == []
    np.testing.assert_array_equal(w.value.reshape(-1), np.arange(1, 25))
    w.state.bring(memory)
    assert w.value[0, 0, 0, 0] == 1 and moves(memory) == ["down"]


def test_the_newest_value_wins(w):
    one, two = Memory(), Memory()
    for memory in (one, two):
        w.state.address(memory)
        w.state.bring(memory)
    one.arrays[w.state.address(one)].view(np.float32)[...] = 5
    w.state.changed(one)
    w.state.bring(two)
    assert (moves(one), moves(two)) == (["up", "down"], ["up", "up"])
    assert (two.arrays[w.state.address(two)].view(np.float32) == 5).all()
    version = w.state.version
    w.value = np.full(w.shape, 7)
    assert w.state.version == version + 1 and (w.value == 7).all()
    w.state.bring(one)
    assert (moves(one), moves(two)) == (["up"], [])


def test_a_program_on_the_host_fetches_what_a_device_has_changed(w):
    x = tg.input("x", 2, 3, 2, 2)
    add, memory = tg.compile([x], [x + w], updates=[(w, w * 2)]), Memory()
    address, zeros = w.state.address(memory), np.zeros(x.shape, np.float32)
    w.state.bring(memory)
    memory.arrays[address].view(np.float32)[...] = 3
    w.state.changed(memory)
    assert (add(zeros)[0] == 3).all()
    w.state.bring(memory)
    assert (memory.arrays[address].view(np.float32) == 6).all()


def test_copies_go_with_their_parameter():
    memory = Memory()
    alone = tg.parameter(np.zeros(3, np.float32), name="alone")
    alone.state.address(memory)
    assert memory.arrays
    del alone
    gc.collect()
    assert not memory.arrays


def test_large_memory_belongs_to_one_process() -> None:
    memory = aligned(Type((HUGE,), "uint8"))
    if (child := os.fork()) == 0:
        memory[:] = 1
        os._exit(0)
    os.waitpid(child, 0)
    assert not memory.any()
