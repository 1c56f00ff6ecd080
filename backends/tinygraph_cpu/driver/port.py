"""Where kernels call out of compiled code, to what all ranks compute together."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np

from tinygraph.graph.dtype import DTYPES
from tinygraph.plan.records.work import COMMUNICATE, PASS_MESSAGE, SUM_SHARDS
from tinygraph.ranks.collectives import KINDS, collective
from tinygraph.ranks.world import DistributedError, world

from .launch_table import words
from .native import addresses

_I64 = ctypes.c_int64
_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, _I64, _I64, _I64, _I64, _I64)
_NUMPY = [np.dtype(d.numpy) for d in DTYPES.values()]


def _communicate(address: int, kind: int, size: int, dtype: int, root: int, ranks: int) -> None:
    """An error ends this process, and with it all ranks: native code cannot raise it."""
    found = world()
    try:
        if found.size != ranks:
            raise DistributedError(f"a program of {ranks} ranks runs on {found.size}")
        kind_of = _NUMPY[dtype]
        bytes = (ctypes.c_uint8 * (size * kind_of.itemsize)).from_address(address)
        memory = np.ctypeslib.as_array(bytes).view(kind_of)
        collective(found, KINDS[kind], memory, root)
    except BaseException as error:
        found.end(f"{KINDS[kind]} of {size:,} {_NUMPY[dtype].name}: {error}")


@cache
def _address() -> int:
    function = _FUNCTION(_communicate)
    _kept.append(function)
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def port() -> np.ndarray:
    """A program's block, through which its kernels call out: for what all ranks compute together
    (``COMMUNICATE``), for sums over shards and for messages (``SUM_SHARDS`` and ``PASS_MESSAGE``,
    see sums.py).
    """
    block = words(8)
    native = addresses()
    block[COMMUNICATE], block[SUM_SHARDS] = _address(), native.sum
    block[PASS_MESSAGE] = native.message
    return block


_kept: list[object] = []
