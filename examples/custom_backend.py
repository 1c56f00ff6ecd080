"""A backend of one's own: it runs the generated code as it is, in plain Python and NumPy.

Kernels arrive as Python text. This backend keeps each text in the store and executes it on arrays,
element by element; products and convolutions run as NumPy. docs/backends.md explains each function.
Where this script calls ``register``, a package announces its module in pyproject.toml:

    [project.entry-points."tinygraph.backends"]
    python = "custom_backend"
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

import tinygraph as tg
from tinygraph import data, models, nn, optim
from tinygraph.extend import Call, Card, Code, KernelCode, Roofline, Store, python, register
from tinygraph.extend import PlainTarget as Target  # no processor in particular
from tinygraph.extend import assemble as assemble  # kernels for processors, not GPUs

VERSION = "1"  # part of the keys of what is stored: raise it when this file changes
TEXTS: dict[str, bytes] = {}  # those of this process: the store may be read-only


def target(runtime: str) -> Target:
    return Target()


def fingerprint(runtime: str) -> str:
    return f"python backend {VERSION}"


def build(code: Code, store: Store, runtime: str) -> None:
    for kernel in code.kernels:
        text = kernel.text.replace(kernel.name, "kernel", 1)  # programs share kernels, not names
        TEXTS[name(kernel)] = text.encode()
        store.put("kernel", name(kernel), text.encode())


def name(kernel: KernelCode) -> str:
    return f"python_{VERSION}_{kernel.key}"


def cards(code: Code, store: Store, runtime: str) -> Sequence[Card]:
    return ()


def load(
    code: Code,
    constants: Sequence[np.ndarray],
    parameters: Sequence[tg.Parameter],
    store: Store,
    runtime: str,
) -> Interpreter:
    return Interpreter(code, constants, parameters, store)


def function(kernel: KernelCode, store: Store) -> Callable[[int, int, Sequence[int]], None]:
    """A kernel, from its text in the store; what it calls is in tinygraph.codegen.python."""
    text = TEXTS.get(name(kernel)) or store.get("kernel", name(kernel))
    if text is None:
        raise LookupError(f"the store has lost kernel {kernel.name}")
    names = dict(vars(python))
    exec(text, names)
    return names["kernel"]


class Interpreter:
    """A program in memory: kernels as functions, buffers as arrays."""

    memory = None  # parameters stay in the host's memory

    def __init__(
        self,
        code: Code,
        constants: Sequence[np.ndarray],
        parameters: Sequence[tg.Parameter],
        store: Store,
    ):
        self.code, self.kernels = code, [function(kernel, store) for kernel in code.kernels]
        sizes = {"arena": code.arena, "prepared": code.prepared, "scratch": code.scratch}
        self.blocks = {(home, 0): np.zeros(size, np.uint8) for home, size in sizes.items()}
        self.blocks |= {("constant", i): c for i, c in enumerate(constants)}
        for i, p in enumerate(parameters):  # views of the values, axes in the order of memory
            self.blocks["parameter", i] = p.state.read().transpose(p.state.order)

    def launch(self, call: Call, step: int, memory: python.AddressSpace) -> None:
        for work in call.work:
            moved = dict(work.steps)  # bytes that an argument moves in each step of a loop
            arguments = [
                a if isinstance(a, int) else memory.address(*a) + step * moved.get(i, 0)
                for i, a in enumerate(work.arguments)
            ]
            for part in range(work.parts):
                self.kernels[work.kernel](part, 0, arguments)

    def refresh(self) -> None:
        with python.AddressSpace(self.blocks) as memory:
            for call in self.code.prepare:
                self.launch(call, 0, memory)

    def __call__(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        self.time(inputs, outputs)

    def time(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> list[float]:
        given = {("input", i): a for i, a in enumerate(inputs)}
        given |= {("output", i): a for i, a in enumerate(outputs)}
        seconds = [0.0] * len(self.code.calls)
        with python.AddressSpace(self.blocks | given) as memory, np.errstate(all="ignore"):
            for number, step in self.code.order():
                start = time.perf_counter()
                self.launch(self.code.calls[number], step, memory)
                seconds[number] += time.perf_counter() - start
        return seconds

    def roofline(self) -> Roofline:
        return Roofline(threads=1, flops=1e9, bandwidth=1e9)  # a guess: profiles show shares of it


def learn(backend: str, steps: int = 4, batch: int = 4) -> list[float]:
    """LeNet-5's losses in its first steps, all on the same digits."""
    x, y = tg.input("image", batch, 1, 28, 28), tg.input("label", batch, dtype="int32")
    tg.manual_seed(0)
    net = models.lenet5()
    loss = nn.cross_entropy(net(x), y)
    updates = optim.SGD(lr=0.1).updates(loss, net.parameters())
    train = tg.compile([x, y], [loss], updates=updates, backend=backend)
    digits, _ = data.digits()
    return [float(train(digits.images[:batch], digits.labels[:batch])[0]) for _ in range(steps)]


def main() -> dict[str, float]:
    register("python", sys.modules[__name__])
    found = {f"{b}: loss {i}": x for b in ("cpu", "python") for i, x in enumerate(learn(b))}
    for what, number in found.items():
        print(f"{what}: {number:.7f}")
    return found


if __name__ == "__main__":
    main()
