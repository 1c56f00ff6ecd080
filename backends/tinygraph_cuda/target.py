"""What plans must know of a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tinygraph.plan.records.target import (
    NEVER,
    Copying,
    Cut,
    Lowering,
    OperatorKernel,
    Prefetch,
    Product,
    Shaping,
)

from .kernels.blocking import (
    BY_TENSOR_CORES,
    SHAPING,
    AnyBlocking,
    Sizes,
    choose,
    choose_tensor,
)

COPYING = Copying(
    heavy=NEVER,
    few=0,
    many=NEVER,
    turned=NEVER,
    turned_once=NEVER,
    reused=NEVER,
    near=0,
    crowded=2048,
    gap=64,
    deep=NEVER,
    ways=NEVER,
)


@dataclass(frozen=True, slots=True)
class CudaTarget:
    """Contractions read both operands as they are stored; columns are blocks of one, tiles are
    chosen by blocking.choose. Launches are cut into blocks of threads where kernels are written, so
    parts of loop nests are those of a processor, as are the estimates that order launches.
    """

    lanes: int = 1
    devices: int | None = 1
    packs: bool = False
    winograd: bool = False
    lowerings: tuple[Lowering, ...] = ()
    kernels: Mapping[str, OperatorKernel] = field(default_factory=dict)
    copying: Copying = COPYING
    shaping: Shaping = SHAPING
    prefetch: Prefetch | None = None
    resident: int = 2**20
    near: int = 0

    def cut(self, product: Product) -> Cut:
        p = product
        sizes = Sizes(p.batch, p.outer * p.rows, p.columns, *p.reduction)
        way: AnyBlocking
        if p.factors[0] in BY_TENSOR_CORES:
            way, splits = choose_tensor(sizes)
        else:
            way, splits = choose(sizes)
        return Cut(1, 1, sizes.tiles(way), 1, splits=splits)

    def across(self, columns: Product, reduction: Product) -> bool:
        return False

    def parts(self, work: int) -> int:
        return min(round(work / 32_768), 64)

    def duration(self, operations: int, bytes: int) -> float:
        return 4096 + bytes + operations / 8


TARGET = CudaTarget()
