"""An analysis beside a real run of the same model: in what do they differ?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

import fxcost
from fxcost.records.cost import Cost
from fxcost.records.recording import NodeRecord, tensor_specs
from fxcost.rules import default_registry
from fxcost.rules.pricing import cost_operation

from .observer import NothingToTrainError, Ran, Seen, forward, look_of, ran, tensors, training_step, unseen

aten = torch.ops.aten
Build = Callable[[], tuple[Any, Sequence[Any]]]

OF_OUR_OWN = frozenset({"fxcost", "higher_order"})
"""Namespaces of operators that a real run has in another form."""
OTHERWISE = frozenset({aten.native_dropout.default})
"""Operators that the CPU runs in another form."""


def analysed(report: Any) -> Seen:
    """What an analysis has seen, in the form of the other side."""
    return Seen(
        ran=operators(report.recording.nodes), out=[look_of(s) for s in tensor_specs(report.recording.nodes[-1].inputs)]
    )


def operators(nodes: Sequence[NodeRecord]) -> list[Ran]:
    """The operators of nodes in order."""
    registry = default_registry()
    return [ran(op, registry) for node in nodes for op in node.operations if not unseen(op.op)]


def first_difference(real: Sequence[Ran], ours: Sequence[Ran]) -> str:
    """Where two runs part; "" if nowhere."""
    for i, (a, b) in enumerate(zip_longest(real, ours)):
        if a is None or b is None or a.key != b.key:
            if a is None or b is None or a.op is not b.op:
                return f"runs {b and b.op} where really {a and a.op} runs (operator {i})\n  really {a}\n  fxcost {b}"
            what = "is given" if a.given != b.given else "returns" if a.returned != b.returned else "costs"
            return f"{a.op} {what} something else (operator {i})\n  really {a}\n  fxcost {b}"
    return ""


def _in_whole(found: Sequence[Ran]) -> bool:
    """True if something in it runs otherwise on the CPU, and MACs are all that can be compared."""
    return any(r.op.namespace in OF_OUR_OWN or r.op in OTHERWISE for r in found)


def faults(build: Build, train: bool = False, exact: bool = True) -> Iterator[str]:
    """What is wrong with the analysis of a model, in words; nothing if it agrees with real runs.

    Not `exact` are models with autocast regions, which are counted as CUDA casts: of these MACs are compared.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model, args = build()
            real = forward(model, args, copied=False)
        except Exception as error:
            yield from _refused(build, error)
            return
        yield from _forward_faults(build, real, exact)
        if train:
            yield from _training_faults(build, exact)


def agreement(report: Any, real: Seen) -> str:
    """How a report agrees with a real run: "yes", or in what it does not; of kernels that run otherwise MACs count."""
    ours = analysed(report)
    if _in_whole(ours.ran):
        same = real.cost.macs == ours.cost.macs
        return "yes, in MACs" if same else f"no: {ours.cost.macs} MACs, really {real.cost.macs}"
    where = first_difference(real.ran, ours.ran)
    peak, really = report.memory.peak_eager_bytes, real.peak + real.resident  # a buffer that forward makes is either
    if where:
        return f"no, as assumed ({report.assumptions[0]}): {where}" if report.assumptions else f"no: {where}"
    return "yes" if peak in (None, really) else f"no: peak {peak}, really {really}"


def _refused(build: Build, error: Exception) -> Iterator[str]:
    """What PyTorch refuses is refused in our words, unless it refuses for a value or a device, which meta has not."""
    try:
        model, args = build()
    except Exception:
        return
    try:
        fxcost.analyze(model, args)
    except fxcost.FxcostError:
        return
    except Exception as ours:
        yield f"PyTorch refuses ({type(error).__name__}: {error}), fxcost fails with {type(ours).__name__}: {ours}"
        return
    yield f"PyTorch refuses, fxcost does not: {type(error).__name__}: {error}"


def _forward_faults(build: Build, real: Seen, exact: bool) -> Iterator[str]:
    costs = {}
    for capture in ("concrete", "auto"):
        model, args = build()
        before = _state(model)
        try:
            report = fxcost.analyze(model, args, capture=capture)
        except Exception as error:
            yield f"{capture}: {type(error).__name__}: {' '.join(str(error).split())[:600]}"
            return
        yield from _changed(model, args, before, real)
        ours = analysed(report)
        costs[capture] = report.cost
        yield from _differences(real, ours, report, capture, exact)
    if costs["concrete"] != costs["auto"]:
        yield f"captures differ: {costs}"


