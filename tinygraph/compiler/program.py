"""The result of compile(): a function of arrays, which can be inspected."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..graph.ir import Graph, Parameter
from .arguments import Arguments
from .options import Options

if TYPE_CHECKING:
    from ..inspect.differences import Differences
    from ..inspect.inspection import Inspection
    from ..inspect.profile import Profile
    from ..plan.records.cost import LaunchCost


class Program(ABC):
    """A compiled function. Call it with arrays in the order of its inputs, or by their names.

    It is a FixedProgram or, where a batch size is open, a BatchProgram. Any number of threads may
    call it: a call waits for those of all programs that have a parameter in common with it, and so
    does reading or setting the value of such a parameter.

    Example:
        >>> x = tg.input("x", 3)
        >>> program = tg.compile([x], [x * 2], name="double")
        >>> program([1.0, 2.0, 3.0])
        (array([2., 4., 6.], dtype=float32),)
    """

    def __init__(
        self,
        graph: Graph,
        updates: tuple[Parameter, ...],
        options: Options,
        check_nan: bool,
    ):
        self.graph, self.updates, self.options, self.check_nan = graph, updates, options, check_nan
        self.parameters = tuple(dict.fromkeys((*graph.parameters, *updates)))
        self.types = [n.type for n in graph.outputs[: len(graph.outputs) - len(updates)]]
        self.arguments = Arguments(graph)

    @abstractmethod
    def __call__(self, *arrays: Any, out: Any = None, **named: Any) -> tuple[np.ndarray, ...]:
        """Runs once, updates included; returns the outputs.

        Args:
            arrays, named: the inputs, in their order or by their names.
            out: arrays for the outputs, as many, or the array itself for one output; each is of
                the output's type, C-contiguous, and shares memory with no other, no input and no
                parameter. Without, the outputs are fresh arrays. In a program with an input of the
                name ``out`` the word is that input's.

        Raises:
            TypeError, ValueError: the arrays do not fit the inputs or the outputs.
            LostValueError: a run that failed midway left a parameter without a value.
            FloatingPointError: with ``check_nan``, a node made a NaN from none.
            KeyboardInterrupt: at Ctrl-C, at once; with updates, at the end of the run, since
                parameters would else be left half new.
        """

    @abstractmethod
    def profile(self, *arrays: Any, repeat: int = 20, **named: Any) -> Profile:
        """Times each launch on these inputs; print the result. Parameters keep their values.

        Args:
            arrays, named: what a call takes.
            repeat: runs that are timed; the result has medians, in seconds.

        Example:
            >>> x = tg.input("x", 64, 64)
            >>> profile = tg.compile([x], [x @ x]).profile(np.ones((64, 64), np.float32), repeat=3)
            >>> profile.total > 0
            True
        """

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"the program {self.graph.name!r} cannot be pickled or copied: compile it in each "
            "process, which the cache makes quick, and send its parameters' values"
        )

    # ------------------------------------------------------------------ inspection

    @property
    @abstractmethod
    def inspection(self) -> Inspection:
        """The record of the compilation; a program from the store is translated again."""

    @property
    @abstractmethod
    def source_path(self) -> str:
        """The file of the generated module, without the user's lines. It is in a temporary folder,
        until this process ends, where the store could not keep it.
        """

    @abstractmethod
    def explain(self, name: str) -> str:
        """How a node, layer, scope or parameter was compiled, and what it costs.

        Args:
            name: as dumps and profiles show it.

        Raises:
            ValueError: there is nothing of this name.

        Example:
            >>> x = tg.input("x", 2)
            >>> text = tg.compile([x], [(x * 7).named("scaled")]).explain("scaled")
        """

    @abstractmethod
    def page_record(self) -> tuple[Inspection, str, Profile | None]:
        """What a page is made from: the record, the signature, and the last profile.

        Example:
            >>> x = tg.input("x", 2)
            >>> inspection, signature, profile = tg.compile([x], [x + 2]).page_record()
        """

    def view(self, path: str | os.PathLike[str]) -> Path:
        """Writes one HTML page that shows everything about this program, and returns its path:
        the graph as it was written and after each pass, kernels, generated code, memory, remarks,
        the user's lines; after a ``profile`` times and rooflines. It loads nothing, so it can be
        mailed; of the user's files it shows those that built nodes.

            step.profile(images, labels)
            step.view("step.html")

        Args:
            path: of the page, which ends in .html.

        Raises:
            ValueError: the path does not end in .html.

        Example:
            >>> x = tg.input("x", 2)
            >>> path = tg.compile([x], [x + 2]).view("page.html")
        """
        from ..page.view import write

        return write(path, [self.page_record()])

    def save_svg(self, path: str | os.PathLike[str], what: str = "kernels") -> Path:
        """Writes a picture and returns its path: the ``kernels``, folded by layer; the ``memory``
        over time; after a profile the ``roofline``.

        Args:
            path: of a file; ``what``: which picture.

        Raises:
            ValueError: there is no such picture, it needs a profile, or the path does not end in
                .svg.

        Example:
            >>> x = tg.input("x", 2)
            >>> path = tg.compile([x], [x + 2]).save_svg("net.svg")
        """
        from ..page.view import write_svg

        return write_svg(path, self.page_record(), what)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of what ``dump`` shows: ``graph``, each pass, ``plan``, ``source``; for a device
        also ``cards``.
        """
        return self.inspection.stages

    @property
    def remarks(self) -> list[str]:
        """Why neighbours are not in one kernel, those first that cost most; the compiler's choices
        with their reasons; what passes did. A list of lines; ``print`` shows a screen of them.
        """
        return self.inspection.remarks

    def dump(self, stage: str | None = None, *, lines: bool = False, scopes: bool = False) -> str:
        """A stage as text, by default the optimized graph.

        ``lines`` adds the user's lines; ``scopes`` folds each layer of a graph into one line.

        Args:
            stage: one of ``stages``, or ``fused``: a line for each kernel.

        Raises:
            ValueError: there is no such stage.

        Example:
            >>> x = tg.input("x", 2)
            >>> print(tg.compile([x], [tg.relu(x)]).dump("graph"))
            graph program(x: f32[2]) {
              %0 = relu(x) : f32[2]
              return %0
            }
        """
        return self.inspection.dump(stage, lines=lines, scopes=scopes)

    def diff(self, stage: str | None = None, since: str | None = None) -> str:
        """The changes of a pass in the graph, node by node; by default those of all passes.

        ``program.diff("simplify")`` compares with the stage before it,
        ``program.diff("simplify", since="graph")`` with an earlier one.

        Args:
            stage: a pass, as in ``stages``; ``since``: the stage to compare with.

        Example:
            >>> x = tg.input("x", 2)
            >>> print(tg.compile([x], [x * 1 + 2]).diff("simplify"))
            --- split_dilation: 2 nodes
            +++ simplify: 1 node: 2 gone, 1 added
            - %0' = mul(x, 1.0) : f32[2]
            - %1' = add(%0', 2.0) : f32[2]
            + %0 = add(x, 2.0) : f32[2]
            - return %1'
            + return %0
        """
        return self.inspection.diff(stage, since)

    def compare(self, other: Program, *arrays: Any) -> Differences:
        """How far each layer is from the same layer of another program of the same network, such as
        one in float32: what a precision, or integers, cost where. Values are those of the optimized
        graphs by their NumPy meaning, so that nothing is compiled again; print the result.

        Args:
            other: what is right; ``arrays``: the inputs of both.

        Raises:
            ValueError: the programs have no layer and no output in common.
            TypeError: the arrays do not fit the inputs.

        Example:
            >>> x, net = tg.input("x", 8, 64), nn.Linear(64, 64)
            >>> exact, half = (tg.compile([x], [net(x)], precision=p) for p in (None, "bfloat16"))
            >>> found = half.compare(exact, np.ones((8, 64), np.float32))
            >>> 0 < found.worst.error < 0.02
            True
        """
        from ..inspect.differences import differences

        mine, right = self.inspection.compiled.graph, other.inspection.compiled.graph
        return differences(mine, right, arrays, len(self.types))

    def planning(self, step: str | None = None) -> str:
        """The planner's steps, each with its time and the number of groups or launches that it
        left; with the name of a step, such as ``"absorb"``, the groups or launches themselves.

        Args:
            step: a name of the first column.

        Raises:
            ValueError: there is no such step, or it was left out.

        Example:
            >>> x = tg.input("x", 2)
            >>> text = tg.compile([x], [x + 2]).planning()
        """
        return self.inspection.planning(step)

    def dot(self, stage: str | None = None) -> str:
        """The graph after a pass for Graphviz, by default the optimized one.

        Args:
            stage: a pass, as in ``stages``.

        Example:
            >>> x = tg.input("x", 2)
            >>> tg.compile([x], [x + 2]).dot().partition(" ")[0]
            'digraph'
        """
        return self.inspection.dot(stage)

    def to_networkx(self) -> Any:
        """The optimized graph as networkx.MultiDiGraph; a node's ``launches`` compute it.

        Example:
            >>> x = tg.input("x", 2)
            >>> graph = tg.compile([x], [x + 2]).to_networkx()
            >>> len(graph)
            3
        """
        return self.inspection.to_networkx()

    @abstractmethod
    def cost(self, threads: int | None = None) -> dict[str, int]:
        """Operations, bytes, memory, launches and kernels of one call, before anything runs.

        Args:
            threads: adds a forecast for so many threads, by the backend's estimates of how long
                parts take: ``utilization_percent``, the share of the threads' time in which they
                compute. That they wait for each other shows, not that all wait for one memory.

        Raises:
            ValueError: there is no forecast, for this backend or for a program that is placed.

        Example:
            >>> x = tg.input("x", 64, 64)
            >>> tg.compile([x], [x @ x]).cost()["flops"]  # a multiplication and an addition each
            520192
        """

    def costs(self) -> list[LaunchCost]:
        """Operations and bytes of each launch.

        Example:
            >>> x = tg.input("x", 64, 64)
            >>> [c.flops for c in tg.compile([x], [x @ x]).costs()]
            [520192]
        """
        return self.inspection.costs

    def _signature(self) -> str:
        return f"{self.graph.name}({self.arguments}) -> {', '.join(map(str, self.types))}"

    def __str__(self) -> str:
        return f"{self!r}\n{self.inspection.summary()}"

    def _repr_html_(self) -> str:
        from ..page.notebook import program_html

        return program_html(str(self), *self.page_record())

    def _repr_markdown_(self) -> str:
        return f"```\n{self}\n\n{self.dump()}\n```"
