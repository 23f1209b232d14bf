"""A graph while it is captured, and the `torch.fx.Graph` that it becomes when somebody asks for it.

An `fx.Graph` is made to be edited: each node knows its users and its place in a linked list, and enters look-up tables.
Capturing only appends, and most analyses never show the graph; so it is drawn up from nodes that know what they call,
and made in full on demand.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import torch
from torch import fx, nn
from torch.fx import graph as fx_graph


class Node:
    """A node as `torch.fx` has it: `args` and `kwargs` hold other nodes in tuples, lists, dicts and slices.

    `module` is the FQN of the module that it stands in, `users` how many nodes read it; `meta` is for
    whoever made it.
    """

    __slots__ = ("all_input_nodes", "args", "kwargs", "meta", "module", "name", "op", "target", "users")

    def __init__(
        self, name: str, op: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], module: str
    ) -> None:
        self.name, self.op, self.target, self.module = name, op, target, module
        self.args, self.kwargs, self.users = args, kwargs, 0
        self.meta: dict[str, Any] = {}
        inputs: dict[Node, None] = {}
        for value in (*args, *kwargs.values()) if kwargs else args:
            if type(value) is Node:
                inputs[value] = None
            elif type(value) not in _PLAIN:
                _collect(value, inputs)
        self.all_input_nodes = tuple(inputs)
        for node in inputs:
            node.users += 1

    def __repr__(self) -> str:
        return self.name


class Sketch:
    """Nodes in the order in which they run."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._names = fx_graph._Namespace()
        self._codegen: Any = None

    @staticmethod
    def of(graph: fx.Graph, owner: Callable[[fx.Node], str]) -> Sketch:
        """What a given graph calls; `owner` tells the module that a node stands in."""
        sketch = Sketch()
        made: dict[fx.Node, Node] = {}
        sketch._codegen = graph._codegen
        for n in graph.nodes:
            args, kwargs = replaced(n.args, made), replaced(n.kwargs, made)
            made[n] = Node(n.name, n.op, n.target, args, kwargs, owner(n))
            made[n].meta.update(n.meta)
            sketch.nodes.append(made[n])
        return sketch

    def create_node(
        self,
        op: str,
        target: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,
        module: str = "",
    ) -> Node:
        """Append a node, under a name of its own as `torch.fx` would give it."""
        if name is None:
            name = _snake_case(target.__name__) if callable(target) else _snake_case(_plain(target))
        node = Node(self._names.create_name(name, None), op, target, args, kwargs or {}, module)
        self.nodes.append(node)
        return node

    def to_fx(self) -> fx.Graph:
        """The same as a graph of `torch.fx`, with what the nodes' `meta` holds."""
        graph = fx.Graph()
        made: dict[Node, fx.Node] = {}
        if self._codegen is not None:
            graph.set_codegen(copy.deepcopy(self._codegen))
        for n in self.nodes:
            args, kwargs = replaced(n.args, made), replaced(n.kwargs, made)
            made[n] = graph.create_node(n.op, n.target, args, kwargs, n.name)
            made[n].meta.update(n.meta)
        return graph


class MadeWhenAsked:
    """A field `graph`: given as a :class:`Sketch`, it becomes a graph of `torch.fx` when it is first read."""

    def __get__(self, owner: Any, kind: type | None = None) -> fx.Graph | None:
        if owner is None:
            return None
        state = owner.__dict__
        if isinstance(state["graph"], Sketch):
            state["sketch"], state["graph"] = state["graph"], state["graph"].to_fx()
        graph: fx.Graph | None = state["graph"]
        return graph

    def __set__(self, owner: Any, value: fx.Graph | Sketch | MadeWhenAsked | None) -> None:
        owner.__dict__["graph"] = None if value is self else value


class Interpreter:
    """Runs a sketch whose modules and attributes live in `root`, as `torch.fx.Interpreter` runs a graph.

    A value is let go once the last node that reads it has run. Subclasses say what calling and loading mean.
    """

    def __init__(self, root: nn.Module, sketch: Sketch) -> None:
        self.env: dict[Node, Any] = {}
        self._nodes = sketch.nodes
        self._modules: dict[str, Any] = {"": root}

    def run(self, values: Iterable[Any]) -> Any:
        """Run all nodes on the placeholders' values; returns what the output node gets."""
        env, given = self.env, iter(values)
        left = {n: n.users for n in self._nodes}
        for n in self._nodes:
            if n.op.startswith("call_"):
                args = tuple([env[a] if type(a) is Node else replaced(a, env) for a in n.args])
                env[n] = self.call(n, args, replaced(n.kwargs, env) if n.kwargs else {})
            elif n.op == "output":
                return self.load(n, replaced(n.args[0], env))
            elif n.op == "get_attr":
                env[n] = self.load(n, self.attribute(n.target))
            else:
                env[n] = self.load(n, next(given))
            for used in n.all_input_nodes:
                left[used] -= 1
                if not left[used]:
                    del env[used]
            if not n.users:
                del env[n]
        return None

    def call(self, n: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a node that calls something."""
        if n.op == "call_module":
            return self.attribute(n.target)(*args, **kwargs)
        if n.op == "call_function":
            return n.target(*args, **kwargs)
        return getattr(args[0], n.target)(*args[1:], **kwargs)

    def load(self, n: Node, value: Any) -> Any:
        """The result of a node that calls nothing."""
        return value

    def attribute(self, path: str) -> Any:
        """A module or another attribute of the root, by its path."""
        found = self._modules.get(path)
        if found is None:
            parent, _, name = path.rpartition(".")
            found = getattr(self.attribute(parent), name)
            if isinstance(found, nn.Module):
                self._modules[path] = found
        return found


def replaced(value: Any, by: dict[Any, Any]) -> Any:
    """A nest of arguments with every node in it replaced."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is Node or kind is fx.Node:
        return by[value]
    if kind is torch.Size:
        return value
    if isinstance(value, tuple):
        items = [replaced(v, by) for v in value]
        return kind(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, list):
        return [replaced(v, by) for v in value]
    if isinstance(value, dict):
        return {k: replaced(v, by) for k, v in value.items()}
    if kind is slice:
        return slice(replaced(value.start, by), replaced(value.stop, by), replaced(value.step, by))
    return value


def _collect(value: Any, into: dict[Node, None]) -> None:
    kind = type(value)
    if kind is Node:
        into[value] = None
    elif kind is tuple or kind is list:
        for item in value:
            _collect(item, into)
    elif kind is dict:
        for item in value.values():
            _collect(item, into)
    elif kind is slice:
        for item in (value.start, value.stop, value.step):
            _collect(item, into)
    elif isinstance(value, tuple):
        _collect(tuple(value), into)


_PLAIN = frozenset({type(None), int, float, bool, str, torch.dtype, torch.device})


def _plain(name: str) -> str:
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name


@lru_cache(maxsize=4096)
def _snake_case(name: str) -> str:
    return fx_graph._snake_case(name).replace(".", "_")
