"""The native driver: walks a launch table, on one thread or on a team.

A launch is (function, argument block, parts, waits). The function runs once for every part, as
``function(part, tid, args)``; the launches in ``waits`` come earlier and must be complete before.

On one thread the driver is a plain loop. On several, (launch, part) pairs are claimed in order
from a queue by an atomic add; before a pair runs, its thread waits until the launches that it
waits for have counted all their parts. Claims are in order and waits point backwards, so some
thread can always proceed. The counters rise forever, by `parts` a run: nothing is cleared.

In a loop, and wherever it is asked for (``TableEntry.own``), a thread does not take the part that
it has claimed, but the first that is left from its own share on: so it meets what it has in its
cache, weights and the state of its rows in every step, its rows of a picture in every layer.
Parts that are taken are bits of a word, which turn from 0 to 1 in one run and back in the next.

In a table whose exchanges with other processes are apart, thread number 1 makes those and nothing
else, in order. The other threads claim the rest.

In a table with devices, thread number d walks the launches of device d and no others, in order, and
waits by the same counters. The first launch that is not complete is the next one of its device and
no longer waits for anything, so some thread can always proceed here too.

Where a table has a desk, the caller's thread, if it is the main thread, asks there between parts
whether to stop. Once the answer is yes, all threads go on claiming and counting parts without
running them: the run ends soon, and the counters are right for the next one.

A worker joins a run through the gate, one word: run number, open bit, number of workers inside.
Nobody waits for a worker that has not joined: a preempted one is merely missed, unless a device
needs its thread. To end a run the caller closes the gate and waits until those who joined
have left.
"""

from __future__ import annotations

import llvmlite.binding as llvm
from llvmlite import ir

from tinygraph_cpu.driver.emitter import I64, VOID, WORDS, WordBuilder
from tinygraph_cpu.driver.interrupt import ASK, MAIN
from tinygraph_cpu.driver.launch_table import (
    APART,
    ARGS,
    ASKED,
    CHAINED,
    CHOOSES,
    COUNTER,
    DESK,
    DEVICE,
    DEVICES,
    DONE,
    EPOCH,
    FUNCTION,
    GATE,
    INSIDE_BITS,
    ITEM,
    ITEMS,
    LAUNCH,
    LAUNCHES,
    LEFT,
    LIMIT,
    LINE,
    LOG,
    LOG_BEGAN,
    NAPS,
    OPEN,
    OWN,
    PARTS,
    QUEUE,
    STATS,
    STOP,
    TABLE,
    TAKEN,
    THREADS,
    WAIT,
    WAIT_BEGIN,
    WAIT_END,
)
from tinygraph_cpu.driver.note import emit_note

ASKING = 1 << 28  # cycles after which a run asks whether to stop, about a tenth of a second


def _function(
    module: ir.Module, name: str, result: ir.Type, *args: ir.Type
) -> tuple[ir.Function, WordBuilder]:
    function = ir.Function(module, ir.FunctionType(result, args), name)
    return function, WordBuilder(function.append_basic_block("entry"))


def _call(b: WordBuilder, launch: ir.Value, part: ir.Value, tid: ir.Value) -> None:
    kernel = ir.FunctionType(VOID, [I64, I64, WORDS]).as_pointer()
    address = b.inttoptr(b.word(launch, FUNCTION), kernel)
    b.call(address, [part, tid, b.pointer(launch, ARGS)])


def _call_unless_stopped(
    b: WordBuilder, table: ir.Value, launch: ir.Value, part: ir.Value, tid: ir.Value
) -> None:
    with b.if_then(b.icmp_signed("==", b.acquire(table, STOP), I64(0))):
        _call(b, launch, part, tid)


def _emit_begin(module: ir.Module) -> ir.Function:
    """begin(table) -> desk: where this thread asks in this run, or 0."""
    function, b = _function(module, "tinygraph_begin", I64, WORDS)
    function.linkage = "internal"
    (table,) = function.args
    desk = b.word(table, DESK)
    b.store(I64(0), b.at(table, STOP))
    with b.if_then(b.icmp_signed("!=", b.word(table, LOG), I64(0)), likely=False):
        b.store(b.cycles(), b.at(table, LOG_BEGAN))
    with b.if_then(b.icmp_signed("!=", desk, I64(0))):
        b.store(b.cycles(), b.at(table, ASKED))
        main = b.word(b.inttoptr(desk, WORDS), MAIN)
        with b.if_then(b.icmp_signed("==", b.this_thread(), main)):
            b.ret(desk)
    b.ret(I64(0))
    return function


