"""What calls did before, so that an equal call need not run: a :class:`Question` is what decides what a call does, a
:class:`Replay` what it did.

What is replayed must be proven to be the same: PyTorch's own functions, methods and unhooked modules are functions of
their arguments and configuration, and so are functions of the user's whose code says so (purity.py). What hangs on
the value of a tensor is never replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..meta.autocast import region_dtype
from ..meta.recorder import Segment, outline
from ..meta.values import ValueRecorder
from ..model.modules import configuration, module_tensors
from ..records.recording import InnerCall, OpRecord, TensorSpec, tensor_specs
from .remembered import memory

_SCALARS = frozenset({float, int, bool})
_ATOMS = frozenset({type(None), str, type(...), torch.dtype, torch.device, torch.memory_format, torch.layout})
_ROWS = frozenset({tuple, list, torch.Size})


class Ran(NamedTuple):
    """What ran in a call, as a :class:`~fxcost.meta.recorder.Segment` has it."""

    operations: tuple[OpRecord, ...] = ()
    storages: tuple[int, ...] = ()
    calls: tuple[InnerCall, ...] = ()
    freed: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def of(segment: Segment) -> Ran:
        """What ran in a segment that is done."""
        return Ran(tuple(segment.operations), tuple(segment.slots), tuple(segment.calls), tuple(segment.freed))

    def with_storages(self, numbers: tuple[int, ...]) -> Ran:
        """The same on other storages."""
        return Ran(self.operations, numbers, self.calls, self.freed)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a call did, in terms of its own storages: the first are those that it was given, the rest are new.

    `output` is what it returned, specs in place of tensors; `new_bytes` has the sizes of the new storages. A call that
    `only_asks` ran no operator and returned no tensor: a graph may have it, in a run it is no node.
    """

    ran: Ran
    output: Any
    new_bytes: tuple[int, ...]
    only_asks: bool


@dataclass(frozen=True, slots=True)
class Given:
    """In place of a result that is one of the tensors given: which of them."""

    position: int


_RESULTS = frozenset({*_SCALARS, type(None), str, torch.dtype, torch.device, torch.Size, TensorSpec, Given})


class Memo:
    """What was done in this analysis, and what is remembered of earlier ones."""

    def __init__(self) -> None:
        self._here: dict[Any, Replay | None] = {}
        self._world, self._earlier = memory()
        self._targets: dict[Any, Any] = {}

    def get(self, key: Any) -> Replay | None:
        """How to replay a call; None to run it."""
        found: Replay | None = self._earlier.get(key)
        return self._here.get(key) if found is None else found

    def holds(self, target: Any) -> bool:
        """True if PyTorch's code for a module or function is what it was when the analysis began."""
        return self._world.holds(target)

    def target(self, function: Any) -> Any:
        """What stands for a function in keys; None for one that must run, as it may depend on anything."""
        try:
            if function not in self._targets:
                self._targets[function] = self._earlier.target(function)
            return self._targets[function]
        except TypeError:  # an object that can't be hashed
            return None

    def put(self, key: Any, replay: Replay | None) -> None:
        """Note how to replay a call."""
        self._here[key] = replay
        if replay is not None:
            self._earlier.keep(key, replay, replay.ran.operations)


Read = tuple[list[Any], list[Any], list[Any]]
"""Of each argument: what decides, its description (specs in place of tensors), and how a graph writes it."""


