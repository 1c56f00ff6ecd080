"""Training and inference by several processes, on one machine or many, connected by MPI.

    from tinygraph import distributed as dist            # pip install 'tinygraph[mpi]'

    step = dist.data_parallel([x, y], [loss], updates=updates, shards=8)
    step(images, labels)                                 # the global batch

    mpiexec -n 4 python train.py                         # the same bits as: python train.py

Without a launcher every program runs alone, rank 0 of 1, and needs no MPI.
"""

from __future__ import annotations

from ..ranks.world import DistributedError as DistributedError
from ..ranks.world import world as _world
from .batches import ShardedBatches as ShardedBatches
from .collected import collect as collect
from .data_parallel import DataParallel as DataParallel
from .data_parallel import data_parallel as data_parallel
from .inference import batch_inference as batch_inference

__all__ = [
    "DataParallel",
    "DistributedError",
    "ShardedBatches",
    "barrier",
    "batch_inference",
    "collect",
    "data_parallel",
    "local_rank",
    "rank",
    "size",
]


def rank() -> int:
    """The number of this process among all ranks.

    Raises:
        DistributedError: a launcher started several ranks, and MPI does not connect them.

    Example:
        >>> distributed.rank()                      # alone, without a launcher
        0
    """
    return _world().rank


def size() -> int:
    """How many ranks there are.

    Raises:
        DistributedError: see ``distributed.rank``.

    Example:
        >>> distributed.size()
        1
    """
    return _world().size


def local_rank() -> int:
    """The number of this process among the ranks of its host.

    Raises:
        DistributedError: see ``distributed.rank``.

    Example:
        >>> distributed.local_rank()
        0
    """
    return _world().local_rank


def barrier() -> None:
    """Returns once every rank has called it.

    Raises:
        DistributedError: a rank has failed or calls something else; names it.

    Example:
        >>> distributed.barrier()
    """
    _world().gather(None)
