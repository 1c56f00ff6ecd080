"""Say what an ONNX file has, and all that tinygraph lacks for it, without building anything."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from .. import onnx


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.onnx")


def main(arguments: argparse.Namespace) -> None:
    try:
        sys.exit(report(arguments.model))
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"python -m tinygraph check: {error}")


def report(path: str) -> int:
    """Prints it; 1 if something is missing."""
    onnx.require_package()
    from ..onnx import support
    from ..onnx.reading.file import read

    model = read(path)
    opsets = ", ".join(f"{d or 'ai.onnx'} {v}" for d, v in model.opsets.items())
    print(f"{model.file}: written by {model.producer or 'nobody'}, opsets {opsets}")
    for title, values in (("input", model.graph.inputs), ("output", model.graph.outputs)):
        for v in values:
            print(f"  {title:<7}{v}")
    tensors = model.graph.tensors.values()
    print(f"  {len(tensors)} tensors of {sum(t.size for t in tensors):,} numbers")
    counts = Counter(n.label for n in support.nodes(model))
    print("  " + ", ".join(f"{name} x{count}" for name, count in counts.most_common()))
    missing = support.missing(model)
    if not missing:
        print("all of its operators are known")
        return 0
    print(f"missing: {support.listed(missing)}")
    return 1
