"""Compiled programs: inputs, outputs, parameters, the cache, threads, processes, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.graph.ir import Graph
from tinygraph.plan.records.reason import Reason

F = "float32"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of this module's own, so that compiling is part of what is tested."""
    folder = tmp_path_factory.mktemp("cache")
    before, tg.settings.cache = vars(tg.settings).get("TINYGRAPH_CACHE"), folder
    yield folder
    tg.settings.cache = before


def layer(x: tg.Node, w: tg.Node, b: tg.Node) -> tg.Node:
    return tg.relu(x @ w + b)


def weights(seed: int = 0) -> tuple[tg.Parameter, tg.Parameter]:
    rng = np.random.default_rng(seed)
    return tg.parameter(rng.standard_normal((5, 3)), "w"), tg.parameter(rng.standard_normal(3), "b")


def values(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(F)


def dense(x: np.ndarray, w: tg.Parameter, b: tg.Parameter) -> np.ndarray:
    return np.maximum(x @ w.value + b.value, 0)


# -- inputs and outputs ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def difference() -> tg.Program:
    a, b = tg.input("a", 2, 3), tg.input("b", 2, 3)
    return tg.compile([a, b], [a - b], name="difference")


def test_inputs_by_position_and_name(difference):
    a, b = values(2, 3), values(2, 3, seed=2)
    for outputs in (difference(a, b), difference(a, b=b), difference(b=b, a=a)):
        np.testing.assert_array_equal(outputs[0], a - b)


def test_any_memory_layout_and_python_lists(difference):
    a, b = values(4, 6), values(3, 2, seed=2)
    (got,) = difference(a[::2, ::2], b.T)
    np.testing.assert_array_equal(got, a[::2, ::2] - b.T)
    (got,) = difference([[1, 2, 3]] * 2, np.asfortranarray(b.T))
    np.testing.assert_array_equal(got, np.array([[1, 2, 3]] * 2, F) - b.T)
    swapped = a[:2, :3].astype(">f4")
    np.testing.assert_array_equal(difference(swapped, swapped)[0], np.zeros((2, 3)))


def test_outputs_are_fresh_and_inputs_stay(difference):
    a, b = values(2, 3), values(2, 3, seed=2)
    kept = a.copy(), b.copy()
    first = difference(a, b)[0]
    second = difference(b, a)[0]
    np.testing.assert_array_equal(first, -second)
    assert first.base is None and first.flags.writeable
    np.testing.assert_array_equal((a, b), kept)


def test_sources_as_outputs_are_copies():
    x, (w, _) = tg.input("x", 2, 2), weights()
    program = tg.compile([x], [x, w, tg.constant([1.0, 2.0]), x])
    a = values(2, 2)
    first, parameter, number, again = program(a)
    first[:], parameter[:] = 0, 0
    assert a.any() and w.value.any() and not np.shares_memory(first, again)
    np.testing.assert_array_equal(number, [1, 2])


# -- parameters ------------------------------------------------------------------------------------


def test_updates_read_old_values_and_so_do_outputs():
    p, q = tg.parameter([1.0, 2.0], "p"), tg.parameter([10.0, 20.0], "q")
    program = tg.compile([], [p + q], updates=[(p, q), (q, p)])
    np.testing.assert_array_equal(program()[0], [11, 22])
    np.testing.assert_array_equal((p.value, q.value), ([10, 20], [1, 2]))
    program()
    np.testing.assert_array_equal((p.value, q.value), ([1, 2], [10, 20]))


def test_effects_happen_and_outputs_see_what_was():
    x, count = tg.input("x", 2), tg.parameter(0.0, "count")
    program = tg.compile([x], [tg.effect(x * 2, count, count + 1), count])
    for n in range(3):
        assert program(values(2))[1] == n
    assert count.value == 3


def test_programs_that_share_parameters_are_always_current():
    w, b = weights()
    x, t = tg.input("x", 4, 5), tg.input("t", 4, 3)
    predict = tg.compile([x], [layer(x, w, b)], name="predict")
    scaled = tg.compile([x], [layer(x, w * 2, b)], name="scaled")
    loss = tg.mse_loss(layer(x, w, b), t)
    updates = [(p, p - 0.1 * g) for p, g in zip((w, b), tg.grad(loss, [w, b]), strict=True)]
    step = tg.compile([x, t], [loss], updates=updates, name="step")
    a, target = values(4, 5), values(4, 3, seed=2)

    def check() -> None:
        np.testing.assert_allclose(predict(a)[0], dense(a, w, b), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            scaled(a)[0], np.maximum(2 * a @ w.value + b.value, 0), rtol=1e-5, atol=1e-6
        )

    losses = []
    for _ in range(4):
        check()
        losses.append(float(step(a, target)[0]))
    assert sorted(losses, reverse=True) == losses and losses[-1] < losses[0]
    check()
    w.value = values(5, 3, seed=9)
    check()
    w.state.write(values(5, 3, seed=10))
    b.value = [1, 2, 3]
    check()


# -- the cache -------------------------------------------------------------------------------------

SCRIPT = """
import json, sys, time
import numpy as np
import tinygraph as tg
rng = np.random.default_rng(0)
w = tg.parameter(rng.standard_normal((128, 128)), "w")
x = tg.input("x", 512, 128)
loss = tg.mean(tg.relu(x @ w) * 0.5)
step = tg.compile([x], [loss], updates=[(w, w - 0.1 * tg.grad(loss, [w])[0])], name="step")
a = rng.standard_normal((512, 128)).astype("float32")
losses = [float(step(a)[0]) for _ in range(5)]
print(json.dumps({
    "losses": [x.hex() for x in losses],
    "w": w.value.tobytes().hex()[:4000],
    "parts": max(c.parts for c in step.built.code.calls),
    "warm": step.built.compiled is None,
    "modules": [m for m in ("numba", "networkx", "tinygraph.plan.schedule") if m in sys.modules],
}))
"""


def start(folder: Path, script: str = SCRIPT, **environment: str) -> subprocess.Popen:
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "TINYGRAPH_CACHE": str(folder),
    }
    command = [sys.executable, "-c", script]
    return subprocess.Popen(
        command, env=env | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen) -> dict:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1]) | {"stderr": err}


