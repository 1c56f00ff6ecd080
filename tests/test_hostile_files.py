"""Files of strangers: whatever is in them, reading ends soon, in arrays or in a ValueError."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import checkpoint, data
from tinygraph.checkpoints.torch_file import read_torch

GOLDEN = Path(__file__).with_name("golden")


def archive(content: bytes, method: int = zipfile.ZIP_STORED, **storages: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as z:
        z.writestr("x/data.pkl", content)
        for key, raw in storages.items():
            z.writestr(f"x/data/{key}", raw)
    return file.getvalue()


STORAGE = b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI4\ntQ"


def tensors(shape: str, strides: str, offset: str = "0", count: int = 1) -> bytes:
    """The pickle of some tensors over one storage of four float32."""
    one = b"ctorch._utils\n_rebuild_tensor\n(%sL%sL\n(%st(%sttR" % (
        STORAGE,
        offset.encode(),
        b"".join(b"L%sL\n" % n.encode() for n in shape.split()),
        b"".join(b"L%sL\n" % n.encode() for n in strides.split()),
    )
    named = (b"S'w%d'\n%s" % (i, one) for i in range(count))
    return b"(" + b"".join(named) + b"d."


def stored(content: bytes) -> bytes:
    return archive(content, **{"0": bytes(16)})


def doubled(times: int) -> bytes:
    """A tuple of two of the one before, sixty times: 2**60 hashes as a key."""
    return b")" + b"q\x00h\x00\x86" * times


def encrypted() -> bytes:
    raw = bytearray(stored(tensors("4", "1")))
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        at = raw.find(mark)
        raw[at + (6 if mark[2] == 3 else 8)] |= 1
    return bytes(raw)


TORCH: dict[str, tuple[str, bytes]] = {
    "2**30 elements of one": ("would become tensors", stored(tensors("1073741824", "0"))),
    "2**40 elements of one": ("would become tensors", stored(tensors("1099511627776", "0"))),
    "many tensors of one": ("would become", stored(tensors("1048576", "0", count=100))),
    "a size beyond 2**63": ("beyond all memory", stored(tensors("9223372036854775808", "0"))),
    "a stride beyond 2**63": ("beyond all memory", stored(tensors("1", "9" * 30))),
    "an offset beyond 2**63": ("beyond all memory", stored(tensors("0", "1", "9" * 30))),
    "a million digits": ("limit", stored(tensors("1" * 1_000_000, "1"))),
    "a hundred axes": ("100 axes", stored(tensors("1 " * 100, "1 " * 100))),
    "sizes without strides": ("2 axes and 1 strides", stored(tensors("1 1", "1"))),
    "a memo at 2**31": ("holds NoneType", stored(b"\x80\x02Nr\xff\xff\xff\x7f.")),
    "a key of 2**60 tuples": ("tuple as a key", stored(b"\x80\x02}" + doubled(60) + b"K\x01s.")),
    "a storage of 2**60 tuples": ("is not a storage", stored(doubled(60) + b"Q.")),
    "100,000 tuples": ("holds tuple", stored(b"\x80\x02)" + b"\x85" * 100_000 + b".")),
    "pairs that are none": ("TypeError", stored(b"ccollections\nOrderedDict\n((K\x01ltR.")),
    "2**62 bytes of text": ("bytes", stored(b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"x.")),
    "attributes of a number": ("changes a int", stored(b"\x80\x02K\x01}b.")),
    "a call of a number": ("calls a int", stored(b"\x80\x02K\x01)R.")),
    "a new object": ("NEWOBJ", stored(b"\x80\x02ccollections\nOrderedDict\n)\x81.")),
    "an empty stack": ("IndexError", stored(b"\x80\x02.")),
    "no mark": ("IndexError", stored(b"\x80\x02t.")),
    "compressed": ("compressed", archive(b"}.", zipfile.ZIP_DEFLATED, **{"0": bytes(1 << 29)})),
    "encrypted": ("encrypted", encrypted()),
}


@pytest.mark.parametrize("name", TORCH)
def test_a_hostile_pth_is_a_value_error_at_once(name: str) -> None:
    tracemalloc.start()
    try:
        message, content = TORCH[name]
        with pytest.raises(ValueError, match=message) as error:
            read_torch(content)
        assert len(str(error.value)) < 500
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()


def test_what_torch_writes_is_read_still() -> None:
    """Views that repeat elements, sizes of 0, Python 2's names, attributes of dictionaries."""
    found = read_torch(stored(tensors("3 2", "0 1")))["w0"]
    assert found.tolist() == [[0.0, 0.0]] * 3
    assert read_torch(stored(tensors("0 5", "7 1", "9")))["w0"].shape == (0, 5)
    assert read_torch(stored(tensors("1", "77")))["w0"].shape == (1,)
    old = tensors("4", "1").replace(b"S'w0'\n", b"U\x03\xc3\xa9b")
    assert list(read_torch(stored(old))) == ["éb"]
    again = tensors("4", "1")[:-1] + b"}S'_metadata'\nNsb."
    assert list(read_torch(stored(again))) == ["w0"]


