"""The built-in rules: one file per operator family, listed here. See docs/rules.md for how to add one."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.metadata import entry_points

from . import (
    attention,
    backward,
    backward_places,
    backward_pointwise,
    conv,
    fft,
    foreach,
    free,
    indexing,
    interpolation,
    late,
    linalg,
    loss,
    lowp,
    matmul,
    movement,
    norm,
    pointwise,
    pool,
    quantized,
    quantized_layers,
    reduce,
    rng,
    rnn,
    sorting,
    sparse,
)
from .registry import OpKey, Registry, Rule, merge, user_rules

BUILT_IN = Registry(
    merge(
        matmul.RULES,
        lowp.RULES,
        quantized.RULES,
        quantized_layers.RULES,
        conv.RULES,
        attention.RULES,
        rnn.RULES,
        norm.RULES,
        pointwise.RULES,
        foreach.RULES,
        reduce.RULES,
        pool.RULES,
        indexing.RULES,
        movement.RULES,
        rng.RULES,
        fft.RULES,
        linalg.RULES,
        sorting.RULES,
        sparse.RULES,
        interpolation.RULES,
        loss.RULES,
        free.RULES,
        backward.RULES,
        backward_places.RULES,
        backward_pointwise.RULES,
    ),
    pointwise=Rule("pointwise", pointwise.one_per_element),
    view=Rule("free", None, "only changes how a tensor is viewed"),
)


def default_registry() -> Registry:
    """Built-in rules, overlaid by installed packages' (entry points `fxcost.rules`) and by `fxcost.rule`'s.

    Rules for operators of libraries that are imported by now (torchvision) are among the built-in ones.
    """
    names, more = late.registered(), {**_packaged(), **user_rules()}
    return _overlaid(names, tuple(more.items())) if more else _with(names)


@lru_cache(maxsize=1)
def _overlaid(names: tuple[str, ...], more: tuple[tuple[OpKey, Rule], ...]) -> Registry:
    return _with(names).overlay(dict(more))


@lru_cache(maxsize=8)
def _with(names: tuple[str, ...]) -> Registry:
    return BUILT_IN.overlay(late.late_rules(names)) if names else BUILT_IN


@cache
def _packaged() -> dict[OpKey, Rule]:
    return {key: rule for point in entry_points(group="fxcost.rules") for key, rule in point.load().items()}
