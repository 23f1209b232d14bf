"""The whole road in one sentence: capture, cost, report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from .capture import record
from .cost import cost_nodes
from .errors import UncostedOperatorError
from .graph import to_graph_module
from .inputs import as_dtype
from .registry import OpKey, Registry, Rule, RuleFunction
from .report import Report
from .rules import default_registry


def analyze(
    model: Any,
    inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    capture: str = "auto",
    dtype: torch.dtype | str | None = None,
    leaf_modules: tuple[Any, ...] = (),
    rules: Mapping[OpKey, RuleFunction | Rule] | None = None,
    strict: bool = False,
    real_limit: int = 2**30,
) -> Report:
    """What does this model cost? Runs it on meta tensors, without weights or data, and prices every operator.

    >>> import fxcost, torch
    >>> report = fxcost.analyze(torch.nn.Linear(3, 4), (2, 3))
    >>> report.macs, report.flops, report.params
    (24, 48, 16)

    Args:
        model: an `nn.Module`, `fx.GraphModule`, `torch.export.ExportedProgram` or a callable on tensors. It is never
            changed, wherever its weights are; weights on meta are fine.
        inputs: one input, a list or tuple of positional inputs, or a dict of keyword inputs. A tensor stands for
            itself, a tuple of ints for a tensor of that shape (batch included), `fxcost.spec(…)` for a shape with a
            dtype. Lists, tuples and dicts may nest; other values pass through.
        kwargs: further keyword inputs.
        capture: "symbolic" (trace with proxies), "concrete" (run forward on meta tensors) or "auto".
        dtype: cost the model as if its floating-point weights and inputs had this dtype.
        leaf_modules: module classes or FQNs that stay one node each.
        rules: rules for this analysis, operator → function, before all others.
        strict: raise where the report would list uncosted operators.
        real_limit: bytes of weights and inputs up to which a real run of a copy may be recorded, where control flow
            hangs on values that only data can tell; 0 forbids it.

    Raises:
        InputError: the inputs do not fit the model.
        ModelCopyError: a module holds something that can't be copied.
        CaptureError: `capture="symbolic"`, and the model can't be traced so.
        ModelRunError: the model raised on these inputs, or an operator has no meta kernel.
        UnknownValueError: control flow hangs on a value that is not known, and no real run is possible.
        UncostedOperatorError: `strict`, and an operator that ran has no rule.
    """
    wanted = as_dtype(dtype) if dtype is not None else None
    recording = record(
        model,
        inputs,
        dict(kwargs or {}),
        capture=capture,
        dtype=wanted,
        leaf_modules=tuple(leaf_modules),
        real_limit=real_limit,
    )
    report = Report(recording, cost_nodes(recording.nodes, _registry(rules)))
    if strict and report.uncosted:
        listed = ", ".join(f"{op} ({n}×)" for op, n in report.uncosted.items())
        raise UncostedOperatorError(
            f"no rule for {listed}; register one with @fxcost.rule(op), see docs/rules.md, or analyse without strict"
        )
    return report


def analyze_graph(
    graph_module: fx.GraphModule,
    inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype | str | None = None,
    rules: Mapping[OpKey, RuleFunction | Rule] | None = None,
    strict: bool = False,
) -> Report:
    """Cost a graph that is traced already, at any input shapes it takes, without tracing again.

    The graph's nodes run as they are: what tracing fixed (sizes read by Python code, branches) stays fixed.

    Args: as :func:`analyze`; `graph_module` comes from :func:`trace`, `torch.fx.symbolic_trace` or `Report.graph`.

    Raises: as :func:`analyze`.
    """
    return analyze(graph_module, inputs, kwargs, dtype=dtype, rules=rules, strict=strict)


def trace(
    model: Any,
    inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    capture: str = "auto",
    dtype: torch.dtype | str | None = None,
    leaf_modules: tuple[Any, ...] = (),
) -> fx.GraphModule:
    """The model's torch.fx graph, on meta, every node with `meta["tensor_meta"]`.

    Args: as :func:`analyze`.

    Raises: as :func:`analyze`.
    """
    wanted = as_dtype(dtype) if dtype is not None else None
    return to_graph_module(
        record(model, inputs, dict(kwargs or {}), capture=capture, dtype=wanted, leaf_modules=tuple(leaf_modules))
    )


def _registry(rules: Mapping[OpKey, RuleFunction | Rule] | None) -> Registry:
    registry = default_registry()
    if not rules:
        return registry
    return registry.overlay({k: r if isinstance(r, Rule) else Rule("custom", r) for k, r in rules.items()})
