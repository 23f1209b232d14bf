"""The report as a pandas DataFrame: numbers to sort, group and plot (the extra `fxcost[pandas]`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import MissingLibraryError, UnknownNameError, shown
from ..records.plain import COST_FIELDS
from ..totals.sums import Sums
from .rows import Row, rows_of

if TYPE_CHECKING:
    import pandas as pd

BY = ("node", "module", "operator", "family", "parameter")
_ALL_LEVELS = 10**6


def to_dataframe(report: Sums, by: str = "node") -> pd.DataFrame:
    """A frame whose index is the name; :meth:`fxcost.report.Report.to_dataframe` explains the columns.

    Raises:
        MissingLibraryError: pandas is not installed.
        UnknownNameError: `by` is none of :data:`BY`.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingLibraryError("DataFrames need pandas: pip install pandas") from error
    if by not in BY:
        raise UnknownNameError(f"there is nothing by {shown(by)}: choose from {', '.join(BY)}")
    rows = parameter_rows(report) if by == "parameter" else [_columns(row, by) for row in _rows(report, by)]
    frame = pd.DataFrame(rows).set_index("name") if rows else pd.DataFrame(index=pd.Index([], name="name"))
    frame.attrs.update(model=report.model_type, assumptions=list(report.assumptions), uncosted=dict(report.uncosted))
    return frame


def _rows(report: Sums, by: str) -> list[Row]:
    return rows_of(report, by, depth=_ALL_LEVELS, fold=False, tree=False)


def _columns(row: Row, by: str) -> dict[str, Any]:
    """A row as values: shapes as tuples, counts as exact integers."""
    texts: dict[str, Any] = {"name": row.name}
    if by == "node":
        texts |= {"kind": row.kind, "operation": row.operation, "module": row.module, "family": row.family}
        texts |= {"inputs": tuple(s.shape for s in row.inputs), "outputs": tuple(s.shape for s in row.outputs)}
    elif by == "module":
        texts |= {"type": row.type_name, "calls": row.calls, "outputs": tuple(s.shape for s in row.outputs)}
    else:
        texts |= {"family": row.family, "count": row.calls}
    if row.parameters is not None:
        totals = row.parameters
        texts |= {"params": totals.params, "trainable_params": totals.trainable_params, "buffers": totals.buffers}
        texts |= {"param_bytes": totals.param_bytes, "buffer_bytes": totals.buffer_bytes}
    return texts | {name: getattr(row.cost, name) for name in COST_FIELDS}


def parameter_rows(report: Sums) -> list[dict[str, Any]]:
    """One row for each parameter and buffer."""
    return [
        {
            "name": record.name,
            "kind": "buffer" if record.is_buffer else "parameter",
            "shape": record.spec.shape,
            "dtype": record.spec.dtype_name,
            "elements": record.spec.numel,
            "bytes": record.stored_bytes,
            "trainable": record.trainable,
            "aliases": record.names[1:],
        }
        for record in report.parameters
    ]
