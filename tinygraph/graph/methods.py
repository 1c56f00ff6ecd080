"""What nodes do that NumPy's arrays do: operators and methods.

The functions are those of ``ops``, which tells them to this module: the graph knows no operator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .dtype import DTYPES
from .hints import NODES, missing

if TYPE_CHECKING:
    from .ir import Node

METHODS: dict[str, Callable[..., Any]] = {}


def overload(**methods: Callable[..., Any]) -> None:
    """Tells nodes and graphs which functions ``+``, ``@``, slicing and ``str`` call."""
    METHODS.update(methods)


def method(name: str) -> Callable[..., Any]:
    """A method that calls a function of ``ops``."""

    def call(self: Any, *args: Any, **options: Any) -> Any:
        return METHODS[name](self, *args, **options)

    call.__name__, call.__qualname__ = name, f"Node.{name}"
    call.__doc__ = f"``tg.{name}`` of this node."
    return call


class ArrayMethods:
    """The base of nodes."""

    __slots__ = ()

    __array_ufunc__ = None  # array + node is node.__radd__, not an array of nodes

    # fmt: off
    def __add__(self, other: Any) -> Node: return METHODS["add"](self, other)
    def __radd__(self, other: Any) -> Node: return METHODS["add"](other, self)
    def __sub__(self, other: Any) -> Node: return METHODS["sub"](self, other)
    def __rsub__(self, other: Any) -> Node: return METHODS["sub"](other, self)
    def __mul__(self, other: Any) -> Node: return METHODS["mul"](self, other)
    def __rmul__(self, other: Any) -> Node: return METHODS["mul"](other, self)
    def __truediv__(self, other: Any) -> Node: return METHODS["div"](self, other)
    def __rtruediv__(self, other: Any) -> Node: return METHODS["div"](other, self)
    def __floordiv__(self, other: Any) -> Node: return METHODS["floor_divide"](self, other)
    def __rfloordiv__(self, other: Any) -> Node: return METHODS["floor_divide"](other, self)
    def __mod__(self, other: Any) -> Node: return METHODS["mod"](self, other)
    def __rmod__(self, other: Any) -> Node: return METHODS["mod"](other, self)
    def __pow__(self, other: Any) -> Node: return METHODS["pow"](self, other)
    def __rpow__(self, other: Any) -> Node: return METHODS["pow"](other, self)
    def __matmul__(self, other: Any) -> Node: return METHODS["matmul"](self, other)
    def __rmatmul__(self, other: Any) -> Node: return METHODS["matmul"](other, self)
    def __neg__(self) -> Node: return METHODS["neg"](self)
    def __pos__(self) -> Any: return self
    def __abs__(self) -> Node: return METHODS["abs"](self)
    def __lt__(self, other: Any) -> Node: return METHODS["less"](self, other)
    def __le__(self, other: Any) -> Node: return METHODS["less_equal"](self, other)
    def __gt__(self, other: Any) -> Node: return METHODS["less"](other, self)
    def __ge__(self, other: Any) -> Node: return METHODS["less_equal"](other, self)
    def __eq__(self, other: Any) -> Node: return METHODS["equal"](self, other)  # type: ignore[override]
    def __ne__(self, other: Any) -> Node: return METHODS["not_equal"](self, other)  # type: ignore[override]
    def __divmod__(self, other: Any) -> tuple[Node, Node]: return self // other, self % other
    def __rdivmod__(self, other: Any) -> tuple[Node, Node]: return other // self, other % self
    def __and__(self, other: Any) -> Node: return self._bits("and")(self, other)
    def __rand__(self, other: Any) -> Node: return self._bits("and")(other, self)
    def __or__(self, other: Any) -> Node: return self._bits("or")(self, other)
    def __ror__(self, other: Any) -> Node: return self._bits("or")(other, self)
    def __xor__(self, other: Any) -> Node: return self._bits("xor")(self, other)
    def __rxor__(self, other: Any) -> Node: return self._bits("xor")(other, self)
    def __invert__(self) -> Node: return self._bits("not")(self)
    def __lshift__(self, other: Any) -> Node: return METHODS["left_shift"](self, other)
    def __rlshift__(self, other: Any) -> Node: return METHODS["left_shift"](other, self)
    def __rshift__(self, other: Any) -> Node: return METHODS["right_shift"](self, other)
    def __rrshift__(self, other: Any) -> Node: return METHODS["right_shift"](other, self)
    def __getitem__(self, key: Any) -> Node: return METHODS["getitem"](self, key)
    # fmt: on

    def _bits(self: Any, name: str) -> Callable[..., Any]:
        """The function of bits of integers, else of truth values."""
        kind = "bitwise" if DTYPES[self.dtype].kind in ("int", "uint") else "logical"
        return METHODS[f"{kind}_{name}"]

    # what NumPy's arrays have, as the functions of the same names
    abs, all, any, argmax, argmin = map(method, ("abs", "all", "any", "argmax", "argmin"))
    argsort, clip, cumprod, cumsum = map(method, ("argsort", "clip", "cumprod", "cumsum"))
    diagonal, dot, max, mean, min = map(method, ("diagonal", "dot", "max", "mean", "min"))
    prod, repeat, reshape, round = map(method, ("prod", "repeat", "reshape", "round"))
    squeeze, std, sum, swapaxes = map(method, ("squeeze", "std", "sum", "swapaxes"))
    take, var = map(method, ("take", "var"))

    def astype(self, dtype: Any) -> Node:
        """x converted to a dtype: ``tg.cast``.

        Example:
            >>> tg.arange(3).astype("float32").dtype
            'float32'
        """
        return METHODS["cast"](self, dtype)

    def flatten(self) -> Node:
        """All elements along one axis.

        Example:
            >>> tg.zeros((2, 3)).flatten().shape
            (6,)
        """
        return METHODS["reshape"](self, -1)

    ravel = flatten

    def transpose(self, *axes: Any) -> Node:
        """x with its axes in this order; reversed, if none is given.

        Args:
            axes: numbers of axes, or one tuple of them.

        Example:
            >>> tg.zeros((2, 3, 4)).transpose(0, 2, 1).shape
            (2, 4, 3)
        """
        order = axes[0] if len(axes) == 1 else axes
        return METHODS["transpose"](self, order if axes else None)

    @property
    def T(self) -> Node:
        """The transpose of a matrix: all axes reversed."""
        return METHODS["transpose"](self)

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            missing("x", name, NODES, dir(type(self)))
