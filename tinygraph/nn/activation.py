"""Activations as layers."""

from __future__ import annotations

from .. import ops
from ..graph.ir import Node
from ..graph.numeric import numeric
from .drawn import drawn
from .functional import Function
from .init import constant
from .module import Module


class ReLU(Function):
    """max(x, 0), and NaN stays NaN.

    Example:
        >>> tg.run(nn.ReLU()(tg.constant([-1.0, 2.0])))
        array([0., 2.], dtype=float32)
    """

    function = staticmethod(ops.relu)


@numeric
class LeakyReLU(Function):
    """x where x > 0, else negative_slope * x.

    Example:
        >>> tg.run(nn.LeakyReLU(0.5)(tg.constant([-1.0, 2.0])))
        array([-0.5,  2. ], dtype=float32)
    """

    function = staticmethod(ops.leaky_relu)

    def __init__(self, negative_slope: float = 0.01):
        super().__init__(negative_slope=negative_slope)


@numeric
class ELU(Function):
    """x where x > 0, else alpha (e^x - 1).

    Example:
        >>> tg.run(nn.ELU()(tg.constant([-1.0, 2.0])))
        array([-0.63212055,  2.        ], dtype=float32)
    """

    function = staticmethod(ops.elu)

    def __init__(self, alpha: float = 1.0):
        super().__init__(alpha=alpha)


class CELU(ELU):
    """x where x > 0, else alpha (e^(x / alpha) - 1).

    Example:
        >>> tg.run(nn.CELU(2.0)(tg.constant([-1.0, 2.0])))
        array([-0.78693867,  2.        ], dtype=float32)
    """

    function = staticmethod(ops.celu)


class SELU(Function):
    """ELU, scaled so that activations keep mean 0 and variance 1 (Klambauer et al., 2017).

    Example:
        >>> tg.run(nn.SELU()(tg.constant([-1.0, 2.0])))
        array([-1.1113307,  2.101402 ], dtype=float32)
    """

    function = staticmethod(ops.selu)


@numeric
class PReLU(Module):
    """x where x > 0, else ``weight`` x: a slope that is learned (He et al., ICCV 2015).

    Args:
        num_parameters: 1, or a slope for each channel of x[N, C, ...].
        init: the slope at first.

    Example:
        >>> tg.run(nn.PReLU()(tg.constant([[-1.0, 2.0]])))
        array([[-0.25,  2.  ]], dtype=float32)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25):
        self.weight = drawn((num_parameters,), constant(init))

    def forward(self, x: Node, training: bool = False) -> Node:
        return ops.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}"


class ReLU6(Function):
    """x kept within [0, 6].

    Example:
        >>> tg.run(nn.ReLU6()(tg.constant([-1.0, 9.0])))
        array([0., 6.], dtype=float32)
    """

    function = staticmethod(ops.relu6)


@numeric
class Hardtanh(Function):
    """x kept within [min, max].

    Example:
        >>> tg.run(nn.Hardtanh()(tg.constant([-3.0, 0.5])))
        array([-1. ,  0.5], dtype=float32)
    """

    function = staticmethod(ops.hardtanh)

    def __init__(self, min: float = -1.0, max: float = 1.0):
        super().__init__(min=min, max=max)


class Hardsigmoid(Function):
    """relu6(x + 3) / 6.

    Example:
        >>> tg.run(nn.Hardsigmoid()(tg.constant([-3.0, 0.0])))
        array([0. , 0.5], dtype=float32)
    """

    function = staticmethod(ops.hardsigmoid)


class Hardswish(Function):
    """x relu6(x + 3) / 6.

    Example:
        >>> tg.run(nn.Hardswish()(tg.constant([-3.0, 3.0])))
        array([-0.,  3.], dtype=float32)
    """

    function = staticmethod(ops.hardswish)


class Mish(Function):
    """x tanh(log(1 + e^x)).

    Example:
        >>> tg.run(nn.Mish()(tg.constant([0.0, 2.0])))
        array([0.       , 1.9439589], dtype=float32)
    """

    function = staticmethod(ops.mish)


class Softplus(Function):
    """log(1 + e^x).

    Example:
        >>> tg.run(nn.Softplus()(tg.constant([0.0, 100.0])))
        array([  0.6931472, 100.       ], dtype=float32)
    """

    function = staticmethod(ops.softplus)


class Softsign(Function):
    """x / (1 + |x|).

    Example:
        >>> tg.run(nn.Softsign()(tg.constant([-1.0, 3.0])))
        array([-0.5 ,  0.75], dtype=float32)
    """

    function = staticmethod(ops.softsign)


class LogSigmoid(Function):
    """log(sigmoid(x)).

    Example:
        >>> tg.run(nn.LogSigmoid()(tg.constant([0.0, 100.0])))
        array([-6.931472e-01, -3.783506e-44], dtype=float32)
    """

    function = staticmethod(ops.log_sigmoid)


@numeric
class LogSoftmax(Function):
    """log(softmax(x)) along ``axis``.

    Example:
        >>> tg.run(nn.LogSoftmax()(tg.constant([1.0, 1.0])))
        array([-0.6931472, -0.6931472], dtype=float32)
    """

    function = staticmethod(ops.log_softmax)

    def __init__(self, axis: int = -1):
        super().__init__(axis=axis)


@numeric
class GLU(Function):
    """The first half along ``axis`` times the sigmoid of the second.

    Example:
        >>> nn.GLU()(tg.zeros((8, 10))).shape
        (8, 5)
    """

    function = staticmethod(ops.glu)

    def __init__(self, axis: int = -1):
        super().__init__(axis=axis)


class Tanh(Function):
    """(e^x - e^-x) / (e^x + e^-x).

    Example:
        >>> tg.run(nn.Tanh()(tg.constant([0.0, 100.0])))
        array([0., 1.], dtype=float32)
    """

    function = staticmethod(ops.tanh)


class Sigmoid(Function):
    """1 / (1 + e^-x).

    Example:
        >>> tg.run(nn.Sigmoid()(tg.constant([0.0, 100.0])))
        array([0.5, 1. ], dtype=float32)
    """

    function = staticmethod(ops.sigmoid)


class SiLU(Function):
    """x sigmoid(x).

    Example:
        >>> tg.run(nn.SiLU()(tg.constant([0.0, 100.0])))
        array([  0., 100.], dtype=float32)
    """

    function = staticmethod(ops.silu)


class GELU(Function):
    """x times the normal distribution function; ``approximate="tanh"`` is faster.

    Example:
        >>> tg.run(nn.GELU()(tg.constant([0.0, 100.0])))
        array([  0., 100.], dtype=float32)
    """

    function = staticmethod(ops.gelu)

    def __init__(self, approximate: str = "none"):
        super().__init__(approximate=approximate)


@numeric
class Softmax(Function):
    """e^x / sum e^x along ``axis``.

    Example:
        >>> tg.run(nn.Softmax()(tg.constant([1.0, 1.0])))
        array([0.5, 0.5], dtype=float32)
    """

    function = staticmethod(ops.softmax)

    def __init__(self, axis: int = -1):
        super().__init__(axis=axis)
