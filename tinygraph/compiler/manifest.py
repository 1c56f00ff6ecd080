"""What running a program takes, and its form on disk: JSON, with arrays as base64.

What inspection shows is not kept: names and lines are the user's, so a program that was read is
translated again when it is asked for.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..codegen.program import (
    Call,
    CallChain,
    CallLoop,
    Code,
    KernelCode,
    MessageCode,
    Rearranged,
    Work,
)
from ..graph.dtype import DTYPES, name_of

if TYPE_CHECKING:
    from ..inspect.record import Compiled


@dataclass(frozen=True, slots=True)
class Built:
    """All that running a program takes.

    Attributes:
        key: of the program in the store, if it has one.
        compiled: the compilation, if it was just made.
    """

    code: Code
    constants: list[np.ndarray]
    key: str | None
    compiled: Compiled | None = None


def write(built: Built) -> bytes:
    """A manifest; arrays as base64 of their bytes."""
    code = asdict(replace(built.code, kernels=(), head=""))
    code["kernels"] = [(k.name, k.key, k.signature, k.threads) for k in built.code.kernels]
    constants = [
        {
            "dtype": name_of(c.dtype),
            "shape": c.shape,
            "data": base64.b64encode(c.tobytes()).decode(),
        }
        for c in built.constants
    ]
    return json.dumps({"code": code, "constants": constants}).encode()


def read(data: bytes, key: str) -> Built:
    """The contents of a manifest, which was found under a key."""
    content: dict[str, Any] = json.loads(data)
    code = content["code"]
    kernels = tuple(
        KernelCode(name, "", known_key=key, signature=tuple(signature), threads=threads)
        for name, key, signature, threads in code["kernels"]
    )
    prepare, calls = (
        tuple(
            Call(
                tuple(map(read_work, c["work"])),
                tuple(c["waits"]),
                c["name"],
                c["device"],
                tuple(c["back"]),
            )
            for c in code[which]
        )
        for which in ("prepare", "calls")
    )
    constants = [
        np.frombuffer(base64.b64decode(c["data"]), DTYPES[c["dtype"]].numpy).reshape(c["shape"])
        for c in content["constants"]
    ]
    made = Code(
        code["name"], kernels, prepare, calls, code["arena"], code["prepared"], code["scratch"],
        tuple((home, offset, size) for home, offset, size in code["buffers"]),
        devices=tuple(code["devices"]), loops=tuple(CallLoop(**x) for x in code["loops"]),
        chains=tuple(CallChain(**x) for x in code["chains"]),
        updates=code["updates"], pieces=tuple(code["pieces"]), sums=tuple(code["sums"]),
        rearranged=tuple(map(read_rearranged, code["rearranged"])),
        ranks=tuple(code["ranks"]),
        messages=tuple(MessageCode(**x | {"memory": tuple(x["memory"])}) for x in code["messages"]),
        holders=tuple((number, tuple(ranks)) for number, ranks in code["holders"]),
    )  # fmt: skip
    return Built(made, constants, key)


def read_rearranged(content: dict[str, Any]) -> Rearranged:
    lists = (tuple(content[name]) for name in ("sizes", "strides", "filled", "shape"))
    return Rearranged(content["parameter"], content["offset"], *lists)


def read_work(content: dict[str, Any]) -> Work:
    arguments = tuple(a if isinstance(a, int) else (a[0], a[1], a[2]) for a in content["arguments"])
    steps, slices = (tuple(map(tuple, content[name])) for name in ("steps", "slices"))
    return Work(
        content["kernel"], arguments, content["parts"], content["member"], steps, slices
    )