def _emit_ask(module: ir.Module) -> ir.Function:
    """ask(table, desk): asks whether to stop, if there is a desk and it was not done just now."""
    function, b = _function(module, "tinygraph_ask", VOID, WORDS, I64)
    function.linkage = "internal"
    table, desk = function.args
    with b.if_then(b.icmp_signed("!=", desk, I64(0)), likely=False):
        now = b.cycles()
        since = b.sub(now, b.word(table, ASKED))
        due = b.icmp_unsigned(">", since, I64(ASKING))
        goes_on = b.icmp_signed("==", b.word(table, STOP), I64(0))
        with b.if_then(b.and_(due, goes_on), likely=False):
            address = b.word(b.inttoptr(desk, WORDS), ASK)
            answer = b.call(b.inttoptr(address, ir.FunctionType(I64, []).as_pointer()), [])
            b.store(b.cycles(), b.at(table, ASKED))
            with b.if_then(b.icmp_signed("!=", answer, I64(0))):
                b.store_atomic(I64(1), b.at(table, STOP), "release", 8)
    b.ret_void()
    return function


def _add_cycles(b: WordBuilder, stats: ir.Value, index: ir.Value, start: ir.Value) -> None:
    cell = b.at(b.inttoptr(stats, WORDS), index)
    b.atomic_rmw("add", cell, b.sub(b.cycles(), start), "monotonic")


def _emit_walk(
    module: ir.Module, begin: ir.Function, ask: ir.Function, note: ir.Function
) -> ir.Function:
    """walk(table) -> stopped: every part of every launch, in order, on this thread."""
    function, b = _function(module, "tinygraph_walk", I64, WORDS)
    (table,) = function.args
    desk = b.call(begin, [table])
    launches, stats = b.pointer(table, LAUNCH), b.word(table, STATS)
    start, begun = b.alloca(I64), b.alloca(I64)
    with b.count(I64(0), b.word(table, LAUNCHES)) as index:
        launch = b.at(launches, b.mul(index, I64(LINE)))
        counted = _is_counted(b, stats, launch)
        with b.if_then(counted, likely=False):
            b.store(b.cycles(), start)
        with b.count(I64(0), b.word(launch, PARTS)) as part:
            b.call(ask, [table, desk])
            with b.if_then(counted, likely=False):
                b.store(b.cycles(), begun)
            _call_unless_stopped(b, table, launch, part, I64(0))
            with b.if_then(counted, likely=False):
                since = b.load(begun)
                b.call(note, [table, I64(0), index, part, since, since])
        with b.if_then(counted, likely=False):
            _add_cycles(b, stats, index, b.load(start))
    b.ret(b.word(table, STOP))
    return function


def _is_counted(b: WordBuilder, stats: ir.Value, launch: ir.Value) -> ir.Value:
    """True if the cycles of a launch's parts are counted; a chain counts those of its launches."""
    chained = b.and_(b.word(launch, CHOOSES), I64(CHAINED))
    return b.and_(b.icmp_signed("!=", stats, I64(0)), b.icmp_signed("==", chained, I64(0)))


def _await_launches(b: WordBuilder, table: ir.Value, launch: ir.Value) -> None:
    """Spins until every launch that `launch` waits for has counted its parts of this run."""
    launches, epoch, waits = b.pointer(table, LAUNCH), b.word(table, EPOCH), b.pointer(table, WAIT)
    with b.count(b.word(launch, WAIT_BEGIN), b.word(launch, WAIT_END)) as i:
        other = b.at(launches, b.mul(b.word(waits, i), I64(LINE)))
        counter = b.pointer(other, COUNTER)
        need = b.mul(b.word(other, PARTS), epoch)
        naps = b.word(table, NAPS)
        b.spin(lambda: b.icmp_signed(">=", b.acquire(counter, DONE), need), naps)


