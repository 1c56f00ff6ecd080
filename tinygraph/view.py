"""view() -> path: two programs on one page; and what notebooks show of nodes and graphs."""

from __future__ import annotations

import os
from pathlib import Path

from .compiler.program import Program
from .graph.ir import Graph, Node
from .graph.methods import overload


def view(first: Program, second: Program, path: str | os.PathLike[str]) -> Path:
    """Writes one HTML page that shows what differs between two programs, and each as
    ``Program.view`` does: before and after an edit, float32 and another dtype, two backends, batch
    1 and 64.

        tg.view(before, after, "edit.html")

    Args:
        first, second: compiled programs.
        path: of the page.

    Returns:
        The path.

    Raises:
        ValueError: the path does not end in .html, or a program's batch size is not bound yet.

    Example:
        >>> x = tg.input("x", 64)
        >>> before, after = (tg.compile([x], [y]) for y in (x * 2 + 1, tg.exp(x)))
        >>> path = tg.view(before, after, "edit.html")
    """
    from .page.view import write  # a page needs the planner, which a warm start does without

    return write(path, [first.page_record(), second.page_record()])


def html(value: Graph | Node) -> str:
    """For notebooks: a picture of all layers."""
    from .page.notebook import graph_html

    return graph_html(value)


overload(html=html)
