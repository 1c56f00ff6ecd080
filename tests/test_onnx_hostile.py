"""ONNX files from strangers: each gives one clear line or a right result, in little memory."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx
from onnx import TensorProto, helper, numpy_helper

import tinygraph as tg

F32 = TensorProto.FLOAT
CLEAR = (tg.onnx.OnnxError, tg.ShapeError, ValueError)


def value(name: str, *shape: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, F32, shape)


def model(
    nodes: list[onnx.NodeProto],
    tensors: list[onnx.TensorProto] | None = None,
    outputs: tuple[str, ...] = ("y",),
    opset: int = 18,
    functions: list[onnx.FunctionProto] | None = None,
) -> onnx.ModelProto:
    made = [helper.make_tensor_value_info(o, F32, None) for o in outputs]
    graph = helper.make_graph(nodes, "g", [value("x", 2, 3)], made, tensors or [])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=functions or [])


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def ints(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def body(nodes: list[onnx.NodeProto], inputs: list[str], outputs: list[str]) -> onnx.GraphProto:
    untyped = [helper.make_empty_tensor_value_info(n) for n in inputs]
    return helper.make_graph(
        nodes, "b", untyped, [helper.make_empty_tensor_value_info(n) for n in outputs]
    )


def huge_dims() -> onnx.ModelProto:
    t = numpy_helper.from_array(np.zeros(1, np.float32), "w")
    t.dims[:] = [1 << 40, 1 << 40]
    return model([node("Add", "x w")], [t])


def wrong_bytes() -> onnx.ModelProto:
    t = numpy_helper.from_array(np.zeros((2, 3), np.float32), "w")
    t.raw_data = t.raw_data[:5]
    return model([node("Add", "x w")], [t])


def negative_dim() -> onnx.ModelProto:
    t = numpy_helper.from_array(np.zeros((2, 3), np.float32), "w")
    t.dims[:] = [-2, -3]
    return model([node("Add", "x w")], [t])


def strange_dtype() -> onnx.ModelProto:
    t = numpy_helper.from_array(np.zeros((2, 3), np.float32), "w")
    t.data_type = 77
    return model([node("Add", "x w")], [t])


def wrong_attribute() -> onnx.ModelProto:
    made = model([node("Softmax", "x", axis=1)])
    made.graph.node[0].attribute[0].CopyFrom(helper.make_attribute("axis", "one"))
    return made


def forever() -> onnx.ModelProto:
    steps = body(
        [node("Identity", "c", "c2"), node("Relu", "v", "v2")], ["i", "c", "v"], ["c2", "v2"]
    )
    true = numpy_helper.from_array(np.array(True), "t")
    return model([helper.make_node("Loop", ["", "t", "x"], ["y"], body=steps)], [true])


def a_billion() -> onnx.ModelProto:
    steps = body(
        [node("Identity", "c", "c2"), node("Relu", "v", "v2")], ["i", "c", "v"], ["c2", "v2"]
    )
    many = numpy_helper.from_array(np.array(10**9), "m")
    return model([helper.make_node("Loop", ["m", "", "x"], ["y"], body=steps)], [many])


def function(name: str, *calls: onnx.NodeProto) -> onnx.FunctionProto:
    return helper.make_function(
        "own", name, ["a"], ["b"], list(calls), [helper.make_opsetid("", 18)]
    )


def recursive() -> onnx.ModelProto:
    own = function("f", helper.make_node("f", ["a"], ["b"], domain="own"))
    return model([helper.make_node("f", ["x"], ["y"], domain="own")], functions=[own])


def doubling() -> onnx.ModelProto:
    """Each function calls the next twice: 2^30 nodes in a few kilobytes."""
    functions = [function("f0", node("Relu", "a", "b"))]
    for k in range(1, 31):
        calls = [
            helper.make_node(f"f{k - 1}", [i], [o], domain="own")
            for i, o in (("a", "m"), ("m", "b"))
        ]
        functions.append(function(f"f{k}", *calls))
    return model([helper.make_node("f30", ["x"], ["y"], domain="own")], functions=functions)


def nested() -> onnx.ModelProto:
    """Branches within branches, as deep as protobuf reads."""
    inner = body([node("Relu", "x", "r0")], [], ["r0"])
    for k in range(1, 15):
        other = body([node("Relu", "x", "r")], [], ["r"])
        made = helper.make_node("If", ["t"], [f"r{k}"], then_branch=inner, else_branch=other)
        inner = body([made], [], [f"r{k}"])
    true = numpy_helper.from_array(np.array(True), "t")
    made = helper.make_node("If", ["t"], ["y"], then_branch=inner, else_branch=inner)
    return model([made], [true])


def tiles() -> onnx.ModelProto:
    many = ints("r", 1 << 20, 1 << 20)
    return model([node("Tile", "x r")], [many])


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "a cycle": lambda: model([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b")]),
    "an input that nothing computes": lambda: model([node("Add", "x nowhere")]),
    "two producers": lambda: model([node("Relu", "x"), node("Tanh", "x")]),
    "an output that nothing computes": lambda: model([node("Relu", "x", "z")]),
    "unknown operators": lambda: model([node("Foo", "x", "a"), node("Bar", "a")]),
    "an unknown domain": lambda: model([helper.make_node("Relu", ["x"], ["y"], domain="evil")]),
    "an old opset": lambda: model([node("Relu", "x")], opset=1),
    "huge sizes": huge_dims,
    "too few bytes": wrong_bytes,
    "a negative size": negative_dim,
    "a strange dtype": strange_dtype,
    "an attribute of another type": wrong_attribute,
    "a missing attribute": lambda: model([node("Cast", "x")]),
    "an unknown attribute": lambda: model([node("Relu", "x", wild=1)]),
    "too many inputs": lambda: model([node("Relu", "x x x")]),
    "an axis beyond": lambda: model([node("Softmax", "x", axis=7)]),
    "a huge filled array": lambda: model(
        [node("ConstantOfShape", "s", "c"), node("Add", "x c")], [ints("s", 1 << 20, 1 << 20)]
    ),
    "a huge expansion": lambda: model([node("Expand", "x s")], [ints("s", 1 << 30, 2, 3)]),
    "a huge ramp": lambda: model(
        [node("Range", "a b c", "r"), node("Cast", "r", to=F32)],
        [numpy_helper.from_array(np.array(v), n) for n, v in (("a", 0), ("b", 10**10), ("c", 1))],
    ),
    "huge tiles": tiles,
    "a huge padding": lambda: model([node("Pad", "x p")], [ints("p", 0, 0, 1 << 40, 1 << 40)]),
    "a reshape that does not fit": lambda: model([node("Reshape", "x s")], [ints("s", 5, -1)]),
    "a loop without end": forever,
    "a billion steps": a_billion,
    "a function that calls itself": recursive,
    "functions that double": doubling,
}


def tried(path: Path) -> list[np.ndarray]:
    """What a user does with a file, up to the first result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = tg.onnx.load(path)
        nodes = net.nodes()
        made = net(*nodes)
    graph = tg.Graph("tried", tuple(nodes), made if isinstance(made, tuple) else (made,))
    return tg.run(graph, *(np.zeros(n.shape, n.dtype) for n in nodes))


