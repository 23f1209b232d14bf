"""Draws the graph of a run: which node made which tensor, and a record for each node.

Tensors are held weakly: they die when they die in the user's run.

Not here: running anything (concrete.py).
"""

from __future__ import annotations

import functools
import operator
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from .modules import inventory
from .records import NodeRecord, TensorSpec, tensor_specs
from .sketch import Node, Sketch
from .values import ValueRecorder
from .vocabulary import Later, fields_of, opaque


class Drawing:
    """The graph and the node records of a run of `root`; `scopes` has the FQNs of the modules that are running."""

    def __init__(self, root: nn.Module, recorder: ValueRecorder) -> None:
        self.sketch = Sketch()
        self.records: list[NodeRecord] = []
        self.scopes = [""]
        self._root, self._recorder = root, recorder
        self._producers: dict[int, tuple[weakref.ref[Tensor], Node | Callable[[], Node]]] = {}
        self._attributes = inventory(root).names()
        self._attribute_nodes: dict[str, Node] = {}
        self._constants = 0

    # ---------------------------------------------------------------------------------------------------------- nodes

    def placeholders(self, value: Any, name: str) -> None:
        """A node for each tensor in an argument of the model."""
        if isinstance(value, Tensor):
            node = self.sketch.create_node("placeholder", name)
            self.add(node, name, "", outputs=(self._recorder.spec(value),))
            self._produced(value, node)
        elif isinstance(value, (tuple, list)):
            for i, item in enumerate(value):
                self.placeholders(item, f"{name}_{i}")
        elif isinstance(value, dict):
            for key, item in value.items():
                self.placeholders(item, f"{name}_{key}")

    def output(self, out: Any) -> None:
        """The node of what the model returned."""
        node = self.sketch.create_node("output", "output", self.arguments((out,), {})[0])
        specs = tuple(tensor_specs(self.specs(out)))
        self.add(node, "output", "", inputs=specs, outputs=specs)

    def add(self, node: Node, target: str, module: str, **fields: Any) -> None:
        """Append the record of a node."""
        names = tuple([n.name for n in node.all_input_nodes])
        self.records.append(NodeRecord(node.name, node.op, target, module, names, **fields))

    # -------------------------------------------------------------------------------------------- who made which tensor

    def bind(self, out: Any, node: Node) -> None:
        """Remember which node made each tensor in `out`; elements of a sequence get a getitem node when used."""
        if isinstance(out, Tensor):
            self._produced(out, node)
        elif isinstance(out, (tuple, list)):
            for i, item in enumerate(out):
                self._bind_item(item, node, i)
        elif isinstance(out, dict):
            for key, item in out.items():
                self._bind_item(item, node, key)

    def _bind_item(self, item: Any, node: Node, key: Any) -> None:
        if isinstance(item, Tensor):
            if self._known(item) is not None:
                return  # handed through, e.g. an argument returned as it came
            spec, module = self.specs(item), self.scopes[-1]

            @functools.cache
            def pick() -> Node:
                got = self.sketch.create_node("call_function", operator.getitem, (node, key))
                given = (None, key)  # which element; the sequence itself is not kept
                self.add(got, "_operator.getitem", module, inputs=(spec,), outputs=(spec,), args=given)
                return got

            self._producers[id(item)] = weakref.ref(item), pick
        elif isinstance(item, (tuple, list, dict)):
            self.bind(item, self.sketch.create_node("call_function", operator.getitem, (node, key)))

    def _produced(self, tensor: Tensor, node: Node) -> None:
        self._producers[id(tensor)] = weakref.ref(tensor), node

    def _known(self, tensor: Tensor) -> Node | Callable[[], Node] | None:
        entry = self._producers.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def _node_of(self, tensor: Tensor) -> Node:
        producer = self._known(tensor)
        if producer is not None:
            return producer if isinstance(producer, Node) else producer()
        name = self._attributes.get(id(tensor))
        if name is None:
            name = f"_tensor_constant{self._constants}"
            self._constants += 1
            keep = tensor.is_meta or self._recorder.real
            self._root.__dict__[name] = tensor if keep else self._recorder.twin(tensor)
            self._attributes[id(tensor)] = name
        if name not in self._attribute_nodes:
            node = self._attribute_nodes[name] = self.sketch.create_node("get_attr", name)
            self.add(node, name, name.rpartition(".")[0], outputs=(self._recorder.spec(tensor),))
        return self._attribute_nodes[name]

    # ------------------------------------------------------------------------------------------------------- arguments

    def arguments(self, args: Any, kwargs: Any) -> Any:
        """A call's arguments as a node has them, tensors replaced by the nodes that made them."""
        return self._written(args, self._node_of), self._written(kwargs, self._node_of) if kwargs else {}

    def pending(self, value: Any) -> Any:
        """The same for one value, but nodes are made (for attributes, for elements) only once it is `resolved`."""
        return self._written(value, self._later)

    def _later(self, tensor: Tensor) -> Any:
        known = self._known(tensor)
        return known if type(known) is Node else Later(functools.partial(self._node_of, tensor))

    def _written(self, value: Any, node_of: Callable[[Tensor], Any]) -> Any:
        if isinstance(value, Tensor):
            return node_of(value)
        if isinstance(value, (tuple, list)):
            items = [self._written(v, node_of) for v in value]
            return items if type(value) is list else tuple(items)
        if value is None or value is ... or isinstance(value, fx.node.base_types):
            return value
        if isinstance(value, dict):
            return {str(k): self._written(v, node_of) for k, v in value.items()}
        if isinstance(value, slice):
            return slice(*[self._written(v, node_of) for v in (value.start, value.stop, value.step)])
        fields = fields_of(value)
        return opaque(value) if fields is None else self._written(fields, node_of)

    def specs(self, value: Any, spec: Callable[[Tensor], TensorSpec] | None = None) -> Any:
        """A value with specs in place of tensors, and names of types in place of other objects."""
        with torch._C.DisableTorchFunction():  # looking at a tensor must not come back to us, call by call
            return _described(value, spec or self._recorder.spec)


def _described(value: Any, spec: Callable[[Tensor], TensorSpec]) -> Any:
    if isinstance(value, Tensor):
        return spec(value)
    if isinstance(value, (tuple, list)):
        return tuple([_described(v, spec) for v in value])
    if value is None or isinstance(value, (int, float, str)):
        return value
    if isinstance(value, dict):
        return {k: _described(v, spec) for k, v in value.items()}
    fields = fields_of(value)
    return opaque(value) if fields is None else _described(fields, spec)
