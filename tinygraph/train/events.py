"""Files of events as TensorBoard reads them, without a dependency.

Each record (tensorflow/core/lib/io/record_writer.h) is its length, a checksum of that, a protocol
buffer ``Event`` (tensorflow/core/util/event.proto), and a checksum of that. Checksums are CRC-32C
(RFC 3720, appendix B.4), rotated and shifted.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path

POLYNOMIAL = 0x82F63B78  # of CRC-32C, reversed


def _table() -> list[int]:
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (POLYNOMIAL if n & 1 else 0)
        table.append(n)
    return table


TABLE = _table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    """The checksum as records have it."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    """A record of a file of events."""
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def _varint(n: int) -> bytes:
    made = bytearray()
    while n > 127:
        made.append(n & 127 | 128)
        n >>= 7
    return bytes([*made, n])


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def event(when: float, step: int = 0, content: bytes = b"") -> bytes:
    """A protocol buffer ``Event``: its time in seconds, its step, and what it holds."""
    return b"\x09" + struct.pack("<d", when) + b"\x10" + _varint(step) + content


def scalar(name: str, value: float) -> bytes:
    """The content of an event that is one number with a name."""
    pair = _bytes(1, name.encode()) + b"\x15" + struct.pack("<f", value)
    return _bytes(5, _bytes(1, pair))


class EventFile:
    """A new file of events in a folder.

    Args:
        folder: is made where there is none.
    """

    made = 0  # in this process: names differ within a second, too

    def __init__(self, folder: str | os.PathLike[str]):
        Path(folder).mkdir(parents=True, exist_ok=True)
        EventFile.made += 1
        name = f"{int(time.time()):010}.{socket.gethostname()}.{os.getpid()}.{EventFile.made}"
        self._file = open(Path(folder) / f"events.out.tfevents.{name}", "xb")  # noqa: SIM115
        self._file.write(record(event(time.time(), content=_bytes(3, b"brain.Event:2"))))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Adds a number; float32 in the file."""
        self._file.write(record(event(time.time(), step, scalar(name, value))))

    def flush(self) -> None:
        """What was added is in the file for others to read."""
        self._file.flush()

    def close(self) -> None:
        """Ends the file."""
        self._file.close()
