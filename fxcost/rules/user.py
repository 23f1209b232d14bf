"""All rules of this process: the built-in ones, those of installed packages, and those that users registered.

Where there is none, a formula that was registered with PyTorch's own counter is one (registered.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from importlib.metadata import entry_points

import torch

from ..errors import DuplicateRuleError
from ..errors.arguments import checked
from . import late
from .built_in import BUILT_IN
from .registered import registered_formulas
from .registry import OpKey, Registry, Rule, RuleFunction, check_key

_user_rules: dict[OpKey, Rule] = {}
_user_lock = threading.Lock()


@checked
def rule(*ops: OpKey, family: str = "custom", override: bool = False) -> Callable[[RuleFunction], RuleFunction]:
    """Register a rule for operators, for all later analyses in this process.

    >>> import fxcost, torch
    >>> lib = torch.library.Library("doctest_rule", "DEF")
    >>> lib.define("twice(Tensor x) -> Tensor")
    'twice'
    >>> @fxcost.rule(torch.ops.doctest_rule.twice)
    ... def twice(op):
    ...     return fxcost.Cost(other_flops=op.out.numel)

    Args:
        ops: operators (`torch.ops.mylib.op`, all its overloads, or `torch.ops.mylib.op.default`).
        family: the name under which `Report.by_family` adds the operators up.
        override: allow to replace a rule that is already there.

    Raises:
        DuplicateRuleError: an operator already has a rule and `override` is false.
        RuleError: a key is no operator.
    """

    def register(function: RuleFunction) -> RuleFunction:
        with _user_lock:
            for op in ops:
                if not override and (check_key(op) in BUILT_IN.rules or op in _user_rules):
                    raise DuplicateRuleError(
                        f"{op} already has a rule; pass override=True to replace it for this process, "
                        "or rules={op: function} to one analyze() call"
                    )
            for op in ops:
                _user_rules[check_key(op)] = Rule(family, function)
        return function

    return register


def default_registry(rules: Mapping[OpKey, RuleFunction | Rule] | None = None) -> Registry:
    """Built-in rules, overlaid by installed packages' (entry points `fxcost.rules`), by `fxcost.rule`'s and by `rules`.

    Below all of them stand the formulas that were registered with PyTorch's own counter.

    Rules for operators of libraries that are imported by now (torchvision) are among the built-in ones.
    """
    names, more, formulas = late.registered(), {**_packaged(), **_registered()}, registered_formulas()
    registry = _overlaid(names, tuple(more.items()), tuple(formulas.items())) if more or formulas else _with(names)
    if not rules:
        return registry
    return registry.overlay({k: r if isinstance(r, Rule) else Rule("custom", r) for k, r in rules.items()})


@lru_cache(maxsize=1)
def _overlaid(
    names: tuple[str, ...], more: tuple[tuple[OpKey, Rule], ...], formulas: tuple[tuple[OpKey, Rule], ...]
) -> Registry:
    known = {**_with(names).rules, **dict(more)}
    priced = {key.overloadpacket if isinstance(key, torch._ops.OpOverload) else key for key in known}
    return _with(names).overlay({**{key: rule for key, rule in formulas if key not in priced}, **dict(more)})


@lru_cache(maxsize=8)
def _with(names: tuple[str, ...]) -> Registry:
    return BUILT_IN.overlay(late.late_rules(names)) if names else BUILT_IN


@cache
def _packaged() -> dict[OpKey, Rule]:
    return {key: rule for point in entry_points(group="fxcost.rules") for key, rule in point.load().items()}


def _registered() -> dict[OpKey, Rule]:
    with _user_lock:
        return dict(_user_rules)
