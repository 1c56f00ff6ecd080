"""List, measure, check or clear the folder of compiled code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..compiler.store import KINDS, CacheError, Entry, Store, default_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        default="size",
        choices=ACTIONS,
        help="list the entries; count them (the default); remove damaged ones; remove all",
    )
    parser.add_argument("--json", action="store_true", help="the same for a program to read")


def main(arguments: argparse.Namespace) -> None:
    try:
        store = default_store()
    except CacheError as error:
        sys.exit(f"python -m tinygraph cache: {error}")
    report = ACTIONS[arguments.action](store)
    print(json.dumps(report, indent=1) if arguments.json else "\n".join(text(report)))
    if report.get("damaged"):
        sys.exit(1)


def size(store: Store) -> dict[str, Any]:
    """Entries and bytes of each kind."""
    entries = store.entries()
    kinds = {}
    for kind in KINDS:
        sizes = [e.size for e in entries if e.path.parent.name == kind]
        kinds[kind] = {"entries": len(sizes), "bytes": sum(sizes)}
    used = sum(e.size for e in entries)
    return {"folder": str(store.folder), "bytes": used, "limit": store.limit, "kinds": kinds}


def ls(store: Store) -> dict[str, Any]:
    """The same, and all entries, the one that was used last at the end."""
    return size(store) | {"entries": [described(e) for e in store.entries()]}


def verify(store: Store) -> dict[str, Any]:
    """The same, and the entries that were damaged, which are gone now."""
    damaged = [described(e) for e in store.verify()]
    return size(store) | {"damaged": damaged}


def clear(store: Store) -> dict[str, Any]:
    """The sizes after all was removed."""
    store.clear()
    return size(store)


ACTIONS: dict[str, Callable[[Store], dict[str, Any]]] = {
    "ls": ls, "size": size, "verify": verify, "clear": clear,
}  # fmt: skip


def described(entry: Entry) -> dict[str, Any]:
    kind, key = entry.key
    used = datetime.fromtimestamp(entry.used).isoformat(timespec="seconds")
    return {"kind": kind, "key": key, "bytes": entry.size, "used": used}


def text(report: dict[str, Any]) -> list[str]:
    """What people read: entries first, sums last."""
    lines = [
        f"{e['used']}  {e['bytes']:>11,}  {e['kind']:<8} {e['key']}"
        for e in report.get("entries", [])
    ]
    lines.append(f"{report['folder']}: {report['bytes'] / 1e6:,.1f} of "
                 f"{report['limit'] / 1e6:,.0f} MB")  # fmt: skip
    for kind, sums in report["kinds"].items():
        megabytes = sums["bytes"] / 1e6
        lines.append(f"  {kind + 's':<9} {sums['entries']:>6,}   {megabytes:>8,.1f} MB")
    for e in report.get("damaged", []):
        lines.append(f"removed, since it was damaged: {e['kind']} {e['key']}")
    if report.get("damaged") == []:
        lines.append("every entry is as it was written")
    return lines
