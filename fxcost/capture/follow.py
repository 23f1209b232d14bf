"""Is a symbolic graph the one of a run? Its calls are followed along the run's, without running it.

A node that calls something with a tensor must be the run's next call: of the same module, function or method, on what
the same calls returned and on the same numbers. Nodes that only reckon with sizes are evaluated on the shapes that the
run had. Where every node finds its call and no call is left, running the graph would call the same on the same, so the
run's records are the graph's too. A model whose modules had other settings from one call to the next is not followed;
neither is what stands in no spec (values that were read, structures with more than tensors in a row): there the graph
runs itself, and confirm.py compares.
"""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..meta.segments import outline
from ..records.recording import ModuleCall, NodeRecord, Recording, TensorSpec, tensor_specs
from ..records.sketch import Node, Sketch, replaced
from .symbolic import TracedCall

_RECKONING = frozenset({operator.__name__, operator.add.__module__, math.__name__, builtins.__name__})
_ASKED = frozenset({"shape", "dtype", "ndim", "layout", "device", "is_cuda", "is_cpu", "is_meta"})
_ASKING = frozenset({"size", "dim", "numel", "nelement", "ndimension", "stride", "is_contiguous", "is_floating_point"})
_ASKING_FUNCTIONS = {torch.numel: "numel", torch.is_floating_point: "is_floating_point"}


_TURNABLE = frozenset(
    {operator.add, operator.mul, operator.sub, operator.truediv, operator.floordiv, operator.mod, operator.pow}
)
_REFLECTED = {f"__r{function.__name__}__": function for function in _TURNABLE}


class Seen(NamedTuple):
    """What a run says of its nodes, besides their records.

    `several`: of each that returned a row or a table of values, these, specs in place of tensors. `handed_on`: of each
    that returned a tensor which another had made, that one.
    """

    several: Mapping[Node, Any]
    handed_on: Mapping[Node, Node]


class _Lost(Exception):  # noqa: N818 - no error: the graph is run instead
    """A node can't be told to be the run's next call."""


class _Made:
    """A tensor of the run: which of its nodes returned it, and for one of several results, which."""

    __slots__ = ("key", "node")

    def __init__(self, node: Node, key: Any = None) -> None:
        self.node, self.key = node, key


def followed(
    sketch: Sketch, calls: Sequence[TracedCall], ran: Recording, seen: Seen, home: torch.device
) -> Recording | None:
    """What was recorded, with `sketch` as its graph; None if that can't be told from the calls alone.

    `home` is the device that the code was told.
    """
    try:
        following = _Following(ran, seen, home)
        for node in sketch.nodes:
            following.step(node)
        following.ended()
    except _Lost:
        return None
    resolved = tuple([resolved_call(call, following.described) for call in calls])
    return replace(ran, graph=sketch, capture="symbolic", nodes=tuple(following.records), calls=resolved)  # type: ignore[arg-type]


