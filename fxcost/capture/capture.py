"""Model + inputs → a :class:`~fxcost.records.recording.Recording`: the graph, its shapes, and the operators that ran.

`symbolic` traces with proxies and then propagates shapes; `concrete` runs the model's forward on meta tensors and
notes what it calls; `auto` takes the first where it is beyond doubt, and the second elsewhere. A graph that is given
(a GraphModule, an ExportedProgram) is propagated as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import fx, nn
from torch.nn.parameter import is_lazy

from ..errors import CaptureError, FxcostError, InputError, MissingMetaKernelError, ModelRunError
from ..meta.recorder import is_plain, outline
from ..meta.storages import Storages
from ..meta.units import whole_units
from ..meta.values import NeedsRealRunError, ValueRecorder
from ..model.inputs import Arguments, as_given, bind, make_arguments, objects_by_name, weights_dtype
from ..model.isolate import MetaCopier
from ..model.left_behind import put_back
from ..model.modules import inventory, is_leaf, module_records, parameter_records, signature_source
from ..model.parts import Parts, name_of, owner_of, parts_of
from ..model.reach import Reach
from ..model.real import RealCopier
from ..model.run_errors import model_raised
from ..model.unchanged import unchanged_state
from ..records.recording import ModuleCall, Recording, TensorSpec, TrainingRecord
from ..records.sketch import Node, Sketch
from .concrete import ConcreteTracer
from .propagate import Propagator
from .symbolic import TracedCall, trace_symbolically

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
) -> Recording:
    """Capture a model's graph and run it on meta tensors. The model is left as it is, also when this fails.

    Where that fails (control flow hangs on a value that only data can tell, an operator has no meta kernel) and the
    model and its inputs hold data of at most `real_limit` bytes, a real run of a copy is recorded instead.

    Raises:
        InputError: the inputs do not fit, or `capture` is none of the known ways.
        ModelCopyError: a module holds something that can't be copied.
        CaptureError: `capture="symbolic"`, and the model can't be traced symbolically.
        ModelRunError: the model raised, or an operator has no meta kernel.
    """
    if capture not in CAPTURES:
        raise InputError(f"there is no capture {capture!r}; choose from {', '.join(CAPTURES)}")
    if isinstance(model, torch.export.ExportedProgram):
        model, inputs, kwargs = exported(model, inputs, kwargs)
    if not callable(model):
        raise InputError(f"a {type(model).__name__} is no model: give an nn.Module, a GraphModule or a function")
    make = partial(_Job, model, inputs, kwargs, dtype, leaf_modules, real_limit)
    with unchanged_state(), whole_units(), torch.inference_mode(False), torch.no_grad():
        if isinstance(model, fx.GraphModule):
            return make().given()
        if capture == "symbolic":
            return make().symbolic()
        if capture == "auto":
            try:
                return make().symbolic()
            except (CaptureError, ModelRunError):
                pass  # concrete capture says what is wrong, if anything is, in terms of the user's code
        return _run(make, model, inputs, kwargs)


def _run(make: Callable[[], _Job], model: Any, inputs: Any, kwargs: dict[str, Any] | None) -> Recording:
    """Record a run on meta tensors, or on real ones where that fails and they are at hand."""
    job = make()
    try:
        return job.concrete()
    except ModelRunError as error:
        if not job.real_possible:
            raise
        on_meta = error
    try:
        return make().real(model, inputs, kwargs)
    except ModelRunError:
        if isinstance(on_meta, (NeedsRealRunError, MissingMetaKernelError)):
            raise  # on meta the model got no further than to that value or kernel
        raise on_meta from on_meta.__cause__


def record_real(model: Any, inputs: Any, kwargs: dict[str, Any]) -> Recording:
    """Record a run of a copy on real tensors, so that the constants in the graph hold data.

    Raises:
        InputError: the inputs do not fit.
        ModelRunError: the model raised.
    """
    with unchanged_state(), whole_units(), torch.inference_mode(False), torch.no_grad():
        return _Job(model, inputs, kwargs, None, (), 0).real(model, inputs, kwargs)


def record_step(
    model: Any,
    inputs: Any,
    kwargs: dict[str, Any] | None,
    recording: Recording,
    *,
    dtype: torch.dtype | None = None,
    leaf_modules: tuple[Any, ...] = (),
    real_limit: int = 2**30,
    loss: Loss | None = None,
) -> TrainingRecord:
    """Run one training step of a model that was recorded: its graph again, or its own code where that was recorded.

    Raises:
        TrainingError: there is nothing to train, the loss is no scalar, or the model raised.
    """
    from ..meta.autocast_gradients import AutocastRegionError, differentiable_casts
    from .step import train_graph, train_model
    from .step_recorder import StepRecorder

    if isinstance(model, torch.export.ExportedProgram):
        model, inputs, kwargs = exported(model, inputs, kwargs)

    def run(casts: bool) -> TrainingRecord:
        job = _Job(model, inputs, kwargs, dtype, leaf_modules, real_limit, loss)
        if recording.capture == "real":
            job.make_real(model, inputs, kwargs)
        recorder = StepRecorder(Storages(), real=recording.capture == "real", casts=casts)
        if recording.capture in ("concrete", "real"):
            job.tell(recorder, job.root)
            with put_back(job.reach):
                return train_model(job.model, job.arguments, job.parts, recorder, leaf_modules, job.loss)
        job.tell(recorder, job.root)
        job.root.__dict__.update(
            {k: v for k, v in vars(recording.root).items() if k not in vars(job.root)}
        )  # constants
        values = job.values_of(recording.sketch, recording.capture)
        with put_back(job.reach):
            return train_graph(job.parts, recording.sketch, values, recorder, job.loss)

    with unchanged_state(), whole_units():
        try:
            return run(casts=False)
        except AutocastRegionError:
            with differentiable_casts():
                return run(casts=True)


class _Job:
    """One capture: the meta copy of the model and its arguments."""

    def __init__(
        self,
        model: Any,
        inputs: Any,
        kwargs: Any,
        dtype: torch.dtype | None,
        leaf_modules: tuple[Any, ...],
        real_limit: int,
        loss: Loss | None = None,
    ) -> None:
        self.reach = Reach(model, objects_by_name(model, inputs, kwargs), loss)
        self.copier = MetaCopier(dtype, self.reach)
        self.model: Any
        self._graph: fx.Graph | None = None
        if isinstance(model, fx.GraphModule) and not any(map(is_lazy, model.parameters())):
            self.model, self._graph = self.copier.owner(model), model.graph
        else:
            self.model = self.copier.model(model)
        self.loss = self.copier.value(loss)
        self.parts = parts_of(self.copier, model)
        self.root = self.parts.root
        of_model = len(self.copier.real)
        self.arguments = make_arguments(inputs, kwargs, self.copier, weights_dtype(self.parts.tensors(), dtype))
        of_inputs = [(m, r) for m, r in self.copier.real[of_model:] if not r.is_floating_point()]
        self._known = self.copier.real[:of_model] + of_inputs
        bind(signature_source(model), self.arguments)
        self.leaf_modules = leaf_modules
        _check_leaves(leaf_modules, self.parts)
        owner = owner_of(model)
        self.type_name = type(owner).__name__ if isinstance(owner, nn.Module) else name_of(model)
        self.real_possible = dtype is None and self._all_real(real_limit)
        if self.copier.lazy:
            with put_back(self.reach):
                self.model(*self.arguments.args, **self.arguments.kwargs)  # gives lazy modules of the copy their shapes

    def symbolic(self) -> Recording:
        if isinstance(self.model, nn.Module) and (self.model._forward_hooks or self.model._forward_pre_hooks):
            raise CaptureError("symbolic tracing starts at forward and would not run the hooks of the model itself")
        if self.copier.overriding:
            raise CaptureError("a tensor has a __torch_function__ of its own, which symbolic tracing does not run")
        leaves: Callable[[nn.Module, str], bool] = lambda m, name: is_leaf(m, name, self.leaf_modules)  # noqa: E731
        with put_back(self.reach):
            sketch, root, calls = trace_symbolically(self.model, self.arguments, leaves)
        with put_back(self.reach):
            return self._propagated(sketch, root, "symbolic", calls)

    def given(self) -> Recording:
        with put_back(self.reach):
            return self._propagated(Sketch.of(self._graph or self.model.graph, node_owner), self.model, "given", [])

    def _propagated(self, sketch: Sketch, root: nn.Module, capture: str, calls: list[TracedCall]) -> Recording:
        recorder = self._recorder()
        propagator = Propagator(root, sketch, recorder)
        values = self.values_of(sketch, capture)
        propagator.run([recorder.spec(v) if is_plain(v) else v for v in values])
        resolved = tuple([_resolved_call(call, propagator.outputs) for call in calls])
        return self._recording(sketch, root, capture, recorder, propagator.records, resolved, propagator.given)

    def values_of(self, sketch: Sketch, capture: str) -> list[Any]:
        """The arguments in the order of a graph's placeholders."""
        return list(self.arguments.tensors()) if capture == "symbolic" else _flat_arguments(sketch, self.arguments)

    def tell(self, recorder: ValueRecorder, root: nn.Module) -> None:
        """Tell a recorder the values of inputs and of the tensors of `root`, which is a copy of the model too."""
        if recorder.real:
            return
        if not self._known:
            return
        names = inventory(self.root).names()
        copies = inventory(root).tensors()
        for meta, real in self._known:
            recorder.know(copies.get(names.get(id(meta), ""), meta), real)

    def _all_real(self, limit: int) -> bool:
        """True if every tensor of the model and its inputs holds data, and not more than `limit` bytes."""
        originals = {id(meta) for meta, _ in self.copier.real}
        if not all(id(t) in originals for t in self.arguments.tensors()):
            return False
        if not all(id(t) in originals for t in self.parts.tensors()):
            return False
        real = [t for _, t in self.copier.real]
        sizes = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in real if is_plain(t)}
        others = sum(t.numel() * t.element_size() for t in real if not is_plain(t))  # sparse, nested, quantized
        return limit > 0 and sum(sizes.values()) + others <= limit

    def concrete(self) -> Recording:
        return self._run_concretely(self._recorder(), "concrete")

    def real(self, model: Any, inputs: Any, kwargs: Any) -> Recording:
        """Record a run on real tensors."""
        self.make_real(model, inputs, kwargs)
        return self._run_concretely(ValueRecorder(Storages(), real=True), "real")

    def make_real(self, model: Any, inputs: Any, kwargs: Any) -> None:
        """Take a deep copy of the model, and copies of the inputs, in place of those on meta."""
        copier, arguments = RealCopier(None, self.reach), as_given(inputs, kwargs)
        self.model = copier.model(model)
        self.arguments = Arguments(copier.value(arguments.args), copier.value(arguments.kwargs))
        self.loss = copier.value(self.reach.loss)
        self.parts = parts_of(copier, model)
        self.root = self.parts.root

    def _run_concretely(self, recorder: ValueRecorder, capture: str) -> Recording:
        tracer = ConcreteTracer(self.parts, recorder, self.leaf_modules)
        try:
            with put_back(self.reach), recorder:
                tracer.trace(self.model, self.arguments)
        except FxcostError:
            raise
        except Exception as error:
            raise model_raised(error, tracer.failed_in, self.arguments) from error
        self.parts.attach(tracer.mentioned())
        return self._recording(tracer.sketch, self.root, capture, recorder, tracer.records, tuple(tracer.calls))

    def _recorder(self) -> ValueRecorder:
        recorder = ValueRecorder(Storages(), real_available=self.real_possible)
        for meta, real in self._known:
            recorder.know(meta, real)
        return recorder

    def _recording(
        self,
        sketch: Sketch,
        root: nn.Module,
        capture: str,
        recorder: ValueRecorder,
        nodes: Any,
        calls: Any,
        known: Mapping[int, TensorSpec] = MappingProxyType({}),
    ) -> Recording:
        found = inventory(self.root)
        return Recording(
            graph=sketch,  # type: ignore[arg-type]  # becomes an fx graph when it is read
            root=root,
            capture=capture,
            model_type=self.type_name,
            nodes=tuple(nodes),
            modules=module_records(found),
            calls=calls,
            parameters=parameter_records(found, lambda tensor: known.get(id(tensor)) or recorder.spec(tensor)),
            storage_bytes=tuple(recorder.storages.nbytes),
            assumptions=tuple(dict.fromkeys((*recorder.assumptions, *self.copier.assumptions))),
            deaths=tuple(recorder.deaths.items()) if capture in ("concrete", "real") else None,
        )


