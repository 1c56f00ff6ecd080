"""Checkpoints: a module's values, an optimizer's state, the random seed and counter in one file.

``.safetensors`` (needs the package safetensors) or ``.npz``. The module's values stand under their
dotted names, so that a checkpoint is a file of weights as other libraries write them; all else
stands under names that begin with ``@``, which no attribute can have.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .nn.module import Module, assign
from .nn.random import SEED, STEP
from .optim import Optimizer

Arrays = dict[str, np.ndarray]


def save(
    path: str | Path, module: Module, optimizer: Optimizer | None = None, *, step: int = 0
) -> None:
    """Writes a module's values, and with an optimizer all that a run needs to continue.

    The file appears whole or not at all. ``step`` is the caller's own count, for ``load`` to return.
    """
    arrays = module.state_dict()
    if optimizer is not None:
        arrays |= {f"@optimizer.{k}": v for k, v in optimizer.state_dict().items()}
        arrays |= {f"@{p.name}": p.value for p in (SEED, STEP)}
        arrays["@step"] = np.asarray(step, np.int64)
    write_arrays(path, arrays)


def load(
    path: str | Path,
    module: Module,
    optimizer: Optimizer | None = None,
    *,
    strict: bool = True,
) -> int:
    """Sets a module's values from a file; with an optimizer, goes on where ``save`` was called.

    Returns:
        The ``step`` that was saved, 0 if the file has only weights.

    Raises:
        ValueError: no such format, a damaged file, no optimizer state in it, or a list of all names
            that do not fit; ``strict=False`` lets the module's names be missing or unexpected.
    """
    arrays = read_arrays(path)
    rest = {k[1:]: arrays.pop(k) for k in list(arrays) if k.startswith("@")}
    if optimizer is not None and "step" not in rest:
        raise ValueError(f"{path} has weights only, no optimizer's state to continue from")
    try:
        module.load_state_dict(arrays, strict)
        if optimizer is not None:
            state = {k.removeprefix("optimizer."): v for k, v in rest.items() if "optimizer." in k}
            optimizer.load_state_dict(state)
            assign({p.name or "": p for p in (SEED, STEP)}, rest, strict=False)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return int(rest.get("step", 0))


def write_arrays(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Writes named arrays to a .safetensors or .npz file, which appears whole or not at all."""
    path = Path(path)
    contiguous = {k: np.asarray(v, order="C") for k, v in arrays.items()}
    kind = _format(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as f:
            if kind == ".npz":
                np.savez(f, **contiguous)  # type: ignore[arg-type]  # names, not options
            else:
                f.write(_safetensors().save(contiguous))
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_arrays(path: str | Path) -> Arrays:
    """The named arrays of a .safetensors or .npz file; never executes what is in it."""
    path = Path(path)
    kind = _format(path)
    data = path.read_bytes()
    try:
        if kind == ".safetensors":
            return dict(_safetensors().load(data))
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} is a damaged {kind} file: {error}") from None


def _format(path: Path) -> str:
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"checkpoints are .safetensors or .npz files, got {path.name!r}")
    return path.suffix


def _safetensors() -> Any:
    try:
        from safetensors import numpy as module
    except ImportError:
        raise ImportError(
            "safetensors files need the package safetensors (pip install safetensors); "
            ".npz files need nothing"
        ) from None
    return module
