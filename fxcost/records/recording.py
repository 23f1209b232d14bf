"""The plain data that the analysis passes along; every other module reads or makes these.

Nothing here runs a model or knows a formula. All records are frozen and hold tuples, so that they can be shared:
the operations of two identical layers are the same tuple of :class:`OpRecord`.

Not here: tensors (a record never keeps one alive), rules, and text for display.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from functools import lru_cache
from math import prod
from typing import Annotated, Any, TypeVar

import torch

from .communication import Rank
from .ranges import Count, Filled, OneOf, Position, Size, Storage
from .sketch import MadeWhenAsked, Sketch

Operator = torch._ops.OperatorBase
"""An `OpOverload` (`torch.ops.aten.mm.default`) or a `HigherOrderOperator`."""

OPCODES = ("placeholder", "get_attr", "call_module", "call_function", "call_method", "output")
"""What a node of torch.fx can be."""
CAPTURES = ("symbolic", "concrete", "real", "given")
"""How a graph can have been captured."""
NO_DATA = {"data": False}
"""Marks the fields of a record that hold no plain data, and are left out where it is written to a file."""
_Record = TypeVar("_Record")


def _quickly_made(record: type[_Record]) -> type[_Record]:
    """Have a frozen dataclass with slots set these directly: what `dataclass` generates takes nearly twice as long.

    An analysis makes thousands of records.
    """
    known: dict[str, Any] = {"defaults": {f.name: f.default for f in fields(record)}}  # type: ignore[arg-type]
    head, body = [], []
    for f in fields(record):  # type: ignore[arg-type]
        known[f"set_{f.name}"] = getattr(record, f.name).__set__
        head.append(f.name if f.default is MISSING else f"{f.name}=defaults[{f.name!r}]")
        body.append(f"set_{f.name}(self, {f.name})")
    exec(f"def __init__(self, {', '.join(head)}):\n    {'; '.join(body)}", known)
    known["__init__"].__annotations__ = record.__init__.__annotations__
    record.__init__ = known["__init__"]  # type: ignore[method-assign]
    return record


@_quickly_made
@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What is known of a tensor without its data.

    `storage` numbers the memory that the tensor uses: two specs with the same number are views of one storage. In a
    :class:`NodeRecord` it counts through the whole graph, in an :class:`OpRecord` it indexes the node's
    `storages`. `offset` and `stride` are in elements.
    """

    shape: tuple[Size, ...]
    dtype: torch.dtype
    stride: tuple[Size, ...] = ()
    offset: Size = 0
    storage: Storage = -1
    stored: Size | None = None
    """Values that a sparse tensor stores, where that is known; None for dense tensors."""

    @property
    def numel(self) -> int:
        """Number of elements, broadcast ones included; of a sparse tensor those that it stores."""
        return prod(self.shape) if self.stored is None else self.stored

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, as if each were stored (units: bytes)."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def stored_bytes(self) -> int:
        """Bytes of the distinct elements: dimensions that are broadcast with stride 0 are stored once.

        A sparse tensor has its stored values, each with an index (int64) per dimension.
        """
        if self.stored is not None:
            return self.stored * (self.dtype.itemsize + 8 * len(self.shape))
        if 0 not in self.stride:
            return self.nbytes
        return prod(n for n, s in zip(self.shape, self.stride, strict=True) if s or not n) * self.dtype.itemsize

    @property
    def is_floating(self) -> bool:
        """True for floating-point and complex elements: arithmetic on them counts as FLOPs."""
        return self.dtype.is_floating_point or self.dtype.is_complex

    @property
    def dtype_name(self) -> str:
        """The dtype as text, without its module: "float32"."""
        return str(self.dtype).removeprefix("torch.")

    def misfit(self) -> str:
        """What is wrong between the fields, in words; "" for nothing."""
        if self.stride and len(self.stride) != len(self.shape):
            return f"{len(self.stride)} strides for {len(self.shape)} dimensions"
        return ""

    def __str__(self) -> str:
        return f"{self.dtype_name}[{','.join(map(str, self.shape))}]"


