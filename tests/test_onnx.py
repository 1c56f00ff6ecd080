"""Networks out of ONNX files as users meet them: sizes, parameters, training, names, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx
from onnx.reference import ReferenceEvaluator

import onnx_models
import tinygraph as tg
from onnx_models import Writer
from tinygraph.onnx.module import OnnxModule


def loaded(made: onnx.ModelProto, folder: Path, **options: Any) -> OnnxModule:
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return tg.onnx.load(path, **options)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, 1, 28, 28)).astype(np.float32)


INPUTS = {
    "convolutional": images,
    "attention": lambda n: np.random.default_rng(n).integers(0, 50, (n, 7)),
    "recurrent": lambda n: np.random.default_rng(n).standard_normal((n, 6, 5)).astype(np.float32),
}


@pytest.mark.parametrize("name", INPUTS)
def test_one_program_for_any_batch_size(name: str, tmp_path: Path) -> None:
    made = getattr(onnx_models, name)()
    reference = ReferenceEvaluator(made)
    net = loaded(made, tmp_path)
    program = net.compile(batch=None)
    for n in (1, 3, 8):
        a = INPUTS[name](n)
        (want,) = reference.run(None, {net.inputs[0].name: a})
        (got,) = program(a)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_ramps_and_grids_of_any_batch_size(tmp_path: Path) -> None:
    """Range over a size that is a multiple of the batch's, and GridSample of a batch of images."""
    w = onnx_models.Writer()
    four = w("Mul", w("Gather", w("Shape", "x"), w.scalar(0), axis=0), w.scalar(4))
    ramp = w("Range", w.scalar(0), four, w.scalar(2))
    sampled = w("GridSample", "x", "grid", mode="linear")
    made = w.model({"x": ["n", 2, 5, 5], "grid": ["n", 3, 3, 2]}, [ramp, sampled], opset=20)
    net, reference = loaded(made, tmp_path), ReferenceEvaluator(made)
    program = net.compile(batch=None)
    for n in (1, 3):
        rng = np.random.default_rng(n)
        x = rng.standard_normal((n, 2, 5, 5)).astype(np.float32)
        grid = rng.uniform(-1, 1, (n, 3, 3, 2)).astype(np.float32)
        want = reference.run(None, {"x": x, "grid": grid})
        for a, b in zip(program(x, grid), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_one_load_for_several_graphs(tmp_path: Path) -> None:
    net = loaded(onnx_models.convolutional(), tmp_path)
    small, large = net.compile(batch=1), net.compile(batch=4)
    a = images(4)
    np.testing.assert_allclose(large(a)[0][:1], small(a[:1])[0], rtol=1e-4, atol=1e-6)
    net.state.parameters["fc.bias"].value = np.zeros(10)
    assert not np.array_equal(small(a[:1])[0], large(a)[0][:1] + 1)
    np.testing.assert_allclose(large(a)[0][:1], small(a[:1])[0], rtol=1e-4, atol=1e-6)


# -- parameters and training -----------------------------------------------------------------------


def test_parameters_have_the_names_of_the_file(tmp_path: Path) -> None:
    net = loaded(onnx_models.convolutional(), tmp_path)
    assert list(net.named_parameters()) == [
        "conv1.weight", "conv1.bias", "conv2.weight", "norm.weight", "norm.bias", "fc.weight",
        "fc.bias",
    ]  # fmt: skip
    assert list(net.named_buffers()) == ["norm.running_mean", "norm.running_var"]
    weights = tmp_path / "weights.npz"
    tg.checkpoint.save(weights, net)
    other = loaded(onnx_models.convolutional(), tmp_path)
    other.state.parameters["fc.bias"].value = np.zeros(10)
    tg.checkpoint.load(weights, other)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)
    assert not net.freeze().parameters()


