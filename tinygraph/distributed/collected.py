"""Values that are on some ranks only, brought to all of them."""

from __future__ import annotations

from ..graph.ir import Parameter
from ..graph.spread import collect as collect_parameters
from ..nn.module import Module
from ..optim import Optimizer


def collect(*things: Module | Optimizer | Parameter) -> None:
    """Brings values that not every rank has to all ranks, which all call this.

    What a program computes on one rank (``tg.device("rank:1/cpu:0")``), and an optimizer's state of
    which each rank has a part (``data_parallel(..., shard_optimizer=True)``), cannot be read
    elsewhere before. ``checkpoint.save`` does this by itself.

    Args:
        things: parameters, or what has them: modules, optimizers.

    Raises:
        DistributedError: ranks do not collect the same.

    Example:
        >>> net = nn.Linear(4, 2)
        >>> distributed.collect(net)                # alone all values are here
    """
    parameters: list[Parameter] = []
    for thing in things:
        parameters += [thing] if isinstance(thing, Parameter) else thing.named_state().values()
    collect_parameters(parameters)
