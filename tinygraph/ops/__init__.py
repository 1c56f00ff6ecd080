"""Every operator, one record each, and the functions on top; importing this fills the table.

A function is public by its name in its module's ``__all__``.
"""

import sys as _sys
from inspect import isfunction as _isfunction

from ..graph import hints as _hints
from ..graph.methods import overload as _overload
from ..graph.numeric import numeric as _numeric
from ..graph.op import Op as _Op
from . import public as _public
from .described import describe as _describe
from .public import *  # noqa: F403

__all__ = [name for name in vars(_public) if not name.startswith("_")]

for _name in __all__:  # where they are defined, so that each is one object wherever it is found
    _function = getattr(_public, _name)
    if _isfunction(_function):
        _spelled = _numeric(_hints.spelled(_function))
        for _module in (_sys.modules[_function.__module__], _public, _sys.modules[__name__]):
            setattr(_module, _name, _spelled)

_describe({n: f for n, f in vars(_public).items() if isinstance(f, _Op)})

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
    logical_xor=_public.logical_xor,
    bitwise_and=_public.bitwise_and,
    bitwise_or=_public.bitwise_or,
    bitwise_not=_public.bitwise_not,
    bitwise_xor=_public.bitwise_xor,
    left_shift=_public.left_shift,
    right_shift=_public.right_shift,
    getitem=_public.getitem,
    transpose=_public.transpose,
    **{name: getattr(_public, name) for name in (
        "all", "any", "argmax", "argmin", "argsort", "cast", "clip", "cumprod", "cumsum",
        "diagonal", "dot", "max", "mean", "min", "prod", "repeat", "reshape", "round", "sort",
        "squeeze", "std", "sum", "swapaxes", "take", "var",
    )},
)  # fmt: skip
