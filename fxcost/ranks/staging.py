"""A model cut into the stages of a pipeline: each runs a part of the model's graph, and has the modules of that part.

The model's blocks stay whole, so that their own code, hooks and all, is what a stage runs; what stands between them is
cut at the borders. What a stage is given is all that nodes before it made and nodes from it on read, so that stages
send to their neighbours alone, as PyTorch's `PipelineStage` wants it. The model's inputs are given to every stage.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..capture.concrete import ConcreteTracer
from ..errors import FxcostError, ShardingError, nearest, shown
from ..meta.storages import Storages
from ..meta.values import ValueRecorder
from ..model.blocks import LISTS, members
from ..model.inputs import Arguments
from ..model.parts import Parts
from ..model.run_errors import model_raised
from ..records.sketch import Interpreter, Node, Sketch, replaced
from ..records.tree import named_modules, table

_GIVEN = ("placeholder", "get_attr")


class Stage(nn.Module):
    """Some nodes of a model's graph, with the modules that they call, under the names that these have in the model.

    `reads` names the inputs of the model that it takes, by keyword; what crosses from the stage before is positional.
    """

    def __init__(self, model: nn.Module, nodes: Sequence[Node], received: Sequence[Node], sent: Sequence[Node]) -> None:
        super().__init__()
        self._sketch, self.reads = _part(nodes, received, sent)
        used = [n.target for n in self._sketch.nodes if n.op in ("call_module", "get_attr")]
        _pruned(model, used, self)

    def forward(self, *received: Tensor, **inputs: Tensor) -> Any:
        """Run the nodes; returns what crosses to the next stage, or of the last one the tensors of its result."""
        return Interpreter(self, self._sketch).run([*received, *(inputs[name] for name in self.reads)])


class Cut:
    """Where a model is cut into stages, the names of its `inputs`, and how its result is put together of tensors."""

    def __init__(self, model: nn.Module, arguments: Arguments, cuts: Sequence[str] | None, count: int) -> None:
        blocks = _leaves(model, cuts or ())
        recorder = ValueRecorder(Storages())
        tracer = ConcreteTracer(Parts(model, {}), recorder, tuple(blocks))
        try:
            with torch.no_grad(), recorder:
                out = tracer.trace(model, arguments)
        except FxcostError:
            raise
        except Exception as error:
            raise model_raised(error, tracer.failed_in, arguments) from error
        self._leaves, self._structure = pytree.tree_flatten(out)
        nodes = tracer.sketch.nodes
        self.inputs = tuple(n.name for n in nodes if n.op == "placeholder")
        body = [n for n in nodes if n.op.startswith("call_")]
        borders = [0, *_borders(body, cuts, blocks, count), len(body)]
        results = list(_nodes_in(nodes[-1].args[0]))
        if len(results) != sum(isinstance(leaf, Tensor) for leaf in self._leaves):
            raise ShardingError(
                f"the last stage of a pipeline can't return a {type(out).__name__}: tensors are expected"
            )
        crossing = [_crossing(body, results, border) for border in borders]
        _refuse_objects(body)
        crossing[-1] = results
        self._parts = [(body[a:b], crossing[i], crossing[i + 1]) for i, (a, b) in enumerate(pairwise(borders))]

    def stages(self, model: nn.Module) -> list[Stage]:
        """The stages of the model, with the modules that it has now."""
        return [Stage(model, *part) for part in self._parts]

    def whole(self, tensors: Any) -> Any:
        """The model's result, of the tensors that its last stage returned."""
        made = iter(tensors)
        return pytree.tree_unflatten(
            [next(made) if isinstance(leaf, Tensor) else leaf for leaf in self._leaves], self._structure
        )


def _leaves(model: nn.Module, cuts: Sequence[str]) -> list[str]:
    """Names of the modules that stay whole: the model's blocks, but for those in which there is a cut, and the cuts."""
    names = {id(module): name for name, module in named_modules(model)}
    known = set(names.values())
    for cut in cuts:
        if cut not in known or not cut:
            near = nearest(cut, known)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ShardingError(f"split names {shown(cut)}, and the model has no such module{hint}")
    found = [names[id(block)] for block in members(model)]
    return [name for name in dict.fromkeys((*found, *cuts)) if not any(cut.startswith(f"{name}.") for cut in cuts)]


