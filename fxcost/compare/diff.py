"""`fxcost.diff`: two reports compared (comparison.py), with the views of what changed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from os import PathLike
from typing import Any

from ..communication.communication import Communication
from ..errors.arguments import checked
from ..report import Report, as_report
from ..text import files
from .comparison import Change, Comparison, Figures, rows_of


@checked
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Diff(Comparison):
    """Two reports compared. True if anything differs: `if fxcost.diff(a, b): …`. Prints as a table."""

    def text(self, format: str = "rounded_outline", *, depth: int | None = None) -> str:  # noqa: A002
        """The totals and what changed, as tables in any format of tabulate; "markdown" suits a pull request.

        Args:
            format: "markdown", or a format of tabulate.
            depth: levels of modules to show; by default as many as make a table of moderate length.

        Raises:
            UnknownNameError: there is no such format.
        """
        from .as_diff import markdown, text

        return markdown(self, depth=depth) if format == "markdown" else text(self, format, depth=depth)

    def to_markdown(self) -> str:
        """Markdown for a pull request: the totals, and what changed, folded."""
        return self.text("markdown")

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, in a versioned layout."""
        from .as_diff import to_dict

        return to_dict(self)

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """:meth:`to_dict` as JSON; written to `path` if one is given."""
        from .as_diff import to_json

        text = to_json(self)
        if path is not None:
            files.write(path, text)
        return text

    def to_html(self, path: str | PathLike[str] | None = None) -> str:
        """The page of the later report, with both side by side; written to `path` if one is given."""
        from ..views.as_html import page

        text = page(self.after, diff=self.to_dict())
        if path is not None:
            files.write(path, text)
        return text

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        from .as_diff import one_line

        return f"<Diff: {one_line(self)}>"

    def _repr_html_(self) -> str:
        from ..text.notebook import preformatted

        return preformatted(str(self))


@checked
def diff(
    before: Report | str | PathLike[str],
    after: Report | str | PathLike[str],
    names: tuple[str, str] | None = None,
) -> Diff:
    """What changed from one report to another; modules are aligned by qualified name, then by structure.

    >>> import fxcost, torch
    >>> small, large = (fxcost.analyze(torch.nn.Sequential(torch.nn.Linear(8, n)), (1, 8)) for n in (4, 6))
    >>> [(total.name, total.change) for total in fxcost.diff(small, large).totals[:2]]
    [('params', 18), ('macs', 16)]

    Both are reports, or paths of their JSON files. `names` is what views call them, by default those paths. A renamed
    module is one row, not a removal and an addition; it must be of the same class and of like size (at most twice the
    parameters and MACs).
    `peak_memory` is that of the forward pass in graph order, which two reports have however they were captured. Of
    ranks of a sharded model `sent` is what they send, in a training step if both have one.

    Raises:
        InputError: one is neither a report nor a path.
        ReportFileError: a file is no report.
    """
    paths = tuple(str(given) if isinstance(given, PathLike) else given for given in (before, after))
    named = tuple("" if not isinstance(path, str) or path.lstrip().startswith("{") else path for path in paths)
    before, after = as_report(before), as_report(after)
    rows = tuple(rows_of(before, after))
    root = rows[0]
    figures = [(f.name, getattr(root.was, f.name), getattr(root.is_now, f.name)) for f in fields(Figures)]
    figures.append(("peak_memory", before.memory.peak_bytes, after.memory.peak_bytes))
    if before.rank is not None or after.rank is not None:
        was, now = traffic(before, after)
        figures.append(("sent", was.sent_bytes, now.sent_bytes))
    totals = tuple(Change(name=name, before=was, after=now) for name, was, now in figures)
    return Diff(before=before, after=after, totals=totals, rows=rows, names=names or (named[0], named[1]))


def traffic(before: Report, after: Report) -> tuple[Communication, Communication]:
    """What ranks communicate: in a training step if both reports have one, else in the forward pass."""
    steps = before.training, after.training
    if steps[0] is not None and steps[1] is not None:
        return steps[0].communication, steps[1].communication
    return before.communication, after.communication
