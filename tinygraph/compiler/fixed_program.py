"""A program for inputs of fixed shapes: its code, bound to memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph.ir import Graph, Node, Parameter
from ..graph.locks import Locks, SharedLock
from ..graph.numeric import numeric
from ..graph.spread import OnRank
from ..graph.state import ParameterState, shared_lock
from ..plan.records.target import Timed
from ..ranks.shard_sum import ShardSums
from ..ranks.world import require_same, world
from ..settings import settings, temporary_folder
from .backend import (
    BackendError,
    Disassembler,
    Frugal,
    PartRunner,
    Placed,
    Runner,
    Summing,
    Twofold,
    find,
)
from .build import obtain
from .callers import Callers
from .facts import facts
from .options import Options
from .outputs import Outputs
from .program import Program
from .source import Source
from .store import default_store

if TYPE_CHECKING:
    from ..inspect.inspection import Inspection
    from ..inspect.profile import Profile


class FixedProgram(Program):
    """A program compiled for the shapes that its inputs have.

    Attributes:
        source: what it was made from.
        built: its code.
        outputs: the arrays that a call fills.
    """

    def __init__(
        self,
        graph: Graph,
        updates: tuple[Parameter, ...],
        options: Options,
        check_nan: bool,
        keep_parameters: bool = True,
    ):
        super().__init__(graph, updates, options, check_nan)
        backend, runtime = find(options.backend)
        self.source = Source(graph, updates, self.parameters, options, backend, runtime)
        self._lock = shared_lock(p.state for p in self.parameters)
        self._prepared: tuple[int, ...] | None = None
        self._watched = [p.state for p in self.parameters if p not in set(updates)]
        self._profile: Profile | None = None
        nodes = graph.outputs[: len(self.types)]
        self.outputs = Outputs(graph.name, nodes, self.parameters)
        self._load()
        self._read: Sequence[Parameter] = self.graph.parameters
        self._away: dict[Parameter, OnRank] = {}
        if isinstance(self._runner, PartRunner) and self._runner.spread:
            self._is_part_of(self._runner)
        self._prepare = self._runner.refresh if keep_parameters else self._releasing()
        self._callers = self._beside(self._lock)
        self._placing = self._runner if isinstance(self._runner, Placed) else None
        self._follows = self._runner.memory is not None or bool(self.built.code.prepare)
        if settings.dump is not None:
            self.inspection.write(settings.dump)

    def _load(self) -> None:
        """Compiles or finds the code and binds it to memory; what the store has lost is rebuilt."""
        source, store = self.source, default_store()

        def load() -> Runner:
            code, constants = self.built.code, self.built.constants
            return source.backend.load(code, constants, self.parameters, store, source.runtime)

        self.built = obtain(source, store)
        for p in self.parameters if self.built.code.ranks else ():
            p.state.claim()  # ranks draw those that they read
        try:
            self._runner = load()
        except LookupError:
            self.built = obtain(source, store, fresh=True)
            self._runner = load()
        if self.options.verify == "values":
            from .check_kernels import KernelError, check_kernels

            try:
                with self._lock:
                    check_kernels(source, self.built, store)
            except KernelError as error:
                self._show(error, (error.node, *error.nodes), error.values)
                raise

    def _is_part_of(self, runner: PartRunner) -> None:
        """The program is spread over ranks: this one follows the parameters that it uses.

        Raises:
            DistributedError: another rank has another program.
        """
        ranks, used = world(), {self.parameters[i] for i in runner.used}
        ranks.doing = f"the start of {self.graph.name}"
        require_same(ranks, facts(self.options.backend, self.graph))
        self._read = [p for p in self.graph.parameters if p in used]
        self._watched = [p.state for p in self._read if p not in set(self.updates)]
        for number, rank in runner.away.items():
            p = self.parameters[number]
            self._away[p] = OnRank(rank, self.graph.name, here=p in used)

    def _releasing(self) -> Callable[[], None]:
        """As the runner's ``refresh``; parameters do not keep what no run reads."""
        if not isinstance(self._runner, Frugal):
            raise BackendError(
                f"backend {self.options.backend!r} cannot release parameters: compile "
                f"{self.graph.name} without keep_parameters=False"
            )
        why = f"program {self.graph.name}, compiled with keep_parameters=False, has its own copies"
        return partial(self._runner.refresh_and_release, why)

    def _beside(self, lock: SharedLock | Locks) -> Callers | None:
        """The callers that may run at a time, if they may."""
        runner = self._runner
        if not isinstance(lock, SharedLock) or not isinstance(runner, Twofold):
            return None
        return None if runner.alone or self.check_nan else Callers(runner, lock)

    def __call__(self, *arrays: Any, out: Any = None, **named: Any) -> tuple[np.ndarray, ...]:
        if out is not None and self.arguments.takes_out:
            named["out"], out = out, None
        runner = self._placing
        if runner is not None and any(map(runner.takes, (*arrays, *named.values()))):
            return self._run_placed(runner, arrays, named, out)
        inputs = self.arguments.arrays(arrays, named)
        outputs = self.outputs.fresh() if out is None else self.outputs.given(out, inputs)
        if (callers := self._callers) is not None:
            me = get_ident()
            if callers.lock.owner != me:
                self._run_beside_others(callers, me, inputs, outputs)
                return tuple(outputs)
        with self._lock:
            if self.check_nan:
                self._check(inputs)
            if self._follows or ParameterState.moved:
                self._refresh()
            try:
                self._runner(inputs, outputs)
            except BaseException as error:
                self._updated(error)
                raise
            if self.updates:
                self._updated()
        return tuple(outputs)

    def _run_placed(
        self, runner: Placed, arrays: tuple[Any, ...], named: dict[str, Any], out: Any
    ) -> tuple[Any, ...]:
        """Runs on arrays that are on the device, without waiting for the results, which stay there.

        Raises:
            ValueError: ``out`` or ``check_nan`` asks for what is on the host.
        """
        if out is not None or self.check_nan:
            what = "out" if out is not None else "check_nan"
            raise ValueError(
                f"{self.graph.name} was given arrays on a device, where its results stay too: "
                f"{what} is for NumPy's arrays"
            )
        with self._lock:
            held = self.arguments.placed(
                arrays, named, lambda x: runner.adopted(x) if runner.takes(x) else None
            )
            self._refresh()
            try:
                found = runner.run_placed(held, self.types)
            except BaseException as error:
                self._updated(error)
                raise
            self._updated()
        return tuple(found)

    def run_shard(
        self, arrays: Sequence[Any], sums: ShardSums, shard: int, empty: bool
    ) -> tuple[np.ndarray, ...]:
        """Runs for one shard of a batch, up to the graph's sums over shards; for the last one that
        this rank holds to the end, whose outputs are the batch's.

        Args:
            arrays: the inputs, in their order.
            sums: of the graph, in their order; shard: its number.
            empty: it has no examples: it adds zeros, whatever the arrays are.

        Raises:
            BackendError: the backend adds up no shards.
        """
        inputs, outputs = self.arguments.arrays(tuple(arrays), {}), self.outputs.fresh()
        run = self._shards
        with self._lock:
            if self._follows or ParameterState.moved:
                self._refresh()
            try:
                run(inputs, outputs, sums, shard, empty)
            except BaseException as error:
                self._updated(error)
                raise
            if shard == sums.last:
                self._updated()
        return tuple(outputs)

    @cached_property
    def _shards(self) -> Callable[..., None]:
        if isinstance(self._runner, Summing):
            return self._runner.run_shard
        raise BackendError(
            f"backend {self.options.backend!r} adds up no shards, which data_parallel requires"
        )

    def _run_beside_others(
        self,
        callers: Callers,
        me: int,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
    ) -> None:
        """Runs in this thread while others run that change no parameter either."""
        lock = callers.lock
        try:
            runner = callers.idle.pop()
        except IndexError:
            runner = callers.another(me)
        try:
            with lock.gate:
                if (self._follows or ParameterState.moved) and self._stale():
                    with lock:
                        self._refresh()
                lock.sharing.append(me)
            try:
                runner(inputs, outputs)
            finally:
                lock.sharing.remove(me)
                if lock.awaited:
                    lock.left()
        finally:
            callers.idle.append(runner)
            if callers.waiting:
                callers.pass_on()

    def _stale(self) -> bool:
        """Whether parameters have changed since this program's memory followed them."""
        return ParameterState.moved or self._prepared != tuple([s.version for s in self._watched])

    def _updated(self, error: BaseException | None = None) -> None:
        """Parameters have their new values, or none if the run stopped midway. An error may also
        come before or after the run, as Ctrl-C does.
        """
        unfinished = getattr(self._runner, "unfinished", "midway") if error is not None else ""
        for p in self.updates:
            if unfinished:
                reason = str(error).partition("\n")[0] or type(error).__name__
                p.state.lose(f"program {self.graph.name} failed {unfinished} ({reason})")
            else:
                p.state.changed(self._runner.memory)
                if p in self._away:
                    p.state.spread_out(self._away[p])

    def _refresh(self) -> None:
        """The newest values of the parameters that this program reads are where it runs, and
        prepared values follow the parameters that they were made from.

        Raises:
            LostValueError: one has no value.
        """
        if self._runner.memory is not None or ParameterState.moved:
            for p in self._read:
                p.state.bring(self._runner.memory)
        if not self.built.code.prepare:
            return
        versions = tuple([s.version for s in self._watched])
        if versions != self._prepared:
            self._prepare()
            self._prepared = versions

    def _check(self, inputs: Sequence[np.ndarray]) -> None:
        from .check_values import first_nan

        found = first_nan(self.graph, inputs)
        if found is not None:
            error = FloatingPointError(found.text)
            self._show(error, (found.node,), found.values)
            raise error

    def _show(self, error: Exception, nodes: Sequence[Node], values: np.ndarray) -> None:
        """Writes a page about a value that is wrong, and has the error name it."""
        from ..page.failure import write_failure

        try:
            path = write_failure(self.inspection, self._signature(), str(error), nodes, values)
            error.add_note(f"seen in its graph, with a histogram of its values: {path}")
        except OSError as why:
            error.add_note(f"no page about it could be written: {why}")

    @numeric
    def profile(self, *arrays: Any, repeat: int = 20, **named: Any) -> Profile:
        from .measure import measure

        inputs, outputs = self.arguments.arrays(arrays, named), self.outputs.fresh()
        with self._lock:
            spread = {p: p.state.spread for p in self.updates}
            kept = [(p, p.value) for p, at in spread.items() if at is None or at.here]
            self._refresh()
            try:
                timing = measure(self._runner, inputs, outputs, repeat)
            finally:
                for p, value in kept:
                    p.value = value
                    if (at := spread[p]) is not None:
                        p.state.spread_out(at)
        self._profile = self.inspection.profile(timing)
        return self._profile

    @cached_property
    def inspection(self) -> Inspection:
        from ..inspect.inspection import Inspection

        source, compiled = self.source, self.built.compiled or self.source.translate()
        cards = source.backend.cards(self.built.code, default_store(), source.runtime)
        loop = source.backend.inner_loop if isinstance(source.backend, Disassembler) else None
        return Inspection(
            compiled,
            self.parameters,
            cards,
            (lambda kernel: loop(kernel, source.runtime)) if loop is not None else None,
        )

    @property
    def source_path(self) -> str:
        store, text = default_store(), ""
        name = self.built.key
        if name is None:
            text = self.inspection.dump("source")
            name = hashlib.sha256(text.encode()).hexdigest()[:32]
        path = store.path("source", name)
        if not path.exists():
            text = text or self.inspection.dump("source")
            store.put("source", name, text.encode())
        if not path.exists():
            path = temporary_folder() / path.name
            path.write_text(text)
        return str(path)

    @numeric
    def cost(self, threads: int | None = None) -> dict[str, int]:
        found = self.inspection.cost()
        if threads is not None:
            found |= {"threads": threads, "utilization_percent": self._utilization(threads)}
        return found

    def _utilization(self, threads: int) -> int:
        from ..inspect.forecast import forecast

        target = self.source.backend.target(self.source.runtime)
        if not isinstance(target, Timed):
            raise ValueError(
                f"cost(threads={threads}) requires a backend whose threads share launches, "
                f"not {self.options.backend!r}"
            )
        return round(100 * forecast(self.inspection.plan, target.part_times, threads).utilization)

    def explain(self, name: str) -> str:
        return self.inspection.explain(name, self._profile)

    def page_record(self) -> tuple[Inspection, str, Profile | None]:
        return self.inspection, self._signature(), self._profile

    def __repr__(self) -> str:
        launches = len(self.built.code.calls)
        return f"<program {self._signature()}, {launches} launches on {self.options.backend}>"
