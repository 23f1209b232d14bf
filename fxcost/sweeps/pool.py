"""A process pool that outlives its processes: one that dies, hangs or grows costs only the item it was at.

`ProcessPoolExecutor` fails everything that it still has to do when one process dies, and can't say which item killed
it. Here each process has one item at a time, over a pipe of its own, so the guilty one is known; a new process takes
the next item. Processes are spawned, never forked: PyTorch's threads do not survive a fork.

pebble 5.2.3 was tried: it names the guilty item and has time limits as well. It replaces a process after a number of
tasks only, not one that has grown, and is no `Executor` that :func:`outcomes` could be given beside others.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor, as_completed
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from ..errors import WorkerError

Task = TypeVar("Task")
Result = TypeVar("Result")
P = ParamSpec("P")

RECYCLED = 2 << 30
"""A process that has grown by more bytes than this (or half its limit) is replaced: libraries' caches grow."""
GRACE_S = 2.0
"""Seconds that a process has to end when it is asked to; then it is killed."""


def outcomes(
    executor: Executor, work: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[tuple[Task, Result | BaseException]]:
    """Each task with what `work` made of it, as they are done, on any executor.

    A task gets the exception instead that the executor gave for it: a process that died, an argument that can't be
    pickled. When the iterator is closed, what has not begun is cancelled.
    """
    futures = {_submitted(executor, work, task): task for task in tasks}
    try:
        for future in as_completed(futures):
            error = CancelledError("cancelled by the executor") if future.cancelled() else future.exception()
            yield futures[future], future.result() if error is None else error
    finally:
        for future in futures:
            future.cancel()


def _submitted(executor: Executor, work: Callable[[Task], Result], task: Task) -> Future[Result]:
    try:
        return executor.submit(work, task)
    except Exception as error:  # a pool that broke on an earlier task takes no more
        refused: Future[Result] = Future()
        refused.set_exception(error)
        return refused


class Processes(Executor):
    """An executor of `processes` single-threaded processes.

    Args:
        processes: how many.
        timeout: seconds that one call may take; its process is then killed. None is no limit.
        memory: bytes that a process may allocate, on Linux; allocating more fails there. None is no limit.

    Raises:
        WorkerError: the processes do not start.
    """

    def __init__(self, processes: int, *, timeout: float | None = None, memory: int | None = None) -> None:
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        self._workers = [_Worker(timeout, memory) for _ in range(processes)]
        self._threads = ThreadPoolExecutor(processes, "fxcost-sweep")
        try:
            for worker in self._workers:
                worker.start()
            for worker in self._workers:
                worker.await_ready()
                self._free.put(worker)
        except BaseException:
            self.shutdown(cancel_futures=True)
            raise

    def submit(self, fn: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Future[Result]:
        """Have `fn` called in a process of its own; it and its arguments must pickle.

        The future raises :class:`~fxcost.errors.WorkerError` if the process died, took too long, or if `fn` raised.
        """
        return self._threads.submit(self._run, partial(fn, *args, **kwargs))

    def _run(self, call: Callable[[], Any]) -> Any:
        worker = self._free.get()
        try:
            return worker.run(call)
        finally:
            self._free.put(worker)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for all calls and end the processes; with `cancel_futures` end them at once."""
        self._threads.shutdown(wait=not cancel_futures, cancel_futures=cancel_futures)
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown()


class _Worker:
    """One process and the pipe to it; started again where it is needed after it has ended."""

    def __init__(self, timeout: float | None, memory: int | None) -> None:
        self.timeout, self.memory = timeout, memory
        self.process: multiprocessing.process.BaseProcess | None = None

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.memory), daemon=True)
        self.process.start()
        theirs.close()

    def await_ready(self) -> None:
        try:
            self.connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise WorkerError(
                f"a worker process ended before it was ready ({self._end()}). A script that sweeps must do so under "
                '`if __name__ == "__main__":`, since each process imports it again; code that is not in a file, '
                "such as what is piped to python, can't be imported: pass executor=ThreadPoolExecutor()"
            ) from error

    def run(self, call: Callable[[], Any]) -> Any:
        """What `call` returns, in the process."""
        try:
            message = pickle.dumps(call)
        except Exception as error:  # pickle raises many kinds
            raise WorkerError(
                f"it can't be sent to another process ({error}); name the model by a spec, or by a class or function "
                "of a module, or pass executor=ThreadPoolExecutor()"
            ) from error
        if self.process is None or not self.process.is_alive():
            self.start()
            self.await_ready()
        try:
            self.connection.send_bytes(message)
            if not self.connection.poll(self.timeout):
                self.stop()
                raise WorkerError(f"not done after {self.timeout:g} s")
            good, value, grown = pickle.loads(self.connection.recv_bytes())
        except (EOFError, ConnectionError) as error:
            raise WorkerError(f"the process died ({self._end()})") from error
        if grown > (self.memory // 2 if self.memory is not None else RECYCLED):
            self.stop()
        if not good:
            raise WorkerError(value)
        return value

    def ask_to_stop(self) -> None:
        """So that the process can release what it shares with the system; all of them at once are quicker."""
        if self.process is not None:
            self.process.terminate()

    def stop(self) -> None:
        self.ask_to_stop()
        process, self.process = self.process, None
        if process is not None:
            process.join(GRACE_S)
            process.kill()
            process.join()

    def _end(self) -> str:
        """How the process ended."""
        if self.process is None:
            return "stopped"
        self.process.join()
        code = self.process.exitcode or 0
        killed = f": {signal.Signals(-code).name}" if -code in set(signal.Signals) else ""
        return f"exit code {code}{killed}" + (", perhaps for want of memory" if code == -9 else "")


# ------------------------------------------------------------------------------------------------------ in the process


def _serve(connection: Connection, memory: int | None) -> None:
    """Calls come in, what they return goes out, until the other end is closed."""
    _prepare(memory)
    start = _peak()  # Linux counts the parent's memory into that of a process that it has just started
    connection.send_bytes(b"ready")
    while True:
        try:
            message = connection.recv_bytes()
        except EOFError:
            return
        try:
            answer = pickle.dumps((True, pickle.loads(message)(), _peak() - start))
        except Exception as error:
            answer = pickle.dumps((False, f"{type(error).__name__}: {error}", _peak() - start))
        connection.send_bytes(answer)


def _prepare(memory: int | None) -> None:
    """One thread, no word on the streams that are shared, nothing downloaded, and Ctrl-C left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # raises, so that Python cleans up
    Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    from ..analyze import analyze

    torch.set_num_threads(1)
    analyze(torch.nn.Linear(1, 1), (1, 1))  # what is imported at the first use must not count as an item's time
    if memory is not None and sys.platform == "linux":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (memory if hard < 0 else min(memory, hard), hard))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # also for what C++ prints
        os.dup2(nowhere, stream)


def _end_with_parent() -> None:
    """Leave nothing running where the parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _peak() -> int:
    """Bytes of memory that this process has had at most; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