class _Following:
    """Walks along the nodes of a run, and writes their records anew for the nodes of a graph."""

    def __init__(self, ran: Recording, seen: Seen, home: torch.device) -> None:
        self._nodes = ran.sketch.nodes
        self._several, self._handed_on, self._home = seen.several, seen.handed_on, home
        self._record = {record.name: record for record in ran.nodes}
        self._attributes = {node.target: node for node in self._nodes if node.op == "get_attr"}
        self._inputs = iter([node for node in self._nodes if node.op == "placeholder"])
        self._calls = iter([node for node in self._nodes if node.op.startswith("call_") and not self._picks(node)])
        self._values: dict[Node, Any] = {}
        self.described: dict[Node, Any] = {}
        """What each node of the graph returned, specs in place of tensors."""
        self.records: list[NodeRecord] = []
        self._names: dict[Any, str] = {}

    def step(self, n: Node) -> None:
        """Find the run's node for the graph's next one.

        Raises:
            _Lost: there is none, or it can't be told.
        """
        if n.op == "placeholder":
            self._load(n, next(self._inputs, None))
        elif n.op == "get_attr":
            self._load(n, self._attributes.get(n.target))
        elif n.op == "output":
            last = self._nodes[-1]
            if not self._same(n.args, last.args):
                raise _Lost
            specs = self._record[last.name].inputs
            self._add(n, specs, specs, (replaced(n.args[0], self.described),), {})
        else:
            self._call(n)

    def ended(self) -> None:
        """Nothing of the run may be left over.

        Raises:
            _Lost: something is.
        """
        if next(self._calls, None) is not None or next(self._inputs, None) is not None:
            raise _Lost

    def _load(self, n: Node, theirs: Node | None) -> None:
        outputs = self._record[theirs.name].outputs if theirs is not None else ()
        if theirs is None or len(outputs) != 1:
            raise _Lost
        self._values[n], self.described[n] = _Made(theirs), outputs[0]
        self._add(n, (), outputs, (), {})

    def _call(self, n: Node) -> None:
        args, kwargs = replaced(n.args, self._values), replaced(n.kwargs, self._values)
        if n.op != "call_module" and (answer := self._asked(n, args, kwargs)) is not None:
            self._values[n] = self.described[n] = answer
        elif n.target is operator.getitem and type(args[0]) is _Made and self._holds_several(args[0]):
            self._pick(n, args[0], args[1])
            return
        elif n.op == "call_function" and _reckons(n.target) and not _has_made((args, kwargs)):
            self._values[n] = self.described[n] = _reckoned(n.target, args, kwargs)
        else:
            self._match(n)
            return
        described = outline(replaced(n.args, self.described))
        named = outline(replaced(n.kwargs, self.described)) if n.kwargs else {}
        self._add(n, tuple(tensor_specs((described, named))), (), described, named)

    def _match(self, n: Node) -> None:
        """A call with tensors must be the run's next one.

        A run can't tell `2 * x` from `x * 2`: PyTorch reports both as the latter, and `2 - x` as `x.__rsub__(2)`.
        """
        theirs = next(self._calls, None)
        if theirs is None or not self._same(n.kwargs, theirs.kwargs):
            raise _Lost
        r, turned = self._record[theirs.name], False
        if theirs.op != n.op or theirs.target != n.target or not self._same(n.args, theirs.args):
            turned = n.op == "call_function" and n.target in (theirs.target, _REFLECTED.get(theirs.target))
            one = [type(self._values[a]) is _Made for a in n.args if type(a) is Node].count(True) == 1
            if not (turned and one) or n.target not in _TURNABLE or not self._same(n.args, theirs.args[::-1]):
                raise _Lost
        self._values[n] = _Made(theirs)
        self.described[n] = self._several.get(theirs, r.outputs[0] if r.outputs else None)
        names = tuple([i.name for i in n.all_input_nodes])
        target, args = (self._target(n), r.args[::-1]) if turned else (r.target, r.args)
        inputs = tuple(tensor_specs((args, r.kwargs))) if turned else r.inputs
        self.records.append(
            NodeRecord(
                n.name, n.op, target, n.module, names, inputs, r.outputs, r.operations, r.storages, args, r.kwargs,
                r.calls, r.freed,
            )
        )  # fmt: skip

    def _pick(self, n: Node, made: _Made, key: Any) -> None:
        """One of several tensors that a call returned."""
        several = self._several[made.node]
        if type(key) is int and type(several) is tuple and -len(several) <= key < len(several):
            key %= len(several)
        elif type(several) is not dict or key not in several:
            raise _Lost
        picked = several[key]
        if isinstance(picked, (tuple, dict)):
            raise _Lost
        self._values[n], self.described[n] = _Made(made.node, key), picked
        self._add(n, tuple(tensor_specs(several)), tuple(tensor_specs(picked)), (several, key), {})

    def _asked(self, n: Node, args: Any, kwargs: Any) -> Any:
        """The answer where a node asks for a tensor's shape and the like, else None."""
        if not args or type(args[0]) is not _Made:
            return None
        if n.target is getattr:
            name, rest = args[1], ()
            if name not in _ASKED:
                return None
        else:
            name, rest = _ASKING_FUNCTIONS.get(n.target, n.target), args[1:]
            if name not in _ASKING:
                return None
        if name == "device":
            return self._home
        spec = self._spec(args[0])
        if name == "shape":
            return torch.Size(spec.shape)
        if name in ("is_cuda", "is_cpu", "is_meta"):
            return self._home.type == name[3:]
        tensor = torch.empty_strided(spec.shape, spec.stride, dtype=spec.dtype, device="meta")
        return getattr(tensor, name) if n.target is getattr else getattr(tensor, name)(*rest, **kwargs)

    def _spec(self, made: _Made) -> TensorSpec:
        if made.node in self._several:
            found = self._several[made.node][made.key] if made.key is not None else None
        else:
            found = next(iter(self._record[made.node.name].outputs), None)
        if type(found) is not TensorSpec:
            raise _Lost
        return found

    # ------------------------------------------------------------------------------------------------ whether it is one

    def _picks(self, n: Node) -> bool:
        """True if a node of the run takes one of several results, which runs nothing."""
        return n.target is operator.getitem and type(n.args[0]) is Node and n.args[0] in self._several

    def _tensor(self, node: Node, key: Any) -> tuple[Node, Any]:
        """Which call made a tensor first, where others handed it through; and of several results, which it is."""
        if key is None and self._picks(node):
            node, key = node.args[:2]
        return (node, key) if key is not None else (self._handed_on.get(node, node), None)

    def _holds_several(self, made: _Made) -> bool:
        return made.key is None and made.node in self._several

    def _same(self, ours: Any, theirs: Any) -> bool:
        """True if an argument of the graph is what the run was given."""
        if type(ours) is Node:
            ours = self._values[ours]
        kind = type(ours)
        if kind is _Made:
            if type(theirs) is not Node:
                return False
            (node, key), (made, of) = self._tensor(theirs, None), self._tensor(ours.node, ours.key)
            return made is node and of == key
        if isinstance(ours, (tuple, list)):
            if not isinstance(theirs, (tuple, list)) or len(ours) != len(theirs):
                return False
            return all(self._same(a, b) for a, b in zip(ours, theirs, strict=True))
        if kind is dict:
            return type(theirs) is dict and ours.keys() == theirs.keys() and all(
                self._same(v, theirs[k]) for k, v in ours.items()
            )  # fmt: skip
        if kind is slice:
            return type(theirs) is slice and all(
                self._same(getattr(ours, end), getattr(theirs, end)) for end in ("start", "stop", "step")
            )
        return kind is type(theirs) and bool(ours is theirs or ours == theirs)

    def _add(self, n: Node, inputs: Any, outputs: Any, args: Any, kwargs: Any) -> None:
        names = tuple([i.name for i in n.all_input_nodes])
        named = tuple(kwargs.items())
        self.records.append(
            NodeRecord(n.name, n.op, self._target(n), n.module, names, inputs, outputs, args=args, kwargs=named)
        )

    def _target(self, n: Node) -> str:
        if isinstance(n.target, str):
            return n.target
        if n.target not in self._names:
            self._names[n.target] = torch.fx.node._get_qualified_name(n.target)
        return self._names[n.target]


