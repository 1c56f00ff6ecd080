"""Checkpoints: a module's values, an optimizer's state, the random seed and counter in one file.

``.safetensors`` (needs the package safetensors) or ``.npz``. The module's values are stored under
their dotted names, so that a checkpoint is a file of weights as other libraries write them; all
else is stored under names that begin with ``@``, which no attribute can have. PyTorch's files of
weights (``.pt``, ``.pth``, ``.bin``) are read too, without executing what is in them.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from .graph.dtype import DTYPES
from .graph.spread import collect
from .nn.assign import assign
from .nn.module import Module
from .nn.random import SEED, STEP
from .optim import Optimizer
from .ranks.world import world

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

OPTIMIZER, NUMBER = "@optimizer.", "@number."
__all__ = ("load", "read_arrays", "save", "write_arrays")

SAFETENSORS: dict[str, Any] = {
    "BF16": DTYPES["bfloat16"].numpy,
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip
DEFLATED = 1032  # how many times smaller an archive can make an array at most
Arrays = dict[str, np.ndarray]
Number = int | float | bool
Optimizers = Optimizer | Sequence[Optimizer]


def save(
    path: str | Path, module: Module, optimizer: Optimizers | None = None, **numbers: Any
) -> None:
    """Writes a module's values, and with an optimizer all that a run needs to continue.

    The file appears whole or not at all. Of several ranks, all of which call it, rank 0 writes the
    file; the others return at once, unless it needs values that only they have.

    Args:
        path: ends in .safetensors or .npz.
        module: whose parameters and buffers are written.
        optimizer: one, or several, whose state is, too, with the counters of random numbers.
        numbers: for ``load`` to return, such as ``epoch=3``; or arrays of numbers.

    Raises:
        ValueError: the path has another ending.
        TypeError: one of ``numbers`` is none.

    Example:
        >>> net = nn.Linear(4, 2)
        >>> checkpoint.save("net.npz", net, epoch=3)
    """
    held: list[Module | Optimizer] = [module, *(one for _, one in _named(optimizer))]
    collect(p for one in held for p in one.named_state().values())
    arrays = module.state_dict()
    for prefix, one in _named(optimizer):
        arrays |= {prefix + k: v for k, v in one.state_dict().items()}
        arrays |= {f"@{p.name}": p.value for p in (SEED, STEP)}
    for name, number in numbers.items():
        if np.asarray(number).dtype.kind not in "biuf":
            raise TypeError(f"a checkpoint keeps numbers, got {name}={number!r}")
        arrays[NUMBER + name] = np.asarray(number)
    if world().rank == 0:
        write_arrays(path, arrays)


def _named(optimizer: Optimizers | None) -> list[tuple[str, Optimizer]]:
    """Optimizers with the prefix of what they store; only that of several has a number."""
    if optimizer is None:
        return []
    if isinstance(optimizer, Sequence):
        return [(f"{OPTIMIZER}{k}.", one) for k, one in enumerate(optimizer)]
    return [(OPTIMIZER, optimizer)]


def load(
    path: str | Path,
    module: Module,
    optimizer: Optimizers | None = None,
    *,
    strict: bool = True,
) -> dict[str, Any]:
    """Sets a module's values from a file; with an optimizer, training continues where ``save`` was
    called.

        checkpoint.load("resnet50.pth", models.resnet50())

    Args:
        path: .safetensors, .npz, .pt, .pth or .bin.
        module: of the same architecture as what was saved.
        optimizer: one of the same kind, or as many as were saved.
        strict: False lets the module's names be missing or unexpected.

    Returns:
        The numbers that were saved with it, and the arrays of numbers.

    Raises:
        ValueError: no such format, a damaged file, no optimizer state in it, or a list of all names
            that do not fit. Nothing was changed then.

    Example:
        >>> net = nn.Linear(4, 2)
        >>> checkpoint.save("net.npz", net, epoch=3)
        >>> checkpoint.load("net.npz", net)
        {'epoch': 3}
    """
    arrays = read_arrays(path)
    named = _named(optimizer)
    states = [_taken(arrays, prefix) for prefix, _ in named]
    others = _taken(arrays, OPTIMIZER)
    numbers = _taken(arrays, NUMBER)
    random = _taken(arrays, "@")
    if named and not (any(states) or others):
        raise ValueError(f"{path} has weights only, no optimizer's state to continue from")
    if named and others:
        raise ValueError(f"{path} has the state of another number of optimizers than {len(named)}")
    all_of_it: list[Module | Optimizer] = [module, *(one for _, one in named)]
    collect(p for one in all_of_it for p in one.named_state().values())
    before = [one.state_dict() for one in all_of_it]
    try:
        module.load_state_dict(arrays, strict)
        for (_, one), state in zip(named, states, strict=True):
            one.load_state_dict(state)
        if named:
            assign({p.name or "": p for p in (SEED, STEP)}, random)
    except ValueError as error:
        for changed, values in zip(all_of_it, before, strict=True):
            changed.load_state_dict(values)
        raise ValueError(f"{path}: {error}") from None
    return {name: a if a.ndim else a.item() for name, a in numbers.items()}


def _taken(arrays: Arrays, prefix: str) -> Arrays:
    """Takes what has a prefix out of the arrays, and the prefix off the names."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}