def npy(header: str, content: bytes = b"", version: int = 1) -> bytes:
    text = header.encode("latin-1")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + content


def npz(member: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as z:
        z.writestr("w.npy", member)
    return file.getvalue()


def header(shape: str, dtype: str = "<f4") -> str:
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"


def safetensors(tensors: dict[str, object], content: bytes = b"") -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + content


def one(dtype: str, shape: list[int], size: int) -> bytes:
    return safetensors(
        {"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}, bytes(size)
    )


OTHERS: dict[str, tuple[str, bytes]] = {
    "2**40 elements": ("npz", npz(npy(header("(1099511627776,)")))),
    "2**63 elements": ("npz", npz(npy(header("(9223372036854775808,)")))),
    "a negative size": ("npz", npz(npy(header("(-4,)"), bytes(16)))),
    "a wide dtype": ("npz", npz(npy(header("(4,)", "|S2147483647"), bytes(16)))),
    "objects": ("npz", npz(npy(header("(1,)", "|O"), pickle.dumps([1])))),
    "code in the header": ("npz", npz(npy("__import__('os').abort()"))),
    "no end of a bracket": ("npz", npz(npy("{'descr': ((((((", version=2))),
    "an array without an archive": ("npz", npy(header("(4,)"), bytes(16))),
    "BZ2": ("npz", npz(npy(header("(1000000000,)")), zipfile.ZIP_BZIP2)),
    "F8": ("safetensors", one("F8_E4M3", [4], 4)),
    "beyond the file": ("safetensors", one("F32", [4], 16)[:-3]),
    "deep JSON": ("safetensors", struct.pack("<Q", 200_000) + b"[" * 200_000),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_hostile_files_are_value_errors(name: str, tmp_path: Path) -> None:
    suffix, content = OTHERS[name]
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"weights.{suffix} is not a valid .{suffix} file"):
        checkpoint.read_arrays(path)


def test_bfloat16_is_read_and_what_is_not_is_named(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "w.safetensors"
    wanted = np.array([[1.0, -2.5, np.inf], [0.0, -0.0, 3e38]], np.float32)
    halves = (wanted.view(np.uint32) >> 16).astype("<u2")
    at = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}
    path.write_bytes(safetensors({"w": at}, halves.tobytes()))
    found = checkpoint.read_arrays(path)["w"]
    assert found.shape == (2, 3) and np.array_equal(found.view("uint16"), halves)
    kept = tg.astype(found, "float32")
    assert np.array_equal(kept.view(np.uint32) >> 16, halves)
    path.write_bytes(one("F8_E4M3", [4], 4))
    with pytest.raises(ValueError, match=r"w is F8_E4M3; read are BF16, F64, F32"):
        checkpoint.read_arrays(path)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_every_dtype_comes_back(suffix: str, tmp_path: Path) -> None:
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    kinds = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")
    arrays = {k: np.arange(6).reshape(2, 3).astype(k) for k in kinds}
    arrays |= {"none": np.zeros((0, 3), "f4"), "one": np.ones((), "f4")}
    checkpoint.write_arrays(tmp_path / f"w.{suffix}", arrays)
    found = checkpoint.read_arrays(tmp_path / f"w.{suffix}")
    assert found.keys() == arrays.keys()
    for k, a in arrays.items():
        assert found[k].dtype == a.dtype and np.array_equal(found[k], a)


def test_fortran_order_and_compression_are_read(tmp_path: Path) -> None:
    a = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.savez_compressed(tmp_path / "w.npz", a=a, zeros=np.zeros(1_000_000))
    found = checkpoint.read_arrays(tmp_path / "w.npz")
    assert np.array_equal(found["a"], a) and not found["zeros"].any()


def idx() -> bytes:
    return b"\0\0\x0d\x02" + struct.pack(">II", 2, 3) + np.arange(6, dtype=">f4").tobytes()


def written(path: Path, compressed: bool) -> bytes:
    arrays = {"a": np.arange(40, dtype=np.float32), "b": np.ones((3, 4), np.int64)}
    if compressed:
        np.savez_compressed(path, **arrays)
    else:
        checkpoint.write_arrays(path, arrays)
    return path.read_bytes()


FORMATS: dict[str, Callable[[Path], bytes]] = {
    ".npz": lambda path: written(path, False),
    "compressed.npz": lambda path: written(path, True),
    ".safetensors": lambda path: written(path, False),
    ".pth": lambda path: (GOLDEN / "torch_weights.pth").read_bytes(),
    "old.pth": lambda path: (GOLDEN / "torch_weights_old.pth").read_bytes(),
    ".idx": lambda path: idx(),
    ".idx.gz": lambda path: gzip.compress(idx()),
}


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("name", FORMATS)
def test_random_damage_is_a_value_error_or_another_number(name: str, tmp_path: Path) -> None:
    if name == ".safetensors":
        pytest.importorskip("safetensors")
    path = tmp_path / f"w{name}"
    read = data.load_idx if "idx" in name else checkpoint.read_arrays
    whole = FORMATS[name](path)
    path.write_bytes(whole)
    read(path)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(250):
        raw = bytearray(whole)
        match rng.integers(4):
            case 0:
                raw = raw[: rng.integers(len(raw))]
            case 1:
                at = rng.integers(len(raw))
                del raw[at : at + rng.integers(1, 9)]
            case _:
                for at in rng.integers(len(raw), size=rng.integers(1, 5)):
                    raw[at] = rng.choice([0, 255, raw[at] ^ (1 << rng.integers(8))])
        path.write_bytes(raw)
        try:
            read(path)
        except ValueError:
            refused += 1
    assert refused > 60


def test_a_small_gzip_does_not_become_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    for shape in ((2, 3), (1 << 20, 1 << 8)):
        head = b"\0\0\x08\x02" + struct.pack(">II", *shape)
        path.write_bytes(gzip.compress(head + bytes(1 << 25), 1))
        tracemalloc.start()
        with pytest.raises(ValueError, match="but holds"):
            data.load_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
        tracemalloc.stop()


def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    from tinygraph.datasets import picture

    image.new("1", (8_000, 8_000)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match="8000 x 8000 pixels are more than"):
        picture.read_digit(tmp_path / "x.png")
    image.new("1", (20_000, 20_000)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"x\.png: "):
        picture.read_digit(tmp_path / "x.png")


# -- names that become code ------------------------------------------------------------------------

NAMES = [
    'a"""\nraise SystemExit(7)\n"""',
    "a\nraise SystemExit(7)",
    'ends in a quote"',
    '"""',
    "ends in a backslash\\",
    '\\"""\nraise SystemExit(7)\n"""',
    "carriage\rraise SystemExit(7)",
    "\0 \ud800 \u2028raise SystemExit(7)",
    '"" "',
    "a" * 90 + '""" + 1; """',
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("what", ["program", "node", "input", "parameter"])
def test_a_name_never_becomes_code(name: str, what: str) -> None:
    x = tg.input(name if what == "input" else "x", 4)
    w = tg.parameter(np.ones((4, 4)), name if what == "parameter" else "w")
    y = tg.exp(x @ w)
    y = y.named(name) if what == "node" else y
    program = tg.compile([x], [y], name=name if what == "program" else "p")
    text = Path(program.source_path).read_text()
    scope: dict[str, object] = {}
    exec(compile(text, "module", "exec"), scope)
    assert "main" in scope
    assert program(np.zeros(4, np.float32))[0].tolist() == [1.0] * 4
