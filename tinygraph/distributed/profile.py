"""How long each rank computes in a step, and which one the others wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class RanksProfile:
    """The ranks' parts of a step, without what they do together; ``print`` it.

    Attributes:
        seconds: of each rank, for all its shards.
        hosts: where each one runs.
    """

    name: str
    seconds: Sequence[float]
    hosts: Sequence[str]

    @property
    def slowest(self) -> int:
        """The rank that the others wait for."""
        return max(range(len(self.seconds)), key=self.seconds.__getitem__)

    def __str__(self) -> str:
        usual = median(self.seconds)
        lines = [f"{self.name}: what each of {len(self.seconds)} ranks computes in a step"]
        for rank, (seconds, host) in enumerate(zip(self.seconds, self.hosts, strict=True)):
            mark = "  slowest" if rank == self.slowest and len(self.seconds) > 1 else ""
            lines.append(
                f"  rank {rank} on {host}: {1e3 * seconds:.2f} ms, "
                f"{seconds / usual:.2f} of the median{mark}"
            )
        return "\n".join(lines)