class Question:
    """What a call is given, read once, and from that the `key` of what it does; None if there is none: it must run.

    `inputs` are the specs of the tensors among the arguments, `slots` numbers the storages of all tensors in the order
    in which they are read. Here arguments hold specs in place of tensors, as when a graph is propagated; a subclass
    reads tensors. `known` has the specs of modules' tensors by their id, and gets those that are read.
    """

    __slots__ = ("_keyed", "_knew", "_known", "_recorder", "inputs", "key", "slots")
    LEAVES: ClassVar[frozenset[type]] = frozenset({TensorSpec})

    def __init__(self, recorder: ValueRecorder, known: dict[int, TensorSpec]) -> None:
        self.key: Any = None
        self._known = known
        self.inputs: list[TensorSpec] = []
        self.slots: dict[int, int] = {}
        self._recorder = recorder
        self._keyed = True
        self._knew: tuple[bool, ...] = ()

    # -------------------------------------------------------------------------------------------------------- reading

    def read(self, values: Iterable[Any]) -> Read:
        """Read a row of arguments."""
        frozen, described, written = [], [], []
        leaves, leaf = self.LEAVES, self.leaf
        for value in values:
            kind = type(value)
            if kind in leaves:
                decides, spec, node = leaf(value)
            elif kind in _SCALARS:
                decides, spec, node = (kind, value), value, value  # 1, 1.0 and True are equal, and not the same
            elif kind in _ATOMS:
                decides, spec, node = value, outline(value), value
            else:
                decides, spec, node = self._nest(kind, value)
            frozen.append(decides)
            described.append(spec)
            written.append(node)
        return frozen, described, written

    def read_named(self, values: dict[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Read arguments that have names."""
        if not values:
            return None, {}, {}
        frozen, described, written = self.read(values.values())
        return (*values, *frozen), dict(zip(values, described, strict=True)), dict(zip(values, written, strict=True))

    def leaf(self, spec: Any) -> tuple[Any, Any, Any]:
        """Read what stands for a tensor."""
        self.inputs.append(spec)
        return self._local(spec), spec, spec

    def held(self, tensor: Tensor) -> Any:
        """Read a tensor of the module that is called."""
        spec = self._known.get(id(tensor))
        if spec is None:
            spec = self._recorder.spec(tensor)
            if spec.storage < 0 or not tensor.is_meta or tensor.is_complex():  # may be a lazy conjugate
                self._keyed = False
                return None
            self._known[id(tensor)] = spec
        return self._local(spec)

    def other(self, value: Any) -> tuple[Any, Any, Any]:
        """Read what no key can hold."""
        self._keyed = False
        if isinstance(value, Tensor):
            self.inputs.append(self._recorder.spec(value))
        return None, outline(value), value

    def _nest(self, kind: type, value: Any) -> tuple[Any, Any, Any]:
        if isinstance(value, (tuple, list)):
            self._keyed = self._keyed and kind in _ROWS
            frozen, specs, nodes = self.read(value)
            return (kind, *frozen), tuple(specs), nodes if isinstance(value, list) else tuple(nodes)
        if isinstance(value, dict):
            self._keyed = self._keyed and kind is dict
            decides, named, written = self.read_named(value)
            return (kind, decides), named, {str(name): node for name, node in written.items()}
        if kind is slice:
            frozen, _, nodes = self.read((value.start, value.stop, value.step))
            return (kind, *frozen), outline(value), slice(*nodes)
        return self.other(value)

    def _local(self, spec: TensorSpec) -> tuple[Any, ...]:
        slot = self.slots.setdefault(spec.storage, len(self.slots))
        return (spec.shape, spec.dtype, spec.stride, spec.offset, slot)

    # --------------------------------------------------------------------------------------------------------- asking

    def target(self, memo: Memo, target: Any) -> Any:
        """Read what is called, a module, a function or a method's name: what decides; None if that can't be told."""
        if not isinstance(target, nn.Module):
            return target if type(target) is str else memo.target(target)
        config = configuration(target)
        return config and (config, *map(self.held, module_tensors(target)))

    def ask(self, memo: Memo, target: Any, args: list[Any], kwargs: Any) -> Replay | None:
        """What the call did before, by what decides of its target, arguments and named arguments."""
        if target is None or not self._keyed:
            return None
        self._knew = self._recorder.knows(self.slots)
        self.key = target, tuple(args), kwargs, self._knew, region_dtype(), torch.get_default_dtype()
        return memo.get(self.key)

    def replay(self, ran: Ran, result: Any, sets_nothing: bool = False) -> Replay | None:
        """How to replay the call that has run and returned `result`.

        None if it hangs on values. If it neither ran an operator nor returned a tensor, it may have changed a setting,
        unless it is known that it `sets_nothing`.
        """
        recorder = self._recorder
        local = {number: i for i, number in enumerate(ran.storages)}
        results = [spec.storage for spec in tensor_specs(result)]
        for number in results:
            local.setdefault(number, len(local))
        new = list(local)[len(self.slots) :]
        made = [number for number in results if number not in self.slots]
        known = any(number in recorder.cells or number in recorder.ranges for number in made)
        if recorder.values_used or known or recorder.knows(self.slots) != self._knew or not _only_specs(result):
            return None
        only_asks = not ran.operations and not _has_tensor(result)
        if only_asks and not sets_nothing:
            return None
        sizes = tuple([recorder.storages.nbytes[number] for number in new])
        return Replay(ran, renumbered(result, local), sizes, only_asks)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A nest of tuples (named ones, `torch.return_types`), lists and dicts with each leaf changed."""
    kind = type(value)
    if kind is tuple or kind is list:
        return kind([mapped(v, change) for v in value])
    if kind is dict:
        return {k: mapped(v, change) for k, v in value.items()}
    if isinstance(value, tuple) and kind is not torch.Size:
        items = [mapped(v, change) for v in value]
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    return change(value)


def renumbered(value: Any, numbers: Any) -> Any:
    """A nest with specs in it, the storages `numbers` in place of theirs."""
    if type(value) is TensorSpec:
        return TensorSpec(value.shape, value.dtype, value.stride, value.offset, numbers[value.storage])
    return mapped(value, lambda leaf: renumbered(leaf, numbers) if type(leaf) is TensorSpec else leaf)


def _only_specs(value: Any) -> bool:
    kind = type(value)
    if kind in _RESULTS:
        return True
    if isinstance(value, (tuple, list)):
        return all(_only_specs(v) for v in value)
    return kind is dict and all(_only_specs(v) for v in value.values())


def _has_tensor(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_has_tensor, value))
    return any(map(_has_tensor, value.values())) if type(value) is dict else type(value) in (TensorSpec, Given)
