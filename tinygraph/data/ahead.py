"""Batches made ahead of time, by a thread or by processes."""

from __future__ import annotations

import pickle
import queue
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..graph.numeric import numeric

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

T = TypeVar("T")


@numeric
def prefetch(items: Iterable[T], ahead: int = 2) -> Generator[T, None, None]:
    """The items in order, made up to ``ahead`` early by a background thread.

    An exception in that thread is raised here; leaving the loop early stops the thread.

    Example:
        >>> list(data.prefetch(n * n for n in range(4)))
        [0, 1, 4, 9]
    """
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(ahead)
    stopped = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not stopped.is_set():
            try:
                return ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put("item", item)
                if stopped.is_set():
                    return
            put("end", None)
        except BaseException as error:  # raised again in the consumer's thread
            put("error", error)
        finally:
            if isinstance(items, Generator):
                items.close()  # what it holds, such as processes, goes at once

    threading.Thread(target=work, name="tinygraph prefetch", daemon=True).start()
    try:
        while (entry := ready.get())[0] == "item":
            yield entry[1]
        if entry[0] == "error":
            raise entry[1]
    finally:
        stopped.set()


def from_processes(make: Callable[[int], T], numbers: Sequence[int], workers: int) -> Iterator[T]:
    """make(number) for each number, in order, made by ``workers`` forked processes.

    A process sees the memory of this one as it is now, so that nothing is sent to it, and its
    results are sent back. An exception in one is raised here; leaving the loop early ends them.

    Raises:
        RuntimeError: a process ended without a result, as when memory runs out.
    """
    import multiprocessing  # few programs need it

    context = multiprocessing.get_context("fork")
    started: list[tuple[BaseProcess, Connection]] = []
    process: BaseProcess
    try:
        for w in range(min(workers, len(numbers))):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_work, args=(make, numbers[w::workers], theirs), daemon=True
            )
            with warnings.catch_warnings():  # other threads' locks are ours, or not used there
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            theirs.close()
            started.append((process, ours))
        for i in range(len(numbers)):
            yield _received(*started[i % workers])
    finally:
        for process, connection in started:
            connection.close()
            process.terminate()
            process.join()


def _work(make: Callable[[int], Any], numbers: Sequence[int], connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that reads
    try:
        for number in numbers:
            connection.send(("item", make(number), ""))
    except BrokenPipeError:
        pass
    except Exception as error:
        lines = "".join(traceback.format_exception(error))
        try:
            connection.send(("error", pickle.loads(pickle.dumps(error)), lines))
        except Exception:  # an exception that cannot be sent
            connection.send(("error", RuntimeError(f"{type(error).__name__}: {error}"), lines))


def _received(process: BaseProcess, connection: Connection) -> Any:
    try:
        kind, value, lines = connection.recv()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"a worker that makes batches ended with exit code {process.exitcode}; -9 is what "
            "Linux does when memory runs out"
        ) from None
    if kind == "error":
        value.add_note(f"in a worker that makes batches:\n{lines}")
        raise value
    return value
