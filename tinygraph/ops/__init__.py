"""Every operator, one record each, and the functions on top; importing this fills the table.

A function is public by its name in its module's ``__all__``.
"""

from ..graph.ir import overload as _overload
from . import public as _public
from .public import *  # noqa: F403

__all__ = [name for name in vars(_public) if not name.startswith("_")]

_overload(
    add=_public.add,
    sub=_public.sub,
    mul=_public.mul,
    div=_public.div,
    floor_divide=_public.floor_divide,
    mod=_public.mod,
    pow=_public.pow,
    matmul=_public.matmul,
    neg=_public.neg,
    abs=_public.abs,
    equal=_public.equal,
    not_equal=_public.not_equal,
    less=_public.less,
    less_equal=_public.less_equal,
    logical_and=_public.logical_and,
    logical_or=_public.logical_or,
    logical_not=_public.logical_not,
    getitem=_public.getitem,
    transpose=_public.transpose,
)
