"""Runs a graph on tensors, node by node, as `torch.fx.Interpreter` does; notes shapes and the operators of each node.

What `ShapeProp` writes to `node.meta["tensor_meta"]` is found in the records' outputs. A graph runs on meta tensors,
or on real ones where control flow needs their values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import FxcostError
from ..meta.segments import Ran, Segment, described, outline
from ..meta.values import ValueRecorder
from ..model.modules import InnerScopes, is_library_function
from ..model.run_errors import run_error
from ..records.recording import NodeRecord, TensorSpec, tensor_specs
from ..records.sketch import Interpreter, Node, Sketch, replaced
from .host import HostCalls


class GraphRunner(Interpreter):
    """Runs `sketch`, whose modules and attributes live in `root`, under `recorder`.

    `records` has one record per node, `outputs` what each node returned, specs in place of tensors.
    """

    def __init__(self, root: nn.Module, sketch: Sketch, recorder: ValueRecorder) -> None:
        super().__init__(root, sketch)
        self.recorder = recorder
        self.records: list[NodeRecord] = []
        self.outputs: dict[Node, Any] = {}
        self._target_names: dict[Any, str] = {}
        self._changes = recorder.changes
        self._host_calls = HostCalls(recorder)

    def run(self, values: Iterable[Any]) -> Any:
        """Run all nodes on the placeholders' values; returns what the output node gets.

        Raises:
            ModelRunError: a node can't run on its inputs; the message names node, module and shapes.
        """
        with self.recorder, self._host_calls:
            return super().run(values)

    def load(self, n: Node, value: Any) -> Any:
        """Record a node that calls nothing."""
        specs = self.outputs[n] = self._specs(value)
        found = tuple(tensor_specs(specs))
        is_output = n.op == "output"
        self._add(n, (found, (specs,), ()) if is_output else ((), (), ()), found, Ran())
        return value

    def call(self, n: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Execute and record one node that computes."""
        if self.recorder.changes != self._changes:  # shapes are not what they were
            self._changes = self.recorder.changes
            self.outputs.update({node: self._specs(value) for node, value in self.env.items()})
        described_args = outline(replaced(n.args, self.outputs))
        described_kwargs = outline(replaced(n.kwargs, self.outputs)) if n.kwargs else {}
        given = (
            tuple(tensor_specs((described_args, described_kwargs))),
            described_args,
            tuple(described_kwargs.items()),
        )
        whole = n.op == "call_module" or (n.op == "call_function" and not is_library_function(n.target))
        segment = self.recorder.segment = Segment(whole)
        self.recorder.running = f"node {n.name!r}" + (f" in module {n.module!r}" if n.module else "")
        try:
            if n.op == "call_module" and self.attribute(n.target)._modules:
                with InnerScopes(self.attribute(n.target), segment):
                    out = super().call(n, args, kwargs)
            else:
                out = super().call(n, args, kwargs)
        except FxcostError:
            raise
        except Exception as error:
            what = f"node {n.name!r} ({n.op} {self._target_name(n.target)})"
            raise run_error(error, what, n.module, given[0]) from error
        finally:
            self.recorder.segment = None
        specs = self.outputs[n] = self._specs(out)
        self._add(n, given, (specs,) if type(specs) is TensorSpec else tuple(tensor_specs(specs)), segment.ran())
        return out

    def _specs(self, value: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return described(value, self._spec)

    def _spec(self, tensor: Tensor) -> TensorSpec:
        return self.recorder.spec(tensor)

    def _add(self, n: Node, given: tuple[Any, Any, Any], outputs: tuple[TensorSpec, ...], ran: Ran) -> None:
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
                outputs,
                ran.operations,
                ran.storages,
                args,
                kwargs,
                ran.calls,
                ran.freed,
            )
        )

    def _target_name(self, target: Any) -> str:
        if isinstance(target, str):
            return target
        if target not in self._target_names:
            self._target_names[target] = torch.fx.node._get_qualified_name(target)
        return self._target_names[target]
