"""What nothing reads at run time does not stay: folded weights, and parameters on request."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.graph import state
from tinygraph.graph.state import LostValueError
from tinygraph.graph.types import Type
from tinygraph_cpu import prepared


class Folded(nn.Module):
    """A batch normalization that goes into the weights before it, twice, and a product."""

    def __init__(self) -> None:
        self.first, self.norm = nn.Conv2d(8, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48)
        self.second, self.other = nn.Conv2d(48, 64, 1, bias=False), nn.BatchNorm2d(64)
        self.last = nn.Linear(64, 10)

    def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
        x = tg.relu(self.norm(self.first(x), training=training))
        return self.last(tg.mean(self.other(self.second(x), training=training), (2, 3)))


def images(n: int = 2) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 8, 12, 12), "float32")


def compiled(net: nn.Module, n: int | None = 2, **options) -> tg.Program:
    x = tg.input("x", n, 8, 12, 12)
    return tg.compile([x], [net(x)], name="predict", **options)


def weights(net: nn.Module) -> dict[str, np.ndarray | None]:
    return {p.name: p.state.memory for p in net.parameters()}


def test_folded_weights_go_when_they_are_packed() -> None:
    net = Folded()
    program = compiled(net)
    plan = program.inspection.plan
    read = {id(a.buffer) for launch in plan.launches for a in launch.accesses}
    assert any(b.home == "temporary" for b in plan.buffers)
    assert all(id(b) in read for b in plan.buffers if b.home == "prepared")
    largest = max(b.bytes for b in plan.buffers if b.home == "temporary")
    assert largest <= plan.arena
    np.testing.assert_allclose(program(images())[0], tg.run(program.graph, images())[0], 1e-4, 1e-4)


def test_temporary_values_share_memory_and_are_in_order() -> None:
    """Many folded weights, each larger than what may be live in any case."""
    x = tg.input("x", 1, 4, 800)
    layers = [tg.parameter(np.full((800, 800), i, "float32"), f"w{i}") for i in range(1, 6)]
    scale = tg.parameter(np.float32(0.5), "scale")
    out = x
    for w in layers:
        out = tg.tanh(out @ (w * scale))
    program = tg.compile([x], [out])
    plan = program.inspection.plan
    held = [b for b in plan.buffers if b.home == "temporary"]
    assert len(held) == 5 and plan.arena < 2 * held[0].rounded
    given = np.linspace(-1e-3, 1e-3, 3200, dtype="float32").reshape(1, 4, 800)
    np.testing.assert_allclose(program(given)[0], tg.run(program.graph, given)[0], 1e-4, 1e-5)
    scale.value = np.float32(0.25)
    np.testing.assert_allclose(program(given)[0], tg.run(program.graph, given)[0], 1e-4, 1e-5)


def test_parameters_are_released_and_come_back() -> None:
    net, given = Folded(), images()
    want, state = compiled(net)(given)[0], net.state_dict()
    program = compiled(net, keep_parameters=False)
    np.testing.assert_array_equal(program(given)[0], want)
    gone = [name for name, memory in weights(net).items() if memory is None]
    assert {"first.weight", "second.weight", "last.weight", "norm.weight"} <= set(gone)
    message = (
        r"first.weight: f32\[48,8,3,3\] is released: program predict, compiled with "
        r"keep_parameters=False, has its own copies. Assign another, or load a checkpoint"
    )
    with pytest.raises(LostValueError, match=message):
        net.state_dict()
    with pytest.raises(LostValueError, match="is released"):
        tg.run(program.graph, given)
    net.load_state_dict({name: value * 2 for name, value in state.items()})
    twice = program(given)[0]
    np.testing.assert_array_equal(program(given)[0], twice)
    assert weights(net)["first.weight"] is None
    net.load_state_dict(state)
    np.testing.assert_array_equal(program(given)[0], want)


def test_what_a_program_reads_in_its_runs_is_kept() -> None:
    net, given = Folded(), images()
    x, label = tg.input("x", 2, 8, 12, 12), tg.input("label", 2, dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), label)
    updates = optim.SGD(lr=0.1).updates(loss, net.parameters())
    step = tg.compile([x, label], [loss], updates=updates)
    program = compiled(net, keep_parameters=False)
    first = program(given)[0]
    assert all(memory is not None for memory in weights(net).values())
    step(given, np.array([1, 2], "int32"))
    assert (program(given)[0] != first).any()
    net.state_dict()


def test_a_program_that_prepares_the_same_needs_no_parameters() -> None:
    net, given = Folded(), images()
    want = compiled(net, keep_parameters=False)
    result = want(given)[0]
    np.testing.assert_array_equal(compiled(net)(given)[0], result)
    with pytest.raises(LostValueError, match="is released"):
        compiled(net, without=["fold_batch_norm"])(given)


def test_refuses_open_sizes_and_backends_that_release_nothing() -> None:
    with pytest.raises(ValueError, match=r"fixed sizes, input x f32\[n,8,12,12\]"):
        compiled(Folded(), None, keep_parameters=False)
    with pytest.raises(tg.BackendError, match="'cuda:emulate' cannot release"):
        compiled(Folded(), backend="cuda:emulate", keep_parameters=False)


def large(order: tuple[int, ...] | None, columns: int = 300) -> tuple[tg.Parameter, tg.Program]:
    """A weight of more than the least size, in blocks of columns the last of which is not full."""
    value = np.arange(512 * columns, dtype="float32").reshape(512, columns) % 1009
    w = tg.parameter(value, "w", order=order)
    x = tg.input("x", 40, 512)
    return w, tg.compile([x], [x @ w], name="product")


@pytest.mark.parametrize("order", [None, (1, 0)])
@pytest.mark.parametrize("columns", [300, 256, 70])
@pytest.mark.parametrize("piece", [1, 100_000])
def test_a_large_weight_goes_piece_by_piece(monkeypatch, order, columns: int, piece: int) -> None:
    monkeypatch.setattr(prepared, "LARGE", 1)
    monkeypatch.setattr(prepared, "PIECE", piece)
    forgotten: list[int] = []
    monkeypatch.setattr(state, "forget", lambda array, size: forgotten.append(size))
    w, program = large(order, columns)
    want, given = w.value, np.eye(40, 512, dtype="float32")
    np.testing.assert_array_equal(program(given)[0], want[:40])
    assert len(forgotten) > 1 and forgotten[-1] >= w.state.type.bytes > forgotten[-2]
    assert w.state.memory is None
    np.testing.assert_array_equal(w.value, want)


@pytest.mark.parametrize("order", [None, (1, 0)])
@pytest.mark.parametrize("columns", [300, 256])
@pytest.mark.parametrize("stop", [1, 2])
def test_a_move_that_is_interrupted_is_undone(monkeypatch, order, columns: int, stop: int) -> None:
    """What has gone to the other form is written again to the memory that was given back."""
    monkeypatch.setattr(prepared, "LARGE", 1)
    monkeypatch.setattr(prepared, "PIECE", 1)
    calls: list[int] = []

    def interrupted(array: np.ndarray, size: int) -> None:
        array.reshape(-1).view("uint8")[:size] = 255
        calls.append(size)
        if len(calls) == stop:
            raise KeyboardInterrupt

    monkeypatch.setattr(state, "forget", interrupted)
    w, program = large(order, columns)
    want, given = w.value, np.eye(40, 512, dtype="float32")
    with pytest.raises(KeyboardInterrupt):
        program(given)
    np.testing.assert_array_equal(w.value, want)
    monkeypatch.undo()
    np.testing.assert_array_equal(program(given)[0], want[:40])


def test_pages_are_given_back() -> None:
    """An array of several huge pages; what comes after the forgotten bytes stays."""
    array = state.aligned(Type((3 * state.HUGE,), "uint8"))
    array[:] = 1
    state.forget(array, 2 * state.HUGE - 64)
    assert not array[:state.HUGE].any() and array[2 * state.HUGE :].all()
    small = state.aligned(Type((100,), "uint8"))
    small[:] = 1
    state.forget(small, 100)
    assert small.all()


@pytest.mark.parametrize("order", [None, (1, 0)])
@pytest.mark.parametrize("columns", [300, 256, 70])
def test_a_weight_in_another_order_is_not_held_twice(order, columns: int) -> None:
    w, program = large(order, columns)
    want, given = w.value, np.eye(40, 512, dtype="float32")
    assert program.built.code.rearranged
    np.testing.assert_array_equal(program(given)[0], want[:40])
    assert w.state.memory is None and w.state.drawn
    np.testing.assert_array_equal(w.value, want)
    assert w.value.flags.c_contiguous
    np.testing.assert_array_equal(tg.run(program.graph, given)[0], want[:40])
    assert w.state.memory is None
    w.value = want + 1
    np.testing.assert_array_equal(w.value, want + 1)
    np.testing.assert_array_equal(program(given)[0], want[:40] + 1)
    assert w.state.memory is None
    np.testing.assert_array_equal(w.value, want + 1)


def test_who_reads_a_weight_in_its_runs_brings_it_back() -> None:
    w, program = large(None)
    given, want = np.eye(40, 512, dtype="float32"), w.value
    program(given)
    assert w.state.memory is None
    double = tg.compile([], [w * 2], updates=[(w, w + 1)])
    np.testing.assert_array_equal(double()[0], want * 2)
    np.testing.assert_array_equal(program(given)[0], want[:40] + 1)
    assert w.state.memory is not None
    np.testing.assert_array_equal(w.value, want + 1)


def test_a_value_outlives_the_program_that_has_it() -> None:
    w, program = large((1, 0))
    want = w.value
    program(np.eye(40, 512, dtype="float32"))
    del program
    gc.collect()
    assert w.state.memory is None
    np.testing.assert_array_equal(w.value, want)
    x = tg.input("x", 3, 512)
    other = tg.compile([x], [x @ w])
    np.testing.assert_array_equal(other(np.eye(3, 512, dtype="float32"))[0], want[:3])


@pytest.mark.parametrize("part", [slice(0, 300), slice(0, 299), slice(1, 300)])
def test_what_is_copied_in_part_is_kept(part: slice) -> None:
    w = tg.parameter(np.random.default_rng(0).standard_normal((512, 300), "float32"), "w")
    want, given = w.value, np.eye(40, 512, dtype="float32")
    x = tg.input("x", 40, 512)
    program = tg.compile([x], [x @ w[:, part]])
    np.testing.assert_array_equal(program(given)[0], want[:40, part])
    assert (w.state.memory is None) == (part == slice(0, 300))
    np.testing.assert_array_equal(w.value, want)


def test_programs_that_share_a_packed_weight() -> None:
    w, program = large(None)
    want, given = w.value, np.eye(40, 512, dtype="float32")
    x = tg.input("x", 40, 512)
    again = tg.compile([x], [tg.relu(x @ w)], name="again")
    program(given), again(given)
    assert w.state.memory is None
    w.value = want * 3
    np.testing.assert_array_equal(again(given)[0], want[:40] * 3)
    np.testing.assert_array_equal(program(given)[0], want[:40] * 3)
    np.testing.assert_array_equal(w.value, want * 3)


@pytest.mark.parametrize(("rows", "packs"), [(64, True), (16, False)])
def test_a_step_packs_a_large_weight_for_many_rows(rows: int, packs: bool) -> None:
    """Out of its own order its rows are far apart, and in no cache when the step begins."""
    w, x = tg.parameter(np.ones((300, 200), "float32"), "w"), tg.input("x", rows, 300)
    gradient = tg.grad(tg.sum(y := tg.tanh(x @ w)), [w])[0]
    step = tg.compile([x], [y], updates=[(w, w - 0.5 * gradient)])
    names = [m.name for launch in step.inspection.plan.launches for m in launch.members]
    assert ("pack" in names) == packs