def tensor_specs(tree: Any) -> Iterator[TensorSpec]:
    """Every :class:`TensorSpec` in a nest of tuples, lists and dicts, in order."""
    if type(tree) is TensorSpec:
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from tensor_specs(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from tensor_specs(item)


@lru_cache(maxsize=4096)
def written_arguments(op: Operator) -> tuple[int, ...]:
    """Positions of the arguments that an operator writes in place, by its schema."""
    schema = getattr(op, "_schema", None)
    if schema is None:
        return ()
    return tuple(i for i, a in enumerate(schema.arguments) if a.alias_info is not None and a.alias_info.is_write)


@lru_cache(maxsize=4096)
def out_arguments(op: Operator) -> frozenset[int]:
    """Positions of the `out=` arguments, whose memory only receives results."""
    schema = getattr(op, "_schema", None)
    return frozenset(i for i in written_arguments(op) if schema.arguments[i].kwarg_only) if schema else frozenset()


@_quickly_made
@dataclass(frozen=True, slots=True)
class OpRecord:
    """One run of one operator.

    `args` has a value for each argument of the operator's schema, in its order, defaults filled in and tensors
    replaced by specs; so a rule unpacks it: `x, weight, bias, *_ = op.args`. `outputs` are the tensors returned,
    flattened, `None` where the operator returned none. `scope` is the path of the innermost module that ran it,
    relative to the node's own module ("" = the node's module itself).
    """

    op: Operator
    args: tuple[Any, ...]
    outputs: tuple[TensorSpec | None, ...]
    scope: str = ""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """All tensor arguments, flattened."""
        return tuple(tensor_specs(self.args))

    @property
    def out(self) -> TensorSpec:
        """The first tensor returned, or the first that is written for operators that return nothing."""
        for spec in self.outputs:
            if spec is not None:
                return spec
        for spec in self.written:
            return spec
        raise IndexError(f"{self.op} returned no tensor")

    @property
    def written(self) -> tuple[TensorSpec, ...]:
        """Tensors whose elements this run produced: arguments written in place, and results in new memory."""
        inputs = {spec.storage for spec in self.inputs}
        results: list[TensorSpec] = []
        for i in written_arguments(self.op):
            results.extend(tensor_specs(self.args[i]))
        results.extend(s for s in self.outputs if s is not None and (s.storage not in inputs or s.storage < 0))
        return tuple(results)

    def __str__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.inputs))})"


@_quickly_made
@dataclass(frozen=True, slots=True)
class InnerCall:
    """A call inside a node: of a torch function, or of a module within a module that stays whole.

    `target` is a function's qualified name, or a module's path relative to the node's module; `args` and `kwargs` hold
    specs (without storages) in place of tensors. The call covers `operations[start:stop]` of its node; `scope` is as in
    :class:`OpRecord`. What a PyTorch function calls in its turn is not noted.
    """

    target: str
    is_module: bool
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    output: Any
    start: Position
    stop: Position
    scope: str = ""