def test_a_network_learns(tmp_path: Path) -> None:
    """Batch normalization and dropout are as in training, and running statistics move."""
    net = loaded(onnx_models.convolutional(), tmp_path)
    x, y = tg.input("x", 16, 1, 28, 28), tg.input("y", 16, dtype="int32")
    loss = tg.nn.cross_entropy(net(x, training=True), y)
    updates = tg.optim.SGD(0.05, momentum=0.9).updates(loss, net.parameters())
    step = tg.compile([x, y], [loss], updates=updates)
    before = net.state_dict()
    labels = np.arange(16, dtype=np.int32) % 10
    losses = [float(step(images(16), labels)[0]) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert all(not np.array_equal(before[k], v) for k, v in net.state_dict().items())


def test_batch_normalization_in_training_is_that_of_the_layer(tmp_path: Path) -> None:
    w = onnx_models.Writer()
    names = [w.tensor(np.full(3, v), name=n) for n, v in (("s", 2), ("b", 1), ("m", 0), ("v", 1))]
    y = w("BatchNormalization", "x", *names, momentum=0.9)
    net = loaded(w.model({"x": [4, 3, 5, 5]}, [y]), tmp_path)
    layer = tg.nn.BatchNorm2d(3)
    layer.weight.value, layer.bias.value = np.full(3, 2), np.full(3, 1)
    x = tg.input("x", 4, 3, 5, 5)
    a = np.random.default_rng(0).standard_normal((4, 3, 5, 5)).astype(np.float32)
    got, want = (tg.compile([x], [n(x, training=True)])(a)[0] for n in (net, layer))
    np.testing.assert_array_equal(got, want)
    for ours, theirs in (("m", "running_mean"), ("v", "running_var")):
        np.testing.assert_allclose(
            net.state_dict()[ours], layer.state_dict()[theirs], rtol=1e-6, atol=1e-7
        )


def test_weights_that_are_transposed_stay_the_files(tmp_path: Path) -> None:
    w = onnx_models.Writer()
    y = w("MatMul", "x", w("Transpose", w.weight("w", 5, 4), perm=[1, 0]))
    net = loaded(w.model({"x": ["n", 4]}, [y]), tmp_path)
    assert net.named_parameters()["w"].shape == (5, 4)
    (found,) = net.compile(batch=2)(np.eye(2, 4, dtype=np.float32))
    np.testing.assert_allclose(found, net.state_dict()["w"][:, :2].T, rtol=1e-6)


# -- inputs, constants, names ----------------------------------------------------------------------


def cut() -> onnx.ModelProto:
    """A shape that depends on an input's value."""
    w = onnx_models.Writer()
    shape = w("Concat", w("Unsqueeze", "rate", w.ints(0)), w.ints(-1), axis=0)
    y = w("Reshape", "x", shape)
    return w.model({"x": ["n"], "rate": (onnx_models.I64, [])}, [y])


def test_constants_fix_inputs_that_shapes_depend_on(tmp_path: Path) -> None:
    net = loaded(cut(), tmp_path, constants={"rate": 3})
    assert [v.name for v in net.inputs] == ["x"]
    assert net(tg.input("x", 12)).shape == (3, 4)
    with pytest.raises(ValueError, match="no input 'ratio'; it has x, rate"):
        loaded(cut(), tmp_path, constants={"ratio": 3})
    net = loaded(cut(), tmp_path)
    message = r"^net\.onnx:3 /Reshape_5 \(Reshape\): requires a shape that is known .* depends on "
    with pytest.raises(tg.onnx.OnnxError, match=message + "the input 'rate'; constants="):
        net(tg.input("x", 12), tg.input("rate", dtype="int64"))


def test_a_branch_that_does_not_fit_names_what_decides(tmp_path: Path) -> None:
    """A file for several rates has branches for each; constants choose one before it is built."""
    w = onnx_models.Writer()
    graphs = []
    for size in (3, 5):
        inner = onnx_models.Writer()
        y = inner("MatMul", "x", inner.tensor(np.ones((size, 2))))
        made = onnx.helper.make_empty_tensor_value_info(y)
        graphs.append(onnx.helper.make_graph(inner.nodes, "b", [], [made], inner.tensors))
    is_three = w("Equal", "rate", w.tensor(3, np.int64))
    y = w("If", is_three, then_branch=graphs[0], else_branch=graphs[1])
    model = w.model({"x": [2, 3], "rate": (onnx_models.I64, [])}, [y])
    x, rate = tg.input("x", 2, 3), tg.input("rate", dtype="int64")
    with pytest.raises(tg.onnx.OnnxError, match="depends on the input 'rate', which constants="):
        loaded(model, tmp_path)(x, rate)
    assert loaded(model, tmp_path, constants={"rate": 3})(x).shape == (2, 2)


def test_inputs_by_order_and_by_name(tmp_path: Path) -> None:
    w = onnx_models.Writer()
    net = loaded(w.model({"a": [2], "b": [2]}, [w("Sub", "a", "b")]), tmp_path)
    a, b = tg.input("p", 2), tg.input("q", 2)
    assert net(a, b) is net(b=b, a=a)
    for wrong in ((a,), (a, b, a)):
        with pytest.raises(tg.ShapeError, match=r"net\.onnx takes the inputs a: .*; b: "):
            net(*wrong)
    with pytest.raises(tg.ShapeError, match=r"net\.onnx takes a: float32\[2\], got i32\[2\]"):
        net(tg.input("p", 2, dtype="int32"), b)
    with pytest.raises(tg.ShapeError, match="takes nodes"):
        net(np.zeros(2, np.float32), b)


def test_scopes_and_lines_are_the_files(tmp_path: Path) -> None:
    program = loaded(onnx_models.convolutional(), tmp_path).compile()
    assert "# net.onnx:1 in /conv1" in program.dump("graph", lines=True)
    assert "/conv1" in program.explain("/conv1") and "/fc" in str(program)
    with pytest.raises(tg.ShapeError, match=r"^net\.onnx:1 in /conv1: conv2d requires 1 input"):
        loaded(onnx_models.convolutional(), tmp_path)(tg.input("image", 1, 3, 28, 28))


def test_an_origin_names_the_file_of_whoever_reads_files() -> None:
    with tg.origin("net.prototxt", 12, "Power"), tg.scope("layer"):
        y = tg.input("x", 3) * 2.5
    assert "# net.prototxt:12 in layer" in tg.dump(
        tg.Graph("g", (tg.input("x", 3),), (y,)), lines=True
    )
    with tg.origin("net.prototxt", 13), pytest.raises(tg.ShapeError, match=r"^net\.prototxt:13: "):
        tg.input("x", 3) + tg.input("y", 4)


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    w = onnx_models.Writer()
    y = w("Foo", w("Relu", w("Foo", "x", name="a"), name="r"), name="b")
    z = w("Bar", y, name="c", domain="com.acme")
    with pytest.raises(tg.onnx.OnnxError) as caught:
        loaded(w.model({"x": [2]}, [z]), tmp_path)
    assert str(caught.value) == (
        "net.onnx needs 2 operators that tinygraph lacks: Foo x2 ('a', 'b'); com.acme:Bar x1 ('c')"
    )


# -- commands --------------------------------------------------------------------------------------


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tinygraph.__main__ import main

    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_models.convolutional().SerializeToString())
    main(["show", str(path), "graph", "--batch", "2"])
    assert "graph net(image: f32[2,1,28,28])" in capsys.readouterr().out
    main(["profile", str(path), "--repeat", "1"])
    assert "/conv1" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["check", str(path)])
    text = capsys.readouterr().out
    assert "Conv x2" in text and "all of its operators are known" in text
    for wrong in (
        ["show", "none.onnx"],
        ["show", str(path), "--shape", "x"],
        ["check", "none.onnx"],
    ):
        with pytest.raises(SystemExit, match=rf"^python -m tinygraph {wrong[0]}: "):
            main(wrong)


