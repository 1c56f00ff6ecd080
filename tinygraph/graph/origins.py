"""Where nodes come from: the user's lines and scopes, kept apart from the graph and equality."""

from __future__ import annotations

import inspect
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ir import Node

_SCOPE = threading.local()
_PACKAGE = Path(__file__).parent.parent
_STDLIB = Path(sysconfig.get_path("stdlib"))
_INSTALLED = ("site-packages", "dist-packages")  # where what others wrote is installed
_COMPOSED = ("scaled_dot_product_attention", "attention_weights")  # of functions with names
_STARTERS = ("_pytest", "pluggy", "xdist", "execnet", "IPython", "ipykernel")  # run users' files


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node comes from: the user's file and line, the scope, and how ('gradient of').

    ``call`` is the function that built it, as ``softmax``, an operator, or the optimizer.
    """

    file: str
    line: int
    scope: str = ""
    how: str = ""
    call: str = field(default="", compare=False)

    def __str__(self) -> str:
        where = f"{Path(self.file).name}:{self.line}" + (f" in {self.scope}" if self.scope else "")
        return f"{self.how} {where}" if self.how else where


def user_origin() -> Origin:
    """The user's innermost line; within ``built_from``, its first place; within ``origin``, that.

    Where no user's line leads here (the commands, which build networks of this package), it is that
    of the network or the command.
    """
    if built := getattr(_SCOPE, "origins", None):
        return built[0]
    if place := getattr(_SCOPE, "place", None):
        return Origin(place.file, place.line, ".".join(scopes()), call=place.call)
    found: dict[str, FrameType] = {}
    for frame in _frames():
        found.setdefault(_author(frame.f_code.co_filename), frame)
        if "user" in found:
            break
    known = [found[who] for who in ("user", "models", "cli") if who in found]
    frame = known[0] if known else sys._getframe(1)
    return Origin(frame.f_code.co_filename, frame.f_lineno, ".".join(scopes()), call=_call())


def _call() -> str:
    """The outermost function of ``ops`` that builds a node now, or the optimizer."""
    call = ""
    for frame in _frames():
        code, author = frame.f_code, _author(frame.f_code.co_filename)
        if author == "optim" and (optimizer := frame.f_locals.get("self")) is not None:
            return f"{type(optimizer).__name__.lower()} update"
        if author not in ("ops", "graph", "optim") or code.co_name in _COMPOSED:
            break
        if author == "ops" and code.co_name[0] not in "_<":
            call = code.co_name
    return call


def caller() -> tuple[str, bool]:
    """'file.py:12' of the caller of the function that asks, and whether that is in this package."""
    frame = sys._getframe(2)
    file = frame.f_code.co_filename
    return f"{Path(file).name}:{frame.f_lineno}", _author(file) not in ("user", "python")


def defined_at(function: Any) -> str:
    """'file.py:12' of a function's definition."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code else repr(function)
def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


@cache
def _author(file: str) -> str:
    """The author of a file: ``user``; a room of this package, as ``ops``; or ``python``: the
    standard library, and what starts users' files.
    """
    path = Path(file)
    if path.is_relative_to(_PACKAGE):
        return path.relative_to(_PACKAGE).parts[0].removesuffix(".py")
    if file.startswith("<frozen ") or any(part in _STARTERS for part in path.parts):
        return "python"
    standard = path.is_relative_to(_STDLIB) and not any(part in _INSTALLED for part in path.parts)
    return "python" if standard else "user"


def scopes() -> list[str]:
    """The names of the enclosing scopes, outermost first; change it through ``scope``."""
    if not hasattr(_SCOPE, "names"):
        _SCOPE.names = []
    return _SCOPE.names


class scope:
    """``with scope("block1"):`` names what is built inside, for dumps and profiles.

    Args:
        name: is joined with those around it: ``block1.conv``. Modules make scopes of their own.

    Example:
        >>> with tg.scope("head"):
        ...     y = tg.relu(tg.input("x", 2))
    """

    def __init__(self, name: str):
        self.name = name

    def __enter__(self) -> None:
        scopes().append(self.name)

    def __exit__(self, *_: object) -> None:
        scopes().pop()


class origin:
    """``with origin("net.prototxt", 12):`` what is built inside comes from this line of a file that
    describes a network, in errors, dumps and profiles; for whoever reads such files.

    Args:
        file: its path, or any name.
        line: the line, or the number of an entry.
        call: what the file calls the operator there.

    Example:
        >>> x = tg.input("x", 2)
        >>> with tg.origin("net.prototxt", 12, "InnerProduct"):
        ...     y = tg.relu(x)
    """

    def __init__(self, file: str, line: int, call: str = ""):
        self.file, self.line, self.call = file, line, call

    def __enter__(self) -> None:
        self.outer = getattr(_SCOPE, "place", None)
        _SCOPE.place = self

    def __exit__(self, *_: object) -> None:
        _SCOPE.place = self.outer


def origins(n: Node) -> tuple[Origin, ...]:
    """Where a node comes from; several places once passes have merged nodes.

    Args:
        n: any node.

    Example:
        >>> extend.origins(tg.relu(tg.input("x", 2)))[0].call
        'relu'
    """
    return n.notes.get("origins", ())


def described(n: Node) -> str:
    """A node as messages call it: operator, name, type, and the user's line.

    Args:
        n: any node.

    Example:
        >>> extend.described(tg.input("x", 2)).partition(" (")[0]
        'input x f32[2]'
    """
    parts = [n.op.name, *([n.name] if n.name else []), str(n.type)]
    return " ".join((*parts, *(f"({place})" for place in origins(n)[:1])))


class built_from:
    """``with built_from(places, how):`` what is built inside has these origins, not the caller;
    without places, none.

    Example:
        >>> x = tg.relu(tg.input("x", 2))
        >>> with extend.built_from(extend.origins(x), "rewrite of"):
        ...     y = tg.maximum(x, 0.0)
    """

    def __init__(self, places: Iterable[Origin], how: str = ""):
        self.places = tuple(dict.fromkeys(marked(places, how)))

    def __enter__(self) -> None:
        self.outer = getattr(_SCOPE, "origins", None)
        _SCOPE.origins = self.places

    def __exit__(self, *_: object) -> None:
        _SCOPE.origins = self.outer


def marked(places: Iterable[Origin], how: str) -> Iterable[Origin]:
    """These origins, marked with ``how`` unless that is empty."""
    if not how:
        return places
    return (Origin(o.file, o.line, o.scope, how, o.call) for o in places)


def add_origins(n: Node, more: Iterable[Origin], how: str = "") -> None:
    """Adds to a node's origins (in order, without repetition), marked with ``how``."""
    n.notes["origins"] = tuple(dict.fromkeys((*origins(n), *marked(more, how))))


def set_origins(n: Node, places: Iterable[Origin]) -> None:
    """Replaces a node's origins: for passes, whose own frame is not an origin."""
    n.notes["origins"] = tuple(dict.fromkeys(places))


def set_first_origin(n: Node) -> None:
    """A new node comes from here."""
    built = getattr(_SCOPE, "origins", None)
    n.notes["origins"] = (own_origin(n),) if built is None else built


def own_origin(n: Node) -> Origin:
    """The user's line; an operator that no function built is called by its own name."""
    origin = user_origin()
    return origin if origin.call else replace(origin, call=n.op.name)
