"""`fxcost.sweep`: measure all items, wherever they run, and gather the rows."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from os import PathLike
from typing import Any

from ..errors import InputError
from ..text import files
from ..text.amounts import parse_bytes
from ..text.progress import progress as bar
from ..text.words import printable, shortened
from .items import Item, items_of
from .journal import appending, read
from .origin import holding
from .pool import Processes, outcomes
from .rows import Row, failed, measure

Path = str | PathLike[str]
NAME_WIDTH = 40


@dataclass(frozen=True, slots=True, repr=False)
class Sweep:
    """The rows of a sweep, one for each item, in the order of the items."""

    rows: tuple[Row, ...]

    @property
    def errors(self) -> dict[str, str]:
        """What went wrong, by the names of the items that failed."""
        return {row.name: row.error for row in self.rows if row.error}

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def table(
        self,
        *,
        columns: Sequence[str] | None = None,
        sort: str | None = None,
        top: int | None = None,
        format: str = "rounded_outline",  # noqa: A002
    ) -> str:
        """The rows as text, and below them what failed.

        Args:
            columns: which columns, in this order.
            sort: a column to sort by, largest first; by default rows are in the order of the items.
            top: only so many rows.
            format: any format of the tabulate library: "github", "html", "plain", "tsv" …

        Raises:
            UnknownNameError: a column or the format is not known; the message lists the choices.
        """
        from .as_sweep import table

        return table(self.rows, columns=columns, sort=sort, top=top, format=format)

    def to_csv(self, path: Path | None = None) -> str:
        """The rows as CSV with exact integers, a heading first; written to `path` if one is given."""
        from .as_sweep import to_csv

        text = to_csv(self.rows, Row)
        if path is not None:
            files.write(path, text)
        return text

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<Sweep: {len(self.rows)} rows, {len(self.errors)} failed>"

    def _repr_html_(self) -> str:
        return self.table(format="html")


def sweep(
    items: Any,
    *,
    executor: Executor | None = None,
    processes: int | None = None,
    timeout: float | None = None,
    memory: int | str | None = None,
    path: Path | None = None,
    retry: bool = False,
    progress: bool = True,
    **options: Any,
) -> Sweep:
    """Measure many models, or one model at many shapes, in parallel.

    >>> import fxcost, torch
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> model = torch.nn.Linear(3, 4)
    >>> pairs = [(model, (batch, 3)) for batch in (1, 2)]
    >>> [(row.name, row.macs) for row in fxcost.sweep(pairs, executor=ThreadPoolExecutor())]
    [('Linear 1,3', 12), ('Linear 2,3', 24)]

    Args:
        items: one or an iterable of: a spec as the command line takes it ("timm:resnet50", "net.py:Net"), where names
            of torchvision, timm and transformers may have wildcards ("timm:resnet*"); a pair (model, inputs); a dict
            with "model" and any of "inputs", "kwargs", "batch", "arguments", "train", "real", "name" and the options of
            :func:`analyze`. A model is a spec, a class or function that makes one, or an `nn.Module`; `inputs` and
            `kwargs` are as for :func:`analyze`. Without inputs a model gets its library's default ones.
        executor: where to run, any `concurrent.futures.Executor`; it is left open. By default processes of this
            machine, each with one thread, that are replaced when they die. Items go to other processes by pickle.
        processes: how many; by default one for each CPU.
        timeout: seconds after which an item is given up and its process is killed.
        memory: bytes, or text such as "8GiB", that a process may allocate; only Linux keeps to it.
        path: a file of JSON lines to which each row is added as soon as it is done. Items that are there already are
            not run again, so a sweep that was interrupted goes on where it stopped; unless what they hang on has
            changed: the file of the model, what it imports, the version of a library.
        retry: run items again that are there with an error.
        progress: show a bar with the remaining time on the error stream, if that is a terminal.
        options: what holds for every item that does not say otherwise: "inputs", "batch", "dtype", "training" …

    Raises:
        InputError: something is no item, or `path` is a file of something else.
        ModelLoadError: no model matches a pattern.
        WorkerError: the processes do not start. What happens to single items stands in their rows.
    """
    if executor is not None and (processes, timeout, memory) != (None, None, None):
        raise InputError("processes, timeout and memory are for the default pool, not for an executor of your own")
    wanted = items_of(items, options)
    named, holds = {item.name: item for item in wanted}, holding()
    there = [row for row in read(path, Row) if row.name in named and not (retry and row.error)]
    rows = {row.name: row for row in there if holds(named[row.name], row.origin)}
    waiting = [item for item in wanted if item.name not in rows]
    measured = closing(_measured(waiting, executor, processes, timeout, memory))  # whatever happens in the loop
    with appending(path) as append, progress_bar(len(waiting), progress) as done, measured as found:
        for row, is_final in found:
            rows[row.name] = row
            if is_final:
                append(row)
            done(row.name)
    return Sweep(tuple(rows[item.name] for item in wanted))


def _measured(
    waiting: list[Item],
    executor: Executor | None,
    processes: int | None,
    timeout: float | None,
    memory: int | str | None,
) -> Generator[tuple[Row, bool], None, None]:
    """Rows as they are done. Those whose executor broke down are not final: nothing is known of their items."""
    if not waiting:
        return
    with own_pool(len(waiting), processes, timeout, memory) if executor is None else nullcontext(executor) as pool:
        for item, outcome in outcomes(pool, measure, waiting):
            if isinstance(outcome, BaseException):
                yield failed(item, outcome), not isinstance(outcome, (BrokenExecutor, CancelledError))
            else:
                yield outcome, True


@contextmanager
def own_pool(
    tasks: int, processes: int | None = None, timeout: float | None = None, memory: int | str | None = None
) -> Iterator[Executor]:
    """A pool of processes for so many tasks, which ends with the block, also in the middle of its work.

    Raises:
        WorkerError: the processes do not start.
    """
    if processes is not None and processes < 1:
        raise InputError(f"{processes} is no number of processes")
    count = min(processes or len(_cpus()), tasks)
    limit = parse_bytes(memory) if memory is not None else None
    pool = Processes(count, timeout=timeout, memory=limit)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _cpus() -> Sequence[int]:
    """The CPUs that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


@contextmanager
def progress_bar(total: int, wanted: bool = True) -> Iterator[Callable[[str], None]]:
    """A function to call with each name that is done; it moves a bar on the error stream, if that is a terminal."""
    if not wanted or not total or not sys.stderr.isatty():
        yield lambda name: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    latest = TextColumn("{task.description}", markup=False)
    with bar(sys.stderr, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), latest) as shown:
        task = shown.add_task("", total=total)
        yield lambda name: shown.update(task, advance=1, description=shortened(printable(name), NAME_WIDTH))
