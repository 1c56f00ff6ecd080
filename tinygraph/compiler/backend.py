"""What a backend is: it turns code into something that runs, for the processor that it names."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ..codegen.program import Code, KernelCode
from ..graph.ir import Graph, Parameter
from ..graph.op import PLACE
from ..graph.origins import origins
from ..graph.placement import parts_of
from ..graph.state import DeviceMemory
from ..graph.types import Type
from ..plan.records.device import Card, Roofline, Timeline
from ..ranks.shard_sum import ShardSums
from .store import Store

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from ..plan.records.plan import Plan
    from ..plan.records.target import Target

BUILT_IN = {"cpu": "tinygraph_cpu", "cuda": "tinygraph_cuda.backend"}
GROUP = "tinygraph.backends"
REGISTERED: dict[str, Any] = {}  # by name, in this process


class BackendError(RuntimeError):
    """A backend that is not there, or cannot do what was asked of it."""


class Runner(Protocol):
    """A program in memory, ready to run."""

    @property
    def memory(self) -> DeviceMemory | None:
        """The memory that holds its copies of the parameters; None is the host's."""

    @property
    def unfinished(self) -> str:
        """Where a run stopped that left parameters half new, to follow "failed": "in launch 3 of
        9, mul". Empty if they are whole: the run had not begun, or had ended, when an error came.
        """

    def refresh(self) -> None:
        """Runs ``code.prepare``: before the first call, and again when a parameter has changed that
        the program does not update itself. Not called where ``code.prepare`` is empty.
        """

    def __call__(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Runs once, updates included; arrays are C-contiguous and of the program's types."""

    def time(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> list[float]:
        """Runs once; the seconds of each of ``code.calls``, summed over threads and loop steps."""

    def roofline(self) -> Roofline:
        """Measured once a process, on as many threads as this program runs on."""


@runtime_checkable
class Starting(Protocol):
    """A backend that needs something to run programs besides their own code."""

    def start(self) -> None:
        """Begins to make it ready while a program is compiled; does not wait for it."""


@runtime_checkable
class Twofold(Runner, Protocol):
    """A runner of which there can be several, so that several threads call a program at a time."""

    @property
    def alone(self) -> bool:
        """Whether a run takes all threads, or changes parameters: then one at a time is best."""

    def twin(self) -> Runner:
        """Another runner of the same program with intermediate memory of its own."""


@runtime_checkable
class PartRunner(Runner, Protocol):
    """A runner that can make one rank's part of a program.

    Attributes:
        spread: whether it does.
        away: the parameters that it changes, by number, whose new values not all ranks have; for
            each a rank that has.
        used: numbers of the parameters that are read or changed on this rank.
    """

    spread: bool
    away: dict[int, int]

    @property
    def used(self) -> set[int]: ...


@runtime_checkable
class Frugal(Runner, Protocol):
    """A runner that can release parameters whose values it has in another form."""

    def refresh_and_release(self, why: str) -> None:
        """As ``refresh``; what no run of any program reads is then released
        (``ParameterState.release``), and ``why`` says so to those who look for it.
        """


class Adopted(Protocol):
    """An array on a device, as a program reads it; ``dtype`` is its name."""

    shape: tuple[int, ...]
    dtype: str


@runtime_checkable
class Placed(Runner, Protocol):
    """A runner that reads arrays where they are on its device, and leaves results there."""

    def takes(self, value: Any) -> bool:
        """Whether an argument of a call is an array on a device."""

    def adopted(self, value: Any) -> Adopted:
        """Such an array, ordered before what the runner does next.

        Raises:
            ValueError: it is not where, or not stored as, the runner reads it.
        """

    def run_placed(self, inputs: Sequence[Any], results: Sequence[Type]) -> Sequence[Any]:
        """Runs once, updates included, without waiting for the end. ``inputs`` are what ``adopted``
        gave, and NumPy's arrays; gives an array on the device for each result.
        """


@runtime_checkable
class Summing(Runner, Protocol):
    """A runner that adds up what shards of a batch give, before it goes on."""

    def run_shard(
        self,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        sums: ShardSums,
        shard: int,
        empty: bool,
    ) -> None:
        """Runs up to the graph's sums over shards, which take this shard's arrays, or zeros if it
        is empty; for the last shard that this rank holds to the end, updates included.
        """


@runtime_checkable
class Recorder(Protocol):
    """A runner that can also tell what each thread did when; profiles then have a timeline."""

    def timeline(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> Timeline:
        """Runs once."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact about the machine, which ``python -m tinygraph doctor`` shows.

    Attributes:
        name: the processor, say.
        value: which one.
        state: ``ok``; ``hint``, where something could be better; ``fault``, where nothing works.
        advice: what to do.
    """

    name: str
    value: str
    state: str = "ok"
    advice: str = ""


@runtime_checkable
class Examined(Protocol):
    """A backend that says what it finds on the machine."""

    def examine(self) -> Sequence[Finding]:
        """Never raises; compiles nothing."""


class Backend(Protocol):
    """One kind of device. A module with these functions is a backend; docs/backends.md says more.

    ``runtime`` is what follows the backend's name in ``backend="name:runtime"``, empty by default.
    """

    def target(self, runtime: str) -> Target:
        """The processor, as the planner must know it."""

    def fingerprint(self, runtime: str) -> str:
        """Everything that compiled code depends on apart from the graph: the processor, the tools,
        and the version of a backend that does not ship with tinygraph.
        """

    def assemble(self, plan: Plan) -> Code:
        """Kernels as text or records, and their launches: the same in every process."""

    def build(self, code: Code, store: Store, runtime: str) -> None:
        """Compiles the kernels that the store does not have."""

    def cards(self, code: Code, store: Store, runtime: str) -> Sequence[Card]:
        """One for each kernel; empty where kernels run on a processor."""

    def load(
        self,
        code: Code,
        constants: Sequence[np.ndarray],
        parameters: Sequence[Parameter],
        store: Store,
        runtime: str,
    ) -> Runner:
        """Loads compiled kernels, allocates memory and binds the program to it.

        Raises:
            LookupError: the store has lost a kernel; the program is then compiled again.
        """


@runtime_checkable
class Disassembler(Protocol):
    """A backend that can also show machine code; the pages of its programs then have it."""

    def inner_loop(self, kernel: KernelCode, runtime: str) -> str:
        """The machine code of a kernel's innermost loop, a line for each instruction; empty if it
        is not known, or the kernel is no product.
        """


def check_devices(graph: Graph, spec: str, count: int | None) -> None:
    """Raises BackendError if a node is placed on a device that the backend ``spec`` does not have,
    or some are placed on ranks and others not.

    ``count`` is how many devices it has; None: as many as are named.
    """
    name = spec.partition(":")[0]
    placed = [n for n in graph.nodes if n.op is PLACE]
    ranks = {parts_of(n.attr("device"))[0]: n for n in placed}
    if None in ranks and len(ranks) > 1:
        first, other = ranks[None], next(n for rank, n in ranks.items() if rank is not None)
        raise BackendError(
            f"{other.attr('device')} ({origins(other)[0]}) names a rank, {first.attr('device')} "
            f"({origins(first)[0]}) does not: all devices of a program name one, or none does"
        )
    for n in placed:
        _, kind, number = parts_of(n.attr("device"))
        if kind != name or (count is not None and number >= count):
            has = f"which has {name}:0 only" if count == 1 else f"whose devices are {name}:number"
            where = f"{kind}:{number} ({origins(n)[0]})"
            raise BackendError(f"{where} is not a device of backend {name!r}, {has}")


def register(name: str, backend: Any) -> None:
    """Makes a backend known to this process, as an entry point makes that of a package known.

        register("mine", sys.modules[__name__])
        tg.compile([x], [y], backend="mine")

    Args:
        name: registering a name again replaces its backend, except for ``cpu`` and ``cuda``.
        backend: a module, or another object with the functions of ``Backend``.

    Raises:
        BackendError: the name is taken or contains a colon, or a function is missing.

    Example:
        >>> import tinygraph_cpu
        >>> extend.register("mine", tinygraph_cpu)
    """
    if name in BUILT_IN or ":" in name:
        raise BackendError(f"a backend cannot be named {name!r}")
    REGISTERED[name] = complete(name, backend)


def package(entry: EntryPoint) -> str:
    """The module that an entry point names, and its package."""
    return f"{entry.value}, of the package {entry.dist.name}" if entry.dist else entry.value


def complete(name: str, backend: Any, source: str = "") -> Backend:
    """The backend; ``source`` says where it is from.

    Raises:
        BackendError: it lacks a function of the protocol.
    """
    functions = [f for f in vars(Backend) if not f.startswith("_")]
    missing = [f for f in functions if not callable(getattr(backend, f, None))]
    if missing:
        raise BackendError(
            f"backend {name!r} ({source or repr(backend)}) lacks {', '.join(missing)}: "
            "see Backend in tinygraph.extend"
        )
    return backend


def find(spec: str) -> tuple[Backend, str]:
    """The backend of ``name[:runtime]`` and the runtime.

    Raises:
        BackendError: no backend of this name is installed, or it lacks a function.
    """
    name, _, runtime = spec.partition(":")
    module = BUILT_IN.get(name)
    if module is not None and importlib.util.find_spec(module) is not None:
        return importlib.import_module(module), runtime
    if name in REGISTERED:
        return REGISTERED[name], runtime
    from importlib.metadata import entry_points  # as slow to import as all of the core

    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return complete(name, entry.load(), package(entry)), runtime
    known = sorted(
        {n for n, m in BUILT_IN.items() if importlib.util.find_spec(m)}
        | REGISTERED.keys()
        | {e.name for e in entry_points(group=GROUP)}
    )
    raise BackendError(f"no backend {name!r} is installed; there is {', '.join(known)}")
