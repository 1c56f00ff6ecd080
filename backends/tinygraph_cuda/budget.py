"""What a kernel may take of a GPU, checked when it is compiled."""

from __future__ import annotations

from tinygraph.backend import BackendError, Card

REGISTERS = 128 * 256  # of a block: 128 for each of 256 threads, so that two blocks are resident
SHARED = 48 * 1024  # bytes of a block that need no opt-in

# Kernels that may go beyond, by the beginning of their names: what they may exceed, and why.
EXCEPTIONS: dict[str, tuple[str, str]] = {}


def check(name: str, card: Card) -> None:
    """
    Raises:
        BackendError: a kernel spills registers, or takes more than its share of a multiprocessor.
    """
    registers = card.registers * card.threads
    over = {
        "spills": (card.spills, 0, f"spills {card.spills} bytes of registers"),
        "registers": (
            registers,
            REGISTERS,
            f"takes {card.registers} registers of each of {card.threads} threads",
        ),
        "shared": (card.shared, SHARED, f"takes {card.shared:,} bytes of shared memory"),
    }
    allowed = {what for start, (what, _) in EXCEPTIONS.items() if name.startswith(start)}
    for what, (taken, most, text) in over.items():
        if taken > most and what not in allowed:
            raise BackendError(f"kernel {name} {text} on {card.architecture}, over the budget")
