"""What plans must know of a GPU."""

from __future__ import annotations

from dataclasses import dataclass

from tinygraph.plan.contraction.tiling import Cut, Target

from .kernels.blocking import Sizes, choose


@dataclass(frozen=True, slots=True)
class CudaTarget(Target):
    """Contractions read both operands in place; columns are blocks of one, tiles are chosen by
    blocking.choose."""

    lanes: int = 1
    winograd: bool = False
    packs: bool = False

    def cut(
        self,
        rows: tuple[int, int, int],
        n: int,
        reduction: tuple[int, int, int],
        packed: bool,
        across: bool,
        longest: int = 1,
    ) -> Cut:
        sizes = Sizes(rows[0], rows[1] * rows[2], n, *reduction)
        way, splits = choose(sizes)
        return Cut(1, 1, sizes.tiles(way), 1, splits=splits)


TARGET = CudaTarget()
