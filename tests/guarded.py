"""Programs of the CPU backend whose every buffer is between pages that nobody may touch.

A load or store outside of a buffer ends the process with a signal, which pytest reports with the
line of the test (B. Perens, Electric Fence, 1987). Buffers are as large as their values: against
the page after them (``end``) or before them (``start``). What is left of their other page has a
pattern, which must still be there after a run. Values of the arena, and prepared ones, have
memory of their own (``keep_all``), so that no value is next to another.

``pytest --guard end`` runs any tests so.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygraph_cpu.runner
from tinygraph.compiler.fixed_program import FixedProgram
from tinygraph.compiler.store import default_store
from tinygraph.graph.dtype import DTYPES, name_of
from tinygraph.graph.ir import Parameter
from tinygraph.graph.types import Type
from tinygraph.plan.keep_all import keep_all
from tinygraph.plan.records.work import SLACK

SIDES = ("end", "start")
PAGE = mmap.PAGESIZE
NONE = 0  # PROT_NONE, which the module mmap does not name
PATTERN = 0xA5
LIBC = ctypes.CDLL(None, use_errno=True)


class Block:
    """Memory of ``size`` bytes, filled with a pattern, in ``array``."""

    def __init__(self, size: int, side: str):
        inner = max(-(-size // PAGE), 1) * PAGE
        pages = mmap.mmap(-1, inner + 2 * PAGE)
        whole = np.frombuffer(pages, np.uint8)
        whole[PAGE:-PAGE] = PATTERN
        for page in (whole.ctypes.data, whole.ctypes.data + PAGE + inner):
            if LIBC.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), NONE):
                raise OSError(ctypes.get_errno(), "mprotect")
        first = PAGE + (inner - size if side == "end" else 0)
        self.array = whole[first : first + size]
        self.rest = (whole[PAGE:first], whole[first + size : PAGE + inner])

    def check(self, what: str) -> None:
        """Raises AssertionError if something was written next to the array."""
        for rest in self.rest:
            assert (rest == PATTERN).all(), f"memory next to {what} was written"


class GuardedRunner:
    """Runs a program as another runner does, but in guarded memory."""

    memory = None

    def __init__(self, program: FixedProgram, side: str):
        source, store = program.source, default_store()
        self.side, self.inner = side, program._runner
        self.blocks: list[tuple[Block, str]] = []
        made = source.translate()
        buffers = keep_all(made.plan, len(program.types))
        code = source.backend.assemble(made.plan)
        source.backend.build(code, store, source.runtime)
        constants = [np.asarray(c.attr("value").data) for c in made.plan.constants]
        self.pairs = [(p, self.copy_of(p)) for p in program.parameters]
        copies = [copy for _, copy in self.pairs]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tinygraph_cpu.runner, "aligned", self.aligned)
            self.runner = source.backend.load(code, constants, copies, store, source.runtime)
        self.kept = [self.array(Type((b.bytes - SLACK,), "uint8"), b.name) for b in buffers]
        self.updates = set(program.updates)

    def array(self, type: Type, what: str) -> np.ndarray:
        block = Block(type.bytes, self.side)
        self.blocks.append((block, what))
        return block.array.view(DTYPES[type.dtype].numpy).reshape(type.shape)

    def aligned(self, type: Type, what: str = "an array") -> np.ndarray:
        return self.array(type, what)

    def copy_of(self, p: Parameter) -> Parameter:
        """The parameter, with guarded memory; a run gives it the value."""
        order = p.state.order
        stored = self.array(Type(tuple(p.shape[a] for a in order), p.dtype), f"parameter {p.name}")
        state = type(p.state)(p.type, p.name, lambda: None, order)
        state._array = stored.transpose(np.argsort(order)) if order else stored
        return Parameter(p.op, state)

    def refresh(self) -> None:
        """Every run prepares what it needs."""

    def __call__(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        before = len(self.blocks)
        given = [self.array(Type(a.shape, name_of(a.dtype)), "an input") for a in inputs]
        results = [self.array(Type(a.shape, name_of(a.dtype)), "an output") for a in outputs]
        for a, value in zip(given, inputs, strict=True):
            a[...] = value
        for p, copy in self.pairs:
            copy.state._array[...] = p.state.read()
        for kept in self.kept:
            kept.fill(PATTERN)
        self.runner(given, [*results, *self.kept])
        for block, what in self.blocks:
            block.check(what)
        for a, value in zip(outputs, results, strict=True):
            a[...] = value
        for p, copy in self.pairs:
            if p in self.updates:
                p.state.read()[...] = copy.state.read()
        del self.blocks[before:]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@contextmanager
def guarded(side: str) -> Iterator[None]:
    """Programs for the CPU that are compiled meanwhile run in guarded memory."""
    load = FixedProgram._load

    def guarded_load(program: FixedProgram) -> None:
        load(program)
        if program.source.backend.__name__ == "tinygraph_cpu":
            program._runner = GuardedRunner(program, side)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FixedProgram, "_load", guarded_load)
        yield
