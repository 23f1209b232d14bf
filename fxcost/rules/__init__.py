"""The built-in rules: one file per operator family, listed here. See docs/rules.md for how to add one."""

from __future__ import annotations

from importlib.metadata import entry_points

from ..registry import Registry, Rule, merge, user_rules
from . import (
    attention,
    conv,
    fft,
    free,
    indexing,
    interpolation,
    linalg,
    loss,
    lowp,
    matmul,
    movement,
    norm,
    pointwise,
    pool,
    reduce,
    rng,
    rnn,
    sorting,
    vision,
)

BUILT_IN = Registry(
    merge(
        matmul.RULES,
        lowp.RULES,
        conv.RULES,
        attention.RULES,
        rnn.RULES,
        norm.RULES,
        pointwise.RULES,
        reduce.RULES,
        pool.RULES,
        indexing.RULES,
        movement.RULES,
        rng.RULES,
        fft.RULES,
        linalg.RULES,
        sorting.RULES,
        interpolation.RULES,
        loss.RULES,
        free.RULES,
    ),
    pointwise=Rule("pointwise", pointwise.one_per_element),
    view=Rule("free", None, "only changes how a tensor is viewed"),
)


def default_registry() -> Registry:
    """Built-in rules, overlaid by installed packages' (entry points `fxcost.rules`) and by `fxcost.rule`'s.

    Rules for operators of libraries that are imported by now (torchvision) are among the built-in ones.
    """
    packaged = {key: rule for point in entry_points(group="fxcost.rules") for key, rule in point.load().items()}
    more = {**vision.late_rules(), **packaged, **user_rules()}
    return BUILT_IN.overlay(more) if more else BUILT_IN
