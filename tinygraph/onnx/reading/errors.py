"""What is wrong with a file, in one line."""

from __future__ import annotations


class OnnxError(ValueError):
    """A file that cannot be read or imported: 'model.onnx:12 /conv1 (Conv): requires ...'."""

    def __init__(self, message: str):
        super().__init__(printable(message))


def printable(text: str, most: int = 2000) -> str:
    """One line of printable characters: names in a file may be anything."""
    text = text if len(text) <= most else f"{text[:most]} ..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
