"""Random compositions of all functions, and their gradients: generated Python and compiled code
agree with the interpreter in float64; between them, the fuzzers draw every operator.
"""

from __future__ import annotations

import numpy as np

import random_functions  # noqa: F401  both fill the tables
import random_layers  # noqa: F401
import tinygraph as tg
from compiled import run_python
from random_composer import FUNCTIONS, JUMPING, SHAPES, SMOOTH, Composer, bounds, composed
from random_programs import graph_and_values, program
from seeds import drawn, pytest_generate_tests  # noqa: F401  pytest finds it here
from test_attention import TAKES_ALL
from tinygraph.compiler.pipeline import run_passes
from tinygraph.graph.ir import Graph
from tinygraph.graph.op import OPS
from tinygraph.passes import strip_effects


def agree(c: Composer, got: list[np.ndarray], want: list[tuple[np.ndarray, float]]) -> None:
    for number, (value, (exact, error)) in enumerate(zip(got, want, strict=True)):
        message = f"output {number}, seed {c.seed}:\n" + "\n".join(c.log)
        assert value.shape == exact.shape, message
        if not np.isfinite(error):
            continue  # float32 overflows: nothing is known
        np.testing.assert_allclose(value, exact, rtol=0, atol=error, err_msg=message)


@drawn(60, 3000)
def test_as_python(seed: int) -> None:
    graph, arrays, c = composed(seed)
    plain, _ = strip_effects(graph)
    agree(c, run_python(plain, *arrays), bounds(graph, arrays))


@drawn(6, 300)
def test_compiled(seed: int) -> None:
    graph, arrays, c = composed(seed + 10**6)
    want = bounds(graph, arrays)
    program = tg.compile(graph.inputs, graph.outputs)
    agree(c, list(program(*arrays)), want)


NOT_DRAWN = {
    **dict.fromkeys(
        (
            "all_gather",
            "all_reduce",
            "broadcast",
            "reduce",
            "reduce_scatter",
            "shard_sum",
            "shard_slice",
            "gather_slices",
            "send",
            "receive",
        ),
        "several ranks: test_collectives.py, test_distributed.py",
    ),
    **dict.fromkeys(
        ("conv2d_integer", "conv3d_integer", "dequantize", "quantize"), "bytes: test_int8.py"
    ),
    "of_batch": "open batch sizes: test_batch.py",
    "place": "several devices: test_placement.py",
    "placeholder": "parsed text without its constants: test_language.py",
}


def test_every_operator_is_drawn() -> None:
    """As written, as gradients, or once the passes are through."""
    found: set[str] = set()

    def walk(graph: Graph) -> None:
        for n in graph.nodes:
            found.add(n.op.name)
            for _, value in n.attrs:
                if isinstance(value, Graph):
                    walk(value)

    for name, (rank, function) in FUNCTIONS.items():
        for seed in range(16):
            c = Composer(seed)
            x = c.new(*c.pick([s for s in SHAPES if rank in (0, len(s))]))
            y = function(c, x)
            wrt = [n for n in Graph("", (), (y,)).nodes if n.name and n.dtype == "float32"]
            graph = Graph(name, tuple(c.inputs), (y, *tg.grad(tg.sum(y * y), wrt)))
            walk(graph)
            if name in ("attention_in_one_pass", "projected") and seed < 6:
                walk(run_passes(graph, target=TAKES_ALL)[-1].graph)
    for _, function in (*SMOOTH.values(), *JUMPING.values()):
        c = Composer(0)
        walk(Graph("", (), (function(c, c.new(3)),)))
    for seed in range(60):
        walk(graph_and_values(program(seed))[0])
    missing = {name for name, op in OPS.items() if op.built_in} - found
    assert missing == set(NOT_DRAWN)
