"""A measurement: what was measured (measured.py), with its views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from ..errors.arguments import checked
from .measured import Measured


@checked
@dataclass(frozen=True, kw_only=True, repr=False)
class Measurement(Measured):
    """A model that was run on real tensors: its times beside what its roofline predicts. Prints as a table."""

    def table(self, top: int | None = 20, format: str = "rounded_outline", *, sort: bool = True) -> str:  # noqa: A002
        """The totals, the families and a row for each node, as text in any format of tabulate.

        Args:
            top: only so many nodes; None for all.
            format: any format of the tabulate library.
            sort: the longest first; else in execution order.

        Raises:
            UnknownNameError: the format is not known.
        """
        from .as_measurement import measurement_table

        return measurement_table(self, top, format, sort)

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw the roofline with a dot for each node at the speed that it reached (the extra `fxcost[plot]`).

        Raises:
            MissingLibraryError: matplotlib is not installed.
            UnknownNameError: the ending of the path is no format of a picture.
        """
        from ..speed.as_roofline_plot import plot_roofline

        plot_roofline(self.roofline, path, {node.name: node.timing.median for node in self.nodes})

    def to_dict(self) -> Mapping[str, Any]:
        """The numbers as plain data: seconds, counts and names."""
        from .as_measurement import measurement_dict

        return measurement_dict(self)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<Measurement: {self.report.model_type} on {self.place}, {self.forward.median * 1e3:.3f} ms>"

    def _repr_html_(self) -> str:
        from ..text.notebook import preformatted

        return preformatted(str(self))