def _reckons(function: Any) -> bool:
    return function is torch._assert or getattr(function, "__module__", "") in _RECKONING


def _has_made(value: Any) -> bool:
    kind = type(value)
    if kind is tuple or kind is list:
        return any(map(_has_made, value))
    if kind is slice:
        return any(map(_has_made, (value.start, value.stop, value.step)))
    return kind is _Made or (kind is dict and any(map(_has_made, value.values())))


def _reckoned(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except Exception as error:
        raise _Lost from error


def resolved_call(call: TracedCall, outputs: dict[Node, Any]) -> ModuleCall:
    """A call of a module that was traced, with specs in place of nodes."""
    kwargs = tuple([(k, _specs(v, outputs)) for k, v in call.kwargs.items()]) if call.kwargs else ()
    args, output = _specs(call.args, outputs), _specs(call.output, outputs)
    return ModuleCall(call.module, args, kwargs, output, call.start, call.stop)


def _specs(value: Any, outputs: dict[Node, Any]) -> Any:
    kind = type(value)
    if kind is Node:
        return outputs.get(value)
    if kind is tuple:
        return tuple([_specs(v, outputs) for v in value])
    if kind is dict:
        return {k: _specs(v, outputs) for k, v in value.items()}
    return outline(value) if isinstance(value, Tensor) else value  # a buffer handed to a module
