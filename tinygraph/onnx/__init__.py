"""Networks as ONNX files: ``tg.onnx.load``. Needs the extra ``tinygraph[onnx]``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .reading.errors import OnnxError

if TYPE_CHECKING:
    from .module import OnnxModule

__all__ = ["OnnxError", "load"]


def load(path: str | Path, *, constants: Mapping[str, Any] | None = None) -> OnnxModule:
    """The network in an ONNX file as a module, which builds graphs of any size of its inputs.

        net = tg.onnx.load("resnet50.onnx")
        program = net.compile(batch=1)
        (logits,) = program(images)

    Args:
        path: the file; external data must be in its folder. Nothing in it is executed.
        constants: values of inputs that shapes depend on, by name, such as ``{"sr": 16000}``: they
            are no inputs then.

    Raises:
        ImportError: the package onnx is not there.
        OnnxError: the file is no ONNX model, something in it is wrong, or it has operators that
            tinygraph lacks: all of them at once.
    """
    _require()
    from .module import OnnxModule
    from .reading.file import read

    return OnnxModule(read(path), constants or {})


def _require() -> None:
    """
    Raises:
        ImportError: the package onnx is not there, or is broken.
    """
    if find_spec("onnx") is None:
        raise ImportError("tg.onnx requires the package onnx: pip install 'tinygraph[onnx]'")
    try:
        import_module("onnx")
    except Exception as error:  # protobuf of another version raises an error of its own
        raise ImportError(
            f"tg.onnx requires the package onnx, which is broken here: {error}"
        ) from None
