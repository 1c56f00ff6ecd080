"""Runs graphs with their loop nests as PTX in the emulator, and the rest as plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tinygraph.codegen import python
from tinygraph.codegen.assemble import kernel, place
from tinygraph.codegen.nest import Address
from tinygraph.ir import Graph
from tinygraph.plan.plan import Launch, Nest, Plan
from tinygraph.plan.schedule import schedule
from tinygraph.plan.tiling import Target
from tinygraph.plan.verify import verify_plan
from tinygraph_cuda.emulator import Kernel, Memory
from tinygraph_cuda.intrinsics import SCOPE
from tinygraph_cuda.nest import emit
from tinygraph_cuda.toolchain import compile_ptx

Blocks = dict[tuple[str, int], np.ndarray]


def run_emulated(graph: Graph, *arrays: np.ndarray, without: Sequence[str] = ()) -> list:
    """The outputs of a graph."""
    target = Target(winograd=False)
    plan = verify_plan(schedule(graph, target=target, without=frozenset(without)))
    outputs = [np.zeros(o.shape, o.dtype) for o in graph.outputs]
    blocks: Blocks = {("input", i): np.ascontiguousarray(a) for i, a in enumerate(arrays)}
    blocks |= {("output", i): o.reshape(-1) for i, o in enumerate(outputs)}
    blocks |= constants(plan)
    for i, p in enumerate(graph.parameters):
        value = np.asarray(p.state.read())
        blocks["parameter", i] = np.ascontiguousarray(value.transpose(p.state.order))
    blocks["arena", 0] = np.full(plan.arena + 64, 0xA5, np.uint8)
    blocks["prepared", 0] = np.full(plan.prepared + 64, 0xA5, np.uint8)
    for whole in (*plan.prepare, *plan.launches):
        for launch in whole.members:
            (run_nest if isinstance(launch.work, Nest) else run_python)(launch, blocks)
    return outputs


def constants(plan: Plan) -> Blocks:
    return {("constant", i): np.array(c.attr("value").data) for i, c in enumerate(plan.constants)}


@lru_cache(maxsize=512)
def compiled(text: str, signature: tuple[str, ...], threads: int) -> Kernel:
    source = text.replace("NAME", "nest", 1)
    ptx = compile_ptx(source, "nest", signature, launch_bounds=threads, scope=SCOPE)
    return Kernel(ptx, source=source)


def run_nest(launch: Launch, blocks: Blocks) -> None:
    made = emit(launch.work)
    run = compiled(made.text, made.signature, made.threads)
    memory = Memory()
    starts: dict[tuple[str, int], int] = {}
    arguments = []
    for argument in made.arguments:
        if isinstance(argument, Address):
            home, number, offset = place(argument.access)
            if (home, number) not in starts:
                starts[home, number] = memory.upload(blocks[home, number], f"{home} {number}")
            arguments.append(starts[home, number] + offset)
        else:
            arguments.append(argument)
    run(memory, made.blocks, made.threads, arguments)
    for key, address in starts.items():
        blocks[key][...] = memory.read(address, blocks[key].shape, blocks[key].dtype)


def run_python(launch: Launch, blocks: Blocks) -> None:
    made = kernel(launch)
    names: dict = {}
    exec("from tinygraph.codegen.python import *\n" + made.text, names)
    with python.Memory(blocks) as memory, np.errstate(all="ignore"):
        arguments = [
            memory.address(*place(a.access)) if isinstance(a, Address) else a
            for a in made.arguments
        ]
        for part in range(launch.parts):
            names["NAME"](part, 0, arguments)
