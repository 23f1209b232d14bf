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
from torch import Tensor, fx

from ..meta.cells import UNREGISTERED, UNSEEN
from ..meta.segments import Ran, described, fields_of, is_plain, outline
from ..meta.storages import stand_in
from ..meta.values import ValueRecorder
from ..model.holding import places_of
from ..model.modules import inventory
from ..model.parts import Parts
from ..records.recording import NodeRecord, TensorSpec, tensor_specs
from ..records.sketch import Node, Sketch
from .vocabulary import Later, opaque, resolved


class Met:
    """A tensor that a run has met: its spec, as it was when it was read last, and who made it.

    `node` is None for a tensor that no call returned (a parameter, a buffer, a constant), and what makes the node for
    an element of a sequence that nobody has used.
    """

    __slots__ = ("age", "node", "spec", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = weakref.ref(tensor)
        self.node: Node | Callable[[], Node] | None = None
        self.spec: TensorSpec
        self.age = -1


class Drawing:
    """The graph and the node records of a run of a model of these parts.

    `scopes` has the FQNs of the modules that are running.

    Specs of tensors are read anew after something may have changed them, which the recorder counts.
    """

    def __init__(self, parts: Parts, recorder: ValueRecorder) -> None:
        self.sketch = Sketch()
        self.records: list[NodeRecord] = []
        self.scopes = [""]
        self._root, self.recorder = parts.root, recorder
        self._met: dict[int, Met] = {}
        self._attributes = inventory(parts.root, parts.outside).names(recorder.held)
        self._attribute_nodes: dict[str, Node] = {}
        self._constants = 0
        self._places: dict[int, str] | None = None
        """Where lists and objects of the model hold tensors, once that is asked."""
        self.handed_on: dict[Node, Node] = {}
        """Of a node that returned a tensor which another node had made: that one."""
        self.reshaped = False
        """Set when a tensor was found to have another shape or memory than when it was made."""
        self.several: dict[Node, Any] = {}
        """What a node returned that returned a row or a table of values, specs in place of tensors."""
        self._makers: dict[int, tuple[TensorSpec, Node | Callable[[], Node]]] = {}
        """By the number of a storage: the first tensor on it that a call returned, and whose node that is."""

    # ---------------------------------------------------------------------------------------------------------- nodes

    def placeholders(self, value: Any, name: str) -> None:
        """A node for each tensor in an argument of the model."""
        if isinstance(value, Tensor):
            node = self.sketch.create_node("placeholder", name)
            known = self.met(value)
            known.node = node
            self._makers.setdefault(known.spec.storage, (known.spec, node))
            self._add_plain(node, "", (), (known.spec,))
        elif isinstance(value, (tuple, list)):
            for i, item in enumerate(value):
                self.placeholders(item, f"{name}_{i}")
        elif isinstance(value, dict):
            for key, item in value.items():
                self.placeholders(item, f"{name}_{key}")

    def output(self, out: Any) -> None:
        """The node of what the model returned."""
        call = Call(self, (out,), {})
        call.make_nodes()
        specs = tuple(call.inputs)
        self._add_plain(self.sketch.create_node("output", "output", call.nodes), "", specs, specs)

    def add(self, node: Node, target: str, module: str, call: Call, outputs: Any, ran: Ran) -> None:
        """Append the record of a node that has run."""
        if isinstance(outputs, (tuple, dict)):
            self.several[node] = outputs
        self.records.append(
            NodeRecord(
                node.name,
                node.op,
                target,
                module,
                tuple([n.name for n in node.all_input_nodes]),
                tuple(call.inputs),
                (outputs,) if type(outputs) is TensorSpec else tuple(tensor_specs(outputs)),
                ran.operations,
                ran.storages,
                call.args,
                tuple(call.kwargs.items()),
                ran.calls,
                ran.freed,
            )
        )

    def _add_plain(self, node: Node, module: str, inputs: Any, outputs: Any, args: Any = ()) -> None:
        """Append the record of a node that runs nothing."""
        names = tuple([n.name for n in node.all_input_nodes])
        target = node.target if isinstance(node.target, str) else torch.fx.node._get_qualified_name(node.target)
        self.records.append(NodeRecord(node.name, node.op, target, module, names, inputs, outputs, args=args))

    # -------------------------------------------------------------------------------------------- who made which tensor

    def met(self, tensor: Tensor) -> Met:
        """What is known of a tensor; of one that is sharded, of what is in memory."""
        if type(tensor) is not Tensor:
            tensor = self.recorder.held(tensor)
        found = self._met.get(id(tensor))
        if found is None or found.tensor() is not tensor:
            found = self._met[id(tensor)] = Met(tensor)
        if found.age != self.recorder.changes:
            with torch._C.DisableTorchFunction():  # looking at a tensor must not come back to us, call by call
                spec = self.recorder.spec(tensor)
            self.reshaped = self.reshaped or (found.age >= 0 and spec != found.spec)
            found.spec, found.age = spec, self.recorder.changes
        return found

    def specs(self, value: Any) -> Any:
        """A value with specs in place of tensors, as records describe it."""
        return self.met(value).spec if type(value) is Tensor else described(value, self._spec)

    def _spec(self, tensor: Tensor) -> TensorSpec:
        return self.met(tensor).spec

    def bind(self, out: Any, node: Node) -> None:
        """Remember which node made each tensor in `out`; elements of a sequence get a getitem node when used."""
        if isinstance(out, Tensor):
            known = self.met(out)
            if isinstance(known.node, Node):
                self.handed_on[node] = self.handed_on.get(known.node, known.node)
            known.node = node
            self._makers.setdefault(known.spec.storage, (known.spec, node))
        elif isinstance(out, (tuple, list, dict)):
            for key, item in out.items() if isinstance(out, dict) else enumerate(out):
                self._bind_item(item, node, key)

    def _bind_item(self, item: Any, node: Node, key: Any) -> None:
        if isinstance(item, Tensor):
            known = self.met(item)
            if known.node is not None:
                return  # handed through, e.g. an argument returned as it came
            spec, module = known.spec, self.scopes[-1]

            @functools.cache
            def pick() -> Node:
                got = self.sketch.create_node("call_function", operator.getitem, (node, key))
                self._add_plain(got, module, (spec,), (spec,), (None, key))  # the sequence itself is not kept
                return got

            known.node = pick
            self._makers.setdefault(spec.storage, (spec, pick))
        elif isinstance(item, (tuple, list, dict)):
            self.bind(item, self.sketch.create_node("call_function", operator.getitem, (node, key)))

    def node_of(self, tensor: Tensor) -> Node:
        """The node that made a tensor; one is made for attributes and constants, and for elements."""
        known = self.met(tensor)
        if known.node is not None:
            return known.node if isinstance(known.node, Node) else known.node()
        tensor = self.recorder.held(tensor)
        name = self._attributes.get(id(tensor))
        if name is None and (made := self._of_a_call(known.spec)) is not None:
            known.node = made
            return made
        if name is None:
            name = f"_tensor_constant{self._constants}"
            self._constants += 1
            if self.recorder.rank is not None:  # what libraries for sharding make out of sight must not live on
                known.node = self._constant(name, stand_in(tensor), known.spec)
                return known.node
            keep = tensor.is_meta or self.recorder.real
            self._say_whose(tensor)
            self._root.__dict__[name] = tensor if keep else self.recorder.twin(tensor)
            self._attributes[id(tensor)] = name
        if name not in self._attribute_nodes:
            node = self._attribute_nodes[name] = self.sketch.create_node("get_attr", name)
            self._add_plain(node, name.rpartition(".")[0], (), (known.spec,))
        return self._attribute_nodes[name]

    def _say_whose(self, tensor: Tensor) -> None:
        """Say what a tensor is that is no attribute of a module, and that no call made."""
        if not (tensor.is_meta or self.recorder.real):
            return  # the recorder says whose it is
        if isinstance(tensor, torch.nn.Parameter):
            self._places = places_of(self._root) if self._places is None else self._places
            place = self._places.get(id(tensor))
            self.recorder.assume(UNREGISTERED.format(f" in {place}" if place else ""))
            return
        unknown = is_plain(tensor) and not self.recorder.real and self.recorder.cell_of(tensor) is None
        if unknown and tensor.untyped_storage()._cdata not in self.recorder.given():
            self.recorder.assume(UNSEEN)

    def _of_a_call(self, spec: TensorSpec) -> Node | None:
        """The node of a tensor that no call returned, in memory that one did: a `Parameter` made of it, an alias."""
        maker = self._makers.get(spec.storage) if spec.storage >= 0 else None
        if maker is None or maker[0].dtype != spec.dtype:
            return None
        known, node = maker[0], maker[1] if isinstance(maker[1], Node) else maker[1]()
        wrapped = bool(spec.shape) and not (spec.stride and known.stride)  # by functorch, which says no strides
        if known.shape == spec.shape and (wrapped or (known.offset, known.stride) == (spec.offset, spec.stride)):
            return node
        if bool(spec.shape) and not spec.stride:
            return None
        place = (spec.shape, spec.stride, spec.offset)
        view = self.sketch.create_node("call_function", torch.as_strided, (node, *place))
        self._add_plain(view, self.scopes[-1], (known,), (spec,), (known, *place))
        return view

    def _constant(self, name: str, value: Tensor, spec: TensorSpec) -> Node:
        self._root.__dict__[name] = value
        node = self.sketch.create_node("get_attr", name)
        self._add_plain(node, "", (), (spec,))
        return node


class Call:
    """A call in a run, its arguments read once: as specs (`args`, `kwargs`) and as nodes; `inputs` has all specs."""

    __slots__ = ("_drawing", "_later", "args", "inputs", "kwargs", "named_nodes", "nodes")

    def __init__(self, drawing: Drawing, args: Any, kwargs: dict[str, Any]) -> None:
        self._drawing = drawing
        self._later = False
        self.inputs: list[TensorSpec] = []
        self.args, self.nodes = self._row(args)
        self.kwargs, self.named_nodes = self._table(kwargs) if kwargs else ({}, {})

    def make_nodes(self) -> None:
        """Make the nodes that are still to be made, as the call becomes a node itself."""
        if self._later:
            self.nodes, self.named_nodes = resolved(self.nodes), resolved(self.named_nodes)

    def insert(self, attribute: tuple[str, ...]) -> None:
        """Put the name of an attribute behind the first argument."""
        self.args = (*self.args[:1], *attribute, *self.args[1:])
        self.nodes = (*self.nodes[:1], *attribute, *self.nodes[1:])

    def _row(self, values: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        pairs = [self._read(value) for value in values]
        return tuple([described for described, _ in pairs]), tuple([written for _, written in pairs])

    def _table(self, values: dict[Any, Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
        pairs = {name: self._read(value) for name, value in values.items()}
        return {k: described for k, (described, _) in pairs.items()}, {k: written for k, (_, written) in pairs.items()}

    def _read(self, value: Any) -> tuple[Any, Any]:
        """A value as records describe it and as a graph writes it."""
        kind = type(value)
        if kind in _AS_THEY_ARE:
            return value, value
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, (tuple, list)):
            described, written = self._row(value)
            return described, list(written) if isinstance(value, list) else written
        if isinstance(value, dict):
            named, nodes = self._table(value)
            return named, {str(name): node for name, node in nodes.items()}
        if kind is slice:
            return outline(value), slice(*self._row((value.start, value.stop, value.step))[1])
        if (fields := fields_of(value)) is not None:
            return self._table(fields)
        return outline(value), value if value is ... or isinstance(value, fx.node.base_types) else opaque(value)

    def _tensor(self, tensor: Tensor) -> tuple[TensorSpec, Any]:
        known = self._drawing.met(tensor)
        self.inputs.append(known.spec)
        node: Any = known.node
        if type(node) is not Node:
            self._later = True
            node = Later(functools.partial(self._drawing.node_of, tensor))
        return known.spec, node


_AS_THEY_ARE = frozenset({int, float, bool, str, type(None), torch.dtype})
