"""PyTorch's files: both formats are read, nothing in them is executed, names are torchvision's.

The files come from tests/golden/make_torch_files.py.
"""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygraph import checkpoint, models, nn
from tinygraph.checkpoints.torch_file import read_torch

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_torch_models import weights

FOLDER = Path(__file__).with_name("golden")
FILES = ["torch_weights.pth", "torch_weights_old.pth"]


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))


@pytest.mark.parametrize("file", FILES)
def test_a_file_of_pytorch_is_loaded_by_name(file: str) -> None:
    net = network()
    checkpoint.load(FOLDER / file, net)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, weights(name, value.shape), err_msg=name)
    assert checkpoint.read_arrays(FOLDER / file)["1.num_batches_tracked"] == 0


@pytest.mark.parametrize("file", FILES)
def test_names_and_shapes_that_do_not_fit_are_one_list_and_change_nothing(file: str) -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(3), nn.Flatten(), fc=nn.Linear(12, 2))
    before = net.state_dict()
    with pytest.raises(ValueError) as error:
        checkpoint.load(FOLDER / file, net)
    for line in (
        "missing: fc.weight (2, 12)",
        "unexpected: 3.weight (2, 12)",
        "wrong shape: 0.weight is (4, 2, 3, 3), got (3, 2, 3, 3)",
        "6 names do not fit",
    ):
        assert line in str(error.value)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("file", FILES)
def test_every_cut_is_one_error(file: str) -> None:
    data = (FOLDER / file).read_bytes()
    for end in range(0, len(data), 7):
        with pytest.raises(ValueError):
            read_torch(data[:end])


def test_reading_needs_no_pytorch() -> None:
    code = f"""
import sys
from tinygraph.checkpoint import read_arrays
read_arrays({str(FOLDER / FILES[0])!r})
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# -- what is not executed --------------------------------------------------------------------------


class Call:
    """Unpickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def archive(content: bytes, **storages: bytes) -> bytes:
    """As torch.save writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as z:
        z.writestr("x/data.pkl", content)
        for key, raw in storages.items():
            z.writestr(f"x/data/{key}", raw)
    return file.getvalue()


ATTACKS = {
    "system": (Call(__import__("os").system, "touch executed"), "system"),
    "eval": (Call(eval, "open('executed', 'w')"), "eval"),
    "getattr": (Call(getattr, [], "append"), "getattr"),
    "nested": (OrderedDict(weight=[Call(exec, "open('executed', 'w')")]), "exec"),
    "module": (nn.Linear, "tinygraph.nn.linear.Linear"),
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("attack", ATTACKS)
def test_functions_that_a_file_names_are_refused(
    attack: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, name = ATTACKS[attack]
    Path("run.pt").write_bytes(archive(pickle.dumps(content, protocol)))
    with pytest.raises(ValueError, match=rf"run.pt is not .*{name}, which is not executed"):
        checkpoint.read_arrays("run.pt")
    assert not Path("executed").exists()


def tensor(offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """The pickle of {'w': a tensor}, over storage 0 of float32, as text opcodes."""
    numbers = [
        f"I{offset}\n",
        *("(" + "".join(f"I{n}\n" for n in t) + "t" for t in (shape, strides)),
    ]
    storage = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI4\ntQ"
    return f"(S'w'\nctorch._utils\n_rebuild_tensor\n({storage}{''.join(numbers)}tRd.".encode()


def test_a_type_of_elements_is_not_made_up() -> None:
    content = tensor(0, (1,), (1,)).replace(b"ctorch\nFloatStorage\n", b"S'O'\n")
    with pytest.raises(ValueError, match="is not a storage"):
        read_torch(archive(content, **{"0": bytes(16)}))


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_tensors_are_found_where_training_scripts_put_them(key: str) -> None:
    inner = tensor(0, (4,), (1,))[:-1]
    content = b"(S'epoch'\nI3\nS'" + key.encode() + b"'\n" + inner + b"d."
    assert list(read_torch(archive(content, **{"0": bytes(16)}))) == ["w"]


def test_views_of_storages() -> None:
    raw = np.arange(4, dtype="<f4").tobytes()
    found = read_torch(archive(tensor(1, (3,), (1,)), **{"0": raw}))["w"]
    assert found.tolist() == [1, 2, 3]
    found = read_torch(archive(tensor(0, (2, 2), (1, 2)), **{"0": raw}))["w"]
    assert found.tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (5,), (1,)), (2, (3,), (1,)), (-1, (2,), (1,)), (3, (2,), (-1,)), (0, (2, 2), (3, 1))],
)
def test_tensors_beyond_their_storage_are_refused(offset: int, shape: Any, strides: Any) -> None:
    with pytest.raises(ValueError, match="reaches beyond"):
        read_torch(archive(tensor(offset, shape, strides), **{"0": bytes(16)}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds list"),
        ({"epoch": 3}, "under 'epoch' it holds int"),
        ({"state_dict": {"a": None}}, "under 'a' it holds NoneType"),
    ],
)
def test_what_is_no_tensor_is_named(content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_torch(archive(pickle.dumps(content)))


def test_all_types_of_elements(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    floats = ("float64", "float32", "float16", "bfloat16")
    types = (*floats, "int64", "int32", "int16", "int8", "uint8", "bool")
    whole = {name: torch.arange(6).reshape(2, 3).to(getattr(torch, name)) for name in types}
    whole |= {
        "transposed": whole["float32"].T,
        "part": whole["int64"][1, 1:],
        "one": torch.ones(()),
    }
    whole["parameter"] = torch.nn.Parameter(torch.ones(2))
    for archived in (True, False):
        torch.save(whole, tmp_path / "x.pt", _use_new_zipfile_serialization=archived)
        found = checkpoint.read_arrays(tmp_path / "x.pt")
        assert list(found) == list(whole)
        for name, t in whole.items():
            want = t.detach().float().numpy() if name == "bfloat16" else t.detach().numpy()
            assert found[name].dtype == want.dtype
            np.testing.assert_array_equal(found[name], want)


# -- torchvision's names ---------------------------------------------------------------------------

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "alexnet": lambda: models.alexnet("torchvision"),
    "googlenet": lambda: models.googlenet("torchvision"),
    "inception_v3": models.inception_v3,
    "resnet50": models.resnet50,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_are_those_of_torchvision(name: str) -> None:
    """Read from torchvision itself by tests/golden/make_torchvision_names.py."""
    net, golden = NETWORKS[name](), np.load(FOLDER / "torchvision_names.npz")
    theirs = dict(zip(golden[f"{name}/names"], golden[f"{name}/shapes"], strict=True))
    ours = net.named_parameters() | net.named_buffers()
    shapes = {n: "x".join(map(str, p.shape)) for n, p in ours.items()}
    tracked = [n for n in theirs if n.endswith("num_batches_tracked")]
    assert theirs == shapes | dict.fromkeys(tracked, "")
    assert len(tracked) == sum(n.endswith("running_var") for n in shapes)
