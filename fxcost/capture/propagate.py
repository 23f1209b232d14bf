"""Runs a graph on specs: per node the tensors' metadata and the ATen operators that it ran.

:class:`Propagator` interprets a graph as `torch.fx.Interpreter` does, but carries a
:class:`~fxcost.records.recording.TensorSpec` from node to node instead of tensors. A node whose target, configuration
and input specs were met before is not run again: its record is replayed (repeats.py), with fresh storages for its results and the
same aliasing. Otherwise the inputs are made into meta tensors, the node is run under an
:class:`~fxcost.meta.recorder.OpRecorder`, and what ran is remembered.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import FxcostError
from ..memo.repeats import Memo, Question, Ran, mapped, renumbered
from ..meta.recorder import Segment, is_plain, outline
from ..meta.values import ValueRecorder
from ..model.modules import InnerScopes, function_is_pure
from ..model.run_errors import run_error
from ..records.recording import NodeRecord, TensorSpec
from ..records.sketch import Interpreter, Node, Sketch
from .host import HostCalls

_ASKING = frozenset({getattr, torch._assert, *filter(callable, vars(operator).values())})
"""Functions that change no setting: what they do is what they return, and what they run."""


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
        self._memo = Memo()
        self._made: dict[TensorSpec, Tensor] = {}
        self.given: dict[int, TensorSpec] = {}
        """Specs of the parameters and buffers that were read, by their id."""
        self._host_calls = HostCalls(recorder)

    def load(self, n: Node, value: Any) -> Any:
        """Record a node that calls nothing."""
        result = self.outputs[n] = self._to_specs(value)
        inputs = tuple(map(self._described, _leaves(result))) if n.op == "output" else ()
        self._add(n, (inputs, (outline(result),) if n.op == "output" else (), ()), result, Ran())
        return result

    # -------------------------------------------------------------------------------------------------------- calls

    def call(self, n: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Execute or replay a node and record it.

        Raises:
            ModelRunError: the node can't run on its inputs; the message names node, module and shapes.
        """
        question = Question(self.recorder, self.given)
        decides = question.target(self._memo, self.attribute(n.target) if n.op == "call_module" else n.target)
        frozen, described, _ = question.read(args)
        named, described_kwargs, _ = question.read_named(kwargs)
        given = tuple(question.inputs), tuple(described), tuple(described_kwargs.items())
        replay = question.ask(self._memo, decides, frozen, named)
        if replay is None:
            result, ran = self._execute(n, args, kwargs, question)
            if decides is None:
                self.given.clear()  # code that may do anything has run
        else:
            numbers = (*question.slots, *map(self.storages.reserve, replay.new_bytes))
            result, ran = renumbered(replay.output, numbers), replay.ran.with_storages(numbers)
        self.outputs[n] = result
        self._add(n, given, result, ran)
        return result

    def _execute(self, n: Node, args: Any, kwargs: Any, question: Question) -> tuple[Any, Ran]:
        segment = Segment(whole=n.op == "call_module" or (n.op == "call_function" and not function_is_pure(n.target)))
        segment.slots.update(question.slots)
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
        ran = Ran.of(segment)
        if question.key is not None and not changed:
            sets_nothing = result is not None if n.op == "call_method" else n.target in _ASKING
            self._memo.put(question.key, question.replay(ran, result, sets_nothing))
        return result, ran

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
        return mapped(value, self._to_spec)

    def _to_spec(self, value: Any) -> Any:
        return self.recorder.spec(value) if isinstance(value, Tensor) and is_plain(value) else value

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

    def _add(self, n: Node, given: tuple[Any, Any, Any], result: Any, ran: Ran) -> None:
        """Record a node; `given` has the specs among its arguments, and its arguments and named ones described."""
        inputs, args, kwargs = given
        self.records.append(
            NodeRecord(
                n.name,
                n.op,
                self._target_name(n.target),
                n.module,
                tuple([i.name for i in n.all_input_nodes]),
                inputs,
                (result,) if type(result) is TensorSpec else tuple(map(self._described, _leaves(result))),
                ran.operations,
                ran.storages,
                args,
                kwargs,
                ran.calls,
                ran.freed,
            )
        )

    def _described(self, leaf: TensorSpec | Tensor) -> TensorSpec:
        return leaf if isinstance(leaf, TensorSpec) else self.recorder.spec(leaf)

    def _target_name(self, target: Any) -> str:
        if isinstance(target, str):
            return target
        if target not in self._target_names:
            self._target_names[target] = torch.fx.node._get_qualified_name(target)
        return self._target_names[target]


def _leaves(value: Any) -> Iterator[Any]:
    if type(value) is TensorSpec or isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
