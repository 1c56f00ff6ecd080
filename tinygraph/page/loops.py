"""The machine code of the innermost loops of those kernels that compute most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..inspect.inspection import Inspection

MOST = 12  # kernels; each takes LLVM a tenth of a second
LONG = 160  # instructions beyond which a loop is no text for people


def loops(inspection: Inspection) -> Iterator[tuple[int, list[str]]]:
    """Numbers of kernels, and the lines of their loops."""
    if inspection.inner_loop is None:
        return
    work: Counter[int] = Counter()
    for cost, call in zip(inspection.costs, inspection.code.calls, strict=True):
        for w in call.work:
            if inspection.code.kernels[w.kernel].record is not None:
                work[w.kernel] += 1 + cost.flops * w.parts // max(call.parts, 1)
    for number, _ in work.most_common(MOST):
        lines = inspection.inner_loop(inspection.code.kernels[number]).splitlines()
        if 0 < len(lines) <= LONG:
            yield number, lines