def _choose_part(b: WordBuilder, table: ir.Value, launch: ir.Value, tid: ir.Value) -> ir.Value:
    """Takes the first part of a launch that is left from the thread's own share on."""
    parts, taken = b.word(launch, PARTS), b.at(b.pointer(launch, COUNTER), TAKEN)
    share = b.udiv(b.mul(tid, parts), b.word(table, THREADS))
    odd = b.trunc(b.word(table, EPOCH), ir.IntType(1))
    flipped = b.select(odd, I64(-1), I64(0))
    all_parts = b.lshr(I64(-1), b.sub(I64(64), parts))
    attempt, done = b.append_basic_block("attempt"), b.append_basic_block("taken")
    b.branch(attempt)
    b.position_at_end(attempt)
    before = b.load_atomic(taken, "monotonic", 8)
    left = b.and_(b.xor(before, flipped), all_parts)
    own = b.shl(b.lshr(left, share), share)
    some = b.select(b.icmp_unsigned("!=", own, I64(0)), own, left)
    part = b.intrinsic("llvm.cttz.i64", I64, some, ir.Constant(ir.IntType(1), 1))
    after = b.xor(before, b.shl(I64(1), part))
    swapped = b.cmpxchg(taken, before, after, "monotonic", "monotonic")
    b.cbranch(b.extract_value(swapped, 1), done, attempt)
    b.position_at_end(done)
    return part


def _emit_device(module: ir.Module, ask: ir.Function, note: ir.Function) -> ir.Function:
    """device(table, tid, desk): the launches of device number tid, in order, all parts of each."""
    function, b = _function(module, "tinygraph_device", VOID, WORDS, I64, I64)
    function.linkage = "internal"
    table, tid, desk = function.args
    launches, n_launches = b.pointer(table, LAUNCH), b.word(table, LAUNCHES)
    stats, start = b.word(table, STATS), b.alloca(I64)
    taken, begun = b.alloca(I64), b.alloca(I64)
    counted = b.icmp_signed("!=", stats, I64(0))
    with b.count(I64(0), n_launches) as index:
        launch = b.at(launches, b.mul(index, I64(LINE)))
        with b.if_then(b.icmp_signed("==", b.word(launch, DEVICE), tid)):
            with b.if_then(counted, likely=False):
                b.store(b.cycles(), start)
            _await_launches(b, table, launch)
            with b.if_then(counted, likely=False):
                _add_cycles(b, stats, n_launches, b.load(start))
                b.store(b.load(start), taken)
                b.store(b.cycles(), start)
            parts = b.word(launch, PARTS)
            with b.count(I64(0), parts) as part:
                b.call(ask, [table, desk])
                with b.if_then(counted, likely=False):
                    b.store(b.cycles(), begun)
                _call_unless_stopped(b, table, launch, part, tid)
                with b.if_then(counted, likely=False):
                    b.call(note, [table, tid, index, part, b.load(taken), b.load(begun)])
                    b.store(b.cycles(), taken)
            with b.if_then(counted, likely=False):
                _add_cycles(b, stats, index, b.load(start))
            b.atomic_rmw("add", b.pointer(launch, COUNTER), parts, "release")
    b.ret_void()
    return function


def _emit_work(
    module: ir.Module, device: ir.Function, ask: ir.Function, note: ir.Function
) -> ir.Function:
    """work(table, tid, desk): claims and runs items until none is left; or those of its device, or
    the exchanges that are apart.
    """
    function, b = _function(module, "tinygraph_work", VOID, WORDS, I64, I64)
    function.linkage = "internal"
    table, tid, desk = function.args
    with b.if_then(b.icmp_signed("!=", b.word(table, DEVICES), I64(0)), likely=False):
        b.call(device, [table, tid, desk])
        b.ret_void()
    exchanges = b.icmp_signed("==", tid, b.word(table, APART))
    with b.if_then(b.and_(exchanges, b.icmp_signed("!=", tid, I64(0))), likely=False):
        b.call(device, [table, tid, desk])
        b.ret_void()
    launches, items = b.pointer(table, LAUNCH), b.pointer(table, ITEM)
    n_items, n_launches = b.word(table, ITEMS), b.word(table, LAUNCHES)
    stats, start, taken = b.word(table, STATS), b.alloca(I64), b.alloca(I64)
    counted = b.icmp_signed("!=", stats, I64(0))
    claim, run, done = (b.append_basic_block(n) for n in ("claim", "run", "done"))
    b.branch(claim)
    b.position_at_end(claim)
    i = b.atomic_rmw("add", b.at(table, QUEUE), I64(1), "monotonic")
    b.cbranch(b.icmp_signed("<", i, n_items), run, done)
    b.position_at_end(run)
    item = b.word(items, i)
    index, part = b.lshr(item, I64(32)), b.and_(item, I64(0xFFFFFFFF))
    launch = b.at(launches, b.mul(index, I64(LINE)))
    with b.if_then(counted, likely=False):
        b.store(b.cycles(), start)
    _await_launches(b, table, launch)
    with b.if_then(counted, likely=False):  # the cell after the launches counts the waiting
        _add_cycles(b, stats, n_launches, b.load(start))
        b.store(b.load(start), taken)
        b.store(b.cycles(), start)
    claimed, choose, chosen = b.block, b.append_basic_block("choose"), b.append_basic_block("part")
    chooses = b.and_(b.word(launch, CHOOSES), I64(OWN))
    b.cbranch(b.icmp_signed("!=", chooses, I64(0)), choose, chosen)
    b.position_at_end(choose)
    own = _choose_part(b, table, launch, tid)
    b.branch(chosen)
    choose = b.block
    b.position_at_end(chosen)
    either = b.phi(I64)
    either.add_incoming(part, claimed)
    either.add_incoming(own, choose)
    b.call(ask, [table, desk])
    _call_unless_stopped(b, table, launch, either, tid)
    with b.if_then(_is_counted(b, stats, launch), likely=False):
        b.call(note, [table, tid, index, either, b.load(taken), b.load(start)])
        _add_cycles(b, stats, index, b.load(start))
    b.atomic_rmw("add", b.pointer(launch, COUNTER), I64(1), "release")
    b.branch(claim)
    b.position_at_end(done)
    b.ret_void()
    return function


