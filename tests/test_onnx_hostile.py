"""ONNX files from strangers: each gives one clear line or a right result, in little memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)

import onnx
from onnx import TensorProto, helper, numpy_helper

import onnx_limited
import onnx_models
import onnx_mutations
import tinygraph as tg
from onnx_hostile import F32, MODELS, convolutional, looped, model, nested, node
from onnx_limited import SECONDS, tried


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


# -- in processes of little memory and time --------------------------------------------------------

limited = pytest.mark.skipif(sys.platform != "linux", reason="requires fork and limits of memory")
CLEAR = ("OnnxError", "ShapeError", "ValueError")


def written(folder: Path, models: dict[str, bytes]) -> list[Path]:
    paths = [folder / f"{name}.onnx" for name in models]
    for path, data in zip(paths, models.values(), strict=True):
        path.write_bytes(data)
    return paths


@limited
def test_a_wrong_model_takes_little_memory_and_time(tmp_path: Path) -> None:
    made = {name.replace(" ", "_"): make().SerializeToString() for name, make in MODELS.items()}
    found = onnx_limited.outcomes(written(tmp_path, made))
    assert len(found) == len(MODELS) >= 30
    for o in found:
        assert o.end in CLEAR and not o.touched, o


@limited
def test_the_limits_are_there(tmp_path: Path) -> None:
    """What is large, slow or reads elsewhere is seen as such."""
    ends = {e: onnx_limited.outcome(tmp_path / "x", e) for e in (_large, _slow, _curious)}
    assert ends[_large].end == "MemoryError"
    assert ends[_slow].end == "signal 14"
    assert ends[_curious].touched == ["open /etc/passwd"]


def _large(path: Path) -> None:
    np.ones(2 << 30, np.uint8)


def _slow(path: Path) -> None:
    import signal
    import time

    signal.alarm(1)
    time.sleep(SECONDS)


def _curious(path: Path) -> None:
    Path("/etc/passwd").read_bytes()


@limited
def test_mutated_files(tmp_path: Path) -> None:
    """Bytes and fields of models as exporters write them: one clear line, or a result."""
    sources = [convolutional(), looped()]
    sources += [
        made().SerializeToString()
        for made in (onnx_models.convolutional, onnx_models.attention, onnx_models.recurrent)
    ]
    ways, rng = (onnx_mutations.of_bytes, onnx_mutations.of_fields), np.random.default_rng(1)
    count = int(os.environ.get("TINYGRAPH_MUTATIONS", "200"))
    made = {f"source{i}": data for i, data in enumerate(sources)}
    for i in range(count):
        made[f"{i}"] = ways[i % 2](sources[i % len(sources)], rng)
    found = onnx_limited.outcomes(written(tmp_path, made))
    assert [o.end for o in found[: len(sources)]] == ["right"] * len(sources)
    for o in found:
        assert o.end in ("right", *CLEAR) and "\n" not in o.text and not o.touched, o
    assert 0 < sum(o.end == "right" for o in found[len(sources) :]) < count
