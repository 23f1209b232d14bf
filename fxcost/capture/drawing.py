"""Draws the graph of a run: which node made which tensor, and a record for each node.

Tensors are held weakly: they die when they die in the user's run.

Not here: running anything (concrete.py).
"""

from __future__ import annotations

import functools
import operator
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn

from ..memo.repeats import Given, Question, Ran, Replay, mapped, renumbered
from ..meta.recorder import described, fields_of, is_plain, outline
from ..meta.values import ValueRecorder
from ..model.modules import inventory
from ..model.parts import Parts
from ..records.recording import NodeRecord, TensorSpec, tensor_specs
from ..records.sketch import Node, Sketch
from .vocabulary import Later, opaque, resolved


class Met:
    """A tensor that a run has met: its spec, as it was when it was read last, and who made it.

    `node` is None for a tensor that no call returned (a parameter, a buffer, a constant), and what makes the node for
    an element of a sequence that nobody has used. `form` is what decides of the spec, None if that does not say all.
    """

    __slots__ = ("age", "form", "node", "spec", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = weakref.ref(tensor)
        self.node: Node | Callable[[], Node] | None = None
        self.age = -1

    def learn(self, spec: TensorSpec, age: int, plain: bool = True) -> None:
        """Note what was read, and when; `plain` if the spec says all that there is to say."""
        self.spec, self.age = spec, age
        self.form = (spec.shape, spec.dtype, spec.stride, spec.offset) if plain else None


class Drawing:
    """The graph and the node records of a run of a model of these parts.

    `scopes` has the FQNs of the modules that are running.

    Specs of tensors are read anew after anything has run, which `age` counts: it may have changed them.
    """

    def __init__(self, parts: Parts, recorder: ValueRecorder) -> None:
        self.sketch = Sketch()
        self.records: list[NodeRecord] = []
        self.scopes = [""]
        self.age = 0
        self._root, self.recorder = parts.root, recorder
        self._met: dict[int, Met] = {}
        self._attributes = inventory(parts.root, parts.outside).names()
        self._attribute_nodes: dict[str, Node] = {}
        self._constants = 0

    # ---------------------------------------------------------------------------------------------------------- nodes

    def placeholders(self, value: Any, name: str) -> None:
        """A node for each tensor in an argument of the model."""
        if isinstance(value, Tensor):
            node = self.sketch.create_node("placeholder", name)
            known = self.met(value)
            known.node = node
            self._add_plain(node, "", (), (known.spec,))
        elif isinstance(value, (tuple, list)):
            for i, item in enumerate(value):
                self.placeholders(item, f"{name}_{i}")
        elif isinstance(value, dict):
            for key, item in value.items():
                self.placeholders(item, f"{name}_{key}")

    def output(self, out: Any) -> None:
        """The node of what the model returned."""
        call = Call(self)
        call.take((out,), {})
        call.make_nodes()
        specs = tuple(call.inputs)
        self._add_plain(self.sketch.create_node("output", "output", call.nodes), "", specs, specs)

    def add(self, node: Node, target: str, module: str, call: Call, outputs: Any, ran: Ran) -> None:
        """Append the record of a node that has run."""
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
        target = node.target if isinstance(node.target, str) else "_operator.getitem"
        self.records.append(NodeRecord(node.name, node.op, target, module, names, inputs, outputs, args=args))

    # -------------------------------------------------------------------------------------------- who made which tensor

    def met(self, tensor: Tensor) -> Met:
        """What is known of a tensor."""
        found = self._met.get(id(tensor))
        if found is None or found.tensor() is not tensor:
            found = self._met[id(tensor)] = Met(tensor)
        if found.age != self.age:
            with torch._C.DisableTorchFunction():  # looking at a tensor must not come back to us, call by call
                spec = self.recorder.spec(tensor)
                plain = spec.storage >= 0 and tensor.is_meta and not tensor.is_complex()  # may be a lazy conjugate
            found.learn(spec, self.age, plain)
        return found

    def made(self, tensor: Tensor, spec: TensorSpec) -> Met:
        """Meet a tensor that was made to be as a spec says."""
        found = self._met[id(tensor)] = Met(tensor)
        found.learn(spec, self.age)
        return found

    def specs(self, value: Any) -> Any:
        """A value with specs in place of tensors, as records describe it."""
        return self.met(value).spec if type(value) is Tensor else described(value, self._spec)

    def _spec(self, tensor: Tensor) -> TensorSpec:
        return self.met(tensor).spec

    def bind(self, out: Any, node: Node) -> None:
        """Remember which node made each tensor in `out`; elements of a sequence get a getitem node when used."""
        if isinstance(out, Tensor):
            self.met(out).node = node
        elif isinstance(out, (tuple, list)):
            for i, item in enumerate(out):
                self._bind_item(item, node, i)
        elif isinstance(out, dict):
            for key, item in out.items():
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
        elif isinstance(item, (tuple, list, dict)):
            self.bind(item, self.sketch.create_node("call_function", operator.getitem, (node, key)))

    def node_of(self, tensor: Tensor) -> Node:
        """The node that made a tensor; one is made for attributes and constants, and for elements."""
        known = self.met(tensor)
        if known.node is not None:
            return known.node if isinstance(known.node, Node) else known.node()
        name = self._attributes.get(id(tensor))
        if name is None:
            name = f"_tensor_constant{self._constants}"
            self._constants += 1
            keep = tensor.is_meta or self.recorder.real
            self._root.__dict__[name] = tensor if keep else self.recorder.twin(tensor)
            self._attributes[id(tensor)] = name
        if name not in self._attribute_nodes:
            node = self._attribute_nodes[name] = self.sketch.create_node("get_attr", name)
            self._add_plain(node, name.rpartition(".")[0], (), (known.spec,))
        return self._attribute_nodes[name]


class Call(Question):
    """A call in a run, its arguments read as what decides, as specs (`args`, `kwargs`), and as nodes."""

    __slots__ = ("_drawing", "_given", "_later", "_places", "args", "kwargs", "named_nodes", "nodes")
    LEAVES: ClassVar[frozenset[type]] = frozenset({Tensor, nn.Parameter})

    def __init__(self, drawing: Drawing) -> None:
        super().__init__(drawing.recorder, {})
        self._drawing = drawing
        self._places: dict[int, int] = {}
        self._given: list[tuple[Tensor, TensorSpec]] = []
        self._later = False

    def take(self, args: Any, kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
        """Read all arguments; returns what decides of them."""
        frozen, described, written = self.read(args)
        named, self.kwargs, self.named_nodes = self.read_named(kwargs)
        self.args, self.nodes = tuple(described), tuple(written)
        return frozen, named

    def make_nodes(self) -> None:
        """Make the nodes that are still to be made, as the call becomes a node itself."""
        if self._later:
            self.nodes, self.named_nodes = resolved(self.nodes), resolved(self.named_nodes)

    def insert(self, attribute: tuple[str, ...]) -> None:
        """Put the name of an attribute behind the first argument."""
        self.args = (*self.args[:1], *attribute, *self.args[1:])
        self.nodes = (*self.nodes[:1], *attribute, *self.nodes[1:])

    def leaf(self, tensor: Tensor) -> tuple[Any, Any, Any]:
        """Read a tensor."""
        known = self._drawing.met(tensor)
        self.inputs.append(known.spec)
        node: Any = known.node
        if type(node) is not Node:
            self._later = True
            node = Later(functools.partial(self._drawing.node_of, tensor))
        return self._decides(tensor, known), known.spec, node

    def held(self, tensor: Tensor) -> Any:
        """Read a tensor of the module that is called."""
        return self._decides(tensor, self._drawing.met(tensor))

    def _decides(self, tensor: Tensor, known: Met) -> Any:
        if known.form is None:
            self._keyed = False
            return None
        place = self._places.get(id(tensor))
        if place is None:
            place = self._places[id(tensor)] = len(self._given)
            self._given.append((tensor, known.spec))
        slot = self.slots.setdefault(known.spec.storage, len(self.slots))
        return place, known.form, slot  # one tensor given twice is not two that are alike

    def other(self, value: Any) -> tuple[Any, Any, Any]:
        """Read what no key can hold."""
        self._keyed = False
        if isinstance(value, Tensor):
            return self.leaf(value)
        fields = fields_of(value)
        if fields is not None:
            return self.read_named(fields)
        written = value if isinstance(value, fx.node.base_types) else opaque(value)
        return None, outline(value), written

    # ------------------------------------------------------------------------------------------------------ replaying

    def answer(self, replay: Replay, node: Node) -> tuple[Any, Any, Ran]:
        """What a call returns that is not run, as tensors that `node` made and as specs, and what it ran."""
        drawing, storages, ran = self._drawing, self._recorder.storages, replay.ran
        numbers = (*self.slots, *map(storages.reserve, replay.new_bytes))
        with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
            if type(replay.output) is TensorSpec:  # nearly always
                outputs = renumbered(replay.output, numbers)
                out = storages.tensor(outputs)
                drawing.made(out, outputs).node = node
            else:
                out = mapped(replay.output, lambda leaf: self._result(leaf, numbers))
                outputs = drawing.specs(out)
                drawing.bind(out, node)
        self._recorder.skipped([(numbers[slot], after) for slot, after in ran.freed], len(ran.operations))
        return out, outputs, ran.with_storages(numbers)

    def _result(self, leaf: Any, numbers: tuple[int, ...]) -> Any:
        if type(leaf) is Given:
            return self._given[leaf.position][0]
        if type(leaf) is not TensorSpec:
            return leaf
        spec = renumbered(leaf, numbers)
        tensor = self._recorder.storages.tensor(spec)
        self._drawing.made(tensor, spec)
        return tensor

    def returned(self, ran: Ran, out: Any) -> Replay | None:
        """How to replay the call that has run and returned `out`; not if the shape of what was given has changed."""
        spec = self._recorder.spec
        if any(spec(tensor) != before for tensor, before in self._given):
            return None

        def change(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            if id(leaf) in self._places:
                return Given(self._places[id(leaf)])
            plain = is_plain(leaf) and leaf.is_meta and not leaf.is_complex() and not leaf.requires_grad
            return spec(leaf) if plain else leaf

        return self.replay(ran, mapped(out, change))