def _emit_bundle(module: ir.Module) -> None:
    """bundle(part, tid, args): a kernel of kernels. args: (end, function, args) of each, ends
    counting parts from 0.
    """
    function, b = _function(module, "tinygraph_bundle", VOID, I64, I64, WORDS)
    part, tid, args = function.args
    search, found = b.append_basic_block("search"), b.append_basic_block("found")
    entry = b.block
    b.branch(search)
    b.position_at_end(search)
    at, begin = b.phi(I64), b.phi(I64)
    end, following = b.word(args, at), b.add(at, I64(3))
    for phi, first, next_value in ((at, I64(0), following), (begin, I64(0), end)):
        phi.add_incoming(first, entry)
        phi.add_incoming(next_value, search)
    b.cbranch(b.icmp_signed("<", part, end), found, search)
    b.position_at_end(found)
    member = b.at(args, b.add(at, I64(1)))
    _call(b, member, b.sub(part, begin), tid)
    b.ret_void()


def _emit_chain(module: ir.Module, note: ir.Function) -> None:
    """chain(part, tid, args): a slice of several launches, one after the other. args: how many, the
    table, memory of each thread for an argument block and its words, bytes from one thread's memory
    to the next one's; then of each launch (function, args, parts of a slice, number, words of its
    block, how many of them move, these as ``ChainEntry.moves``).
    """
    function, b = _function(module, "tinygraph_chain", VOID, I64, I64, WORDS)
    slice, tid, args = function.args
    table, start = b.pointer(args, 1), b.alloca(I64)
    kernel = ir.FunctionType(VOID, [I64, I64, WORDS]).as_pointer()
    stats = b.word(table, STATS)
    counted = b.icmp_signed("!=", stats, I64(0))
    own = b.at(b.pointer(args, 2), b.mul(tid, b.word(args, 3)))
    memory = b.mul(tid, b.word(args, 4))
    with b.count(I64(0), b.word(args, 0)) as member:
        launch = b.at(args, b.add(I64(5), b.mul(member, I64(7))))
        function, block = b.word(launch, FUNCTION), b.pointer(launch, ARGS)
        parts, index = b.word(launch, 2), b.word(launch, 3)
        with b.count(I64(0), b.word(launch, 4)) as i:
            b.store(b.word(block, i), b.at(own, i))
        moves = b.pointer(launch, 6)
        with b.count(I64(0), b.word(launch, 5)) as i:
            move = b.at(moves, b.mul(i, I64(3)))
            place = b.at(own, b.word(move, 0))
            moved = b.sub(b.word(move, 2), b.mul(slice, b.word(move, 1)))
            b.store(b.add(b.load(place), b.add(moved, memory)), place)
        first = b.mul(slice, parts)
        with b.count(first, b.add(first, parts)) as part:
            with b.if_then(counted, likely=False):
                b.store(b.cycles(), start)
            b.call(b.inttoptr(function, kernel), [part, tid, own])
            with b.if_then(counted, likely=False):
                begun = b.load(start)
                b.call(note, [table, tid, index, part, begun, begun])
                _add_cycles(b, stats, index, begun)
    b.ret_void()


