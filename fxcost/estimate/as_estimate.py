"""An estimate as text: the time with its range, where it goes, and a row for each node that takes time.

What is shown is taken from plain attributes of the estimate, so that this file hangs on nothing of estimate.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..text import units
from ..text.tables import labelled, tabulated

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = ("node", "module", "kind", "kernels", "time", "share", "bound by")


def estimate_table(estimate: Any, top: int | None, format: str, sort: bool) -> str:  # noqa: A002
    """Totals, then nodes: the longest first, or in execution order.

    Raises:
        UnknownNameError: the format is not known.
    """
    shown = [node for node in estimate.nodes if node.seconds]
    if sort:
        shown.sort(key=lambda node: -node.seconds)
    whole = estimate.seconds
    rows = [_row(node, whole) for node in shown[:top]]
    if len(shown) > len(rows):
        rest = sum(node.seconds for node in shown[len(rows) :])
        blank = [""] * 3
        rows.append(
            [units.plural(len(shown) - len(rows), "more node"), *blank, units.seconds(rest), _share(rest, whole), ""]
        )
    return "\n".join([labelled(_facts(estimate)), tabulated(rows, COLUMNS, "lllrrrl", format)])


def time_range(estimate: Any) -> str:
    """The time with its range: "8.45 ms (7.57 ms to 10.1 ms)"."""
    low, high = units.seconds(estimate.low), units.seconds(estimate.high)
    return f"{units.seconds(estimate.seconds)} ({low} to {high})"


def error_text(errors: Any) -> str:
    """How far such estimates were off."""
    return (
        f"median {units.share(errors.median)}, nine of ten below {units.share(errors.p90)} "
        f"({errors.rows:,} × {errors.what})"
    )


def estimates_table(estimates: Sequence[Any], format: str = "rounded_outline") -> str:  # noqa: A002
    """Several estimates of one model, a row for each."""
    rows = [
        [
            e.device.name,
            e.mode,
            units.seconds(e.seconds),
            f"{units.seconds(e.low)} to {units.seconds(e.high)}",
            _times(e.by_bound(), e.seconds),
            units.byte_size(e.memory_bytes),
            "yes" if e.fits else "no",
        ]
        for e in estimates
    ]
    columns = ("device", "mode", "time", "range", "bound by", "memory", "fits")
    return tabulated(rows, columns, "llrrlrl", format)


def _facts(estimate: Any) -> list[tuple[str, str]]:
    what = "training step" if estimate.training else "forward pass"
    how = f"{estimate.mode}, {what}" + (f", reckoned at the {estimate.dtype} peak" if estimate.dtype else "")
    facts = [
        ("Model", estimate.model_type),
        ("Device", estimate.device.name),
        ("Estimate", f"{time_range(estimate)}; {how}"),
        ("Error", error_text(estimate.errors)),
        ("Profile", f"{estimate.profile.name}: {estimate.profile.source}"),
        ("Bound by", _times(estimate.by_bound(), estimate.seconds)),
        ("By kind", _times(estimate.by_kind(), estimate.seconds)),
        ("Memory", f"{units.byte_size(estimate.memory_bytes)} at the peak"),
    ]
    return [*facts, *(("Note", note) for note in estimate.notes)]


def _times(times: Mapping[str, float], whole: float) -> str:
    return ", ".join(f"{n or 'host'} {units.seconds(t)} ({_share(t, whole)})" for n, t in times.items()) or "nothing"


def _share(part: float, whole: float) -> str:
    return units.share(part / whole) if whole else units.NOTHING


def _row(node: Any, whole: float) -> list[str]:
    return [
        node.name,
        node.module,
        node.kind,
        str(node.kernels),
        units.seconds(node.seconds),
        _share(node.seconds, whole),
        node.bound,
    ]
