"""The whole road in one sentence: capture, cost, report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import isfunction
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from .capture.capture import Loss, record
from .capture.graph import to_graph_module
from .errors import InputError, ShardingError, UncostedOperatorError, shown
from .errors.arguments import checked
from .memory.optimizers import Optimizer, check_optimizer
from .memory.training import Training, training_of
from .model.graph_inputs import inputs_left
from .model.inputs import as_autocast_dtype, as_float_dtype, check_nesting, has_names
from .records.recording import TrainingRecord
from .report import Report
from .rules import default_registry
from .rules.pricing import cost_nodes
from .rules.registry import OpKey, Registry, Rule, RuleFunction

if TYPE_CHECKING:
    from .capture.sharding import Sharding
    from .formula.dims import Dim


@checked
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
    training: bool = False,
    optimizer: Optimizer | None = None,
    loss: Loss | None = None,
    dims: Mapping[str, Dim | tuple[int, int] | None] | Sequence[str] | None = None,
    verify: int = 2,
    autocast: torch.dtype | str | None = None,
    mesh: Mapping[str, int] | None = None,
    parallelize: Callable[[Any, Any], Any] | None = None,
    rank: int | str = 0,
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
        training: also run a training step, for `report.training`. The model trains as it is: call `.train()` first if
            dropout and batch statistics are wanted, freeze parameters with `requires_grad_(False)`.
        optimizer: whose state counts in `report.training`: "sgd", "momentum", "adam", "adamw" (the default),
            "adafactor", "lion", a `torch.optim` optimizer, or a number of bytes per parameter.
        loss: a function from what the model returns to the loss; by default the sum of all floating-point outputs,
            which itself costs nothing.
        dims: sizes to leave open, by the names that stand for them in shapes: `("B", 3, "H", "W")` with
            `dims={"B": fxcost.Dim(1, 64), "H": None, "W": None}`. The report is that at a size in the middle of each
            range, and `report.formula` has its numbers as formulas; few further analyses find them.
        verify: at how many points at random the formulas are compared with an analysis, beside those that found them.
        autocast: run the model as `torch.autocast("cuda", dtype)` does, also where there is no CUDA: "float16" or
            "bfloat16". Weights keep their dtype and are cast once, by operators that the report has too.
        mesh: sizes of a mesh of devices by name, such as `{"dp": 8, "tp": 8}`: the report is then that of one rank of
            the sharded model, with `report.rank` and `report.communication`. Inputs are those of the rank.
        parallelize: for `mesh`, what shards the model: a function that is given a copy of the model (on meta) and a
            `DeviceMesh`, and changes the copy or returns another module. :mod:`fxcost.parallel` has ready ones.
        rank: for `mesh`, which rank; "worst" takes of the ranks at the corners of the mesh the one with the highest
            peak of memory.

    Raises:
        InputError: the inputs do not fit the model, a dim is none, or autocast has no such dtype.
        ModelCopyError: a module holds something that can't be copied.
        CaptureError: `capture="symbolic"`, and the model can't be traced so.
        ModelRunError: the model raised on these inputs, or an operator has no meta kernel.
        UnknownValueError: control flow hangs on a value that is not known, and no real run is possible.
        UncostedOperatorError: `strict`, and an operator that ran has no rule.
        TrainingError: nothing requires a gradient, the loss is no scalar, or there is no such optimizer.
        ShardingError: there is no such mesh or rank, the recipe raises or shards nothing, or the model is sharded.
    """
    options = Options(
        capture=capture,
        dtype=dtype,
        leaf_modules=tuple(leaf_modules),
        rules=rules,
        strict=strict,
        real_limit=real_limit,
        training=training,
        optimizer=optimizer,
        loss=loss,
        autocast=as_autocast_dtype(autocast),
        mesh=mesh,
        parallelize=parallelize,
        rank=rank,
    )
    check_model(model)
    check_nesting((inputs, kwargs))
    if dims is not None or has_names((inputs, kwargs)):
        from .formula.dims import as_dims, names_in, with_sizes

        named = dict(kwargs or {})
        return with_formulas(
            as_dims(dims, names_in((inputs, named), dims)),
            lambda point, options: analyzed(model, with_sizes(inputs, point), with_sizes(named, point), options),
            verify,
            options,
        )
    return analyzed(model, inputs, kwargs, options)[0]


