"""Rows of bounds as a table, a file, a picture, a data frame."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING

from ..errors import MissingLibraryError
from ..text import files
from .as_plot import plot_rows
from .as_serving import sweep_table
from .rows import Row

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Rows of bounds; `model`, `device` and how many of them say of what."""

    model: str
    device: str
    devices: int
    rows: tuple[Row, ...]

    def table(self, format: str = "simple") -> str:  # noqa: A002
        """The rows as text in any format of tabulate, within 80 columns.

        Raises:
            UnknownNameError: the format is not known.
        """
        return sweep_table(self.rows, format)

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
        plot_rows(self.rows, f"{self.model} on {self.devices} × {self.device}", path)

    def __str__(self) -> str:
        return self.table()
