"""What plans must know of a GPU."""

from __future__ import annotations

from tinygraph.plan.tiling import Target

TARGET = Target(winograd=False)
