"""ONNX files that tinygraph writes: valid, read back to the same values, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx

import tinygraph as tg
from tinygraph import extend, models, nn, optim
from tinygraph.__main__ import main
from tinygraph.graph.dtype import DTYPES
from tinygraph.graph.ir import Graph, Node
from tinygraph.graph.op import OPS

try:
    import onnxruntime
except ImportError:
    onnxruntime = None

EXAMPLES = {name: op for name, op in OPS.items() if op.example is not None and op.built_in}
# ONNX Runtime has no kernel for these dtypes or refuses what the standard allows.
ELSEWHERE = {"bitwise_not"}


def values(nodes: Sequence[Node]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [drawn(rng, n) for n in nodes]


def drawn(rng: np.random.Generator, n: Node) -> np.ndarray:
    shape = tuple(3 if not isinstance(s, int) else s for s in n.shape)
    if n.dtype == "bool":
        return rng.random(shape) < 0.5
    if np.dtype(n.dtype).kind in "iu":
        return rng.integers(0, 3, shape).astype(n.dtype)
    return rng.uniform(0.1, 0.9, shape).astype(n.dtype)


def check(path: Path, graph: Graph, arrays: list[np.ndarray], runtime: bool = True) -> None:
    """The file is valid, and what it computes is what the graph computes."""
    onnx.checker.check_model(str(path), full_check=True)
    want = tg.run(graph, *arrays)
    program = tg.onnx.load(path).compile(
        shapes={n.name: a.shape for n, a in zip(graph.inputs, arrays, strict=True)}
    )
    near(program(*arrays), want)
    if runtime and onnxruntime is not None:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        feeds = {n.name: a for n, a in zip(graph.inputs, arrays, strict=True)}
        near(session.run(None, feeds), want)


def near(got: Sequence[np.ndarray], want: Sequence[np.ndarray], share: float = 2e-6) -> None:
    """Equal but for rounding: a share of the largest number."""
    for a, b in zip(got, want, strict=False):
        assert a.shape == b.shape and a.dtype == b.dtype
        scale = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=share * scale)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_operator(name: str, tmp_path: Path) -> None:
    example = EXAMPLES[name].example
    assert example is not None
    n = example()
    inputs = tuple(i for i in Graph("g", (), (n,)).nodes if i.op.name == "input")
    graph = Graph(name, inputs, (n,))
    path = tmp_path / "op.onnx"
    tg.onnx.save(graph, path)
    check(path, graph, values(inputs), name not in ELSEWHERE)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_operator_of_narrow_floats(name: str, dtype: str, tmp_path: Path) -> None:
    """Written with conversions to float32 around it, and read back: it rounds once."""
    example = EXAMPLES[name].example()  # type: ignore[misc]
    if example.bodies or all(i.dtype != "float32" for i in example.inputs):
        return
    inputs = [tg.cast(i, dtype) if i.dtype == "float32" else i for i in example.inputs]
    try:
        y = example.op(*inputs, **dict(example.attrs))
    except tg.ShapeError:
        return
    nodes = tuple(i for i in Graph("g", (), (y,)).nodes if i.op.name == "input")
    graph, path = Graph(name, nodes, (y,)), tmp_path / "op.onnx"
    tg.onnx.save(graph, path)
    onnx.checker.check_model(str(path), full_check=True)
    arrays = values(nodes)
    (want,) = tg.run(graph, *arrays)
    (got,) = tg.run(Graph("back", nodes, (tg.onnx.load(path)(*nodes),)), *arrays)
    assert got.shape == want.shape and got.dtype == want.dtype
    wide = tg.astype(want, "float64")
    size = max(1.0, float(np.abs(wide).max(initial=0)))
    tolerance = DTYPES[dtype].eps
    np.testing.assert_allclose(tg.astype(got, "float64"), wide, tolerance, tolerance * size)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int | None, ...], str]] = {
    "lenet5": (models.lenet5, (2, 1, 28, 28), "float32"),
    "open batch": (models.lenet5, (None, 1, 28, 28), "float32"),
    "googlenet": (lambda: models.googlenet("batch_norm", 10), (1, 3, 64, 64), "float32"),
    "mobilenet": (lambda: models.mobilenet_v2(10), (1, 3, 64, 64), "float32"),
    "lstm": (lambda: models.lstm(4, 6, 3, num_layers=2), (2, 5, 4), "float32"),
    "open lstm": (lambda: models.lstm(4, 6, 3), (None, 5, 4), "float32"),
    "transformer": (
        lambda: models.TransformerLanguageModel(11, 9, size=12, layers=2, heads=3), (2, 7), "int32",
    ),
    "open transformer": (
        lambda: models.TransformerClassifier(11, 3, 9, size=12, layers=1, heads=3),
        (None, 7), "int32",
    ),
    "unet": (lambda: models.unet(2, 1, 4), (1, 1, 32, 32), "float32"),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str, tmp_path: Path) -> None:
    build, shape, dtype = NETWORKS[name]
    net, x = build(), tg.input("x", *shape, dtype=dtype)
    tg.onnx.save(net, tmp_path / "net.onnx", x, outputs=["y"])
    arrays = values([x])
    fixed = tg.input("x", *arrays[0].shape, dtype=dtype)
    check(tmp_path / "net.onnx", Graph("net", (fixed,), (net(fixed),)), arrays)


def test_networks_are_written_in_operators_of_their_own(tmp_path: Path) -> None:
    """Other runtimes fuse by these names."""

    def kinds(net: nn.Module, *shape: int, dtype: str = "float32") -> set[str]:
        tg.onnx.save(net, tmp_path / "net.onnx", tg.input("x", *shape, dtype=dtype))
        return {n.op_type for n in onnx.load(tmp_path / "net.onnx").graph.node}

    assert kinds(models.lenet5(), 2, 1, 28, 28) == {
        "Conv", "Relu", "MaxPool", "Reshape", "Gemm", "Identity",
    }  # fmt: skip
    assert kinds(models.resnet18(10), 1, 3, 64, 64) == {
        "Conv", "BatchNormalization", "Relu", "MaxPool", "Add", "ReduceMean", "Gemm", "Identity",
    }  # fmt: skip
    net = models.TransformerClassifier(11, 3, 9, size=12, layers=1, heads=3)
    found = kinds(net, 2, 7, dtype="int32")
    assert {"LayerNormalization", "Gelu", "Softmax", "Gemm", "ReduceMean"} <= found


STEPS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lenet5": (models.lenet5, (4, 1, 28, 28)),
    "lstm": (lambda: models.lstm(4, 6, 3), (4, 5, 4)),
    "batch norm and dropout": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3, stride=2), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(27, 5),
        ),
        (4, 1, 15, 15),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_training_steps(name: str, tmp_path: Path) -> None:
    """A step is a function of inputs and state, whose outputs are the loss and the new state."""
    build, shape = STEPS[name]
    net = build()
    x, y = tg.input("x", *shape), tg.input("y", shape[0], dtype="int32")
    loss = nn.cross_entropy(net(x, training=True), y)
    step = tg.compile(
        [x, y], [loss], updates=optim.SGD(0.01, momentum=0.9).updates(loss, net.parameters())
    )
    path = tmp_path / "step.onnx"
    tg.onnx.save(step, path, outputs=["loss"])
    onnx.checker.check_model(str(path), full_check=True)
    arrays = values([x, y])
    want = tg.run(step.graph, *arrays)
    near(tg.onnx.load(path).compile()(*arrays), want)
    declared = [i.name for i in onnx.load(path).graph.input]
    assert declared[:2] == ["x", "y"] and len(declared) == 2 + len(step.updates)
    if onnxruntime is not None:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        near(session.run(None, dict(zip(("x", "y"), arrays, strict=True))), want)
    labels = [o.name for o in onnx.load(path).graph.output]
    assert labels[0] == "loss" and all(o.endswith(".new") for o in labels[1:])


METHODS = [
    m for name in optim.__all__
    if isinstance(m := getattr(optim, name), type) and issubclass(m, optim.Optimizer)
    and m is not optim.Optimizer
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_steps_of_every_method(method: type[optim.Optimizer], tmp_path: Path) -> None:
    """With clipping and a schedule, which counts steps."""
    net, x, y = nn.Linear(4, 3), tg.input("x", 5, 4), tg.input("y", 5, dtype="int32")
    loss = nn.cross_entropy(net(x), y)
    schedule = optim.schedules.cosine(0.1, 10, warmup=2)
    updates = list(method(schedule, clip=1.0).updates(loss, net.parameters()))
    path = tmp_path / "step.onnx"
    tg.onnx.save(Graph("step", (x, y), (loss,)), path, updates=updates)
    graph = Graph("step", (x, y), (loss, *(new for _, new in updates)))
    check(path, graph, values(graph.inputs))


def test_loops_of_all_kinds(tmp_path: Path) -> None:
    """Forward and in reverse, with histories, without sequences, and their gradients."""
    x, h = tg.input("x", 5, 3), tg.input("h", 3)
    w = tg.input("w", 3)
    outs = []
    for reverse in (False, True):
        (last,), (every,) = tg.scan(lambda c, v: (tg.tanh(c * w + v), c * v), h, x, reverse=reverse)
        outs += [last, every]
    total = sum((tg.sum(o * o) for o in outs), tg.constant(0.0))
    graph = Graph("loops", (x, h, w), (*outs, *tg.grad(total, [x, h, w])))
    tg.onnx.save(graph, tmp_path / "loop.onnx")
    check(tmp_path / "loop.onnx", graph, values(graph.inputs))


def test_loops_in_loops_read_what_is_outside_both(tmp_path: Path) -> None:
    x, w = tg.input("x", 5, 4, 3), tg.input("w", 3)
    v = tg.exp(w) * 3.0

    def rows(carry: Node, each: Node) -> Node:
        (last,), _ = tg.scan(lambda h, r: tg.tanh(h * v + r + tg.sqrt(v)), carry, each)
        return last

    (last,), _ = tg.scan(rows, tg.zeros(3), x)
    graph = Graph("nested", (x, w), (last,))
    tg.onnx.save(graph, tmp_path / "nested.onnx")
    check(tmp_path / "nested.onnx", graph, values(graph.inputs))


def test_devices_are_left_out(tmp_path: Path) -> None:
    x = tg.input("x", 3)
    with tg.device("cpu:1"):
        y = tg.exp(x)
    graph = Graph("placed", (x,), (y + x,))
    assert any(n.op.name == "place" for n in graph.nodes)
    tg.onnx.save(graph, tmp_path / "placed.onnx")
    check(tmp_path / "placed.onnx", graph, values(graph.inputs))


def test_what_onnx_cannot_express_is_listed(tmp_path: Path) -> None:
    own = extend.define(
        "own_for_onnx", extend.Kind.ELEMENTWISE, infer=lambda x: x, ref=lambda x: 2 * x,
        expr="{0} + {0}",
    )  # fmt: skip
    try:
        x = tg.input("x", 3)
        with pytest.raises(tg.onnx.OnnxError, match="cannot express own_for_onnx x2; the first"):
            tg.onnx.save(Graph("g", (x,), (own(own(x)),)), tmp_path / "a.onnx")
    finally:
        OPS.pop("own_for_onnx", None)
    assert not list(tmp_path.iterdir())


def test_wrong_uses_are_refused(tmp_path: Path) -> None:
    x = tg.input("x", 2, 1, 28, 28)
    with pytest.raises(TypeError, match="input nodes"):
        tg.onnx.save(models.lenet5(), tmp_path / "a.onnx")
    with pytest.raises(TypeError, match="for modules only"):
        tg.onnx.save(Graph("g", (x,), (x,)), tmp_path / "a.onnx", x)
    with pytest.raises(TypeError, match="got 3"):
        tg.onnx.save(3, tmp_path / "a.onnx")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["lenet5", "--train", "--batch", "2"], ["FILE:net"]])
def test_export_command(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import tinygraph as tg\nnet = tg.nn.Linear(3, 2)\n")
    path = str(tmp_path / "x.onnx")
    given = [a.replace("FILE", str(file)) for a in arguments]
    given += ["--shape", "x=4,3"] if "FILE:net" in arguments else []
    main(["export", *given, "-o", path])
    assert path in capsys.readouterr().out
    onnx.checker.check_model(path, full_check=True)
    assert tg.onnx.load(path).inputs
