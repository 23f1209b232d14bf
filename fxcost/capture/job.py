"""One capture: the meta copy of a model and its arguments, and the ways to run them.

Not here: which way is taken (capture.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import fx, nn
from torch.nn.parameter import is_lazy

from ..errors import CaptureError, FxcostError, InputError, nearest, shown
from ..meta.autocast import above
from ..meta.cuda_regions import cuda_regions
from ..meta.segments import is_plain
from ..meta.storages import Storages
from ..meta.values import ValueRecorder
from ..model.depth import room_for
from ..model.inputs import Arguments, as_given, bind, make_arguments, objects_by_name, weights_dtype
from ..model.isolate import MetaCopier
from ..model.left_behind import put_back
from ..model.modules import inventory, is_leaf, module_records, parameter_records, signature_source
from ..model.parts import Parts, name_of, owner_of, parts_of
from ..model.reach import Reach
from ..model.real import RealCopier
from ..model.run_errors import model_raised
from ..model.unchanged import chance_noticed
from ..records.recording import ModuleCall, NodeRecord, ParameterRecord, Recording
from ..records.sketch import Sketch
from .concrete import ConcreteTracer
from .confirm import SameMemory, difference
from .follow import Seen, followed, resolved_call
from .run_graph import GraphRunner
from .sharding import Sharding
from .symbolic import trace_symbolically

OLD_TYPES = (
    "the code calls isinstance and names torch.FloatTensor or the like, which no tensor without data is: where it asks "
    "so for a tensor's type it is told no; x.dtype and x.device are answered as they are"
)


class Job:
    """One capture: the meta copy of the model and its arguments."""

    def __init__(
        self,
        model: Any,
        inputs: Any,
        kwargs: Any,
        dtype: torch.dtype | None,
        leaf_modules: tuple[Any, ...],
        real_limit: int,
        loss: Callable[[Any], torch.Tensor] | None = None,
        sharding: Sharding | None = None,
    ) -> None:
        self.sharding, self.leaf_modules, self._is_real = sharding, leaf_modules, False
        as_given = sharding is not None and sharding.as_given
        self.reach = Reach(None) if as_given else Reach(model, objects_by_name(model, inputs, kwargs), loss)
        self.copier = MetaCopier(dtype, self.reach)
        self.copier.assumptions += [OLD_TYPES] if self.reach.asks_types else []
        self.model: Any
        self._graph: fx.Graph | None
        self.model, self._graph = self._copied(model)
        self.loss = self.copier.value(loss)
        self.parts = parts_of(self.copier, model)
        self.root = self.parts.root
        self._generators = self.copier.copies(self.reach.generators)
        of_model = len(self.copier.real)
        self.arguments = make_arguments(inputs, kwargs, self.copier, weights_dtype(self.parts.tensors(), dtype))
        of_inputs = [(m, r) for m, r in self.copier.real[of_model:] if not r.is_floating_point()]
        self._known = self.copier.real[:of_model] + of_inputs
        bind(signature_source(model), self.arguments)
        _check_leaves(leaf_modules, self.parts)
        self.real_possible = dtype is None and sharding is None and self._all_real(real_limit)
        self.home = self._home()
        self._seen: Seen | None = None
        """Of the last run, for following a graph along it; None where it can't be followed."""
        self.returned: Any = None
        """What the model's own code returned, on meta."""
        self.takes_gradients = False
        """Set where the model differentiates in its forward, and must run with gradients."""
        owner = owner_of(model)
        self.type_name = type(owner).__name__ if isinstance(owner, nn.Module) else name_of(model)
        self._prepare()

    def _copied(self, model: Any) -> tuple[Any, fx.Graph | None]:
        """The copy of the model, and the graph that runs in its place, if one was given."""
        if self.sharding is not None and self.sharding.as_given:
            self.copier.keep(model)
            return model, None
        lazy = isinstance(model, nn.Module) and any(map(is_lazy, model.parameters()))
        if isinstance(model, fx.GraphModule) and runs_its_graph(model) and not lazy and self.sharding is None:
            return self.copier.owner(model), model.graph
        return self.copier.model(model), None

    def _prepare(self) -> None:
        """Give lazy modules of the copy their shapes, and shard it."""
        if self.copier.lazy:
            with self.around():
                self.model(*self.arguments.args, **self.arguments.kwargs)
        if self.sharding is not None:
            self.model, self.parts = self.sharding.apply(self.model, self.parts, self.arguments)
            self.root = self.parts.root

    # ------------------------------------------------------------------------------------------------------ ways to run

    def run(self) -> Recording:
        """Run the model's own code on meta tensors.

        Raises:
            ModelRunError: the model raised, or an operator has no meta kernel.
            UnknownValueError: control flow hangs on a value that is not known.
        """
        return self._run(self.recorder(), "concrete")

    def run_real(self, model: Any, inputs: Any, kwargs: Any) -> Recording:
        """Run a copy of the model on real tensors.

        Raises:
            ModelRunError: the model raised.
        """
        self.make_real(model, inputs, kwargs)
        return self._run(ValueRecorder(Storages(), real=True), "real")

    def _run(self, recorder: ValueRecorder, capture: str) -> Recording:
        tracer = ConcreteTracer(self.parts, recorder, self.leaf_modules)
        held = None
        try:
            with self.around(), self.as_a_rank(recorder), recorder:
                if self.sharding is not None:  # FSDP puts whole parameters in their place
                    held = parameter_records(inventory(self.root), recorder.spec)
                self.returned = tracer.trace(self.model, self.arguments)
        except FxcostError:
            raise
        except Exception as error:
            raise model_raised(error, tracer.failed_in, self.arguments) from error
        self.parts.attach(tracer.mentioned())
        self._seen = tracer.seen()
        deaths = tuple(recorder.deaths.items())
        return self.recording(tracer.sketch, capture, recorder, tracer.records, tuple(tracer.calls), deaths, held)

    def traced(self, ran: Recording) -> Recording:
        """Trace the model symbolically: its graph, with what that ran as it is known from the model's own run.

        Where the calls alone don't tell that graph and run do the same, the graph runs on meta tensors too.

        Raises:
            CaptureError: the model can't be traced, does something that makes a trace doubtful, or does something else.
            ModelRunError: the graph can't run.
        """
        if self.copier.overriding:
            raise CaptureError("a tensor has a __torch_function__ of its own, which symbolic tracing does not run")
        leaves: Callable[[nn.Module, str], bool] = lambda m, name: is_leaf(m, name, self.leaf_modules)  # noqa: E731
        with self.around():
            sketch, calls = trace_symbolically(self.model, self.root, self.arguments, leaves, self.home)
        if self._seen is not None:
            found = followed(sketch, calls, ran, self._seen, self.home)
            if found is not None:
                return found
        runner, recorder = self._graph_run(sketch, list(self.arguments.tensors()), self.recorder())
        same = SameMemory()
        differs = difference(runner.records, ran.nodes, same)
        if differs is not None:
            raise CaptureError(f"symbolic tracing takes another way than the model does: {differs}")
        resolved = tuple([resolved_call(call, runner.outputs) for call in calls])
        died = [(same.ours(storage), until) for storage, until in ran.deaths or ()]
        deaths = tuple([(storage, until) for storage, until in died if storage >= 0])
        return self.recording(sketch, "symbolic", recorder, runner.records, resolved, deaths)

    def given(self) -> Recording:
        """Run a given graph on meta tensors.

        Raises:
            InputError: the inputs do not fit the graph.
            ModelRunError: the graph can't run.
        """
        sketch = self.sketch()
        return self._given_run(sketch, "given", placeholder_values(sketch, self.arguments), self.recorder())

    def given_real(self, model: Any, inputs: Any, kwargs: Any) -> Recording:
        """Run a given graph on copies of its tensors and inputs, which hold data.

        Raises:
            ModelRunError: the graph can't run.
        """
        sketch = self.sketch()
        self.make_real(model, inputs, kwargs)
        values = placeholder_values(sketch, self.arguments)
        return self._given_run(sketch, "real", values, ValueRecorder(Storages(), real=True))

    def sketch(self) -> Sketch:
        """The nodes of the graph that was given."""
        return Sketch.of(self._graph or self.model.graph, node_owner)

    def _given_run(self, sketch: Sketch, capture: str, values: list[Any], recorder: ValueRecorder) -> Recording:
        runner, recorder = self._graph_run(sketch, values, recorder)
        return self.recording(sketch, capture, recorder, runner.records, ())

    def _graph_run(
        self, sketch: Sketch, values: list[Any], recorder: ValueRecorder
    ) -> tuple[GraphRunner, ValueRecorder]:
        runner = GraphRunner(self.root, sketch, recorder)
        with self.around():
            runner.run(values)
        return runner, recorder

    # ------------------------------------------------------------------------------------------------- what it is known

    @contextmanager
    def around(self) -> Iterator[None]:
        """Around every run of the model's code: what that leaves behind is put back, and it has room on the stack.

        That it drew random numbers is said.

        If the code names autocast, its regions for CUDA are such without CUDA too; that one was made is assumed aloud.
        On real tensors, which are on the CPU there, it does nothing.
        """
        casts = self.reach.autocasts and not self._is_real
        regions = cuda_regions(self.copier.assumptions.append) if casts else nullcontext()
        chance = chance_noticed(self._generators, self.copier.assumptions.append)
        with put_back(self.reach), room_for(self.root), regions, chance:
            yield

    def as_a_rank(self, recorder: ValueRecorder) -> AbstractContextManager[None]:
        """Around a run: what a rank of a sharded model does is followed."""
        return nullcontext() if self.sharding is None else self.sharding.running(recorder, self.model, self.parts)

    def recorder(self) -> ValueRecorder:
        """A recorder that knows the values of what holds data, and where the user's tensors are."""
        make = ValueRecorder if self.sharding is None else self.sharding.recorder
        recorder = make(Storages(), real_available=self.real_possible)
        recorder.home, recorder.given = self.home, self.copier.addresses
        for meta, real in self._known:
            recorder.know(meta, real)
        return recorder

    def tell(self, recorder: ValueRecorder, root: nn.Module) -> None:
        """Tell a recorder the values of inputs and of the tensors of `root`, which is a copy of the model too."""
        recorder.home, recorder.given = self.home, self.copier.addresses
        if recorder.real or not self._known:
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

    def _home(self) -> torch.device:
        """Where the user's tensors are; on the CPU where none is anywhere but on meta, on CUDA if the run is CUDA's."""
        if above.active:
            return torch.device("cuda")
        return self.copier.home or torch.device("cpu")

    def make_real(self, model: Any, inputs: Any, kwargs: Any) -> None:
        """Take a deep copy of the model, and copies of the inputs, in place of those on meta."""
        self._is_real = True
        copier, arguments = RealCopier(None, self.reach), as_given(inputs, kwargs)
        self.model = copier.model(model)
        self.arguments = Arguments(copier.value(arguments.args), copier.value(arguments.kwargs))
        self.loss = copier.value(self.reach.loss)
        self.parts = parts_of(copier, model)
        self.root = self.parts.root
        self._generators = copier.copies(self.reach.generators)

    def recording(
        self,
        sketch: Sketch,
        capture: str,
        recorder: ValueRecorder,
        nodes: list[NodeRecord],
        calls: tuple[ModuleCall, ...],
        deaths: tuple[tuple[int, int], ...] | None = None,
        held: tuple[ParameterRecord, ...] | None = None,
    ) -> Recording:
        """What was captured, as plain data; `held` are the parameters, where the run put others in their place."""
        found = inventory(self.root)
        parameters = parameter_records(found, recorder.spec) if held is None else held
        recorder.storages.settle()
        return Recording(
            graph=sketch,  # type: ignore[arg-type]  # becomes an fx graph when it is read
            root=self.root,
            capture=capture,
            model_type=self.type_name,
            nodes=tuple(nodes),
            modules=module_records(found),
            calls=calls,
            parameters=parameters,
            storage_bytes=tuple(recorder.storages.nbytes),
            assumptions=tuple(dict.fromkeys((*recorder.assumptions, *self.copier.assumptions))),
            deaths=deaths,
            rank=self.sharding.rank if self.sharding is not None else None,
        )


