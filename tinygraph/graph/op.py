"""What an operator is: one record that every part of tinygraph reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .convert import ShapeError as ShapeError
from .convert import dtype_name, holds, numbers, whole
from .dtype import is_float, is_integer
from .ir import Node, attribute, node
from .origins import caller, set_origins, user_origin
from .placement import check_device, device_of, gathered
from .record import Kind, OperatorError, check, check_expression, check_loops, check_names, error
from .size import Ratio, Size
from .types import Array, Type

if TYPE_CHECKING:
    from .template import KernelWriter


Stacked = tuple[Node, bool]  # a value in a loop's steps; whether it has an axis of steps in front


@dataclass(frozen=True, slots=True)
class Index:
    """One axis of an input as a function of a loop nest's axes.

    It is (constant + sum of coefficient * axis) / divisor, terms being (axis, coefficient). With a
    divisor above 1, loop positions where the division leaves a remainder are outside of the input.
    """

    constant: int = 0
    terms: tuple[tuple[int, int], ...] = ()
    divisor: int = 1


@dataclass(frozen=True, slots=True)
class Read:
    """How a loop nest reads an input: an Index for each of its axes.

    ``outside`` is the value beyond the input's edges; None promises that no index is beyond them.
    ``gather`` maps an axis to the number of the integer input whose value is added to that axis'
    index, clamped to the input.
    """

    indices: tuple[Index, ...]
    outside: float | None = None
    gather: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Loops:
    """An operator as a loop nest: output axes, then reduction axes of these sizes; its reads."""

    reduce: tuple[int, ...]
    reads: tuple[Read, ...]


@dataclass(frozen=True, eq=False)
class Op:
    """An operator. ``types`` below stands for one Type per input, ``attrs`` for keyword arguments.

    Which fields an operator needs depends on its kind: ``FIELDS`` in ``record.py``.

    Attributes:
        infer: (*types, **attrs) -> Type; raises ShapeError.
        ref: (*arrays, **attrs) -> array, its NumPy meaning and the definition of truth.
        expr: scalar Python of one element, ``{0}``, ``{1}`` stand for the inputs and ``K`` for the
            dtype's constructor; a function of the attributes where they matter. For REDUCE and
            ANCHOR the element that is folded (for REDUCE by default ``{0}``; ``{r}`` is the flat
            index within the reduction).
        loops: (out, *types, **attrs) -> Loops, for VIEW (no reduction), REDUCE and ANCHOR.
        fold: how REDUCE and ANCHOR combine elements: 'sum', 'max' or 'min'; max and min keep NaN.
        template: (KernelWriter) -> None, for OPAQUE: writes the operator's own kernel.
        backend_templates: by the name of a backend, for one that cannot compile ``template``'s
            text; what such a template takes and gives is the backend's.
        written_out: (node) -> node, for COMPOSITE: the same value in other operators, which also
            give its gradient. It takes its place where a backend has no kernel for the operator.
        parts: (node) -> into how many parts the template's work can be cut; default: 1.
        vjp: (g, out, *inputs) -> one gradient node or None per input; None as a whole: not
            differentiable. For LOOP, g has a node or None for each result, and ``pull_back``
            comes as a keyword: see autodiff.
        no_gradient: the reason why there is no vjp, on purpose.
        cost: (out, *types, **attrs) -> floating-point operations; default: one per output element
            and statement.
        example: () -> node; tests and docs walk these.
        version: of a user's operator; None switches the program cache off for programs that use it.
        stacked: (node, inputs, steps) -> node, the operator for all steps of a loop at once. It
            gets each input's value, and whether that has a new first axis of ``steps``, as at least
            one has. Element-wise operators need none; others without it stay in loops.
        commutative: its two inputs may be swapped; patterns are then matched both ways.
        costly: its result is rather kept for a gradient than computed again.
        nonnegative: no result is below zero or -0.0, whatever the inputs are; NaN is possible.
        ordered: all ranks compute it together: its kernels run in one order, each alone in its
            launch and in every run.
        transparent: a VIEW that matters to gradients or names only: the first pass puts its first
            input in its place.
        keeps_order: an OPAQUE whose result is stored as its first input is, axis by axis.
        row_major: a VIEW of the same elements in the same order, as reshape; it has no ``loops``.
        defined: the file and line of its ``define()``.
        built_in: it is tinygraph's own.
    """

    name: str
    kind: Kind
    infer: Callable[..., Type]
    ref: Callable[..., Any] | None = None
    expr: str | Callable[..., str] | None = None
    loops: Callable[..., Loops] | None = None
    fold: str | None = None
    template: Callable[[KernelWriter], None] | None = None
    written_out: Callable[[Node], Node] | None = None
    parts: Callable[[Node], int] | None = None
    backend_templates: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    vjp: Callable[..., tuple] | None = None
    no_gradient: str | None = None
    cost: Callable[..., int] | None = None
    example: Callable[[], Node] | None = None
    version: str | None = None
    stacked: Callable[[Node, Sequence[Stacked], int], Node] | None = None
    commutative: bool = False
    costly: bool = False
    nonnegative: bool = False
    ordered: bool = False
    transparent: bool = False
    keeps_order: bool = False
    row_major: bool = False
    defined: str = ""
    built_in: bool = False

    def __call__(self, *inputs: Any, **attrs: Any) -> Any:
        for i in inputs:  # patterns build patterns, as in NumPy's protocols
            if hook := getattr(type(i), "__op_call__", None):
                return hook(self, inputs, attrs)
        nodes = promote(self.name, inputs)
        attrs = {k: attribute(v) for k, v in attrs.items()}
        if self is not PLACE:
            nodes = gathered(nodes, place)
        made = self.infer(*[n.type for n in nodes], **attrs)
        if not isinstance(made, Type):
            raise error(self, f"has a type rule that returned {made!r}, no Type")
        return node(self, nodes, attrs.items(), made)

    def element(self, n: Node) -> str:
        """The scalar expression of a node of this operator.

        Raises:
            OperatorError: a kernel cannot contain it, or the node's shape is not its inputs'.
        """
        if self.expr is None:
            if self.kind in (Kind.REDUCE, Kind.VIEW):
                return "{0}"  # folded, or moved, unchanged
            raise error(self, f"of kind {self.kind.name} has no scalar expression")
        if self.kind is Kind.ELEMENTWISE:
            shape = broadcast_shapes(self.name, *(i.type for i in n.inputs))
            if shape != n.shape:
                raise error(self, f"has a type rule that gives {n.type}; elements are {shape}")
        text = self.expr if isinstance(self.expr, str) else self.expr(**dict(n.attrs))
        return check_expression(self, text, len(n.inputs))

    def nest(self, n: Node) -> Loops:
        """The loop nest of a node of this operator.

        Raises:
            OperatorError: it does not fit the node's shapes.
        """
        found: Loops | None = n.notes.get("nest")
        if found is None:
            if self.loops is None:
                raise error(self, f"of kind {self.kind.name} has no loops")
            made = self.loops(n.type, *[i.type for i in n.inputs], **dict(n.attrs))
            found = n.notes["nest"] = check_loops(n, made)
        return found

    def __repr__(self) -> str:
        return self.name

    def __deepcopy__(self, memo: dict[int, Any]) -> Op:
        return self

    def __reduce__(self) -> Any:
        return _defined, (self.name,)


def _defined(name: str) -> Op:
    """An operator out of a pickle: the one of its name."""
    return OPS[name]


OPS: dict[str, Op] = {}
_FIELDS = tuple(f.name for f in fields(Op))[2:-2]


def define(name: str, kind: Kind, **fields: Any) -> Op:
    """Adds an operator to the table ``OPS`` and returns it: calling it builds nodes.

    Args:
        name: of its own.
        kind: which fields it needs; see CONTRIBUTING.md.
        fields: those of ``Op``.

    Raises:
        OperatorError: the record lacks a field of its kind, or one is wrong; it names the operator
            and the line of this call.

    Example:
        >>> tg.tanh is extend.OPS["tanh"]  # as every operator of tinygraph, it was made by define()
        True
    """
    where, built_in = caller()
    check_names(name, fields, _FIELDS, where)
    if name in OPS:
        raise OperatorError(
            f"{where}: operator {name!r} is defined already, at {OPS[name].defined}"
        )
    op = Op(name, kind, **{"infer": None, **fields}, defined=where, built_in=built_in)
    check(op, fields)
    OPS[name] = op
    return op


def promote(name: str, inputs: tuple[Any, ...]) -> tuple[Node, ...]:
    """Numbers and arrays among nodes become constants; nodes stay.

    Numbers, those in arrays without axes too, and lists take the dtype of the nodes, if it can hold
    them; without a node that of an array, or what ``tg.constant`` gives a list, one of floats
    first. Arrays have their own, but integers become the nodes' where none changes.

    Args:
        name: of the operator, for errors; ``inputs``: what it was given.

    Example:
        >>> [n.dtype for n in extend.promote("add", (tg.arange(3), 1))]
        ['int32', 'int32']
    """
    dtype = next((i.dtype for i in inputs if isinstance(i, Node)), None) or _dtype_of(name, inputs)
    return tuple(i if isinstance(i, Node) else _constant(name, i, dtype) for i in inputs)


def _dtype_of(name: str, values: tuple[Any, ...]) -> str | None:
    """The dtype that numbers take among arrays and lists; None among numbers alone."""
    found = [
        (not isinstance(v, np.ndarray), not is_float(dtype), dtype)
        for v in values
        if not isinstance(v, (Size, Ratio)) and numbers(name, v).ndim
        for dtype in [constant(v).dtype]
    ]
    return min(found)[2] if found else None


def _constant(name: str, value: Any, dtype: str | None) -> Node:
    """A constant among nodes of ``dtype``; None: among other constants."""
    if isinstance(value, (Size, Ratio)):
        return constant(value, dtype)
    array = numbers(name, value)
    kind = array.dtype.kind
    if dtype is None:
        return constant(value if array.ndim == 0 else array)
    if isinstance(value, np.ndarray) and value.ndim:
        fits = kind in "iu" and is_integer(dtype) and holds(dtype, array)
        return CONSTANT(value=Array.of(array.astype(dtype) if fits else array))
    if (kind == "b") != (dtype == "bool") or (kind == "f" and not is_float(dtype)):
        raise ShapeError(f"{name}: the number {value!r} meets a node of {dtype}; use tg.cast")
    return CONSTANT(value=Array.of(numbers(name, value, dtype)))


def same_dtype(name: str, *types: Type) -> str:
    """The dtype that all share; a ShapeError that names tg.cast otherwise.

    Args:
        name: of the operator; ``types``: of its inputs.

    Raises:
        ShapeError: they differ.

    Example:
        >>> extend.same_dtype("add", tg.Type((3,)), tg.Type(()))
        'float32'
    """
    dtypes = tuple(dict.fromkeys(t.dtype for t in types))
    if len(dtypes) > 1:
        raise ShapeError(
            f"{name} requires one dtype, got {' and '.join(dtypes)}; convert with tg.cast"
        )
    return dtypes[0]


def broadcast_shapes(name: str, *types: Type) -> tuple[int, ...]:
    """NumPy's broadcasting of shapes.

    Args:
        name: of the operator, for errors; ``types``: of its inputs.

    Raises:
        ShapeError: they do not broadcast.

    Example:
        >>> extend.broadcast_shapes("add", tg.Type((8, 1)), tg.Type((3,)))
        (8, 3)
    """
    rank = max((len(t.shape) for t in types), default=0)
    padded = [(1,) * (rank - len(t.shape)) + t.shape for t in types]
    shape = tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*padded, strict=True))
    if any(n not in (1, m) for each in padded for n, m in zip(each, shape, strict=True)):
        got = " with ".join(map(str, types))
        raise ShapeError(f"{name} requires shapes that broadcast, got {got}")
    return shape


def broadcast(name: str, dtype: str | None = None) -> Callable[..., Type]:
    """The rule of element-wise operators: shapes broadcast, dtypes agree; dtype overrules.

    Args:
        name: of the operator, for errors.

    Example:
        >>> extend.broadcast("add")(tg.Type((8, 1)), tg.Type((3,)))
        Type(shape=(8, 3), dtype='float32')
    """

    def infer(*types: Type, **_: Any) -> Type:
        common = same_dtype(name, *types)
        return Type(broadcast_shapes(name, *types), dtype or common)

    return infer


def identity(rank: int, first: int = 0) -> tuple[Index, ...]:
    """Axis i of the input is axis first + i of the nest.

    Args:
        rank: how many axes the input has; ``first``: the nest's axis of the first one.

    Example:
        >>> extend.identity(1)
        (Index(constant=0, terms=((0, 1),), divisor=1),)
    """
    return tuple(Index(terms=((first + i, 1),)) for i in range(rank))


INPUT = define("input", Kind.SOURCE, infer=lambda *, name, type: type)
PARAMETER = define("parameter", Kind.SOURCE, infer=lambda *, type: type)
CONSTANT = define(
    "constant", Kind.SOURCE, infer=lambda *, value: value.type, ref=lambda *, value: value.data
)
# factor * over / under, polynomials in the batch size n, which becomes a constant once n is bound
OF_BATCH = define(
    "of_batch", Kind.SOURCE, infer=lambda *, over, under, factor, dtype: Type((), dtype)
)


def _infer_place(x: Type, *, device: str) -> Type:
    check_device(device)
    return x


# x on a device: an identity that no pattern and no kernel reaches across.
PLACE = define(
    "place",
    Kind.VIEW,
    infer=_infer_place,
    ref=lambda x, *, device: x,
    loops=lambda out, x, *, device: Loops((), (Read(identity(len(out.shape))),)),
    vjp=lambda g, out, x: (place(g, device_of(x)),),
    cost=lambda out, x, *, device: 0,
)


def place(x: Node, device: str | None) -> Node:
    """x on a device: x itself if it is there, or if ``device`` is None."""
    while x.op is PLACE and device is not None:
        x = x.inputs[0]  # a value goes straight from where it was computed
    if device is None or device_of(x) == device:
        return x
    return node(PLACE, (x,), [("device", device)], x.type)


def input(name: str, *shape: int | None, dtype: str = "float32") -> Node:
    """A named input of a graph, e.g. ``input("image", 64, 1, 28, 28)``.

    None stands for the batch size n, one number throughout a program, which is bound at the call.

    Args:
        shape: a size for each axis.
        dtype: of the arrays that the program takes.

    Raises:
        ShapeError: the name is not a string, a size is not an integer, or the dtype is unknown.

    Example:
        >>> tg.input("image", None, 1, 28, 28).ndim
        4
    """
    if not isinstance(name, str):
        raise ShapeError(f"input requires a name, then sizes, got the name {name!r}")
    sizes: tuple[Any, ...] = tuple(_size(name, n) for n in shape)
    type = Type(sizes, dtype_name(f"input {name!r}", dtype))
    declared = INPUT(name=name, type=type)
    set_origins(declared, (user_origin(),))  # equal inputs are one node: the last one counts
    return declared


def _size(name: str, n: Any) -> Any:
    if n is None:
        return Size((0, 1))
    try:
        size = whole(name, n)
    except ShapeError:
        size = -1
    if not isinstance(size, Size) and size < 0:
        one_by_one = n if isinstance(n, (tuple, list)) and n else (64, 3)
        raise ShapeError(
            f"input {name!r} requires sizes from 0 up, or None for the batch, got {n!r}; "
            f"as in tg.input({name!r}, {', '.join(map(repr, one_by_one))})"
        )
    return size


def constant(value: Any, dtype: str | None = None) -> Node:
    """A constant from a number, list or array; Python's floats are float32 without ``dtype``.

    Args:
        value: copied; equal constants are one node.
        dtype: by default the array's own; float32 of Python's numbers and lists of floats.

    Raises:
        ShapeError: it is no number, or ``dtype`` cannot hold it.

    Example:
        >>> tg.constant([[1.0, 2.0]]).type
        Type(shape=(1, 2), dtype='float32')
    """
    dtype = None if dtype is None else dtype_name("constant", dtype)
    if isinstance(value, (Size, Ratio)):
        ratio = value.ratio if isinstance(value, Size) else value
        attrs = {"over": ratio.over, "under": ratio.under, "factor": ratio.factor}
        return OF_BATCH(**attrs, dtype=dtype or "float32")
    if dtype is None and isinstance(value, (bool, int, float)):
        dtype = "bool" if isinstance(value, bool) else "float32"
    array = numbers("constant", value, dtype)
    if dtype is None and array.dtype == np.float64 and isinstance(value, (list, tuple)):
        array = array.astype(np.float32)
    return CONSTANT(value=Array.of(array))