@pytest.mark.parametrize("what", MODELS)
def test_a_wrong_model_is_one_clear_line(what: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODELS[what]().SerializeToString())
    with pytest.raises((tg.onnx.OnnxError, tg.ShapeError)) as caught:
        tried(path)
    text = str(caught.value)
    assert text.startswith("model.onnx") and "\n" not in text and len(text) < 400, text


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"no protobuf", b"\xff" * 1000])
def test_what_is_no_model(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(tg.onnx.OnnxError, match=r"^model\.onnx [^\n]*$"):
        tried(path)


def test_legal_oddities(tmp_path: Path) -> None:
    """Nodes in any order, a newer opset, an input that is the output, many branches."""
    path = tmp_path / "model.onnx"
    unsorted = model([node("Relu", "a"), node("Neg", "x", "a")])
    newer, empty = model([node("Relu", "x")], opset=99), model([], outputs=("x",))
    for made in (unsorted, newer, empty, nested()):
        path.write_bytes(made.SerializeToString())
        (found,) = tried(path)
        np.testing.assert_array_equal(found, np.zeros((2, 3)))


def test_names_are_only_names(tmp_path: Path) -> None:
    """Nothing in a name is run, and none breaks a dump."""
    wild = '\'); import os; os._exit(3)\n"""#%0 = {x}\\'
    made = model([helper.make_node("Relu", ["x"], [wild], name=wild)], outputs=(wild,))
    made.graph.input[0].name = made.graph.node[0].input[0] = wild + "in"
    made.graph.initializer.append(numpy_helper.from_array(np.ones((2, 3), np.float32), wild + "w"))
    made.graph.node.append(helper.make_node("Add", [wild, wild + "w"], ["z"]))
    made.graph.output.append(helper.make_tensor_value_info("z", F32, None))
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    net = tg.onnx.load(path)
    program = net.compile()
    relu, z = program(np.full((2, 3), -1, np.float32))
    assert not relu.any() and (z == 1).all()
    for stage in program.stages:
        assert program.dump(stage, lines=True)
    assert str(tg.parse(program.dump("graph"))) == program.dump("graph")


# -- external data ---------------------------------------------------------------------------------


def external(location: str, **others: str) -> onnx.ModelProto:
    t = TensorProto(name="w", data_type=F32, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, text in {"location": location, **others}.items():
        t.external_data.add(key=key, value=text)
    return model([node("Add", "x w")], [t])


def test_external_data_is_read_from_the_folder(tmp_path: Path) -> None:
    w = np.arange(9, dtype=np.float32)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(w.tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(external("data/w.bin", offset="8", length="24").SerializeToString())
    (found,) = tried(path)
    np.testing.assert_array_equal(found.ravel(), w[2:8])


@pytest.mark.skipif(sys.platform == "win32", reason="requires links and FIFOs")
@pytest.mark.parametrize(
    ("location", "others"),
    [
        ("../secret.bin", {}),
        ("a/../../secret.bin", {}),
        ("/etc/passwd", {}),
        ("link.bin", {}),
        ("linked/secret.bin", {}),
        ("fifo", {}),
        (".", {}),
        ("", {}),
        ("none.bin", {}),
        ("w\0.bin", {}),
        ("w.bin", {"offset": "-4"}),
        ("w.bin", {"offset": "1000000"}),
        ("w.bin", {"length": "12"}),
        ("w.bin", {"length": "9" * 40}),
    ],
)
def test_external_data_outside_is_refused(
    location: str, others: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(24))
    (folder / "w.bin").write_bytes(bytes(24))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "fifo")
    path = folder / "model.onnx"
    path.write_bytes(external(location, **others).SerializeToString())
    with pytest.raises(tg.onnx.OnnxError, match=r"^model\.onnx: the tensor 'w' [^\n]*$"):
        tried(path)


# -- mutations -------------------------------------------------------------------------------------


def convolutional() -> bytes:
    rng = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n)
        for n, s in (("w", (4, 1, 3, 3)), ("b", (4,)), ("f", (36, 5)))
    ]
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1], strides=[1, 1]),
        node("Relu", "c", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Shape", "p", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n zeros", "u"),
        node("Concat", "u rest", "shape", axis=0),
        node("Reshape", "p shape", "flat"),
        node("MatMul", "flat f", "y"),
    ]
    graph = helper.make_graph(
        nodes, "g", [value("x", 1, 1, 6, 6)], [value("y", 1, 5)],
        [*tensors, numpy_helper.from_array(np.array(0), "zero"), ints("zeros", 0),
         ints("rest", -1)],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()


def looped() -> bytes:
    steps = body(
        [node("Identity", "c", "c2"), node("Tanh", "v", "v2")], ["i", "c", "v"], ["c2", "v2"]
    )
    three = numpy_helper.from_array(np.array(3), "m")
    nodes = [
        helper.make_node("Loop", ["m", "", "x"], ["l"], body=steps),
        node("Resize", "l  scales", "y", mode="linear"),
    ]
    nodes[1].input[:] = ["l", "", "scales"]
    scales = numpy_helper.from_array(np.array([1, 2.0], np.float32), "scales")
    return model(nodes, [three, scales]).SerializeToString()


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, removed, doubled or inserted."""
    found = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, n = int(rng.integers(len(found))), int(rng.integers(1, 9))
        match int(rng.integers(5)):
            case 0:
                found[at] = int(rng.integers(256))
            case 1:
                del found[at : at + n]
            case 2:
                found[at:at] = found[at : at + n]
            case 3:
                found[at:at] = rng.bytes(n)
            case 4:
                found[at] ^= 1 << int(rng.integers(8))
    return bytes(found)


@pytest.mark.parametrize("make", [convolutional, looped])
def test_mutated_files(make: Callable[[], bytes], tmp_path: Path) -> None:
    data, rng = make(), np.random.default_rng(1)
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert len(tried(path)) == 1
    for _ in range(int(os.environ.get("TINYGRAPH_MUTATIONS", "300"))):
        path.write_bytes(mutated(data, rng))
        try:
            tried(path)
        except CLEAR as error:
            assert "\n" not in str(error), error
