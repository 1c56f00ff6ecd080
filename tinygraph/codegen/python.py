"""Generated code as plain Python: a debugger steps through it, and nothing is compiled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import intrinsics, random
from . import math as polynomials
from .contraction import contraction
from .program import Argument, Code


class Flat:
    """Memory from an address on, as kernels index it: flat, and an error beyond either end."""

    __slots__ = ("data",)

    def __init__(self, data: np.ndarray):
        self.data = data

    def __getitem__(self, i: int) -> Any:
        if i < 0:
            raise IndexError(f"element {i} lies before the buffer's view")
        return self.data[i]

    def __setitem__(self, i: int, value: Any) -> None:
        if i < 0:
            raise IndexError(f"element {i} lies before the buffer's view")
        self.data[i] = value


class Memory:
    """Blocks of memory by home and number, with addresses that kernels compute with."""

    def __init__(self, blocks: Mapping[tuple[str, int], np.ndarray]):
        self.blocks = {key: np.asarray(b).reshape(-1).view(np.uint8) for key, b in blocks.items()}
        self.starts = {key: (number + 1) << 40 for number, key in enumerate(self.blocks)}
        self.order = list(self.blocks)

    def address(self, argument: Argument) -> int:
        if isinstance(argument, int):
            return argument
        home, number, offset = argument
        return self.starts[home, number] + offset

    def __call__(self, address: int, dtype: str) -> np.ndarray:
        number, offset = (address >> 40) - 1, address & ((1 << 40) - 1)
        if not 0 <= number < len(self.order):
            raise IndexError(f"no buffer at {address:#x}")
        block = self.blocks[self.order[number]]
        size = np.dtype(dtype).itemsize
        if offset > len(block):
            raise IndexError(f"{offset} bytes into a buffer of {len(block)}")
        usable = (len(block) - offset) // size * size
        return block[offset : offset + usable].view(dtype)


def namespace(memory: Memory) -> dict[str, Any]:
    """What generated text may call, as its Python twins."""
    names: dict[str, Any] = {}
    for module in (intrinsics, polynomials, random):
        names.update({k: v for k, v in vars(module).items() if not k.startswith("_")})
    for dtype in ("float32", "float64", "int32", "int64", "uint8", "uint32", "bool"):
        names[f"view_{dtype}"] = lambda address, dtype=dtype: Flat(memory(int(address), dtype))
        names[f"stack_{dtype}"] = lambda n, dtype=dtype: np.zeros(n, dtype)
    names.update(contraction=contraction, memory=memory, maximum=np.maximum, minimum=np.minimum, inf=math.inf, nan=math.nan, accumulate=lambda acc, x: acc + x)
    return names


def functions(code: Code, memory: Memory) -> list[Callable[[int, int, Sequence[int]], None]]:
    """The kernels as Python functions."""
    names = namespace(memory)
    names["Contraction"] = __import__("tinygraph.plan.contraction", fromlist=["Contraction"]).Contraction
    names["TileOperand"] = __import__("tinygraph.plan.contraction", fromlist=["TileOperand"]).TileOperand
    names["Body"] = __import__("tinygraph.plan.body", fromlist=["Body"]).Body
    names["Statement"] = __import__("tinygraph.plan.body", fromlist=["Statement"]).Statement
    for kernel in code.kernels:
        exec(compile(kernel.text, f"<{kernel.name}>", "exec"), names)  # noqa: S102  (our own text)
    return [names[k.name] for k in code.kernels]


def execute(code: Code, blocks: Mapping[tuple[str, int], np.ndarray]) -> None:
    """Runs prepare and then every call, part by part, in plain Python on the given memory."""
    memory = Memory({
        **blocks,
        ("arena", 0): np.full(code.arena + 64, 0xA5, np.uint8),
        ("prepared", 0): np.full(code.prepared + 64, 0xA5, np.uint8),
    })  # fmt: skip
    kernels = functions(code, memory)
    with np.errstate(all="ignore"):
        for call in (*code.prepare, *code.calls):
            args = [memory.address(a) for a in call.arguments]
            for part in range(call.parts):
                kernels[call.kernel](part, 0, args)