def _differences(real: Seen, ours: Seen, report: Any, capture: str, exact: bool) -> Iterator[str]:
    known = " | ".join(report.assumptions)
    outs = [_look(t) for t in tensors(real.out)]
    if not exact or _in_whole(ours.ran):
        if real.cost.macs != ours.cost.macs:
            yield f"{capture}: {ours.cost.macs} MACs, really {real.cost.macs} {known}"
        return
    where = first_difference(real.ran, ours.ran)
    if where:
        yield f"{capture}: {where} {known}"
        return
    if outs != ours.out:
        yield f"{capture}: returns {ours.out}, really {outs} {known}"
    registry = default_registry()
    alone = Cost.total(cost_operation(op, registry).cost for node in report.recording.nodes for op in node.operations)
    if report.cost != alone:
        yield f"{capture}: the report's cost {report.cost} is not that of its operators {alone}"
    peak = report.memory.peak_eager_activation_bytes
    if peak is not None and peak != real.peak:
        yield f"{capture}: peak {peak}, really {real.peak}"


def _look(tensor: Tensor) -> Any:
    empty = not tensor.numel()
    return (
        tuple(tensor.shape), tensor.dtype, () if empty else tensor.stride(), 0 if empty else tensor.storage_offset()
    )  # fmt: skip


def _state(model: Any) -> dict[str, Any]:
    if not isinstance(model, nn.Module):
        return {}
    return {
        f"{name}.{key}": value
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if not isinstance(value, dict)
    } | {name: (id(t), t._version) for name, t in (*model.named_parameters(), *model.named_buffers())}


def _changed(model: Any, args: Sequence[Any], before: dict[str, Any], real: Seen) -> Iterator[str]:
    """The model is as it was, and runs as before."""
    after = _state(model)
    if before.keys() != after.keys() or any(after[k] is not v and after[k] != v for k, v in before.items()):
        yield f"the model was changed: {[k for k in {*before, *after} if before.get(k) != after.get(k)]}"
        return
    try:
        again = forward(model, args, copied=False)
    except Exception as error:
        yield f"the model does not run any more: {type(error).__name__}: {error}"
        return
    if [r.key for r in again.ran] != [r.key for r in real.ran]:
        yield f"the model runs otherwise than before: {first_difference(real.ran, again.ran)}"
    elif not all(map(_same_values, tensors(real.out), tensors(again.out))):
        yield "the model returns other values than before"


def _same_values(a: Tensor, b: Tensor) -> bool:
    return bool(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)))


def _training_faults(build: Build, exact: bool) -> Iterator[str]:
    model, args = build()
    try:
        real: Seen | None = training_step(model, args, copied=False)
    except NothingToTrainError:
        real = None
    except Exception:
        real = None
    model, args = build()
    try:
        report = fxcost.analyze(model, args, training=True)
    except fxcost.FxcostError as error:
        if real is not None:
            yield f"training: {type(error).__name__}: {error}"
        return
    except Exception as error:
        yield f"training: fails with {type(error).__name__}: {error}"
        return
    if real is None:
        yield "training: PyTorch can't train this, fxcost can"
        return
    recurrent = any(op.op is torch.ops.fxcost.rnn.default for n in report.recording.nodes for op in n.operations)
    if not recurrent:  # whose gradient the CPU takes by kernels that keep and compute other things
        yield from _step_faults(real, report.training, exact)


def _step_faults(real: Seen, training: Any, exact: bool) -> Iterator[str]:
    backward = sum(r.cost.macs for r in real.backward)
    ours = training.backward.macs + training.recomputed.macs
    if backward != ours:
        yield f"training: {ours} MACs backward, really {backward}"
    if real.cost.macs != training.forward.macs:
        yield f"training: {training.forward.macs} MACs forward, really {real.cost.macs}"
    if not exact:
        return
    if real.gradients != training.gradient_bytes:
        yield f"training: {training.gradient_bytes} bytes of gradients, really {real.gradients}"
    if real.saved != training.saved_bytes:
        yield f"training: {training.saved_bytes} bytes saved, really {real.saved}"