def exported(program: torch.export.ExportedProgram, inputs: Any, kwargs: Any) -> tuple[nn.Module, Any, Any]:
    """An exported program as a module, with its own example inputs where none are given."""
    if not isinstance(inputs, torch.Tensor) and not inputs and not kwargs:
        inputs, kwargs = program.example_inputs
    return program.module(check_guards=False), inputs, kwargs


def _check_leaves(leaf_modules: tuple[Any, ...], parts: Parts) -> None:
    names = [name for name, _ in parts.named_modules()] if leaf_modules else []
    for leaf in leaf_modules:
        if isinstance(leaf, str) and leaf not in names:
            near = get_close_matches(leaf, names, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise InputError(f"leaf_modules names {leaf!r}, and the model has no such module{hint}")
        if not isinstance(leaf, (str, type)):
            raise InputError(f"leaf_modules takes module classes and names, not a {type(leaf).__name__}")


def node_owner(node: fx.Node) -> str:
    """FQN of the module that a node stands in: the called one, or the innermost around it."""
    if node.op == "call_module":
        return str(node.target)
    if node.op == "get_attr":
        return str(node.target).rpartition(".")[0]
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return str(node.meta.get("nn_module", ""))
    path, _ = next(reversed(stack.values()))
    return str(path)


def _flat_arguments(sketch: Sketch, arguments: Arguments) -> list[Any]:
    """Arguments in the order of a given graph's placeholders."""
    rest, named, values = list(arguments.args), dict(arguments.kwargs), []
    for node in sketch.nodes:
        if node.op != "placeholder":
            continue
        if node.target in named:
            values.append(named.pop(node.target))
        elif rest:
            values.append(rest.pop(0))
        elif node.args:
            values.append(node.args[0])
        else:
            raise InputError(f"the graph needs an input for {node.target!r}, and none is left")
    if rest or named:
        raise InputError(f"the graph takes {len(values)} inputs; {len(rest) + len(named)} too many are given")
    return values


def _resolved_call(call: TracedCall, outputs: dict[Node, Any]) -> ModuleCall:
    def specs(value: Any) -> Any:
        kind = type(value)
        if kind is Node:
            return outputs.get(value)
        if kind is tuple:
            return tuple([specs(v) for v in value])
        if kind is dict:
            return {k: specs(v) for k, v in value.items()}
        return outline(value) if isinstance(value, torch.Tensor) else value  # a buffer handed to a module

    kwargs = tuple([(k, specs(v)) for k, v in call.kwargs.items()]) if call.kwargs else ()
    return ModuleCall(call.module, specs(call.args), kwargs, specs(call.output), call.start, call.stop)