def _borders(body: Sequence[Node], cuts: Sequence[str] | None, blocks: Sequence[str], count: int) -> Iterator[int]:
    """Where in the calls of a graph each stage but the first begins."""
    first: dict[str, int] = {}
    for i, node in enumerate(body):
        if node.op == "call_module":
            first.setdefault(node.target, i)
    if cuts is None:
        places = [first[name] for name in blocks if name in first]
        if len(places) < count:
            places = list(first.values())
        if len(places) < count:
            raise ShardingError(
                f"the model calls {len(places)} modules, which are too few for {count} stages of a pipeline"
            )
        yield from (places[i * len(places) // count] for i in range(1, count))
        return
    if len(cuts) != count - 1:
        raise ShardingError(f"split names {len(cuts)} modules, and {count} stages begin at {count - 1} of them")
    last = 0
    for cut in cuts:
        place = next((i for name, i in first.items() if name == cut or name.startswith(f"{cut}.")), None)
        if place is None:
            raise ShardingError(f"split names {cut!r}, which the model does not call")
        if place <= last:
            raise ShardingError(f"split names {cut!r}, which runs before the stage that would precede it")
        last = place
        yield place


def _crossing(body: Sequence[Node], results: Sequence[Node], border: int) -> list[Node]:
    """The nodes before a border that nodes from it on read, or that are results, in their order."""
    read = {n: None for node in body[border:] for n in node.all_input_nodes} | dict.fromkeys(results)
    return [node for node in body[:border] if node in read]


def _part(nodes: Sequence[Node], received: Sequence[Node], sent: Sequence[Node]) -> tuple[Sketch, tuple[str, ...]]:
    """Nodes as a graph of their own, and the names of the model's inputs among what it reads."""
    sketch = Sketch()
    by: dict[Node, Node] = {n: sketch.create_node("placeholder", n.name) for n in received}
    read = dict.fromkeys(n for node in nodes for n in node.all_input_nodes if n.op in _GIVEN)
    read.update(dict.fromkeys(n for n in sent if n.op in _GIVEN))
    by |= {n: sketch.create_node("placeholder", n.name) for n in read if n.op == "placeholder"}
    by |= {n: sketch.create_node("get_attr", n.target) for n in read if n.op == "get_attr"}
    for n in nodes:
        by[n] = sketch.create_node(n.op, n.target, replaced(n.args, by), replaced(n.kwargs, by), n.name, n.module)
    sketch.create_node("output", "output", (tuple(by[n] for n in sent),))
    return sketch, tuple(n.name for n in read if n.op == "placeholder")


def _pruned(model: nn.Module, used: Iterable[str], into: nn.Module) -> None:
    """Put the modules and tensors with the names `used` into a module, with copies of what stands around them.

    Others are None, as code that shards stages expects it.
    """
    into._modules.update(dict.fromkeys(model._modules))
    into.training = model.training
    for path in dict.fromkeys(used):
        here, there = model, into
        *around, name = path.split(".")
        for step in around:
            here = here._modules[step]  # type: ignore[assignment]
            if there._modules.get(step) is here:
                break  # within a module that is there as a whole
            if there._modules.get(step) is None:
                there._modules[step] = shell(here)
            there = there._modules[step]  # type: ignore[assignment]
        else:
            _put(here, name, there)


def _put(here: nn.Module, name: str, there: nn.Module) -> None:
    for kind in ("_modules", "_parameters", "_buffers"):
        if name in table(here, kind):
            getattr(there, kind)[name] = getattr(here, kind)[name]
            return
    there.__dict__[name] = here.__dict__[name]  # a constant of the graph


def shell(module: nn.Module) -> nn.Module:
    """A module of the same class that has nothing in it yet."""
    found = copy.copy(module)
    for kind in ("_modules", "_parameters", "_buffers"):
        found.__dict__[kind] = {}
    if not isinstance(module, LISTS):
        found._modules.update(dict.fromkeys(module._modules))
    return found


def _nodes_in(value: Any) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _nodes_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _nodes_in(item)


def _refuse_objects(body: Iterable[Node]) -> None:
    """Objects that modules hand on (caches) can't be sent.

    Raises:
        ShardingError: there is one.
    """
    for node in body:
        for value in pytree.tree_leaves((node.args, node.kwargs)):
            if isinstance(value, str) and value.startswith("<") and value.endswith(">"):
                raise ShardingError(
                    f"{node.target} is given an object, {value[1:-1]}, which stages of a pipeline can't send each "
                    "other; a model of transformers has no cache if use_cache is off in its configuration"
                )