def test_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="requires onnxruntime", exc_type=Exception)
    from tinygraph.__main__ import main
    from tinygraph.onnx import compare

    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_models.convolutional().SerializeToString())
    np.savez(tmp_path / "x.npz", image=images(3))
    main(["compare", str(path), "--input", str(tmp_path / "x.npz"), "--bisect"])
    text = capsys.readouterr().out
    assert "[3, 10]: differs by" in text and "ONNX Runtime" in text and "no node differs" in text
    net = tg.onnx.load(path)
    net.state.parameters["conv2.weight"].value = np.zeros((8, 6, 3, 3))
    nodes = net.nodes(3)
    number, name, d = compare.first_difference(path, net, nodes, [images(3)]) or (0, "", None)
    assert (number, name) == (4, "/conv2/Conv (Conv)") and d is not None and not d.close


# -- what ONNX Runtime's optimizer writes ----------------------------------------------------------


@pytest.mark.parametrize("name", ["convolutional", "attention"])
def test_optimized_files(name: str, tmp_path: Path) -> None:
    """FusedConv, FusedMatMul, BiasGelu and others that the optimizer puts in."""
    ort = pytest.importorskip("onnxruntime", reason="requires onnxruntime", exc_type=Exception)
    made, path = getattr(onnx_models, name)(), tmp_path / "net.onnx"
    options = ort.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 3, str(path)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    given = ["CPUExecutionProvider"]
    session = ort.InferenceSession(made.SerializeToString(), options, providers=given)
    net, a = tg.onnx.load(path), INPUTS[name](3)
    assert any(n.domain == "com.microsoft" for n in net.model.graph.nodes)
    x = tg.input("x", *a.shape, dtype=a.dtype.name)
    (want,) = session.run(None, {net.inputs[0].name: a})
    (got,) = tg.run(tg.Graph("g", (x,), (net(x),)), a)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def contributed(
    op: str, inputs: dict[str, np.ndarray], outputs: int = 1, **attributes: Any
) -> list[np.ndarray]:
    """[here, ONNX Runtime] of one of its own operators."""
    pytest.importorskip("onnxruntime", reason="requires onnxruntime", exc_type=Exception)
    from tinygraph.onnx.compare import runtime
    from tinygraph.onnx.reading.file import from_proto

    w = onnx_models.Writer()
    made = w(op, *inputs, domain="com.microsoft", outputs=outputs, **attributes)
    y = made if outputs == 1 else made[0]
    kinds = {n: onnx.helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in inputs.items()}
    made = w.model({n: (kinds[n], list(a.shape)) for n, a in inputs.items() if a.size}, [y])
    made.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    made.graph.output[0].ClearField("type")
    for n in made.graph.node:
        n.input[:] = [i if inputs[i].size else "" for i in n.input]
    given = {n: a for n, a in inputs.items() if a.size}
    net = OnnxModule(from_proto(made, "net.onnx"), {})
    nodes = net.nodes()
    got = tg.run(tg.Graph("g", tuple(nodes), (net(*nodes),)), *given.values())
    return [got[0], runtime(made.SerializeToString())(given)[0]]


