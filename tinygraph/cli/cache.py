"""Show or clear the folder of compiled code."""

from __future__ import annotations

import argparse
import sys

from ..compiler.store import KINDS, CacheError, default_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clear", action="store_true", help="remove all that is in it")


def main(arguments: argparse.Namespace) -> None:
    try:
        store = default_store()
    except CacheError as error:
        sys.exit(f"python -m tinygraph cache: {error}")
    if arguments.clear:
        store.clear()
    entries = store.entries()
    used = sum(e.size for e in entries)
    print(f"{store.folder}: {used / 1e6:,.1f} of {store.limit / 1e6:,.0f} MB")
    for kind in KINDS:
        sizes = [e.size for e in entries if e.path.parent.name == kind]
        print(f"  {kind + 's':<9} {len(sizes):>6,}   {sum(sizes) / 1e6:>8,.1f} MB")
