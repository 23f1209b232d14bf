"""Runs a graph on specs: per node the tensors' metadata and the ATen operators that it ran.

:class:`Propagator` interprets a graph as `torch.fx.Interpreter` does, but carries
:class:`~fxcost.records.TensorSpec` from node to node instead of tensors. A node whose target, configuration and input
specs were met before is not run again: its record is replayed, with fresh storages for its results and the same
aliasing. Otherwise the inputs are made into meta tensors, the node is run under an
:class:`~fxcost.recorder.OpRecorder`, and what ran is remembered.

What is replayed must be proven to be the same: PyTorch's own functions, methods and unhooked modules are functions of
their arguments and configuration, and so are functions of the user's whose code says so (purity.py). Other functions
and modules of the user's may depend on anything, so they always run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .errors import FxcostError, MissingMetaKernelError, ModelRunError
from .host import HostCalls
from .modules import InnerScopes, configuration, function_is_pure
from .purity import is_pure
from .recorder import Segment, is_plain, outline
from .records import InnerCall, NodeRecord, OpRecord, TensorSpec, tensor_specs
from .sketch import Interpreter, Node, Sketch
from .values import ValueRecorder


@dataclass(frozen=True, slots=True)
class _Replay:
    """What a node did, in terms of its own storages: the first `given` ones are its inputs', the rest are new."""

    operations: tuple[OpRecord, ...]
    output: Any
    given: int
    new_bytes: tuple[int, ...]
    calls: tuple[InnerCall, ...]
    freed: tuple[tuple[int, int], ...]