def write_arrays(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Writes named arrays to a .safetensors or .npz file, which appears whole or not at all.

    Args:
        arrays: by their names.

    Raises:
        ValueError: the path has another ending.

    Example:
        >>> checkpoint.write_arrays("values.npz", {"a": np.zeros(3)})
    """
    path = Path(path)
    contiguous = {k: np.asarray(v, order="C") for k, v in arrays.items()}
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"checkpoints are .safetensors or .npz files, got {path.name!r}")
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with open(temporary, "xb") as f:
            if path.suffix == ".npz":
                np.savez(f, **contiguous)  # type: ignore[arg-type]  # names, not options
            else:
                f.write(_encoded(contiguous))
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_arrays(path: str | Path) -> Arrays:
    """The named arrays of a file: .safetensors, .npz, or PyTorch's .pt, .pth and .bin.

    Never executes what is in it.

    Args:
        path: its ending says the format.

    Raises:
        ValueError: no such format, or a damaged file.

    Example:
        >>> checkpoint.write_arrays("values.npz", {"a": np.zeros(3)})
        >>> checkpoint.read_arrays("values.npz")["a"]
        array([0., 0., 0.])
    """
    path = Path(path)
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors}
    readers |= dict.fromkeys((".pt", ".pth", ".bin"), _read_torch)
    if (read := readers.get(path.suffix)) is None:
        raise ValueError(f"weights are read from {', '.join(readers)} files, got {path.name!r}")
    data = path.read_bytes()
    try:
        return read(data)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # whatever damaged bytes lead to
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{path} is not a valid {path.suffix} file: {kind}{error}") from None


def _read_npz(data: bytes) -> Arrays:
    from zipfile import ZipFile  # not at the start: few programs read files

    with ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        return {m.filename.removesuffix(".npy"): _read_npy(archive, m) for m in members}


def _read_npy(archive: ZipFile, member: ZipInfo) -> np.ndarray:
    """The array of a member, which is as large as its header says."""
    with archive.open(member) as file:
        if np.lib.format.read_magic(file) == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size > min(member.file_size, DEFLATED * member.compress_size):
        raise ValueError(f"{member.filename} has less than the {size:,} bytes of its header")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_torch(data: bytes) -> Arrays:
    from .checkpoints.torch_file import (  # imported when needed: few programs read such files
        read_torch,
    )

    return read_torch(data)


def _read_safetensors(data: bytes) -> Arrays:
    _safetensors()
    from safetensors import deserialize

    return {name: _decoded(name, **tensor) for name, tensor in deserialize(data)}


def _encoded(arrays: Arrays) -> bytes:
    """The bytes of a .safetensors file: the header's size, the header, the arrays, the widest
    elements first. The package writes no format that NumPy lacks.
    """
    codes = {np.dtype(kind): code for code, kind in SAFETENSORS.items()}
    header, parts, at = {}, [], 0
    for name, a in sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])):
        kind, end = a.dtype.newbyteorder("<"), at + a.nbytes
        header[name] = {"dtype": codes[kind], "shape": a.shape, "data_offsets": (at, end)}
        parts.append(a.astype(kind).tobytes())
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _decoded(name: str, dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    """The array of a tensor in a .safetensors file."""
    if dtype not in SAFETENSORS:
        raise ValueError(f"{name} is {dtype}; read are {', '.join(SAFETENSORS)}")
    return np.frombuffer(data, SAFETENSORS[dtype]).reshape(shape)


def _safetensors() -> None:
    try:
        import safetensors  # noqa: F401
    except ImportError:
        raise ImportError(
            "safetensors files need the package safetensors (pip install safetensors); "
            ".npz files need nothing"
        ) from None