@pytest.fixture(scope="module")
def cold(tmp_path_factory) -> tuple[Path, dict]:
    """A folder that two processes filled at once, and what one of them computed."""
    folder = tmp_path_factory.mktemp("shared")
    pair = [start(folder, PYTHONHASHSEED=str(seed)) for seed in (1, 2)]
    first, second = map(finish, pair)
    assert first["losses"] == second["losses"] and first["w"] == second["w"]
    assert not (first["warm"] and second["warm"]) and first["parts"] > 4
    return folder, first


def test_a_second_process_needs_no_compiler(cold):
    folder, first = cold
    warm = finish(start(folder, PYTHONHASHSEED="3"))
    assert warm["warm"] and not warm["modules"]
    assert (warm["losses"], warm["w"]) == (first["losses"], first["w"])


@pytest.mark.parametrize("threads", ["1", "2", "3", "8"])
def test_same_bits_with_any_number_of_threads(cold, threads):
    folder, first = cold
    again = finish(start(folder, TINYGRAPH_THREADS=threads))
    assert (again["losses"], again["w"]) == (first["losses"], first["w"])


@pytest.mark.parametrize("kind", ["program", "kernel", "source"])
def test_damaged_files_are_rebuilt(cold, kind, tmp_path):
    folder, first = cold
    for path in folder.rglob("*.*"):
        copy = tmp_path / path.relative_to(folder)
        copy.parent.mkdir(mode=0o700, exist_ok=True)
        data = bytearray(path.read_bytes())
        if path.parent.name == kind:
            data[len(data) // 2] ^= 0xFF
        copy.write_bytes(data)
    again = finish(start(tmp_path))
    assert (again["losses"], again["w"]) == (first["losses"], first["w"])
    assert finish(start(tmp_path))["warm"]


def test_a_file_in_place_of_the_folder_only_warns(cold, tmp_path):
    occupied = tmp_path / "cache"
    occupied.write_text("")
    again = finish(start(occupied))
    assert again["losses"] == cold[1]["losses"]
    assert "not cached" in again["stderr"]


def test_the_program_key_knows_the_graph_and_not_its_names(cache):
    def program(name: str, factor: float) -> tg.Program:
        x = tg.input(name, 3)
        return tg.compile([x], [tg.tanh(x * factor)], name=name)

    program("x", 2.0)
    assert program("x", 2.0).built.compiled is None
    assert program("x", 3.0).built.compiled is not None


def test_the_program_key_knows_how_parameters_lie_in_memory(cache):
    value = values(2, 3)
    for order in ((0, 1), (1, 0)):
        p = tg.parameter(value, order=order)
        program = tg.compile([], [p * 2])
        assert program.built.compiled is not None
        np.testing.assert_array_equal(program()[0], 2 * value)


# -- threads and forks -----------------------------------------------------------------------------


def test_four_threads_call_two_programs_that_share_parameters():
    """Every prediction is of weights between two steps, never of half a step."""
    p, q, x = tg.parameter(np.zeros(64), "p"), tg.parameter(np.zeros(64), "q"), tg.input("x", 64)
    step = tg.compile([x], [p * 1], updates=[(p, p + x), (q, q + x)])
    read = tg.compile([], [p + 0, q * 2 - q])
    one, wrong = np.ones(64, F), []

    def work(number: int) -> None:
        for _ in range(250):
            if number % 2:
                step(one)
            else:
                a, b = read()
                if not ((a == a[0]).all() and (a == b).all()):
                    wrong.append((a, b))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    np.testing.assert_array_equal(p.value, 500)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_runs_its_parents_program():
    x = tg.input("x", 300, 300)
    program = tg.compile([x], [tg.relu(x @ x)])
    a = values(300, 300)
    (expected,) = program(a)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        same = all(np.array_equal(program(a)[0], expected) for _ in range(3))
        os.write(writer, b"same" if same else b"other")
        os._exit(0)
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reader, 10) == b"same"
    os.close(reader)
    np.testing.assert_array_equal(program(a)[0], expected)