class Propagator(Interpreter):
    """Propagates specs through `sketch`, whose modules and attributes live in `root`.

    `records` has one record per node, `outputs` what each node returned, specs in place of tensors.
    """

    def __init__(self, root: nn.Module, sketch: Sketch, recorder: ValueRecorder) -> None:
        super().__init__(root, sketch)
        self.recorder = recorder
        self.storages = recorder.storages
        self.records: list[NodeRecord] = []
        self.outputs: dict[Node, Any] = {}
        self._target_names: dict[Any, str] = {}
        self._pure: dict[Any, bool] = {}
        self._memo: dict[Any, _Replay] = {}
        self._made: dict[TensorSpec, Tensor] = {}
        self._host_calls = HostCalls(recorder)

    def load(self, n: Node, value: Any) -> Any:
        """Record a node that calls nothing."""
        result = self.outputs[n] = self._to_specs(value)
        self._add(n, (result,) if n.op == "output" else (), {}, result, (), ())
        return result

    # -------------------------------------------------------------------------------------------------------- calls

    def call(self, n: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Execute or replay a node and record it.

        Raises:
            ModelRunError: the node can't run on its inputs; the message names node, module and shapes.
        """
        slots: dict[int, int] = {}
        key = self._key(n, args, kwargs, slots)
        replay = self._memo.get(key) if key is not None else None
        if replay is None:
            result = self.outputs[n] = self._execute(n, args, kwargs, key, slots)
            return result
        numbers = [*slots, *map(self.storages.reserve, replay.new_bytes)]
        result = self.outputs[n] = _renumbered(replay.output, numbers)
        self._add(n, args, kwargs, result, replay.operations, tuple(numbers), replay.calls, replay.freed)
        return result

    def _key(self, n: Node, args: Any, kwargs: Any, slots: dict[int, int]) -> Any:
        """What decides a node's behaviour, hashable; None if it can't be told. Fills `slots` with its storages."""
        if n.op == "call_module":
            module = self.attribute(n.target)
            config = configuration(module)
            if config is None:
                return None
            target: Any = (config, tuple([_localized(self.recorder.spec(t), slots) for t in module_tensors(module)]))
        else:
            target = n.target
            if n.op == "call_function" and not self._repeats(target):
                return None
        try:
            key = (n.op, target, _frozen(args, slots), _frozen(kwargs, slots))
            hash(key)
        except TypeError:
            return None
        return (*key, self.recorder.knows(slots))

    def _repeats(self, function: Any) -> bool:
        """True if a function is proven to do the same for the same arguments."""
        if function not in self._pure:
            self._pure[function] = function_is_pure(function) or is_pure(function)
        return self._pure[function]

    def _execute(self, n: Node, args: Any, kwargs: Any, key: Any, slots: dict[int, int]) -> Any:
        segment = Segment(whole=n.op == "call_module" or (n.op == "call_function" and not function_is_pure(n.target)))
        segment.slots.update(slots)
        self._made = {}
        tensors, named = self._to_tensors(args), self._to_tensors(kwargs)
        self.recorder.segment = segment
        self.recorder.values_used, self.recorder.storages_before = False, len(self.storages.nbytes)
        self.recorder.running = f"node {n.name!r}" + (f" in module {n.module!r}" if n.module else "")
        try:
            with self.recorder, self._host_calls:
                if n.op == "call_module":
                    with InnerScopes(self.attribute(n.target), segment):
                        out = super().call(n, tensors, named)
                else:
                    out = super().call(n, tensors, named)
        except FxcostError:
            raise
        except Exception as error:
            raise run_error(
                error, f"node {n.name!r} ({n.op} {self._target_name(n.target)})", n.module, (args, kwargs)
            ) from error
        finally:
            self.recorder.segment = None
        result = self._to_specs(out)
        changed = self._metadata_changed((args, kwargs), (tensors, named))
        numbers = tuple(segment.slots)
        operations = tuple(segment.operations)
        calls, freed = tuple(segment.calls), tuple(segment.freed)
        self._add(n, args, kwargs, result, operations, numbers, calls, freed)
        local = {number: i for i, number in enumerate(numbers)}
        for spec in tensor_specs(result):
            local.setdefault(spec.storage, len(local))
        by_value = self.recorder.values_used or any(
            s.storage in self.recorder.cells and s.storage not in slots for s in tensor_specs(result)
        )
        if key is not None and not changed and not by_value and _only_specs(result):
            sizes = tuple(self.storages.nbytes[number] for number in list(local)[len(slots) :])
            self._memo[key] = _Replay(operations, _renumbered(result, local), len(slots), sizes, calls, freed)
        return result

    def _metadata_changed(self, specs: Any, tensors: Any) -> bool:
        """In-place operators such as `t_` change a tensor's shape: whoever reads it later must see that."""
        changed = False
        for before, tensor in zip(_leaves(specs), _leaves(tensors), strict=True):
            if isinstance(before, TensorSpec) and (after := self.recorder.spec(tensor)) != before:
                changed = True
                self.env.update({node: after for node, value in self.env.items() if value == before})
        return changed

    # ------------------------------------------------------------------------------------------------ specs ↔ tensors

    def _to_specs(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.recorder.spec(value) if is_plain(value) else value
        kind = type(value)
        if kind is tuple or kind is list:
            return kind([self._to_specs(v) for v in value])
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return kind(*[self._to_specs(v) for v in value])
        if kind is dict:
            return {k: self._to_specs(v) for k, v in value.items()}
        return value

    def _to_tensors(self, value: Any) -> Any:
        kind = type(value)
        if kind is TensorSpec:  # one argument given twice stays one object: attention asks `query is key`
            if value not in self._made:
                self._made[value] = self.storages.tensor(value)
            return self._made[value]
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return kind(*[self._to_tensors(v) for v in value])
        if isinstance(value, (tuple, list)):
            items = [self._to_tensors(v) for v in value]
            return items if isinstance(value, list) else tuple(items)
        if isinstance(value, dict):
            return {k: self._to_tensors(v) for k, v in value.items()}
        if kind is slice:
            return slice(*map(self._to_tensors, (value.start, value.stop, value.step)))
        return value

    def _add(
        self,
        n: Node,
        args: Any,
        kwargs: Any,
        result: Any,
        operations: tuple[OpRecord, ...],
        storages: tuple[int, ...],
        calls: tuple[InnerCall, ...] = (),
        freed: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self.records.append(
            NodeRecord(
                name=n.name,
                kind=n.op,
                target=self._target_name(n.target),
                module=n.module,
                input_nodes=tuple([i.name for i in n.all_input_nodes]),
                inputs=tuple(tensor_specs((args, kwargs))),
                outputs=tuple(tensor_specs(result)),
                operations=operations,
                storages=storages,
                args=outline(args),
                kwargs=tuple([(name, outline(value)) for name, value in kwargs.items()]),
                calls=calls,
                freed=freed,
            )
        )

    def _target_name(self, target: Any) -> str:
        if isinstance(target, str):
            return target
        if target not in self._target_names:
            self._target_names[target] = torch.fx.node._get_qualified_name(target)
        return self._target_names[target]


def module_tensors(module: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers of a module and its children, each name once, in a fixed order."""
    for inner in module.modules():
        yield from (p for p in inner._parameters.values() if p is not None)
        yield from (b for b in inner._buffers.values() if b is not None)


def run_error(error: Exception, what: str, module: str, values: Any) -> ModelRunError:
    """The error of ours for an exception that the model raised on the way."""
    shapes = ", ".join(str(s) for s in tensor_specs(values)) or "no tensors"
    where = f"{what} in module {module!r}" if module else what
    text = " ".join(str(error).split())
    if isinstance(error, NotImplementedError) and "meta" in text.lower():
        return MissingMetaKernelError(
            f"{where}: an operator has no meta kernel, so its result's shape is unknown (inputs: {shapes}): {text}. "
            "Register one with torch.library.register_fake"
        )
    return ModelRunError(f"{where} failed on inputs {shapes}: {type(error).__name__}: {text}")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, (TensorSpec, Tensor)):
        yield value


def _localized(spec: TensorSpec, slots: dict[int, int]) -> TensorSpec:
    slot = slots.setdefault(spec.storage, len(slots))
    return TensorSpec(spec.shape, spec.dtype, spec.stride, spec.offset, slot)


def _renumbered(value: Any, numbers: Any) -> Any:
    kind = type(value)
    if kind is TensorSpec:
        return TensorSpec(value.shape, value.dtype, value.stride, value.offset, numbers[value.storage])
    if kind is tuple or kind is list:
        return kind([_renumbered(v, numbers) for v in value])
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return kind(*[_renumbered(v, numbers) for v in value])
    if kind is dict:
        return {k: _renumbered(v, numbers) for k, v in value.items()}
    return value


def _frozen(value: Any, slots: dict[int, int]) -> Any:
    """A hashable stand-in for an argument, specs made local.

    Raises:
        TypeError: a live tensor or another object that can't stand in a key.
    """
    kind = type(value)
    if kind is TensorSpec:
        return _localized(value, slots)
    if kind is tuple or isinstance(value, list):
        return (kind.__name__, *[_frozen(v, slots) for v in value])
    if isinstance(value, dict):
        return ("dict", *[(k, _frozen(v, slots)) for k, v in value.items()])
    if kind is slice:
        return ("slice", _frozen(value.start, slots), _frozen(value.stop, slots), _frozen(value.step, slots))
    if kind is float or kind is int or kind is bool:
        return (kind.__name__, value)  # 1, 1.0 and True are equal, and not the same argument
    if value is None or kind in (str, torch.dtype, torch.device, torch.memory_format, torch.layout, type(...)):
        return value
    if isinstance(value, torch.Size):
        return ("Size", *value)
    raise TypeError(f"{kind} can't stand in a key")


def _only_specs(value: Any) -> bool:
    kind = type(value)
    if kind is TensorSpec or value is None or kind in (int, float, bool, str, torch.dtype, torch.device, torch.Size):
        return True
    if isinstance(value, (tuple, list)):
        return all(_only_specs(v) for v in value)
    return kind is dict and all(_only_specs(v) for v in value.values())
