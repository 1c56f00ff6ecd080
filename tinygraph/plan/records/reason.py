"""Why two neighbours in the graph are in two kernels."""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """Why two adjacent nodes are not in one kernel: the closed list."""

    INDEX = "its elements are needed at other positions"
    EDGES = "it is read beyond its edges, so it must be in memory"
    ANCHOR = "a contraction reads its operands from memory"
    REDUCTION = "its reduction runs over other axes"
    WINDOW = "a window would compute it several times"
    CYCLE = "another kernel stands between them"
    TEMPLATE = "its kernel has a template of its own"
    STAGE = "a contraction's tile holds sums, not whole rows"
    JOINED = "its reader had joined another kernel"
    COPIED = "its reader is computed in each kernel that needs it"
    PIECES = "the sums of its pieces are added up by a kernel of their own"
    DETACHED = "the contraction's tile could not take its epilogue"
    SIZE = "its kernel has as many nodes as compile in good time"
    DEVICE = "they are on two devices"
    LEFT_OUT = "fusion is left out"
