"""Networks as ONNX files: ``load`` and ``save``. Needs the extra ``tinygraph[onnx]``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .reading.errors import OnnxError

if TYPE_CHECKING:
    from ..compiler.program import Program
    from ..graph.ir import Graph, Node, Parameter
    from ..nn.module import Module
    from .module import OnnxModule

__all__ = ["OnnxError", "load", "save"]


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

    Example:
        >>> x = tg.input("x", None, 4)
        >>> tg.onnx.save(nn.Linear(4, 2), "net.onnx", x)
        >>> tg.onnx.load("net.onnx")(x).shape[1]
        2
    """
    require_package()
    from .module import OnnxModule
    from .reading.file import read

    return OnnxModule(read(path), constants or {})


def save(
    what: Program | Graph | Module,
    path: str | Path,
    *inputs: Node,
    outputs: Sequence[str] = (),
    updates: Iterable[tuple[Parameter, Node]] = (),
    training: bool = False,
) -> None:
    """Writes an ONNX file of the network as written, before any pass, for other runtimes.

        tg.onnx.save(net, "net.onnx", tg.input("images", None, 3, 224, 224))
        tg.onnx.save(program, "step.onnx")

    Parameters become initializers under their names. Where a program, or an effect such as running
    statistics, changes parameters, these are inputs with their values as defaults, and their new
    values are outputs named ``<parameter>.new``: a whole training step is a function of inputs and
    state. An open batch size is the symbolic dimension N.

    Args:
        what: a program, a graph, or a module, which is called on ``inputs``.
        path: the file, which is replaced as a whole; values beyond 1 GiB go to ``<path>.data``.
        inputs: the nodes that a module is called on.
        outputs: names of the outputs, by default output0, output1, ...
        updates: for a graph: (parameter, new value) pairs, as ``tg.compile`` takes them.
        training: for a module: its graph for training.

    Raises:
        ImportError: the package onnx is not there.
        OnnxError: lists the operators that ONNX cannot express.
        TypeError: inputs for a program or a graph, or none for a module; updates for others.

    Example:
        >>> tg.onnx.save(nn.Linear(4, 2), "net.onnx", tg.input("x", None, 4))
    """
    require_package()
    from .writing.file import model, write
    from .writing.source import graph_of

    graph, changed = graph_of(what, inputs, tuple(updates), training)
    write(model(graph, changed, outputs), path)


def require_package() -> None:
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