def test_operators_of_the_optimizer() -> None:
    rng = np.random.default_rng(0)

    def f(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    none = np.zeros(0, np.float32)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    ids = np.array([[1, 2, 3, 0, 0], [4, 3, 2, 1, 5]], np.int32)
    x, w, b = f(2, 5, 8), f(8, 24), f(24)
    for got, want in (
        contributed("BiasGelu", {"x": x, "b": f(8)}),
        contributed("FastGelu", {"x": x}),
        contributed("QuickGelu", {"x": x}),
        contributed("Attention", {"x": x, "w": w, "b": b}, num_heads=2),
        contributed("Attention", {"x": x, "w": w, "b": b}, num_heads=2, unidirectional=1),
        contributed("Attention", {"x": x, "w": w, "b": b, "m": mask}, num_heads=2),
        contributed("MultiHeadAttention", {"q": x, "k": f(2, 6, 8), "v": f(2, 6, 8)}, num_heads=2),
        contributed("MultiHeadAttention", {"q": x, "k": x + 1, "v": x, "b": b}, num_heads=4),
        contributed("SkipLayerNormalization", {"x": x, "s": f(2, 5, 8), "g": f(8), "b": f(8)}),
        contributed("EmbedLayerNormalization", {
            "i": ids, "s": none, "w": f(9, 8), "p": f(6, 8), "t": none, "g": f(8), "b": f(8)
        }, outputs=2),
    ):  # fmt: skip
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def test_quantized_operators_of_the_optimizer() -> None:
    rng = np.random.default_rng(0)

    def f(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    def q(*shape: int, dtype: str = "uint8") -> np.ndarray:
        return rng.integers(*((0, 255) if dtype == "uint8" else (-120, 120)), shape).astype(dtype)

    def number(value: float, dtype: str = "float32") -> np.ndarray:
        return np.array(value, dtype)

    none, s, z = np.zeros(0, np.float32), number(0.02), number(120, "uint8")
    image, a, b = q(2, 3, 7, 8), q(4, 6), q(6, 5, dtype="int8")
    bias, zb = rng.integers(-99, 99, 5).astype(np.int32), number(3, "int8")
    gemm = {"a": a, "as": s, "az": z, "b": b, "bs": s, "bz": zb, "c": bias}
    flip = np.array([[True], [False], [True], [False]])
    for got, want in (
        contributed("QGemm", {**gemm, "ys": number(0.5), "yz": number(7, "uint8")}),
        contributed("QGemm", gemm, alpha=0.5),
        contributed("QLinearAveragePool", {"x": image, "s": s, "z": z, "t": s, "u": z},
                    kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        contributed("QLinearWhere", {"c": flip, "x": a, "s": s, "z": z, "y": q(4, 6), "t": s,
                                     "u": number(9, "uint8"), "v": number(0.05), "w": z}),
    ):  # fmt: skip
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=int(got.dtype == np.uint8))
    w, r = q(2, 5, 32, dtype="int8"), q(2, 8, 32, dtype="int8")
    scale, zero = np.array([0.01, 0.02], np.float32), np.array([0, 0], np.int8)
    got, want = contributed("DynamicQuantizeLSTM", {
        "x": f(6, 1, 5), "w": w, "r": r, "b": f(2, 64), "l": none, "h": none, "c": none, "p": none,
        "ws": scale, "wz": zero, "rs": scale, "rz": zero,
    }, direction="bidirectional", hidden_size=8)  # fmt: skip
    np.testing.assert_allclose(got, want, atol=2e-3)  # a number may round to its neighbour


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "int4", "uint4", "uint8"])
@pytest.mark.parametrize("outside", [False, True])
def test_weights_of_few_bits(dtype: str, outside: bool, tmp_path: Path) -> None:
    """In the file or next to it; floats of 8 bits and integers of 4 are only for weights."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="requires ml_dtypes")
    values = np.array([[0, 1, 2], [3, 4, 7]], np.float32)
    w = Writer()
    kind = np.dtype(getattr(ml_dtypes, dtype)) if dtype != "uint8" else np.dtype(dtype)
    tensor = onnx.numpy_helper.from_array(values.astype(kind), "few")
    if outside:
        (tmp_path / "few.bin").write_bytes(b"****" + tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, text in {"location": "few.bin", "offset": "4"}.items():
            tensor.external_data.add(key=key, value=text)
    w.tensors.append(tensor)
    scales = w.tensor(np.array([0.5, 2.0]))
    if dtype == "bfloat16":
        y = w("Mul", w("Cast", "few", to=onnx.TensorProto.FLOAT), w("Unsqueeze", scales, w.ints(1)))
    else:
        y = w("DequantizeLinear", "few", scales, axis=0)
    net = loaded(w.model({"x": [2, 3]}, [w("Add", "x", y)], opset=21), tmp_path)
    x = tg.input("x", 2, 3)
    (got,) = tg.run(tg.Graph("g", (x,), (net(x),)), np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(got, 1 + values * [[0.5], [2.0]])


def test_weights_that_are_nodes_and_those_of_branches_are_parameters(tmp_path: Path) -> None:
    """As Paddle writes them, and as a network for two rates has them."""
    w, helper = Writer(), onnx.helper
    value = onnx.numpy_helper.from_array(np.full((3, 2), 2, np.float32))
    scale = w("Constant", value=value)
    branches = []
    for k in (1.0, 5.0):
        inner = Writer()
        y = inner("MatMul", "x", inner.tensor(np.full((3, 2), k), name="weight"))
        made = helper.make_tensor_value_info(y, onnx.TensorProto.FLOAT, None)
        branches.append(helper.make_graph(inner.nodes, "b", [], [made], inner.tensors))
    y = w("If", "fast", then_branch=branches[0], else_branch=branches[1])
    y = w("Add", w("MatMul", "x", scale), y)
    model = w.model({"x": [1, 3], "fast": (onnx.TensorProto.BOOL, [])}, [y])
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    net = tg.onnx.load(tmp_path / "net.onnx", constants={"fast": False})
    assert set(net.named_parameters()) == {scale, "weight", "weight.2"}
    x = tg.input("x", 1, 3)
    (got,) = tg.run(tg.Graph("g", (x,), (net(x),)), np.ones((1, 3), np.float32))
    np.testing.assert_array_equal(got, [[21, 21]])


def test_whole_numbers_of_any_operator_are_sizes(tmp_path: Path) -> None:
    """As multi-head attention of torch.onnx cuts a shape: at places that Mod gives."""
    w = Writer()
    shape = w("Shape", "x")
    first = w("Reshape", w("Mod", w.ints(-2), w.ints(3)), w.ints(1))
    front = w("Slice", shape, w.ints(0), first, w.ints(0))
    everything = w("Slice", "x", w.ints(0), w.ints(10**9), w.ints(0))  # tf2onnx: to the end
    y = w("Reshape", everything, w("Concat", front, w.ints(6, 2, 2), axis=0))
    net = loaded(w.model({"x": ["n", 6, 4]}, [y]), tmp_path)
    assert net(tg.input("x", 5, 6, 4)).shape == (5, 6, 2, 2)
    assert str(net(tg.input("x", None, 6, 4)).shape[0]) == "n"
