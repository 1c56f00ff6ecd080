"""Steps of training as operators: gradients, and three optimizers."""

from __future__ import annotations

from collections.abc import Callable

from ... import ops
from ...autodiff import grad
from ...graph.ir import Node
from .rules import Applied, rule

DOMAIN = "ai.onnx.preview.training"


@rule("Gradient", domain=DOMAIN)
def gradient(c: Applied) -> tuple[Node, ...]:
    """The derivatives of the value named ``y`` by those named ``xs``, the first inputs."""
    xs = [c.x(i) for i in range(len(c.attr("xs")))]
    y = c.as_node(c.walk.named(c.attr("y")))
    return tuple(grad(ops.sum(y), xs))


def _each(step: Callable[..., tuple[Node, ...]], state: int) -> Callable[[Applied], object]:
    """The rule of an optimizer: inputs are the rate, the number of the step, then all parameters,
    their gradients, and each of the ``state`` kinds of state, as are outputs without gradients.
    """

    def apply(c: Applied) -> tuple[Node, ...]:
        count, rest = divmod(len(c.inputs) - 2, state + 2)
        if rest or not count:
            raise c.fault(f"requires {state + 2} inputs for each parameter, got {len(c.inputs)}")
        rows = [[c.x(2 + kind * count + i) for kind in range(state + 2)] for i in range(count)]
        made = [step(c, *row) for row in rows]
        return tuple(new for kind in zip(*made, strict=True) for new in kind)

    return apply


def _regularized(c: Applied, x: Node, g: Node) -> Node:
    return g + x * c.attr("norm_coefficient", 0.0)


def _step(c: Applied, dtype: str) -> Node:
    """The number of the step, from 0."""
    return ops.cast(c.x(1), dtype)


def adagrad(c: Applied, x: Node, g: Node, h: Node) -> tuple[Node, Node]:
    """Duchi, Hazan and Singer, 2011."""
    rate = c.x(0) / (_step(c, x.dtype) * c.attr("decay_factor", 0.0) + 1.0)
    g = _regularized(c, x, g)
    h = h + g * g
    return x - rate * g / (ops.sqrt(h) + c.attr("epsilon", 0.0)), h


def momentum(c: Applied, x: Node, g: Node, v: Node) -> tuple[Node, Node]:
    """Sutskever et al., 2013: standard, or Nesterov's."""
    alpha, beta = c.attr("alpha"), c.attr("beta")
    g = _regularized(c, x, g)
    beta = ops.where(ops.less(0, _step(c, x.dtype)), beta, 1.0)
    v = v * alpha + g * beta
    return x - c.x(0) * (g + v * alpha if c.attr("mode") == "nesterov" else v), v


def adam(c: Applied, x: Node, g: Node, v: Node, h: Node) -> tuple[Node, Node, Node]:
    """Kingma and Ba, 2015; the rate is corrected from the second step on."""
    alpha, beta, t = c.attr("alpha"), c.attr("beta"), _step(c, x.dtype)
    g = _regularized(c, x, g)
    v = v * alpha + g * (1 - alpha)
    h = h * beta + g * g * (1 - beta)
    corrected = ops.sqrt(1.0 - ops.pow(beta, t)) / (1.0 - ops.pow(alpha, t))
    rate = c.x(0) * ops.where(ops.less(0, t), corrected, 1.0)
    y = x - rate * v / (ops.sqrt(h) + c.attr("epsilon"))
    return y * (1 - c.attr("norm_coefficient_post", 0.0)), v, h


rule("Adagrad", domain=DOMAIN)(_each(adagrad, 1))
rule("Momentum", domain=DOMAIN)(_each(momentum, 1))
rule("Adam", domain=DOMAIN)(_each(adam, 2))
