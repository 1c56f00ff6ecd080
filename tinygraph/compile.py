"""compile() -> Program: one call from nodes to something that runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .compiler import checks
from .compiler.batch_program import BatchProgram
from .compiler.fixed_program import FixedProgram
from .compiler.options import Options, Pass
from .compiler.program import Program
from .graph.batch import batch_axis
from .graph.ir import Graph, Node
from .graph.numeric import numeric
from .graph.op import constant
from .graph.rewrite import substitute
from .passes import PIPELINE, Update, strip_effects
from .passes.quantize import Ranges, quantized
from .settings import settings


@numeric
def compile(
    inputs: Sequence[Node],
    outputs: Sequence[Node],
    *,
    updates: Iterable[Update] = (),
    backend: str | None = None,
    without: Iterable[str] = (),
    passes: Sequence[Pass] | None = None,
    verify: str | None = None,
    check_nan: bool = False,
    conv: str | Mapping[str, str] | None = None,
    seed: int | None = None,
    keep_parameters: bool = True,
    quantize: Ranges | None = None,
    keep: Iterable[str] = (),
    precision: str | None = None,
    name: str | None = None,
) -> Program:
    """Compiles a function of ``inputs`` that returns ``outputs`` and makes ``updates``.

    Args:
        inputs: nodes made by ``tg.input``; the program takes arrays in this order, or by name.
        outputs: what a call returns, as fresh NumPy arrays.
        updates: (parameter, new value) pairs; all new values are computed from old ones. Effects
            that the outputs reach, such as the running statistics of batch normalization, are
            added.
        backend: ``name[:runtime[:architecture]]``: ``cpu``; ``cpu:quick``, which compiles sooner
            to kernels that run several times slower; ``cuda``, ``cuda:device``,
            ``cuda:emulate``, ``cuda:ptx:sm_90``; by default what TINYGRAPH_BACKEND says, else
            ``cpu``.
        without: names to leave out: of passes, of the planner's steps ``absorb``, ``recompute``,
            ``join_siblings``, ``bundle``, ``chain`` and ``fetch_ahead`` (see ``STEPS`` in
            ``tinygraph/plan/schedule.py``), ``fuse``: no two nodes share a kernel, or
            ``contract``: products are plain loops.
        passes: instead of ``tinygraph.passes.PIPELINE``: functions of a graph. One that names
            ``log``, ``target``, ``conv`` or ``remarks`` as a parameter is given it.
        verify: ``"values"`` compares values with the reference interpreter: before and after every
            pass, and of every kernel that stores one. Compiling then takes several runs of the
            interpreter, and memory for all values at once; nothing else changes. TINYGRAPH_VERIFY
            is the default.
        check_nan: each call also checks every value, and names the first node that made a NaN from
            none.
        conv: overrules how convolutions are computed: one word for all, or words by the names of
            layers (scopes) or nodes.
        seed: of dropout in this program, instead of what ``tg.manual_seed`` set.
        keep_parameters: ``False`` releases, at the first call, the values of the parameters that
            this program has packed and transformed for itself, and that no other one reads. To read
            one afterwards is an error, until it has a value again, which the next call prepares
            anew and releases. Inputs must have fixed sizes: each batch size may prepare otherwise.
        quantize: what ``tg.calibrate`` returned, for inference: the products of these layers are of
            int8 weights and uint8 activations, added up in int32.
        keep: layers, or scopes around them, that stay in floats.
        precision: "bfloat16" multiplies in bfloat16 and adds up in float32, and stores so what
            kernels hand on to products, in training as in inference. Parameters, the optimizer's
            state, statistics, losses, inputs and outputs stay as they are. None, or "float32":
            everything is as the graph says.
        name: of the program, for dumps and profiles.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
        VerifyError, UpdateError, BackendError: with the node and the user's line.
        PassError, KernelError: with ``verify="values"``, the first pass or kernel that is wrong.
        PlanError: a fault of the planner; says what to leave out meanwhile.

    Example:
        >>> x, y = tg.input("x", None, 4), tg.input("y", None, 1)  # None: any batch size
        >>> net = nn.Linear(4, 1)
        >>> loss = nn.mse_loss(net(x), y)
        >>> updates = optim.SGD(0.1).updates(loss, net.parameters())
        >>> step = tg.compile([x, y], [loss], updates=updates)
    """
    pipeline = tuple(PIPELINE if passes is None else passes)
    left_out = checks.options(without, pipeline, verify)
    graph = Graph(
        name or "program", checks.nodes(inputs, "inputs"), checks.nodes(outputs, "outputs")
    )
    given = checks.pairs(updates)
    values = tuple(new for _, new in given)
    checks.declared(Graph(graph.name, graph.inputs, (*graph.outputs, *values)))
    stripped, pairs = strip_effects(graph, given)
    whole = Graph(graph.name, stripped.inputs, (*stripped.outputs, *(new for _, new in pairs)))
    options = Options(
        backend or settings.backend,
        left_out,
        pipeline,
        verify or settings.verify,
        checks.ways(conv, whole),
        checks.precision(precision, pipeline),
    )
    if seed is not None:
        whole = seeded(whole, seed)
    if quantize is not None:
        if given:
            raise ValueError("quantize= is for inference: what is rounded has no gradient")
        whole = quantized(whole, quantize, keep)
    updated = tuple(p for p, _ in pairs)
    if batch_axis(whole) is None:
        return FixedProgram(whole, updated, options, check_nan, keep_parameters)
    checks.kept(whole, keep_parameters)
    return BatchProgram(whole, updated, options, check_nan)


def seeded(graph: Graph, seed: int) -> Graph:
    """The graph with a seed of its own for every random operator."""
    draws = (n for n in graph.nodes if n.op.name == "random_uniform")
    return substitute(graph, {n.inputs[0]: constant(seed, n.inputs[0].dtype) for n in draws})
