"""What a kernel may take of a GPU, and how many of its threads a multiprocessor then holds."""

from __future__ import annotations

from tinygraph.plan.records.device import Card

REGISTERS = 128 * 256  # of a block: 128 for each of 256 threads, so that two blocks are resident
SHARED = 48 * 1024  # bytes of a block that need no opt-in

# a multiprocessor's 32-bit registers, bytes of shared memory, threads and blocks
# (CUDA C++ Programming Guide, technical specifications per compute capability)
LIMITS = {
    "sm_80": (65536, 164 * 1024, 2048, 32),
    "sm_86": (65536, 100 * 1024, 1536, 16),
    "sm_87": (65536, 164 * 1024, 1536, 16),
    "sm_89": (65536, 100 * 1024, 1536, 24),
    "sm_90": (65536, 228 * 1024, 2048, 32),
    "sm_100": (65536, 228 * 1024, 2048, 32),
    "sm_120": (65536, 100 * 1024, 1536, 24),
}
SHARED_RESERVED = 1024  # bytes that the system takes of each block's shared memory


def occupancy(architecture: str, registers: int, shared: int, threads: int) -> float:
    """Which part of a multiprocessor's threads can be resident, with blocks of ``threads``.

    An architecture that the table does not have counts as the newest one before it.
    """
    known = [a for a in LIMITS if number(a) <= number(architecture)]
    all_registers, all_shared, most_threads, most_blocks = LIMITS[max(known, key=number)]
    warps = -(-threads // 32)
    per_warp = -(-registers * 32 // 256) * 256  # registers are given to warps by 256
    blocks = min(
        most_blocks,
        most_threads // (32 * warps),
        all_registers // max(1, per_warp * warps),
        all_shared // (shared + SHARED_RESERVED),
    )
    return blocks * warps * 32 / most_threads


def number(architecture: str) -> int:
    return int(architecture.removeprefix("sm_"))


def excess(card: Card) -> str:
    """What a kernel takes beyond the budget, in words; empty if nothing.

    The budget is what lets two blocks of 256 threads be resident; a kernel beyond it is right, and
    may be slow.
    """
    registers = f"takes {card.registers} registers of each of {card.threads} threads"
    over = (
        (card.spills, 0, f"spills {card.spills} bytes of registers"),
        (card.registers * card.threads, REGISTERS, registers),
        (card.shared, SHARED, f"takes {card.shared:,} bytes of shared memory"),
    )
    return " and ".join(text for taken, most, text in over if taken > most)
