"""What the drop-ins share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from ..conventions import lookup
from ..conventions.seen import Seen
from ..errors import ConventionError
from ..report import Report


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, as tools that call `eval()` run it; every module's own mode comes back afterwards."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def seen_by(tool: str, report: Report) -> Seen:
    """What a tool sees of a report's run.

    Raises:
        ConventionError: the analysed run does not tell.
    """
    return lookup(tool).sees(report._seen)


def refuse(tool: str, **options: Any) -> None:
    """Say which of the options given can't be honoured without running the model on real data.

    Raises:
        ConventionError: one of the options is set.
    """
    for name, value in options.items():
        if value:
            raise ConventionError(
                f"fxcost.compat.{tool} takes no {name}: write a fxcost.Convention with a rule instead"
            )
