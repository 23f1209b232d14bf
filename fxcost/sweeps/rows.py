"""What became of one item: a row of plain numbers and texts, also where it failed.

Runs in worker processes; nothing of the model or its report is left behind.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ..analyze import analyze
from ..model.inputs import parameter_dtype
from ..report import Report
from ..sources.load import Loaded, build, load
from ..sources.shapes import Inputs, with_data
from ..text.words import one_line
from .items import Item, described_inputs, model_name
from .origin import origin

LONGEST_ERROR = 900
"""Characters of an error that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a sweep. Numbers are those of the forward pass, exact; None where the item failed.

    `peak_bytes` is the most memory that the forward pass needs, as eager Python holds it where that was seen; the
    training numbers are of a whole step, and None unless `training=True`. `build_s` and `analysis_s` are wall-clock
    seconds. `uncosted` names the operators that ran without a rule. `origin` is what all this hangs on (origin.py).
    """

    name: str
    model: str
    inputs: str = ""
    capture: str = ""
    nodes: int | None = None
    params: int | None = None
    macs: int | None = None
    flops: int | None = None
    transcendentals: int | None = None
    bytes_read: int | None = None
    bytes_written: int | None = None
    activations: int | None = None
    peak_bytes: int | None = None
    training_flops: int | None = None
    training_peak_bytes: int | None = None
    build_s: float | None = None
    analysis_s: float | None = None
    uncosted: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    error: str = ""
    origin: tuple[str, ...] = ()

    @property
    def bytes(self) -> int | None:
        """Bytes read and written."""
        return None if self.bytes_read is None or self.bytes_written is None else self.bytes_read + self.bytes_written

    @property
    def seconds(self) -> float | None:
        """Seconds that building and analysing took."""
        return None if self.build_s is None or self.analysis_s is None else self.build_s + self.analysis_s


def measure(item: Item) -> Row:
    """Build the item's model, feed it and analyse it. Whatever goes wrong becomes a row too."""
    try:
        started = time.perf_counter()
        model, inputs = _made(item)
        built = time.perf_counter()
        report = analyze(model, inputs.args, inputs.kwargs, **item.options)
        eager = report.memory.peak_eager_bytes
        peak = report.memory.peak_bytes if eager is None else eager
        row = _row(item, report, inputs, peak, built - started, time.perf_counter() - built)
        return replace(row, origin=origin(item, model))
    except (Exception, SystemExit) as error:  # SystemExit: a script that was meant to be run
        return failed(item, error)


def failed(item: Item, error: BaseException) -> Row:
    """The row of an item that could not be measured."""
    text = one_line(f"{type(error).__name__}: {error}", LONGEST_ERROR).removesuffix(":")
    inputs = described_inputs(item.inputs, item.kwargs) if item.given else ""
    return Row(name=item.name, model=model_name(item.model), inputs=inputs, error=text, origin=origin(item))


def _made(item: Item) -> tuple[Any, Inputs]:
    """The model, built if it is not there yet, and its inputs."""
    if isinstance(item.model, str):
        loaded = load(item.model, item.arguments, train=item.train, real=item.real)
    elif isinstance(item.model, nn.Module) or not callable(item.model):
        loaded = Loaded(item.name, item.model)
    else:
        made = build(model_name(item.model), lambda: item.model(**item.arguments), real=item.real)
        loaded = Loaded(item.name, made.train(item.train))
    if item.given or not isinstance(loaded.model, nn.Module):
        inputs = Inputs(item.inputs if item.inputs is not None else (), item.kwargs)
    else:
        inputs = loaded.default_inputs(item.batch or 1)
    return loaded.model, with_data(inputs, parameter_dtype(loaded.model, None)) if item.real else inputs


def _row(item: Item, report: Report, inputs: Inputs, peak: int, build_s: float, analysis_s: float) -> Row:
    step = report.training
    return Row(
        name=item.name,
        model=model_name(item.model),
        inputs=described_inputs(inputs.args, inputs.kwargs),
        capture=report.capture,
        nodes=len(report.nodes),
        params=report.params,
        macs=report.macs,
        flops=report.flops,
        transcendentals=report.transcendentals,
        bytes_read=report.bytes_read,
        bytes_written=report.bytes_written,
        activations=report.activations,
        peak_bytes=peak,
        training_flops=step.total.flops if step is not None else None,
        training_peak_bytes=step.peak_bytes if step is not None else None,
        build_s=round(build_s, 4),
        analysis_s=round(analysis_s, 4),
        uncosted=tuple(report.uncosted),
        assumptions=report.assumptions,
    )
