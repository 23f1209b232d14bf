"""Bounds over batches and contexts, as rows: for tables, files, pictures and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..errors import InputError, MissingLibraryError, shown
from ..text import files

if TYPE_CHECKING:
    import pandas as pd

    from .bounds import Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Bounds at one batch and context. Times in seconds, memory in bytes; `fits` says whether it fits into memory.

    `ttft_s` is the prompt of one request of so many tokens, `tpot_s` one token for each request after them. `bound` says
    what bounds it: "compute", "weights" or "cache".
    """

    batch: int
    context: int
    ttft_s: float
    tpot_s: float
    tokens_per_s: float
    tokens_per_s_per_user: float
    bound: str
    cache_bytes: int
    memory_bytes: int
    fits: bool
    largest_batch: int
    crossover_batch: int | None


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Rows of bounds; `model`, `device` and how many of them say of what."""

    model: str
    device: str
    devices: int
    rows: tuple[Row, ...]
    prompts: str = "each row's context"

    def table(self, format: str = "simple") -> str:  # noqa: A002
        """The rows as text in any format of tabulate, within 80 columns.

        Raises:
            UnknownNameError: the format is not known.
        """
        from .as_serving import sweep_table

        return sweep_table(self, format)

    def to_csv(self, path: str | PathLike[str] | None = None) -> str:
        """The rows as CSV, exact; written to `path` if one is given."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["device", "devices", *(f.name for f in fields(Row))])
        writer.writerows([self.device, self.devices, *astuple(row)] for row in self.rows)
        if path is not None:
            files.write(path, out.getvalue())
        return out.getvalue()

    def to_dataframe(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame (the extra `fxcost[pandas]`).

        Raises:
            MissingLibraryError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingLibraryError("pandas is not installed: pip install 'fxcost[pandas]'") from error
        return pd.DataFrame([{f.name: getattr(row, f.name) for f in fields(Row)} for row in self.rows])

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw throughput against latency, a line for each context (the extra `fxcost[plot]`).

        Raises:
            MissingLibraryError: matplotlib is not installed.
            UnknownNameError: the ending of the path is no format of a picture.
        """
        from .as_plot import plot_sweep

        plot_sweep(self, path)

    def __str__(self) -> str:
        return self.table()


def swept(bounds: Bounds, batches: Iterable[int | str], contexts: Iterable[int] | None) -> Sweep:
    """As :meth:`Bounds.sweep`."""
    gen = bounds.generation
    wanted = list(contexts) if contexts is not None else [bounds._prompt + gen.new_tokens]
    batches = list(batches)
    for number in [*wanted, *(b for b in batches if b != "max")]:
        if not isinstance(number, int) or number < 1:
            raise InputError(f"sweep: {shown(number)} is no batch or context: give numbers above 0, or 'max'")
    prompts = Prompts(bounds, wanted)
    rows = []
    for context in wanted:
        most, crossover = bounds.fitting_batch(context), bounds.crossover(context)
        ttft = prompts.seconds(context)
        for asked in batches:
            batch = most if asked == "max" else int(asked)
            if batch:
                rows.append(_row(bounds, batch, context, ttft, most, crossover))
    return Sweep(model=gen.name, device=bounds.device.name, devices=bounds.devices, rows=tuple(rows))


def _row(bounds: Bounds, batch: int, context: int, ttft: float, most: int, crossover: int | None) -> Row:
    gen = bounds.generation
    time = bounds.decode_time(context, batch)
    held = gen.cache.bytes(context=context, batch=batch)
    return Row(
        batch=batch,
        context=context,
        ttft_s=ttft,
        tpot_s=time.time_s,
        tokens_per_s=batch / time.time_s,
        tokens_per_s_per_user=1 / time.time_s,
        bound=time.bound,
        cache_bytes=held,
        memory_bytes=held + gen.weights.stored_bytes,
        fits=batch <= most,
        largest_batch=most,
        crossover_batch=crossover,
    )


class Prompts:
    """Least times of prompts of many lengths, from few analyses.

    Beside attention, which has a closed form, the products of a prompt grow with its length on a line: two lengths say
    it, and a third is analysed to see that it does. Where it doesn't, each length is analysed.
    """

    def __init__(self, bounds: Bounds, lengths: Iterable[int]) -> None:
        self.bounds, gen = bounds, bounds.generation
        self.lengths = sorted(set(lengths))
        self.fixed = gen._is_encoder
        self.line: tuple[int, int, Any] | None = None
        if len(self.lengths) > 3 and gen._steps.any_batch:
            short, middle, long = (self.lengths[i] for i in (0, len(self.lengths) // 2, -1))
            one, other, check = (gen.work(n, 0) for n in (short, long, middle))
            slope, rest = divmod(other.macs - one.macs, long - short)
            if not rest and check.macs == one.macs + slope * (middle - short):
                self.line = one.macs - slope * short, slope, one

    def seconds(self, length: int) -> float:
        """The least time of a prompt of so many tokens, alone."""
        from dataclasses import replace

        gen = self.bounds.generation
        if self.fixed:
            return self.bounds.ttft_s
        if self.line is None:
            return self.bounds.step_time(gen.work(length, 0), 0, 1).time_s
        start, slope, work = self.line
        same = replace(work, new=length, macs=start + slope * length)
        return self.bounds.step_time(same, 0, 1).time_s


def as_dicts(sweep: Sweep) -> list[dict[str, Any]]:
    """The rows as dicts."""
    return [{f.name: getattr(row, f.name) for f in fields(Row)} for row in sweep.rows]
