"""`report.formula`: formulas that hand themselves to the files that answer questions on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from ..errors import FormulaError
from .as_json import packed, unpacked
from .as_plot import plot
from .as_text import table
from .expressions import Expressions
from .growth import Growth, growth
from .solve import solve


@dataclass(frozen=True, eq=False)
class Formula(Expressions):
    """What a model costs, as formulas in the dims of `domain`. Only `report.formula` makes one."""

    @staticmethod
    def given(data: Mapping[str, Any] | None) -> Formula:
        """The formulas that a report carries as plain data.

        Raises:
            FormulaError: there are none.
            ReportFileError: the data are broken.
        """
        if data is None:
            raise FormulaError(
                "no size was left open: write names into shapes, such as ('B', 3, 'H', 'W'), and give analyze "
                "dims={'B': fxcost.Dim(1, 64), 'H': None, 'W': None}"
            )
        if "error" in data:
            raise FormulaError(data["error"])
        return Formula.from_dict(data)

    # Questions --------------------------------------------------------------------------------------------------

    def growth(self, dim: str, number: str = "flops") -> Growth:
        """How a number grows with a dim: with which exponent, and from where on the largest power prevails.

        Raises:
            FormulaError: there is no such dim.
            UnknownNameError: there is no such number.
        """
        return growth(self, dim, number)

    def solve(self, **given: Any) -> int:
        """The largest size of the dim that is left open with which numbers stay within limits.

        `solve(peak_bytes="24GiB", S=4096)`: sizes for all dims but one, and limits for numbers by their names.

        Raises:
            FormulaError: not exactly one dim is left open, no limit is given, or not even the smallest size stays
                within it.
            UnknownNameError: there is no such number.
        """
        return solve(self, given)

    def plot(self, path: str | PathLike[str], dim: str, number: str = "flops", **sizes: int) -> None:
        """Draw a number over a dim with matplotlib (the extra `fxcost[plot]`) into a file.

        Args:
            path: where to.
            dim: what stands on the axis.
            number: any of `numbers`.
            sizes: those of the other dims; by default their lower ends.

        Raises:
            MissingLibraryError: matplotlib is not installed.
            FormulaError: there is no such dim.
        """
        plot(self, path, dim, number, sizes)

    # As data and as text ----------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The formulas as plain data."""
        return packed(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Formula:
        """What :meth:`to_dict` gave, as formulas again.

        Raises:
            ReportFileError: it is broken.
        """
        return Formula(**unpacked(data))

    def table(self, numbers: Sequence[str] | None = None) -> str:
        """The numbers with their formulas, and the domain, as text."""
        return table(self, numbers)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<Formula of {self.model_type} in {', '.join(self.names)}>"

    def _repr_html_(self) -> str:
        from ..text.notebook import preformatted

        return preformatted(str(self))
