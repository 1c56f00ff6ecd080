"""A program bound to memory: argument blocks filled in, launch tables built."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy
from ctypes import c_int64
from dataclasses import replace
from functools import cached_property
from math import prod

import numpy as np

from tinygraph.codegen.program import Call, CallChain, CallLoop, Code, Work
from tinygraph.compiler.store import Store
from tinygraph.graph.addresses import address
from tinygraph.graph.dtype import name_of
from tinygraph.graph.ir import Parameter
from tinygraph.graph.state import aligned
from tinygraph.graph.types import Type
from tinygraph.plan.records.contraction import SIZES, Contraction
from tinygraph.plan.records.device import Roofline, TimedPart, Timeline
from tinygraph.ranks.shard_sum import ShardSums
from tinygraph.ranks.world import RankLostError, world

from .costs.caches import KEPT
from .driver.encoded import (
    PORT_CURSOR,
    PORT_MESSAGES,
    PORT_PATIENT,
    PORT_TABLE,
    EncodedMessages,
    EncodedSum,
)
from .driver.interrupt import desk
from .driver.launch_table import ChainEntry, LaunchTable, TableEntry
from .driver.log import Log
from .driver.native import addresses, driver
from .driver.port import port
from .driver.team import default_threads, team
from .kernels import fetch, symbol_of
from .machine.features import Features
from .machine.loading import load
from .prepared import Prepared
from .ranked import away, is_spread, own_calls, own_part, spread_seconds

SERIAL = 150_000  # cost below which a program runs on one thread: waking another costs more
PAGE = 4096
ENOUGH = 4  # slices for each thread, so that it does not matter that one has one more


def starts(rows: np.ndarray) -> np.ndarray:
    """The address of each row."""
    return rows.ctypes.data + rows.strides[0] * np.arange(len(rows))


def threads_for(code: Code) -> int:
    """One for each device, or one for all of them if there are fewer; else as many as there are."""
    if code.devices:
        return len(code.devices) if len(code.devices) <= default_threads() else 1
    parallel = sum(c.parts for c in code.calls) > len(code.calls)
    return default_threads() if parallel else 1


def following(code: Code) -> set[int]:
    """The calls that follow from sums over shards."""
    after, sums = set[int](), set(code.sums)
    for i, call in enumerate(code.calls):
        if i not in sums and not (sums | after).isdisjoint(call.waits):
            after.add(i)
    return after


def arranged(code: Code, numbers: Sequence[int]) -> tuple[list[Call], list[CallLoop]]:
    """These calls in this order, which their waits allow, and their loops."""
    place = {i: k for k, i in enumerate(numbers)}
    calls = [
        replace(
            code.calls[i],
            waits=tuple(place[w] for w in code.calls[i].waits),
            back=tuple(place[w] for w in code.calls[i].back),
        )
        for i in numbers
    ]
    loops = [
        CallLoop(place[x.first], place[x.first] + x.last - x.first, x.length)
        for x in code.loops
        if x.first in place
    ]
    return calls, loops


class CpuRunner:
    """Owns the arena and the argument blocks of one program, and shares the prepared memory.

    Attributes:
        words: words of argument blocks that are an input's or an output's address plus so many
            bytes; ``read`` and ``written`` are the same for each input and each output.
        columns: the same in loops, a column of a block with the places of all steps.
    """

    memory = None  # the host's
    unfinished = ""  # a run with updates is one native call, which nothing stops midway

    def __init__(
        self,
        code: Code,
        constants: Sequence[np.ndarray],
        parameters: Sequence[Parameter],
        store: Store,
        features: Features,
    ):
        found = fetch(code.kernels, store, features)
        if found is None:
            raise LookupError(f"the cache has lost a kernel of {code.name}")
        self.library = load(found)
        self.functions = [self.library.addresses[symbol_of(k, features)] for k in code.kernels]
        self.whole, self.parameters = code, list(parameters)
        self.spread = is_spread(code, world())
        self.away = away(code, world().rank) if self.spread else {}
        self.code = code = own_part(code, world().rank) if self.spread else code
        self.prepared = Prepared(code, constants, parameters)
        self.constants = [self.copied(c) for c in constants]
        self.threads = threads_for(code)
        self.team = team()
        self._bind_memory()

    def _bind_memory(self) -> None:
        """Takes memory for intermediate values, and writes what depends on its address."""
        code = self.code
        self.arena = aligned(
            Type((max(code.arena, 1),), "uint8"), f"the intermediate values of {code.name}"
        )
        threads = self.threads + (len(code.sums) > 1)  # one makes the sums
        self.scratch = aligned(Type((max(threads * code.scratch, 1),), "uint8"))
        own = max((-(-x.own // PAGE) * PAGE for x in self.chains), default=0)
        self.own = aligned(Type((max(self.threads * own, 1),), "uint8"))
        self.bases = {("arena", 0): self.arena.ctypes.data}
        self.bases["scratch", 0] = self.scratch.ctypes.data
        self.__dict__.pop("port", None)
        self.bases |= {("constant", i): c.ctypes.data for i, c in enumerate(self.constants)}
        for number in self.read_in_runs():
            state = self.parameters[number].state
            state.readers.add(self)  # first: nobody lets go of its memory from now on
            self.bases["parameter", number] = state.read().ctypes.data
        self.blocks: list[np.ndarray] = []
        self.words: dict[tuple[str, int], list[tuple[c_int64, int]]] = {}
        self.columns: list[tuple[str, int, np.ndarray, np.ndarray]] = []
        self.encoded_messages = self.exchanging() if self.spread else None
        self.table = self.tabulate(code.calls, code.loops, len(code.devices))
        self.shard_tables: dict[tuple[ShardSums, bool], LaunchTable] = {}
        self.encoded: dict[tuple[ShardSums, int, bool], EncodedSum] = {}
        self.tables: dict[int, tuple[dict[int, int], LaunchTable]] = {}  # of groups that prepare
        self._find_words()

    @cached_property
    def port(self) -> np.ndarray:
        """The block through which kernels call out; most programs have none that does."""
        return port()

    def _find_words(self) -> None:
        self.read, self.written = (
            [(number, words) for (home, number), words in self.words.items() if home == kind]
            for kind in ("input", "output")
        )

    def read_in_runs(self) -> list[int]:
        """Numbers of the parameters that a run touches."""
        works = (w for call in self.code.calls for w in call.work)
        places = (a for w in works for a in w.arguments if type(a) is tuple)
        return sorted({number for home, number, _ in places if home == "parameter"})

    @property
    def alone(self) -> bool:
        return self.threads > 1 or bool(self.code.updates) or self.spread

    @property
    def used(self) -> set[int]:
        """Numbers of the parameters that a run or its preparation reads or writes here."""
        return {*self.read_in_runs(), *(i for g in self.prepared.groups for i in g.parameters)}

    def exchanging(self) -> EncodedMessages:
        """What this rank sends to others and receives from them."""
        messages = world().messages
        assert messages is not None
        made = EncodedMessages(
            self.whole.messages, world().rank, self.arena.ctypes.data, messages
        )
        self.port[PORT_MESSAGES] = messages.functions.ctypes.data
        self.port[PORT_TABLE] = made.addresses.ctypes.data
        self.port[PORT_PATIENT] = 1
        return made

    def left(self, calls: Sequence[Call]) -> TableEntry:
        """The end of a run: all messages have left."""
        assert self.encoded_messages is not None
        block = np.array([self.port.ctypes.data, self.encoded_messages.end], np.int64)
        self.blocks.append(block)
        return TableEntry(addresses().left, block.ctypes.data, waits=tuple(range(len(calls))))

    def twin(self) -> CpuRunner:
        """Code, constants and prepared values are the same, intermediate values are not."""
        other = copy(self)
        other._bind_memory()
        return other

    @staticmethod
    def copied(constant: np.ndarray) -> np.ndarray:
        memory = aligned(Type(constant.shape, name_of(constant.dtype)))
        memory[...] = constant
        return memory

    def tabulate(
        self,
        calls: Sequence[Call],
        loops: Sequence[CallLoop] = (),
        devices: int = 0,
        sums: Sequence[int] = (),
        apart: bool = False,
    ) -> LaunchTable:
        # a stopped run would leave parameters half new; whatever it prepares is prepared again
        asks = 0 if self.code.updates or self.spread else desk.ctypes.data
        steps = {i: x.length for x in loops for i in range(x.first, x.last)}
        launches = [self.launch(call, steps.get(i, 1)) for i, call in enumerate(calls)]
        if self.encoded_messages is not None and calls is self.code.calls:
            launches.append(self.left(calls))
        repeated = [(x.first, x.last, x.length) for x in loops]
        chains = map(self.chain, self.chains) if calls is self.code.calls and not sums else ()
        return LaunchTable(launches, devices, repeated, asks, sums, apart, [*chains])

    @property
    def chains(self) -> list[CallChain]:
        """The chains that have slices enough for all threads to be busy until the end."""
        threads = self.threads
        return [
            x
            for x in self.code.chains
            if x.slices % threads == 0 or x.slices >= ENOUGH * threads
        ]

    def chain(self, x: CallChain) -> ChainEntry:
        works = [call.work[0] for call in self.code.calls[x.first : x.last]]
        threads, there = self.threads, self.own.ctypes.data - self.bases["arena", 0]
        moves = tuple(tuple((i, by, to + there) for i, by, to in w.slices) for w in works)
        words = tuple(len(w.arguments) for w in works)
        own = len(self.own) // threads
        return ChainEntry(x.first, x.last, x.slices, driver().chain, moves, words, threads, own)

    def launch(self, call: Call, steps: int) -> TableEntry:
        pairs = [(self.functions[w.kernel], self.block(w, steps)) for w in call.work]
        function, block = pairs[0]
        if len(pairs) > 1:
            ends = np.cumsum([w.parts for w in call.work])
            table = [
                (np.full(steps, end), np.full(steps, member), starts(rows))
                for end, (member, rows) in zip(ends, pairs, strict=True)
            ]
            function = driver().bundle
            block = np.ascontiguousarray(np.array(table, np.int64).reshape(-1, steps).T)
            self.blocks.append(block)
        return TableEntry(
            function, block.ctypes.data, call.parts, call.waits, call.device, call.back,
            block.strides[0], self.by_share(call),
        )  # fmt: skip

    def by_share(self, call: Call) -> bool:
        """True if threads take a call's parts from their own share on: rows of a picture, which
        other calls share out in the same order, or columns of weights that their caches keep.

        Not those of a bundle, which are in the order of their length, nor the columns of large
        weights, which are read in the order in which they were fetched.
        """
        if len(call.work) > 1:
            return False
        (work,) = call.work
        if not isinstance(self.code.kernels[work.kernel].record, Contraction):
            return True
        size = dict(zip(SIZES, work.arguments, strict=False))
        weights = prod(int(str(size[axis])) for axis in "gnrsk")
        return size["row_parts"] != 1 or 4 * weights <= KEPT

    def block(self, work: Work, steps: int) -> np.ndarray:
        """An argument block for each step, with its addresses filled in, except those of inputs and
        outputs.
        """
        moves = dict(work.steps)
        block = np.zeros((steps, len(work.arguments)), np.int64)
        self.blocks.append(block)
        for i, argument in enumerate(work.arguments):
            if isinstance(argument, int):
                block[:, i] = argument
                continue
            home, number, offset = argument
            places = offset + moves.get(i, 0) * np.arange(steps)
            if home == "prepared":
                block[:, i] = self.prepared.address(offset) + places - offset
            elif home == "temporary":
                block[:, i] = self.bases["arena", 0] + places
            elif home == "port":
                block[:, i] = self.port.ctypes.data + places
            elif home not in ("input", "output"):
                block[:, i] = self.bases[home, number] + places
            elif steps == 1:
                word = c_int64.from_address(address(block) + i * block.itemsize)
                self.words.setdefault((home, number), []).append((word, offset))
            else:
                self.columns.append((home, number, block[:, i], places))
        return block

    def bind(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Writes the addresses of arrays into the argument blocks."""
        for number, words in self.read:
            base = address(inputs[number])
            for word, offset in words:
                word.value = base + offset
        for number, words in self.written:
            base = address(outputs[number])
            for word, offset in words:
                word.value = base + offset
        for home, number, column, places in self.columns:
            array = inputs[number] if home == "input" else outputs[number]
            column[:] = address(array) + places

    def refresh(self) -> None:
        """Prepares what is not yet, or no longer, made from the values that parameters have. Those
        that are only put in another order do not stay in the first one.
        """
        self.refresh_and_release("")

    def refresh_and_release(self, why: str) -> None:
        """As ``refresh``, and releases parameters as soon as what is made of them is prepared."""
        groups = self.prepared.groups
        last = {number: i for i, group in enumerate(groups) for number in group.parameters}
        for i, group in enumerate(groups):
            states = {number: self.parameters[number].state for number in group.parameters}
            versions = tuple(state.version for state in states.values())
            if versions != group.share.versions:
                if not self.prepared.moved(group):
                    self.team.run(self.preparing(i), self.threads)
                group.share.versions = versions
            for number, state in states.items():
                if last[number] != i:
                    continue
                if why:
                    state.release(why)
                elif (copy := self.prepared.elsewhere(number)) is not None:
                    state.keep_elsewhere(copy)

    def preparing(self, number: int) -> LaunchTable:
        """The table that prepares a group, with the addresses that parameters have now."""
        group = self.prepared.groups[number]
        now = {i: self.parameters[i].state.read().ctypes.data for i in group.parameters}
        known = self.tables.get(number)
        if known is None or known[0] != now:
            self.bases |= {("parameter", i): address for i, address in now.items()}
            known = self.tables[number] = now, self.tabulate(group.calls)
        return known[1]

    def __call__(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        self.bind(inputs, outputs)
        self.team.run(self.table, self.threads)

    def run_shard(
        self,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        sums: ShardSums,
        shard: int,
        empty: bool,
    ) -> None:
        """Runs up to the sums, which take this shard's part; to the end for the last shard."""
        found = self.encoded.get((sums, shard, empty))
        if found is None:
            found = self.encoded[sums, shard, empty] = EncodedSum(sums, shard, empty)
        table = self.shard_table(sums, shard == sums.last)
        self.bind(inputs, outputs)
        self.port[PORT_CURSOR], self.port[PORT_MESSAGES] = found.address, sums.functions
        self.port[PORT_PATIENT] = table.apart
        if sums.messages is not None:
            sums.messages.when_lost = table.stop
        try:
            self.team.run(table, self.threads)
        finally:
            self.port[PORT_CURSOR] = 0
        if sums.messages is not None and sums.messages.lost:
            raise RankLostError(f"a rank has died in a step of {self.code.name}")

    def shard_table(self, sums: ShardSums, last: bool) -> LaunchTable:
        """The calls of a shard; of the last one all, whose sums may wait for other ranks. Between
        hosts other calls go on meanwhile. Within one a sum takes the processors that they need, and
        waits for the slowest rank once if all sums come at the end.
        """
        table = self.shard_tables.get((sums, last))
        if table is None:
            code, devices, after = self.code, len(self.code.devices), following(self.code)
            before = [i for i in range(len(code.calls)) if i not in after]
            if not last:
                table = self.tabulate(*arranged(code, before), devices)
            elif len(code.sums) > 1 and sums.apart and not devices:
                table = self.tabulate(code.calls, code.loops, 0, code.sums, apart=True)
            else:
                order = [i for i in before if i not in code.sums] + [*code.sums, *sorted(after)]
                places = [order.index(i) for i in code.sums]
                table = self.tabulate(*arranged(code, order), devices, places)
            self.shard_tables[sums, last] = table
            self._find_words()
        return table

    def time(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> list[float]:
        from .driver.calibrate import cycles_per_second

        rate = cycles_per_second()
        self.table.count_cycles(True)
        try:
            self(inputs, outputs)
            cycles, _ = self.table.cycles()
        finally:
            self.table.count_cycles(False)
        seconds = [float(c) / rate for c in cycles]
        if not self.spread:
            return seconds
        return spread_seconds(self.whole, own_calls(self.whole, world().rank), seconds)

    def timeline(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> Timeline:
        """Runs once; what each thread did when, by the processor's counter."""
        from .driver.calibrate import cycles_per_second

        log, rate = Log(self.table.items, self.threads), cycles_per_second()
        self.bind(inputs, outputs)
        self.table.log_to(log.words.ctypes.data, log.row)
        self.table.count_cycles(True)
        try:
            start = time.perf_counter()
            self.team.run(self.table, self.threads)
            seconds = time.perf_counter() - start
        finally:
            self.table.count_cycles(False)
            self.table.log_to(0, 0)
        first = self.table.began
        parts = [
            TimedPart(tid, self.table.launch_of(item >> 32), item & 0xFFFFFFFF,
                 *((int(t) - first) / rate for t in times))
            for tid, found in log.entries()
            for item, *times in found.tolist()
        ]  # fmt: skip
        last = max((p.end for p in parts), default=0.0)  # the counter's rate is measured, too
        whole = max(seconds, last)
        return Timeline(whole, self.threads, tuple(sorted(parts, key=lambda p: p.begin)))

    def roofline(self) -> Roofline:
        from .driver.calibrate import measured_roofline

        return measured_roofline(self.threads)
