"""The report as a page: one HTML file with its style, scripts and data inside, which works offline.

No name or text of a user can become markup: what stands in the page itself is escaped by Jinja2, the rest is JSON that
the scripts show as text. A Content-Security-Policy names the scripts and styles of this file by their hashes, so that
nothing else would run, and allows no connection at all.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..formula.as_page import shown
from ..memory.analysis import Analysis
from ..text import units
from ..text.version import VERSION
from ..text.words import printable
from .page.cards import cards, device_card
from .page.data import page_data
from .page.memory import largest
from .page.tools import tool_numbers
from .summary import caveats, header

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

LIBRARIES = ("d3.min.js", "dagre.min.js", "tabulator.min.js")
SCRIPTS = (
    *("core.js", "details.js", "cells.js", "structure.js", "rows.js", "tables.js"),
    *("layout.js", "picture.js", "graph.js", "memory.js", "diff.js", "main.js"),
)
"""The page's own scripts, which are one together, in the order in which they run."""
LICENCES = ("d3.LICENSE", "dagre.LICENSE", "tabulator.LICENSE")


@dataclass(frozen=True, slots=True)
class Inline:
    """A script or style that stands in the page, and the hash by which the policy allows it."""

    text: Markup
    source: str


def page(
    report: Analysis, *, diff: Mapping[str, Any] | None = None, devices: Iterable[tuple[str, str, tuple[str, ...]]] = ()
) -> str:
    """The page as text.

    Args:
        report: what the page shows.
        diff: a comparison to show as well, side by side: what :meth:`fxcost.compare.diff.Diff.to_dict` gives.
            `report` should be the later of the two.
        devices: what is estimated for devices: of each its name, the time, and further lines.
    """
    styles, scripts = _styles(), _scripts()
    sources = {
        "default-src": "'none'",
        "script-src": " ".join(script.source for script in scripts),
        "style-src": " ".join(style.source for style in styles),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    data = {**page_data(report), "diff": diff}
    return _template().render(
        policy="; ".join(f"{directive} {allowed}" for directive, allowed in sources.items()),
        styles=styles,
        scripts=scripts,
        data=_as_json(data),
        report=report,
        header=header(report),
        cards=[*cards(report), *(device_card(*device) for device in devices)],
        caveats=list(caveats(report)),
        tools=tool_numbers(report),
        formula=shown(report.formulas),
        peaks=_peaks(report),
        diff=diff,
        units=units,
        licences=[_asset("vendor", name) for name in LICENCES],
        version=VERSION,
    )


def _peaks(report: Analysis) -> list[tuple[str, Any]]:
    """What is alive at the peak of the forward pass, and of the training step if there is one."""
    peaks = [("Alive at the peak of the forward pass", largest(report.memory.at_peak))]
    if report.training is not None:
        peaks.append(("Alive at the peak of the training step", largest(report.training.at_peak)))
    return peaks


def _as_json(data: Mapping[str, Any]) -> Markup:
    """JSON that may stand in a script element: without the characters that could end it."""
    from jinja2.utils import htmlsafe_json_dumps

    return htmlsafe_json_dumps(data, dumps=json.dumps, separators=(",", ":"), allow_nan=False)


@cache
def _template() -> jinja2.Template:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def finalized(value: Any) -> Any:
        return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    made = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=finalized
    )
    return made.from_string(_asset("page/assets", "page.html"))


@cache
def _styles() -> tuple[Inline, ...]:
    return (_inline(_asset("vendor", "tabulator.min.css")), _inline(_asset("page/assets", "page.css")))


@cache
def _scripts() -> tuple[Inline, ...]:
    libraries = [re.sub(r"//# sourceMappingURL=.*", "", _asset("vendor", name)) for name in LIBRARIES]
    own = "\n".join(_asset("page/assets", name) for name in SCRIPTS)
    return tuple(_inline(text) for text in (*libraries, f"(() => {{\n{own}\n}})();\n"))


def _inline(text: str) -> Inline:
    from markupsafe import Markup

    text = text.replace("\r\n", "\n")  # as browsers do before they hash
    digest = b64encode(sha256(text.encode()).digest()).decode()
    return Inline(Markup(text), f"'sha256-{digest}'")


def _asset(folder: str, name: str) -> str:
    return (files(__package__) / folder / name).read_text(encoding="utf-8")
