"""Runs graphs as PTX in the emulator, kernel by kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ptx_emulator import Kernel, Memory
from targets import schedule
from tinygraph.codegen.assemble import pointer
from tinygraph.codegen.writer import Address
from tinygraph.graph.dtype import DTYPES
from tinygraph.graph.ir import Graph
from tinygraph.plan.records.plan import Plan
from tinygraph.plan.verify import verify_plan
from tinygraph_cuda.compile.toolchain import compile_ptx
from tinygraph_cuda.kernels.kernel import CudaKernel
from tinygraph_cuda.kernels.lower import lower
from tinygraph_cuda.target import TARGET

Blocks = dict[tuple[str, int], np.ndarray]


def run_emulated(graph: Graph, *arrays: np.ndarray, without: Sequence[str] = ()) -> list:
    """The outputs of a graph."""
    plan = verify_plan(schedule(graph, target=TARGET, without=frozenset(without)))
    outputs = [np.zeros(o.shape, DTYPES[o.dtype].numpy) for o in graph.outputs]
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
            for made in lower(launch):
                run_kernel(made, blocks)
    return outputs


def constants(plan: Plan) -> Blocks:
    return {("constant", i): np.array(c.attr("value").data) for i, c in enumerate(plan.constants)}


def kernels(graph: Graph) -> list[CudaKernel]:
    """What a graph launches, in order."""
    plan = schedule(graph, target=TARGET)
    return [made for launch in plan.launches for made in lower(launch)]


def compile_kernel(made: CudaKernel) -> str:
    """The PTX of a kernel, in which it is called 'kernel'."""
    source = made.text.replace("NAME", "kernel", 1)
    return compile_ptx(
        source, "kernel", made.signature, launch_bounds=made.launch_bounds, scope=made.scope()
    )


KERNELS: dict[str, Kernel] = {}


def compiled(made: CudaKernel) -> Kernel:
    if made.key not in KERNELS:
        source = made.text.replace("NAME", "kernel", 1)
        KERNELS[made.key] = Kernel(compile_kernel(made), source=source)
    return KERNELS[made.key]


def run_kernel(made: CudaKernel, blocks: Blocks) -> None:
    memory = Memory()
    starts: dict[tuple[str, int], int] = {}
    arguments = []
    for argument in made.arguments:
        if isinstance(argument, Address):
            home, number, offset = pointer(argument.access)
            if home == "temporary":
                home, number = "arena", 0
            if (home, number) not in starts:
                starts[home, number] = memory.upload(blocks[home, number], f"{home} {number}")
            arguments.append(starts[home, number] + offset)
        else:
            arguments.append(argument)
    compiled(made)(memory, made.blocks, made.threads, arguments)
    for key, address in starts.items():
        blocks[key][...] = memory.read(address, blocks[key].shape, blocks[key].dtype)