@_quickly_made
@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node of the graph and what ran while it was executed.

    `kind` is the fx opcode (`call_module` …), `target` its printable target, `module` the FQN of the module in
    whose forward the node stands (for `call_module` the called module itself). `input_nodes` names the nodes that
    it reads. `storages[i]` is the graph-wide number of storage `i` of its operations. `args` and `kwargs` are what a
    call was given, specs in place of tensors. `calls` are those inside modules and functions that stay whole.
    `freed` has (i, n) for each storage i of `storages` that died while the node ran, after n of its operations.
    """

    name: str
    kind: Annotated[str, OneOf(OPCODES)]
    target: str
    module: str
    input_nodes: tuple[str, ...] = ()
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    operations: tuple[OpRecord, ...] = ()
    storages: tuple[Position, ...] = ()
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()
    calls: tuple[InnerCall, ...] = ()
    freed: tuple[tuple[Position, Position], ...] = ()

    @property
    def is_call(self) -> bool:
        """True for the nodes that compute: call_module, call_function, call_method."""
        return self.kind.startswith("call_")


@_quickly_made
@dataclass(frozen=True, slots=True)
class ParameterRecord:
    """A parameter or buffer: `names` are all the FQNs under which it is found, the first being canonical.

    One that is a tensor subclass made of others (a quantized weight with its scales) has these as `parts`.
    """

    names: Annotated[tuple[str, ...], Filled()]
    spec: TensorSpec
    is_buffer: bool
    trainable: bool
    parts: tuple[TensorSpec, ...] = ()

    @property
    def name(self) -> str:
        """The canonical FQN."""
        return self.names[0]

    @property
    def held(self) -> tuple[TensorSpec, ...]:
        """The tensors that are in memory."""
        return self.parts or (self.spec,)

    @property
    def stored_bytes(self) -> int:
        """Bytes in memory."""
        return sum(spec.stored_bytes for spec in self.held)


@_quickly_made
@dataclass(frozen=True, slots=True)
class ModuleRecord:
    """A module of the model: its FQN (`""` is the root), class, and further FQNs of the same object."""

    name: str
    type_name: str
    qualified_type: str
    aliases: tuple[str, ...] = ()
    training: bool = False
    parameters: tuple[str, ...] = ()
    """Canonical names of the parameters and buffers that the module itself owns."""


@_quickly_made
@dataclass(frozen=True, slots=True)
class ModuleCall:
    """One call of a module, containers included: specs of its arguments and results, and its span of nodes.

    `args` and `kwargs` hold specs in place of tensors; the call covers `nodes[start:stop]` of the graph.
    """

    module: str
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    output: Any
    start: Position
    stop: Position


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A graph that was captured and propagated: all that rules and reports need to know of the model's run.

    `graph` is the fx graph (given as a :class:`~fxcost.records.sketch.Sketch`, it is made when it is first read),
    `root` the meta copy of the model that it refers to; a recording that was read from a file has no graph, and a
    skeleton of the model (skeleton.py) as its root. `storage_bytes[i]` is the size of storage `i`.
    `deaths` has (i, n) for each storage i that the model's own Python code let go after n operations;
    None where a given graph was run instead. `capture_reason` says why the graph is not a symbolic one, "" where it
    is, was given, or was not to be. `rank` says which rank of a sharded model was run.
    """

    graph: torch.fx.Graph | None = field(default=MadeWhenAsked(), metadata=NO_DATA)  # type: ignore[assignment]
    root: torch.nn.Module = field(default_factory=torch.nn.Module, metadata=NO_DATA)
    capture: Annotated[str, OneOf(CAPTURES)]
    model_type: str
    nodes: tuple[NodeRecord, ...]
    modules: tuple[ModuleRecord, ...]
    calls: tuple[ModuleCall, ...]
    parameters: tuple[ParameterRecord, ...]
    storage_bytes: tuple[Count, ...]
    assumptions: tuple[str, ...] = ()
    deaths: tuple[tuple[Position, Position], ...] | None = None
    capture_reason: str = ""
    rank: Rank | None = None

    def __repr__(self) -> str:
        return f"<Recording of {self.model_type}: {len(self.nodes):,} nodes, {self.capture} capture>"

    @property
    def sketch(self) -> Sketch:
        """The graph as it was captured."""
        sketch: Sketch = self.__dict__["sketch"] if "sketch" in self.__dict__ else self.__dict__["graph"]
        return sketch


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """A training step that was run: forward with gradients, loss, backward. Storages are numbered anew.

    `nodes` are those of the forward pass that ran operators, then the loss (`own_loss`: a function of the user's,
    else the sum of all outputs), of which there are `losses`: one, or one for each microbatch of a pipeline.
    `backward` holds the operators of the backward pass, one or few to a node of its own; `owners` says of each
    operator which of `nodes` it belongs to (−1: to none, gradients that add up at a parameter), `recomputed` whether
    it repeats the forward pass. `saved` has (storage, node) of what was saved for backward, `gradients` the storages
    of the gradients that remain, `trained` the parameters that got one, `deaths` (storage, operators that had run in
    all) of what was let go. `gathered` are the storages that parameters of a sharded model have while they are whole,
    `rank` the number of the rank that was run. `order` has the positions of `nodes`, and on from there of `backward`,
    in the order in which they ran, where they took turns; else it is empty.
    """

    nodes: tuple[NodeRecord, ...]
    backward: tuple[NodeRecord, ...]
    owners: tuple[int, ...]
    recomputed: tuple[bool, ...]
    saved: tuple[tuple[int, int], ...]
    gradients: tuple[int, ...]
    trained: tuple[TensorSpec, ...]
    parameters: tuple[ParameterRecord, ...]
    inputs: tuple[TensorSpec, ...]
    storage_bytes: tuple[int, ...]
    deaths: tuple[tuple[int, int], ...]
    own_loss: bool
    losses: int = 1
    assumptions: tuple[str, ...] = ()
    gathered: tuple[int, ...] = ()
    rank: int | None = None
    order: tuple[int, ...] = ()

    @property
    def counted(self) -> tuple[NodeRecord, ...]:
        """The nodes of the forward pass, without a sum of all outputs that stands in for a loss and costs nothing."""
        return self.nodes if self.own_loss else self.nodes[: len(self.nodes) - self.losses]

    @property
    def ran(self) -> tuple[NodeRecord, ...]:
        """All nodes, in the order in which they ran."""
        nodes = (*self.nodes, *self.backward)
        return tuple(nodes[i] for i in self.order) if self.order else nodes
