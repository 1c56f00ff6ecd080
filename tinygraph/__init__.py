"""tinygraph: networks as static graphs, optimized by passes, run as generated Numba code.

x = tg.input("image", 64, 1, 28, 28)
net = tg.models.lenet5()
predict = tg.compile([x], [net(x)])
(logits,) = predict(images)
"""

from . import checkpoint, models, nn, ops, optim, tracebacks
from .autodiff import GradientError, check_grad, grad
from .backend import BackendError
from .compile import compile
from .diff import diff
from .dump import dot, dump
from .interpret import run
from .ir import Graph, Node, Parameter
from .nn import manual_seed
from .op import ShapeError, constant, input
from .ops import *  # noqa: F403
from .origins import scope
from .parameter import parameter
from .parse import ParseError, parse
from .placement import device
from .program import Program
from .settings import settings
from .types import Type
from .verify import VerifyError

__all__ = [
    "BackendError",
    "GradientError",
    "Graph",
    "Node",
    "Parameter",
    "ParseError",
    "Program",
    "ShapeError",
    "Type",
    "VerifyError",
    "check_grad",
    "checkpoint",
    "compile",
    "constant",
    "device",
    "diff",
    "dot",
    "dump",
    "grad",
    "input",
    "manual_seed",
    "models",
    "nn",
    "optim",
    "parameter",
    "parse",
    "run",
    "scope",
    "settings",
]
__all__ += ops.__all__

tracebacks.install()