def _check_leaves(leaf_modules: tuple[Any, ...], parts: Parts) -> None:
    names = [name for name, _ in parts.named_modules()] if leaf_modules else []
    for leaf in leaf_modules:
        if isinstance(leaf, str) and leaf not in names:
            near = nearest(leaf, names)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise InputError(f"leaf_modules names {shown(leaf)}, and the model has no such module{hint}")
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


def runs_its_graph(model: fx.GraphModule) -> bool:
    """True if calling a GraphModule runs its graph and nothing else: no hooks, no forward of its own."""
    hooks = ("_forward_hooks", "_forward_pre_hooks")
    generated = type(model).forward.__code__.co_filename.startswith("<eval_with_key>")
    return generated and "forward" not in vars(model) and not any(getattr(model, name) for name in hooks)


def placeholder_values(sketch: Sketch, arguments: Arguments) -> list[Any]:
    """Arguments in the order of a given graph's placeholders; `*rest` gets a tuple, `**named` a dict.

    Raises:
        InputError: an input is missing, or one is too many.
    """
    rest, named = list(arguments.args), dict(arguments.kwargs)
    values: list[Any] = []
    for node in sketch.nodes:
        if node.op != "placeholder":
            continue
        if node.target.startswith("**"):
            values.append(named)
            named = {}
        elif node.target.startswith("*"):
            values.append(tuple(rest))
            rest = []
        elif node.target in named:
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
