"""Model + inputs → a :class:`~fxcost.records.recording.Recording`: the graph, its shapes, and the operators that ran.

Numbers come from a run of the model's own code on meta tensors (concrete.py), which can't take another way than the
model does. `auto` also traces symbolically, for a graph that serves any shape, and believes it where running that graph
does the same as the model did, operator by operator (confirm.py). A graph that is given (a GraphModule, an
ExportedProgram) runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import fx, nn

from ..errors import CaptureError, FxcostError, InputError, MissingMetaKernelError, ModelRunError, TrainingError, shown
from ..meta.units import whole_units
from ..meta.values import NeedsRealRunError
from ..model.sharded import unsharded
from ..model.unchanged import unchanged_state
from ..model.without_gpu import misses_a_gpu, without_gpu
from ..records.recording import Recording
from .job import Job, runs_its_graph
from .sharding import Sharding

CAPTURES = ("auto", "symbolic", "concrete")
Loss = Callable[[Any], torch.Tensor]
"""From what a model returns to a tensor of one element."""


def record(
    model: Any,
    inputs: Any = (),
    kwargs: dict[str, Any] | None = None,
    *,
    capture: str = "auto",
    dtype: torch.dtype | None = None,
    leaf_modules: tuple[Any, ...] = (),
    real_limit: int = 2**30,
    sharding: Sharding | None = None,
) -> Recording:
    """Run a model on meta tensors and capture its graph. The model is left as it is, also when this fails.

    Where that fails (control flow hangs on a value that only data can tell, an operator has no meta kernel) and the
    model and its inputs hold data of at most `real_limit` bytes, a real run of a copy is recorded instead. With
    `sharding` one rank of a sharded model is run, on meta alone.

    Raises:
        InputError: the inputs do not fit, or `capture` is none of the known ways.
        ModelCopyError: a module holds something that can't be copied.
        CaptureError: `capture="symbolic"`, and the model can't be traced so, or does something else than its trace.
        ModelRunError: the model raised, or an operator has no meta kernel.
        ShardingError: the model is sharded already.
    """
    if capture not in CAPTURES:
        raise InputError(f"there is no capture {shown(capture)}; choose from {', '.join(CAPTURES)}")
    notes: tuple[str, ...] = ()
    if sharding is None or not sharding.as_given:
        model, notes = unsharded(model)
    found = _recorded(model, inputs, kwargs, capture, dtype, leaf_modules, real_limit, sharding)
    return replace(found, assumptions=(*notes, *found.assumptions)) if notes else found


def _recorded(
    model: Any,
    inputs: Any,
    kwargs: dict[str, Any] | None,
    capture: str,
    dtype: torch.dtype | None,
    leaf_modules: tuple[Any, ...],
    real_limit: int,
    sharding: Sharding | None,
) -> Recording:
    if isinstance(model, torch.export.ExportedProgram):
        model, inputs, kwargs = exported(model, inputs, kwargs)
    if not callable(model):
        raise InputError(f"a {type(model).__name__} is no model: give an nn.Module, a GraphModule or a function")
    make = partial(Job, model, inputs, kwargs, dtype, leaf_modules, real_limit, sharding=sharding)
    with unchanged_state(), whole_units(), torch.no_grad():
        if sharding is not None:
            with told(sharding):
                return _run(make, Job.run, Job.run_real, model, inputs, kwargs)[1]
        if isinstance(model, fx.GraphModule) and runs_its_graph(model):
            return _run(make, Job.given, Job.given_real, model, inputs, kwargs)[1]
        job, ran = _run(make, Job.run, Job.run_real, model, inputs, kwargs)
        if capture == "concrete":
            return ran
        try:
            return _confirmed(job, ran)
        except CaptureError as error:
            if capture == "symbolic":
                raise
            return replace(ran, capture_reason=str(error))


def returned(model: Any, inputs: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
    """What a model returns, its tensors on meta: also objects that are no tensors, such as caches.

    Raises: as :func:`record`.
    """
    make = partial(Job, model, inputs, kwargs, None, (), 0)
    with unchanged_state(), whole_units(), torch.no_grad():
        return _run(make, Job.run, Job.run_real, model, inputs, kwargs)[0].returned


@contextmanager
def told(sharding: Sharding | None) -> Iterator[None]:
    """Where a sharded model fails, the error says as which rank it ran."""
    try:
        yield
    except (ModelRunError, TrainingError) as error:
        if sharding is None:
            raise
        raise type(error)(f"{error}. {sharding.hint}") from error.__cause__


def _run(
    make: Callable[[], Job],
    on_meta: Callable[[Job], Recording],
    on_real: Callable[[Job, Any, Any, Any], Recording],
    *user: Any,
) -> tuple[Job, Recording]:
    """Record a run on meta tensors; with gradients where the model takes some of its own; on real ones if it must."""
    job = make()
    try:
        return job, on_meta(job)
    except ModelRunError as error:
        failed = error
    if _takes_gradients(failed):
        job = make()
        job.takes_gradients = True
        with torch.enable_grad():
            return job, on_meta(job)
    if misses_a_gpu(failed.__cause__):
        job = make()
        with without_gpu(job.copier.assumptions.append):
            return job, on_meta(job)
    if not job.real_possible:
        raise failed
    try:
        job = make()
        return job, on_real(job, *user)
    except ModelRunError:
        if isinstance(failed, (NeedsRealRunError, MissingMetaKernelError)):
            raise  # on meta the model got no further than to that value or kernel
        raise failed from failed.__cause__


def _takes_gradients(error: ModelRunError) -> bool:
    """True if the model differentiates in its forward (forces, penalties), which needs gradients to be on."""
    text = str(error.__cause__)
    return "does not require grad" in text or "not require gradients" in text or "grad_fn" in text


def _confirmed(job: Job, ran: Recording) -> Recording:
    """The model's symbolic graph, if running it does what the model did.

    Raises:
        CaptureError: the model can't be traced symbolically, or its graph does something else.
    """
    if ran.capture == "real":
        raise CaptureError("control flow needs values that a real run alone has, and symbolic tracing has none")
    if job.takes_gradients:
        raise CaptureError("the model takes gradients in its forward")
    try:
        return job.traced(ran)
    except CaptureError:
        raise
    except FxcostError as error:
        raise CaptureError(f"the graph that symbolic tracing gives does not run: {error}") from error


def record_real(model: Any, inputs: Any, kwargs: dict[str, Any]) -> Recording:
    """Record a run of a copy on real tensors, so that the constants in the graph hold data.

    Raises:
        InputError: the inputs do not fit.
        ModelRunError: the model raised.
    """
    with unchanged_state(), whole_units(), torch.no_grad():
        return Job(model, inputs, kwargs, None, (), 0).run_real(model, inputs, kwargs)


def exported(program: torch.export.ExportedProgram, inputs: Any, kwargs: Any) -> tuple[nn.Module, Any, Any]:
    """An exported program as a module, with its own example inputs where none are given."""
    if not isinstance(inputs, torch.Tensor) and not inputs and not kwargs:
        inputs, kwargs = program.example_inputs
    module = program.module(check_guards=False)
    module._forward_pre_hooks.clear()  # they check inputs, as we do in our own words
    return module, inputs, kwargs
