"""What a notebook shows of a module: its layers, to fold and unfold."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .module import Module

SMALL = 24  # layers that are all unfolded


def module_html(module: Module, name: str = "", open_below: bool | None = None) -> str:
    """A module with its layers and their parameters; the layers of a large one are folded."""
    if open_below is None:
        open_below = sum(1 for _ in module.named_modules()) <= SMALL
    extra = module.extra_repr()
    kind = f"{type(module).__name__}({extra})" if extra else type(module).__name__
    size = sum(p.type.size for p in module.parameters())
    count = f" <small>{size:,} parameters</small>" if size else ""
    head = f"{f'<b>{escape(name)}</b> ' if name else ''}<code>{escape(kind)}</code>{count}"
    children = list(module.children())
    if not children:
        return f'<div style="margin-left:1.1em">{head}</div>'
    inner = "".join(module_html(m, n, open_below) for n, m in children)
    shown = " open" if open_below or not name else ""
    body = f'<div style="margin-left:1.1em">{inner}</div>'
    return f"<details{shown}><summary>{head}</summary>{body}</details>"