# -- checks ----------------------------------------------------------------------------------------


def test_check_nan_names_the_node_and_the_line():
    x = tg.input("x", 2, 3)
    program = tg.compile([x], [tg.log(x) + 1], check_nan=True)
    program(np.ones((2, 3), F))
    with pytest.raises(
        FloatingPointError, match=r"NaN in log f32\[2,3\] at \[1, 2\].*test_program\.py:\d+"
    ):
        program(np.array([[1, 1, 1], [1, 1, -1]], F))


def test_a_pass_that_breaks_types_is_named():
    def halves(graph: Graph) -> Graph:
        return Graph(graph.name, graph.inputs, tuple(o[:1] for o in graph.outputs))

    x = tg.input("x", 2, 3)
    with pytest.raises(tg.VerifyError, match="halves"):
        tg.compile([x], [x + 1], passes=[halves])


def test_a_pass_that_changes_values_is_named():
    def negate(graph: Graph) -> Graph:
        return Graph(graph.name, graph.inputs, tuple(-o for o in graph.outputs))

    x = tg.input("x", 2, 3)
    np.testing.assert_array_equal(
        tg.compile([x], [x + 1], passes=[negate])(np.ones((2, 3), F))[0], -2
    )
    with pytest.raises(Exception, match="pass negate changed"):
        tg.compile([x], [x + 1], passes=[negate], verify="values")


def test_two_updates_of_one_parameter_name_both_lines():
    p = tg.parameter([1.0], "p")
    with pytest.raises(Exception, match=r"p .*test_program\.py:\d+\) and .*test_program\.py:\d+"):
        tg.compile([], [p + 0], updates=[(p, p + 1), (p, p + 2)])


# -- inspection ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def step() -> tg.Program:
    w, b = weights()
    x, t = tg.input("x", 4, 5), tg.input("t", 4, dtype="int32")
    loss = tg.cross_entropy(layer(x, w, b), t)
    updates = [(p, p - 0.1 * g) for p, g in zip((w, b), tg.grad(loss, [w, b]), strict=True)]
    return tg.compile([x, t], [loss], updates=updates, name="step")


def test_every_stage_can_be_read_and_graphs_parse_back(step):
    for stage in step.stages:
        text = step.dump(stage)
        assert text.strip(), stage
        if stage not in ("fused", "plan", "source"):
            assert tg.dump(tg.parse(text)) == text, stage
    assert Path(step.source_path).read_text().startswith(step.dump("source").rstrip("\n"))
    with pytest.raises(ValueError, match="no stage 'nonsense'"):
        step.dump("nonsense")


def test_remarks_are_from_the_closed_list():
    x = tg.input("x", 2, 3, 8, 8)
    y = tg.max_pool2d(tg.relu(tg.conv2d(x, tg.parameter(np.ones((4, 3, 3, 3)), "w"))), 2)
    program = tg.compile([x], [tg.softmax(tg.sum(tg.flatten(y), 0), 0)])
    apart = [r for r in program.remarks if " in two kernels: " in r]
    assert apart and all(any(reason.value in r for reason in Reason) for r in apart)


def test_float32_programs_have_no_float64_instruction(monkeypatch):
    """Every module that LLVM has optimized for a training step in float32."""
    from tinygraph_cpu import kernels, workers
    from tinygraph_cpu.machine import objects

    texts, optimize = [], objects.optimize

    def spy(module, target, **options):
        made = optimize(module, target, **options)
        texts.append(str(made[0]))
        return made

    monkeypatch.setattr(objects, "optimize", spy)
    monkeypatch.setattr(workers, "default_processes", lambda kernels, features: 1)
    monkeypatch.setattr(kernels, "BUILT", {})
    w, x = tg.parameter(values(7, 6), "w"), tg.input("x", 9, 7)
    h = tg.gelu(x @ w)
    loss = tg.mean(
        tg.softplus(h)
        + tg.sigmoid(h) * tg.tanh(h)
        + tg.log(tg.exp(h) + 1.5)
        + tg.sqrt(tg.abs(h))
        + h**3
    )
    program = tg.compile(
        [x], [loss, tg.argmax(h, 1)], updates=[(w, w - 0.01 * tg.grad(loss, [w])[0])], name="no64"
    )
    assert program.built.compiled is not None and len(texts) >= 3
    for text in texts:
        assert "double" not in text, next(line for line in text.splitlines() if "double" in line)
