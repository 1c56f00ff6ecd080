"""Calls of modules, for those who want to know of them."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .module import Module


@dataclass(slots=True)
class Called:
    """A call of a module, as ``summary`` sees it: at which depth, from what to what."""

    module: Module
    depth: int
    inputs: Any
    outputs: Any = None


WATCHED: ContextVar[tuple[list[Called], int] | None] = ContextVar("watched", default=None)
