"""What each thread did when in one run: a log that the driver writes while it counts cycles.

A table has none by default; then nothing of this runs. A thread's log begins with the number of its
entries; an entry is the word that the queue has for it (launch, part), and the counter's values
when the thread took the part, when all that the part waits for was complete, and at its end.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygraph_cpu.driver.launch_table import ENTRY, words


class Log:
    """Memory for the entries of a run of ``items`` parts by up to so many threads."""

    def __init__(self, items: int, threads: int):
        self.row = 1 + ENTRY * items
        self.words = words(self.row * threads)
        self.threads = threads

    def entries(self) -> Iterator[tuple[int, np.ndarray]]:
        """For each thread its number, and its entries [n, 4] in order."""
        for tid in range(self.threads):
            row = self.words[tid * self.row : (tid + 1) * self.row]
            yield tid, row[1 : 1 + ENTRY * int(row[0])].reshape(-1, ENTRY)
