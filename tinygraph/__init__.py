"""tinygraph: networks as static graphs, optimized by passes, run as generated Python kernels.

x = tg.input("image", 64, 1, 28, 28)
net = tg.models.lenet5()
predict = tg.compile([x], [net(x)])
(logits,) = predict(images)
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from .compiler import sources as _sources  # noqa: F401  # isort: skip  first: it looks at the files
from . import checkpoint, models, nn, onnx, ops, optim, tracebacks
from .autodiff import GradientError, check_grad, grad
from .calibrate import calibrate
from .compile import compile
from .compiler.backend import BackendError
from .compiler.program import Program
from .graph import hints as _hints
from .graph.diff import diff
from .graph.dtype import astype
from .graph.dump import dump
from .graph.interpret import run
from .graph.ir import Graph, Node, Parameter
from .graph.op import ShapeError, constant, input
from .graph.origins import origin, scope
from .graph.parameter import parameter
from .graph.parse import ParseError, parse
from .graph.placement import device
from .graph.state import LostValueError
from .graph.types import Type
from .graph.verify import VerifyError
from .nn import manual_seed
from .ops.public import *  # noqa: F403
from .settings import settings
from .view import view

if _TYPE_CHECKING:
    from . import data, distributed, extend, metrics, pictures, train

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "GradientError",
    "Graph",
    "LostValueError",
    "Node",
    "Parameter",
    "ParseError",
    "Program",
    "ShapeError",
    "Type",
    "VerifyError",
    "astype",
    "calibrate",
    "check_grad",
    "checkpoint",
    "compile",
    "constant",
    "data",
    "device",
    "diff",
    "distributed",
    "dump",
    "extend",
    "grad",
    "input",
    "manual_seed",
    "metrics",
    "models",
    "nn",
    "onnx",
    "optim",
    "origin",
    "parameter",
    "parse",
    "pictures",
    "run",
    "scope",
    "settings",
    "train",
    "view",
]
__all__ += ops.__all__

tracebacks.install()

# Imported then, not by ``import tinygraph``.
_WHEN_USED = ("data", "distributed", "extend", "metrics", "pictures", "train")


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHEN_USED})


if not _TYPE_CHECKING:

    def __getattr__(name):  # type: ignore[no-untyped-def]
        if name in _WHEN_USED:
            return _import_module(f".{name}", __name__)
        _hints.missing("tg", name, _hints.FUNCTIONS, __all__)
