"""ONNX models that are wrong, or that ask for too much: made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F32 = TensorProto.FLOAT


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


def image(*nodes: onnx.NodeProto, tensors: Sequence[onnx.TensorProto] = ()) -> onnx.ModelProto:
    """Nodes that read i: x as an image of one channel."""
    shape = ints("image_shape", 1, 1, 2, 3)
    return model([node("Reshape", "x image_shape", "i"), *nodes], [shape, *tensors])


def scaled(factor: float) -> onnx.ModelProto:
    scales = numpy_helper.from_array(np.full(2, factor, np.float32), "s")
    return model([helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear")], [scales])


def number(name: str, value: float, dtype: Any = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, dtype), name)


def a_batch_of_loops() -> onnx.ModelProto:
    """Opset 8's Scan is one loop for each example of a batch."""
    steps = body([node("Add", "v r", "v2")], ["v", "r"], ["v2"])
    nodes = [node("Expand", "x s", "many"), node("Unsqueeze", "many", "rows", axes=[1]),
             helper.make_node("Scan", ["", "many", "rows"], ["y"], body=steps,
                              num_scan_inputs=1)]  # fmt: skip
    made = model(nodes, [ints("s", 1 << 20, 2, 3)])
    made.opset_import[0].version = 8
    return made


def doubling_in_a_loop() -> onnx.ModelProto:
    steps = body(
        [node("Identity", "c", "c2"), node("Concat", "v v", "v2", axis=0)],
        ["i", "c", "v"], ["c2", "v2"],
    )  # fmt: skip
    return model([helper.make_node("Loop", ["m", "", "x"], ["y"], body=steps)], [number("m", 900)])


def doubling_in_sequences() -> onnx.ModelProto:
    nodes = [node("SequenceConstruct", "x x", "s0")]
    for k in range(60):
        nodes += [
            node("ConcatFromSequence", f"s{k}", f"t{k}", axis=0),
            node("SequenceConstruct", f"t{k} t{k}", f"s{k + 1}"),
        ]
    return model([*nodes, node("ConcatFromSequence", "s60", axis=0)])


def loops_in_loops() -> onnx.ModelProto:
    """1,000 to the power of 6 steps."""
    inner = body(
        [node("Identity", "c", "c2"), node("Relu", "v", "v2")], ["i", "c", "v"], ["c2", "v2"]
    )
    for k in range(5):
        again = helper.make_node("Loop", ["m", "", f"v{k}"], [f"w{k}"], body=inner)
        inner = body(
            [node("Identity", f"c{k}", f"d{k}"), again],
            [f"i{k}", f"c{k}", f"v{k}"], [f"d{k}", f"w{k}"],
        )  # fmt: skip
    return model([helper.make_node("Loop", ["m", "", "x"], ["y"], body=inner)], [number("m", 1000)])


HUGE = 1 << 30
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
    "a value that doubles in a loop": doubling_in_a_loop,
    "a value that doubles in sequences": doubling_in_sequences,
    "loops in loops": loops_in_loops,
    "a batch of loops": a_batch_of_loops,
    "padding all around": lambda: image(node("MaxPool", "i", kernel_shape=[HUGE, HUGE],
                                             pads=[HUGE - 1] * 4)),
    "holes in a convolution": lambda: image(
        node("ConvTranspose", "i i", strides=[HUGE, HUGE]),
    ),
    "a huge depth": lambda: model(
        [node("Cast", "x", "i", to=TensorProto.INT64), node("OneHot", "i d v")],
        [number("d", HUGE), numpy_helper.from_array(np.array([0, 1], np.float32), "v")],
    ),
    "a huge image": lambda: scaled(1e4),
    "no image": lambda: scaled(1e-30),
    "a mirror of mirrors": lambda: model([node("Pad", "x p", mode="reflect")],
                                         [ints("p", 0, HUGE // 2, 0, HUGE // 2)]),
    "more parts than elements": lambda: model([node("Split", "x", "y z", num_outputs=HUGE)]),
    "blocks of no size": lambda: image(node("DepthToSpace", "i", blocksize=0)),
    "a huge transform": lambda: model([node("Unsqueeze", "x a", "u"), node("DFT", "u n")],
                                      [ints("a", 2), number("n", 1 << 22)]),
    "a huge frame": lambda: model([helper.make_node("STFT", ["x", "s", "", "n"], ["y"])],
                                  [number("s", 1), number("n", HUGE)]),
    "a huge window": lambda: model([node("HannWindow", "n")], [number("n", 1 << 40)]),
    "points within points": lambda: image(
        node("RoiAlign", "i r b", output_height=2, output_width=2, sampling_ratio=1 << 20),
        tensors=[numpy_helper.from_array(np.ones((1, 4), np.float32), "r"), ints("b", 0)],
    ),
    "a huge vocabulary": lambda: model([
        node("Cast", "x", "i", to=TensorProto.INT64),
        node("TfIdfVectorizer", "i", mode="TF", min_gram_length=1, max_gram_length=1,
             max_skip_count=0, ngram_counts=[0], ngram_indexes=[1 << 40], pool_int64s=[1]),
    ]),
    "steps to no number": lambda: model(
        [node("Range", "a b c")],
        [number(n, v, np.float32) for n, v in (("a", 0), ("b", np.nan), ("c", 1))],
    ),
    "an index beyond": lambda: model([node("Gather", "x i")], [ints("i", 5)]),
    "a huge matrix of ones": lambda: model(
        [node("Expand", "x s", "e"), node("EyeLike", "e")], [ints("s", 1 << 16, 2, 3)]
    ),
}  # fmt: skip


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
