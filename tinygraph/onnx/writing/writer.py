"""The writer: collects ONNX's nodes and tensors, and makes shapes that depend on the batch size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ...graph.dtype import astype, name_of
from ...graph.ir import Node
from ...graph.size import Size
from ..reading.tensors import dtype_code

Value = str  # the name of a value in the file
Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}
ITSELF = (0, 1)  # the polynomial n


def writes(*names: str) -> Callable[[Rule], Rule]:
    """Registers (writer, node, *names of its inputs) -> name for these operators."""

    def register(rule: Rule) -> Rule:
        for name in names:
            if name in RULES:
                raise ValueError(f"two rules write {name}")
            RULES[name] = rule
        return rule

    return register


def stored(array: np.ndarray, name: str) -> TensorProto:
    """An array as a tensor of the file."""
    dtype = name_of(array.dtype)
    bits = array[dtype] if array.dtype.names else array  # bfloat16 is a field of uint16
    found = numpy_helper.from_array(bits, name)
    found.data_type = dtype_code(dtype)
    return found


def declared(name: Value, dtype: str, shape: Sequence[Any]) -> Any:
    """What the file says of a value; sizes that are open have names, N that of the batch."""
    sizes = [
        ("N" if s.polynomial == ITSELF else str(s)) if isinstance(s, Size) else s for s in shape
    ]
    return helper.make_tensor_value_info(name, dtype_code(dtype), sizes)


class OnnxWriter:
    """Nodes of one graph of the file, in order; ``inner`` makes that of a loop's body.

    Attributes:
        nodes: what was written.
        written: the operators of these, and of all bodies.
        tensors: constants by name; those of all bodies are the outermost graph's.
        batch: the name of the batch size n, a whole number without axes, if there is an open one.
    """

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.tensors: dict[str, TensorProto] = {}
        self.written: set[str] = set()
        self.batch: Callable[[], Value] | None = None
        self.scope = ""
        self._numbers = count()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._views: dict[Value, tuple[Value, tuple[Any, ...]]] = {}
        self._batch: Value | None = None

    def inner(self) -> OnnxWriter:
        """A writer of a subgraph: it shares names and constants."""
        other = OnnxWriter()
        other.tensors, other.scope, other.batch = self.tensors, self.scope, self.batch
        other.written = self.written
        other._numbers, other._constants = self._numbers, self._constants
        return other

    def fresh(self, hint: str) -> str:
        return f"{hint}_{next(self._numbers)}"

    def add(self, op: str, *inputs: Value, outputs: int = 1, **attributes: Any) -> Any:
        """Writes a node; returns the name of its result, or a list of ``outputs`` names."""
        self.written.add(op)
        names = [self.fresh(op.lower()) for _ in range(outputs)]
        label = f"{self.scope}/{op}_{next(self._numbers)}" if self.scope else names[0]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=label, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: str | None = None) -> Value:
        """The name of a constant; equal ones are one."""
        array = np.asarray(value) if dtype is None else astype(value, dtype)
        key = name_of(array.dtype), array.shape, array.tobytes()
        if key not in self._constants:
            name = self._constants[key] = self.fresh("constant")
            self.tensors[name] = stored(array, name)
        return self._constants[key]

    def like(self, n: Node, value: float) -> Value:
        """A number in the dtype of the node."""
        return self.constant(value, n.dtype)

    # -- sizes -------------------------------------------------------------------------------------

    def size(self, size: Any) -> Value:
        """A whole number without axes: a constant, or a polynomial of the batch size."""
        if not isinstance(size, Size):
            return self.constant(int(size), "int64")
        return self.polynomial(size.polynomial)

    def polynomial(self, coefficients: Sequence[int]) -> Value:
        """The polynomial's value at the batch size, by Horner's rule."""
        total: Value | None = None
        for c in reversed(coefficients):
            term = self.constant(int(c), "int64")
            total = term if total is None else self.add("Add", self.add("Mul", total, self.n), term)
        assert total is not None
        return total

    @property
    def n(self) -> Value:
        """The batch size; every graph reads it from its input once."""
        if self._batch is None:
            assert self.batch is not None, "a size is open, but no input has it"
            self._batch = self.batch()
        return self._batch

    def sizes(self, sizes: Sequence[Any]) -> Value:
        """Whole numbers as a vector."""
        if not any(isinstance(s, Size) for s in sizes):
            return self.constant(list(map(int, sizes)), "int64")
        parts = [self.add("Reshape", self.size(s), self.constant([1], "int64")) for s in sizes]
        return self.add("Concat", *parts, axis=0)

    # -- views -------------------------------------------------------------------------------------

    def reshape(self, x: Value, old: Sequence[Any], new: Sequence[Any]) -> Value:
        """x of shape ``old`` in another shape; reshapes of reshapes are one, or none."""
        x, old = self._views.get(x, (x, tuple(old)))
        new = tuple(new)
        if old == new:
            return x
        open_sizes = [i for i, s in enumerate(new) if isinstance(s, Size)]
        fixed = math.prod(s for s in new if not isinstance(s, Size))
        if len(open_sizes) == 1 and fixed:
            target = self.constant([-1 if isinstance(s, Size) else s for s in new], "int64")
        else:
            target = self.sizes(new)
        y = self.add("Reshape", x, target, allowzero=int(0 in new))
        self._views[y] = x, old
        return y

    def transpose(self, x: Value, axes: Sequence[int]) -> Value:
        if list(axes) == list(range(len(axes))):
            return x
        return self.add("Transpose", x, perm=list(axes))

    def expand(self, x: Value, shape: Sequence[Any]) -> Value:
        return self.add("Expand", x, self.sizes(shape))

    def cast(self, x: Value, old: str, new: str) -> Value:
        return x if old == new else self.add("Cast", x, to=dtype_code(new))

    def crop(
        self,
        x: Value,
        start: Sequence[int],
        stop: Sequence[Any],
        step: Sequence[int],
        axes: Sequence[int],
    ) -> Value:
        """x[start:stop:step] along some axes."""
        return self.add(
            "Slice", x, *(self.sizes(s) for s in (start, stop, axes, step))
        )  # fmt: skip

    def edges(
        self, x: Value, before: Sequence[Any], after: Sequence[Any], value: Value | None = None
    ) -> Value:
        """x with so many more elements before and after along each axis."""
        if not any((*before, *after)):
            return x
        return self.add("Pad", x, self.sizes((*before, *after)), *([value] if value else []))

    def spread(
        self, x: Value, shape: Sequence[Any], gaps: Mapping[int, int], value: Value
    ) -> Value:
        """``gaps[axis]`` elements of ``value`` between any two of x[*shape] along an axis."""
        sizes = list(shape)
        for axis, gap in gaps.items():
            n = sizes[axis]
            if not gap or (isinstance(n, int) and n < 2):
                continue
            apart = self.reshape(x, sizes, [*sizes[: axis + 1], 1, *sizes[axis + 1 :]])
            after = [0] * (len(sizes) + 1)
            after[axis + 1] = gap
            wide = self.edges(apart, [0] * len(after), after, value)
            whole = [*sizes[:axis], n * (gap + 1), *sizes[axis + 1 :]]
            split = [*sizes[: axis + 1], gap + 1, *sizes[axis + 1 :]]
            sizes[axis] = n * (gap + 1) - gap
            x = self.crop(self.reshape(wide, split, whole), [0], [sizes[axis]], [1], [axis])
        return x
