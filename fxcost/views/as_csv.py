"""The node table as CSV: exact integers, one line per node.

A CSV file has no place for sentences, so assumptions are not in it; operators without a rule are named per node.
"""

from __future__ import annotations

import csv
from io import StringIO

from ..records.cost import NodeCost
from ..records.plain import COST_FIELDS
from ..text import units
from ..totals.sums import Sums

HEADINGS = ("name", "kind", "target", "module", "input_shapes", "output_shapes", "output_dtypes", *COST_FIELDS)


def to_csv(report: Sums) -> str:
    """The nodes in execution order, a heading first."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*HEADINGS, "uncosted"])
    writer.writerows(_line(node) for node in report.nodes)
    return text.getvalue()


def _line(node: NodeCost) -> list[str | int]:
    return [
        node.name,
        node.kind,
        node.target,
        node.module,
        " ".join(units.shape(spec.shape) for spec in node.inputs),
        " ".join(units.shape(spec.shape) for spec in node.outputs),
        " ".join(spec.dtype_name for spec in node.outputs),
        *(getattr(node.cost, name) for name in COST_FIELDS),
        " ".join(map(str, node.uncosted)),
    ]