def _emit_lead(module: ir.Module, work: ir.Function, begin: ir.Function) -> None:
    """lead(state, table, threads) -> stopped: the caller's side of a run."""
    function, b = _function(module, "tinygraph_lead", I64, WORDS, WORDS, I64)
    state, table, threads = function.args
    desk = b.call(begin, [table])
    b.store(b.add(b.word(table, EPOCH), I64(1)), b.at(table, EPOCH))
    b.store(I64(0), b.at(table, QUEUE))
    b.store(threads, b.at(table, THREADS))
    b.store(b.ptrtoint(table, I64), b.at(state, TABLE))
    b.store(b.sub(threads, I64(1)), b.at(state, LIMIT))
    b.store(I64(0), b.at(state, LEFT))
    number = b.add(b.lshr(b.word(state, GATE), I64(INSIDE_BITS + 1)), I64(1))
    closed = b.shl(number, I64(INSIDE_BITS + 1))
    b.store_atomic(b.or_(closed, I64(OPEN)), b.at(state, GATE), "release", 8)
    b.call(work, [table, I64(0), desk])

    def joined() -> ir.Value:
        return b.and_(b.acquire(state, GATE), I64(OPEN - 1))

    with b.if_then(b.icmp_signed("!=", b.word(table, DEVICES), I64(0)), likely=False):
        b.spin(lambda: b.icmp_signed(">=", joined(), b.word(state, LIMIT)))
    with b.if_then(b.icmp_signed("!=", b.word(table, APART), I64(0)), likely=False):
        b.spin(lambda: b.icmp_signed("!=", joined(), I64(0)))
    gate = b.atomic_rmw("xchg", b.at(state, GATE), closed, "acq_rel")
    inside = b.and_(gate, I64(OPEN - 1))
    b.spin(lambda: b.icmp_signed("==", b.acquire(state, LEFT), inside))
    b.ret(b.word(table, STOP))


def _emit_serve(module: ir.Module, work: ir.Function) -> None:
    """serve(state, seen, patience) -> seen: a worker's side.

    Joins every run newer than `seen`. Returns, to park, when none came for `patience` pauses.
    """
    function, b = _function(module, "tinygraph_serve", I64, WORDS, I64, I64)
    state, seen_at_start, patience = function.args
    names = ("spin", "open", "join", "inside", "idle", "park")
    spin, is_open, join, inside, idle, park = (b.append_basic_block(n) for n in names)
    entry = b.block
    b.branch(spin)
    b.position_at_end(spin)
    seen, spins = b.phi(I64), b.phi(I64)
    gate = b.acquire(state, GATE)
    number = b.lshr(gate, I64(INSIDE_BITS + 1))
    new = b.icmp_signed("!=", number, seen)
    opened = b.icmp_signed("!=", b.and_(gate, I64(OPEN)), I64(0))
    b.cbranch(b.and_(new, opened), is_open, idle)
    b.position_at_end(is_open)
    count = b.and_(gate, I64(OPEN - 1))
    b.cbranch(b.icmp_signed("<", count, b.word(state, LIMIT)), join, idle)
    b.position_at_end(join)
    swapped = b.cmpxchg(b.at(state, GATE), gate, b.add(gate, I64(1)), "acq_rel", "monotonic")
    b.cbranch(b.extract_value(swapped, 1), inside, spin)
    b.position_at_end(inside)
    b.call(work, [b.pointer(state, TABLE), b.add(count, I64(1)), I64(0)])
    b.atomic_rmw("add", b.at(state, LEFT), I64(1), "release")
    b.branch(spin)
    b.position_at_end(idle)
    b.pause()
    more = b.add(spins, I64(1))
    b.cbranch(b.icmp_signed("<", more, patience), spin, park)
    for block, seen_next, spins_next in (
        (entry, seen_at_start, I64(0)),
        (join, seen, spins),
        (inside, number, I64(0)),
        (idle, seen, more),
    ):
        seen.add_incoming(seen_next, block)
        spins.add_incoming(spins_next, block)
    b.position_at_end(park)
    b.ret(seen)


def driver_module() -> str:
    """The text of the driver's LLVM module."""
    module = ir.Module("tinygraph_driver")
    module.triple = llvm.get_process_triple()
    begin, ask, note = _emit_begin(module), _emit_ask(module), emit_note(module)
    _emit_walk(module, begin, ask, note)
    _emit_bundle(module)
    _emit_chain(module, note)
    work = _emit_work(module, _emit_device(module, ask, note), ask, note)
    _emit_lead(module, work, begin)
    _emit_serve(module, work)
    return str(module)