def check_model(model: Any) -> None:
    """Say what is meant where a name of a model, or what makes one, stands in a model's place.

    Raises:
        InputError: it is text, a class of modules, or a function of torchvision or timm that makes a model.
    """
    if isinstance(model, str):
        raise InputError(
            f"{shown(model)} is a str, no model: give an nn.Module, such as torchvision.models.resnet50(). Names are "
            "for `fxcost MODEL` on the command line, and for sweeps"
        )
    if isinstance(model, type) and issubclass(model, torch.nn.Module):
        raise InputError(f"{model.__name__} is a class of modules: make one, {model.__name__}(…)")
    builds = getattr(model, "__annotations__", {}).get("return") if isfunction(model) else None
    if isinstance(builds, type) and issubclass(builds, torch.nn.Module):
        raise InputError(f"{model.__name__} is a function that makes a model: call it, {model.__name__}()")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of :func:`analyze`, for those that run it many times."""

    capture: str = "auto"
    dtype: torch.dtype | str | None = None
    leaf_modules: tuple[Any, ...] = ()
    rules: Mapping[OpKey, RuleFunction | Rule] | None = None
    strict: bool = False
    real_limit: int = 2**30
    training: bool = False
    optimizer: Optimizer | None = None
    loss: Loss | None = None
    autocast: torch.dtype | None = None
    mesh: Mapping[str, int] | None = None
    parallelize: Callable[[Any, Any], Any] | None = None
    rank: int | str = 0

    @property
    def registry(self) -> Registry:
        """The rules that hold."""
        return default_registry(self.rules)


Ran = tuple[Report, TrainingRecord | None]
"""An analysis, and the record of the training step if one was asked for."""


def analyzed(model: Any, inputs: Any, kwargs: Mapping[str, Any] | None, options: Options) -> Ran:
    """One analysis, and the record of the training step if one was asked for.

    Raises: as :func:`analyze`.
    """
    if options.autocast is None:
        return _of_rank(model, inputs, kwargs, options)
    from .meta.autocast_gradients import autocast_region

    with autocast_region(options.autocast):
        report, ran = _of_rank(model, inputs, kwargs, options)
    return report.assuming(f"autocast casts to {str(options.autocast).removeprefix('torch.')} as on CUDA"), ran


def _of_rank(model: Any, inputs: Any, kwargs: Mapping[str, Any] | None, options: Options) -> Ran:
    if options.mesh is None and options.parallelize is None and options.rank == 0:
        return _analyzed(model, inputs, kwargs, options, _as_given(model))
    from .ranks.looked_at import on_ranks

    (report, ran), said = on_ranks(
        options.mesh,
        options.parallelize,
        options.rank,
        lambda sharding: _analyzed(model, inputs, kwargs, options, sharding),
        lambda found: found[0].training.peak_bytes if found[0].training else found[0].memory.peak_bytes,
    )
    if said:
        recording = replace(report.recording, assumptions=(*report.recording.assumptions, said))
        report = replace(report, recording=recording)
    return report, ran


def _as_given(model: Any) -> Sharding | None:
    """How to run a model that the user has sharded in `fxcost.fake_world`; None for all others."""
    if f"{__package__}.ranks.world" not in sys.modules:
        return None
    from .ranks.sharding import as_given

    return as_given(model)


def _analyzed(
    model: Any, inputs: Any, kwargs: Mapping[str, Any] | None, options: Options, sharding: Sharding | None
) -> Ran:
    training, optimizer, loss = options.training, options.optimizer, options.loss
    capture, leaves, real_limit = options.capture, options.leaf_modules, options.real_limit
    dtype = options.dtype
    if training:
        check_optimizer("adamw" if optimizer is None else optimizer)
    elif optimizer is not None or loss is not None:
        raise InputError("optimizer= and loss= are for training=True")
    if sharding is not None and isinstance(optimizer, torch.optim.Optimizer):
        raise ShardingError(
            "an optimizer of the whole model has the state of whole parameters, of which a rank holds a part: give the "
            "name of an optimizer, or bytes per parameter"
        )
    wanted = as_float_dtype(dtype) if dtype is not None else None
    given = dict(kwargs or {})
    how: Any = {"dtype": wanted, "leaf_modules": leaves, "real_limit": real_limit, "sharding": sharding}
    recording = record(model, inputs, given, capture=capture, **how)
    registry = options.registry
    step: Training | None = None
    ran: TrainingRecord | None = None
    if training:
        from .capture.record_step import record_step

        ran = record_step(model, inputs, given, recording, loss=loss, **how)
        step = training_of(ran, recording.modules, registry, "adamw" if optimizer is None else optimizer)
    report = Report(recording, cost_nodes(recording.nodes, registry), step)
    if options.strict and (uncosted := {**report.uncosted, **(step.uncosted if step is not None else {})}):
        listed = ", ".join(f"{op} ({n}×)" for op, n in uncosted.items())
        raise UncostedOperatorError(
            f"no rule for {listed}; register one with @fxcost.rule(op), see docs/rules.md, or analyse without strict"
        )
    return report, ran


def with_formulas(
    dims: Mapping[str, Dim], run: Callable[[Mapping[str, int], Options], Ran], verify: int, options: Options
) -> Report:
    """The analysis at the middle of the dims' ranges, with formulas, or with the reason why there are none.

    Args:
        dims: the ranges.
        run: an analysis at a point, with options.
        verify: at how many points at random the formulas are compared with an analysis.
        options: those of the analyses.

    Raises: as :func:`analyze`.
    """
    from .formula.analyses import opened

    own_code = replace(options, capture="concrete", training=False, optimizer=None, loss=None)
    further = replace(options, capture="concrete") if options.capture == "auto" else options
    report, formulas = opened(
        dims,
        lambda point: run(point, options),
        lambda point: run(point, further),
        options.registry,
        verify,
        lambda point: run(point, own_code)[0],
    )
    assert isinstance(report, Report)
    return replace(report, formulas=formulas)


@checked
def analyze_graph(
    graph_module: fx.GraphModule,
    inputs: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype | str | None = None,
    rules: Mapping[OpKey, RuleFunction | Rule] | None = None,
    strict: bool = False,
    training: bool = False,
    optimizer: Optimizer | None = None,
    loss: Loss | None = None,
) -> Report:
    """Cost a graph that is traced already, at any input shapes it takes, without tracing again.

    The graph's nodes run as they are: what tracing fixed (sizes read by Python code, branches) stays fixed. Without
    `inputs` they are taken from the placeholders, where `ShapeProp` left `meta["tensor_meta"]`, or export and
    compilers fake tensors in `meta["val"]`: the classic road of torch.fx is three lines.

    >>> import torch
    >>> from torch.fx.passes.shape_prop import ShapeProp
    >>> traced = torch.fx.symbolic_trace(torch.nn.Conv2d(3, 8, 3))
    >>> _ = ShapeProp(traced).propagate(torch.empty(1, 3, 6, 6))
    >>> analyze_graph(traced).macs
    3456

    Args: as :func:`analyze`; `graph_module` comes from :func:`trace`, `torch.fx.symbolic_trace` or `Report.graph`.

    Raises: as :func:`analyze`.
    """
    if inputs is None:
        inputs = inputs_left(graph_module) if not kwargs else ()
    return analyze(
        graph_module,
        inputs,
        kwargs,
        dtype=dtype,
        rules=rules,
        strict=strict,
        training=training,
        optimizer=optimizer,
        loss=loss,
    )


@checked
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
    wanted = as_float_dtype(dtype) if dtype is not None else None
    return to_graph_module(
        record(model, inputs, dict(kwargs or {}), capture=capture, dtype=wanted, leaf_modules=tuple(leaf_modules))
    )
